"""What masks hide takes no part: nothing under them changes a number outside, in a window and in later ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from network.reference import distance, open_pocket, small_images, toy_network
from openloger.errors import InputError
from openloger.network import Window, load_network
from openloger.network.patches import KeptPatches, kept_mean
from openloger.transformer.attention import Rotary

SIZE, OVERLAP, FRAMES = 5, 2, 8
PARTS = ("world_from_cam", "points_cam", "confidence_logit")
MASKS = ("static", "own")


def published():
    return toy_network()


def published_pi3x():
    return toy_network(pi3x=True)


def compact():
    return load_network("compact", device="cpu", dtype="float32")


NETWORKS = {"loger": published, "pi3x": published_pi3x, "pocket": open_pocket, "compact": compact}


def pixels_used(kind, *, patch, rows=4, columns=5):
    """Hidden patches, the same in every frame or each frame's own, in another number; and half of another patch."""
    used = torch.ones(1, FRAMES, rows, columns, dtype=torch.bool)
    used[:, :, -1, 1:4] = False
    if kind == "own":
        generator = torch.Generator().manual_seed(1)
        used &= torch.rand(used.shape, generator=generator) > 0.2
        used[:, 6] = True
    used = used.repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    used[..., : patch // 2, :patch] = False  # of a patch that takes part
    return used


def run(network, images, used):
    """Both windows' predictions, and the memory after them."""
    first, memory = network(Window(images[:, :SIZE], SIZE, OVERLAP, used=used[:, :SIZE]))
    start = SIZE - OVERLAP
    second, memory = network(Window(images[:, start:], SIZE, OVERLAP, used=used[:, start:]), memory)
    return (first, second), memory


def inputs(network, kind):
    patch = network.config.encoder.patch
    used = pixels_used(kind, patch=patch)
    return small_images(frames=FRAMES, height=4 * patch, width=5 * patch), used


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_pixels_under_masks_change_nothing(name, kind):
    """To the bit: all predictions, of the hidden pixels too, and the memory of the next window."""
    network = NETWORKS[name]()
    images, used = inputs(network, kind)
    noise = small_images(frames=FRAMES, height=images.shape[3], width=images.shape[4], seed=5)
    changed = torch.where(used[:, :, None], images, noise)
    assert not torch.equal(images, changed)
    predictions, memory = run(network, images, used)
    others, other_memory = run(network, changed, used)
    for prediction, other in zip(predictions, others, strict=True):
        for part in (*PARTS, "metric_scale", "sky_logit", "focal_px"):
            value = getattr(prediction, part)
            assert value is None or torch.equal(value, getattr(other, part)), part
        assert bool(prediction.points_cam.isfinite().all())
    for tensor_name, tensor in memory.to_tensors().items():
        assert torch.equal(tensor.nan_to_num(-1), other_memory.to_tensors()[tensor_name].nan_to_num(-1)), tensor_name


@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_without_masks_those_pixels_count(name):
    """So the test above can fail."""
    network = NETWORKS[name]()
    images, used = inputs(network, "static")
    changed = torch.where(used[:, :, None], images, 1 - images)
    bare, other = (run(network, one, torch.ones_like(used))[0][1] for one in (images, changed))
    assert distance(other.points_cam, bare.points_cam) > 1e-4


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("name", ["loger", "pocket", "compact"])
@torch.inference_mode()
def test_features_of_hidden_patches_reach_no_other(name, kind):
    """Not as keys, not into the fast weights: whatever stands there, the rest stays. One window and the one after."""
    network = NETWORKS[name]()
    images, used = inputs(network, kind)
    plain, memory = run(network, images, used)
    shares = torch.nn.functional.avg_pool2d(used[0].float(), network.config.encoder.patch)
    hidden = (shares < 0.5).flatten(1)[None]  # (1, N, P)

    def disturbed(_, arguments):
        features, *rest = arguments
        noise = 10 * torch.randn(features.shape, generator=torch.Generator().manual_seed(3))
        now = hidden[:, :SIZE] if rest[-1] is fresh else hidden[:, SIZE - OVERLAP :]
        return torch.where(now[..., None], noise.to(features), features), *rest

    hook = network.decoder.register_forward_pre_hook(disturbed)
    fresh = network.fresh_memory()
    first, after = network(Window(images[:, :SIZE], SIZE, OVERLAP, used=used[:, :SIZE]), fresh)
    second, after = network(Window(images[:, SIZE - OVERLAP :], SIZE, OVERLAP, used=used[:, SIZE - OVERLAP :]), after)
    hook.remove()
    for prediction, other in zip(plain, (first, second), strict=True):
        for part in PARTS:
            assert torch.equal(getattr(prediction, part), getattr(other, part)), part
    for layer, weights in memory.fast_weights.items():
        assert all(map(torch.equal, weights, after.fast_weights[layer]))


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_dropping_equals_hiding_keys(kind, dtype):
    """The decoder on fewer tokens gives what its slow twin gives: all tokens, and those of masks hidden as keys."""
    network = toy_network().set_precision(dtype)
    decoder = network.decoder
    _, used = inputs(network, kind)
    kept = KeptPatches.of(used, network.config.encoder.patch)
    assert kept is not None
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, FRAMES, 20, network.config.encoder.width, generator=generator)
    positions = decoder.positions_yx(4, 5, features.device)
    roles = torch.zeros(FRAMES, dtype=torch.long)
    memory = network.fresh_memory()
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for _ in range(2):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            fast, after = decoder(features, roles, positions, memory, kept=kept)
            slow, slow_after = hidden_keys(decoder, features, roles, positions, memory, kept)
        special = decoder.special_tokens
        taken = kept.pack(slow[0, :, special:])
        valid = torch.ones_like(kept.index, dtype=torch.bool) if kept.valid is None else kept.valid
        assert distance(fast[0, :, special:][valid], taken[valid]) < tolerance
        assert distance(fast[0, :, :special], slow[0, :, :special]) < tolerance
        for layer, weights in after.fast_weights.items():
            assert all(
                distance(a, b) < 5 * tolerance for a, b in zip(weights, slow_after.fast_weights[layer], strict=True)
            )
        memory = after


def hidden_keys(decoder, features, roles, positions, memory, kept):
    """The decoder with every token, those of masks as padding."""
    tokens = decoder._with_special_tokens(decoder.embed(features), roles)
    frames = tokens.shape[1]
    weight = torch.ones_like(kept.index) if kept.valid is None else kept.valid.long()
    takes_part = torch.zeros(frames, kept.patches, dtype=torch.long).scatter_add(1, kept.index, weight) > 0
    valid = torch.nn.functional.pad(takes_part, (decoder.special_tokens, 0), value=True)
    rotary = Rotary.of(positions, decoder.config.width // decoder.config.heads)
    last = []
    for number, block in enumerate(decoder.blocks):
        if number % 2 == 0:
            tokens = block(tokens.flatten(0, 1), rotary, valid=valid)[None]
        else:
            whole = block(tokens.flatten(1, 2), rotary.repeat(frames), valid=valid.flatten()[None])
            tokens = whole.unflatten(1, (frames, -1))
        for kind, layers in (("ttt", decoder.memory._ttt_after), ("swa", decoder.memory._swa_after)):
            if number not in layers:
                continue
            layer, row = layers[number], tokens.flatten(1, 2)
            if kind == "ttt":
                row, state = decoder.memory.ttt[layer](row, memory.fast_weights.get(layer), valid=valid.flatten()[None])
                memory = replace(memory, fast_weights={**memory.fast_weights, layer: state})
            else:
                row, state = decoder.memory.swa[layer](
                    row, rotary.repeat(frames), memory.keys_values.get(layer), valid=valid.flatten()[None]
                )
                memory = replace(memory, keys_values={**memory.keys_values, layer: state})
            tokens = row.unflatten(1, (frames, -1))
        last = [*last[-1:], tokens]
    return torch.cat(last, dim=-1), memory


@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_a_mask_that_hides_nothing_changes_nothing(name):
    """To the bit, but for flow, whose sums have another order of rounding."""
    network = NETWORKS[name]()
    images, used = inputs(network, "static")
    masked, _ = network(Window(images, FRAMES, OVERLAP, used=torch.ones_like(used)))
    plain, _ = network(Window(images, FRAMES, OVERLAP))
    for part in PARTS:
        near = 1e-4 if name == "compact" else 0
        assert distance(getattr(masked, part), getattr(plain, part)) <= near, part


@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_a_frame_that_is_hidden_whole_leaves_the_others_finite(name):
    network = NETWORKS[name]()
    images, used = inputs(network, "own")
    used[:, 3] = False
    prediction, memory = network(Window(images, FRAMES, OVERLAP, used=used))
    assert all(bool(getattr(prediction, part).isfinite().all()) for part in PARTS)
    prediction, _ = network(Window(images, FRAMES, OVERLAP, used=torch.zeros_like(used)), memory)
    assert all(bool(getattr(prediction, part).isfinite().all()) for part in PARTS)


def test_packing_and_putting_back():
    used = pixels_used("own", patch=8)
    kept = KeptPatches.of(used, 8)
    assert kept is not None
    assert kept.valid is not None  # frames keep different numbers
    patches = torch.arange(FRAMES * 20, dtype=torch.float32).reshape(FRAMES, 20, 1) + 1
    share = torch.nn.functional.avg_pool2d(used[0].float(), 8).flatten(1)
    back = kept.unpack(kept.pack(patches))
    assert torch.equal(back, torch.where(share[..., None] >= 0.5, patches, 0.0))
    mean = kept_mean(kept.pack(patches), kept)
    for frame in range(FRAMES):
        assert mean[frame, 0] == pytest.approx(patches[frame, share[frame] >= 0.5].mean().item())


def test_a_batch_of_windows_has_no_masks():
    with pytest.raises(InputError, match="one window at a time, not of a batch of 2"):
        KeptPatches.of(torch.ones(2, 3, 16, 16, dtype=torch.bool), 8)
