"""Masks through the main job: nothing of what they hide is in a recording, and a run that is continued has the same."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import openloger
from openloger import Frame, InputError, RecordingError, RunOptions
from openloger.export.selection import PointSelection, select_points
from openloger.network import Window
from openloger.streaming import Stream, StreamState
from openloger.viewing.report.summary import summarise
from openloger.viewing.scene.points import frame_points

LENGTH, SIZE = 20, (64, 80)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def compact():
    return openloger.load_network("compact", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def pocket():
    return openloger.load_network("pocket", device="cpu", dtype="float32")


def scene(count=LENGTH, *, size=(96, 120), step=4):
    """A soft texture that moves sideways."""
    height, width = size
    noise = np.random.default_rng(3).integers(0, 256, (24, 60, 3), np.uint8)
    wide = np.asarray(Image.fromarray(noise).resize((width + step * count, height)))
    return [wide[:, step * number :][:, :width].copy() for number in range(count)]


def bonnet(*, size=(96, 120)):
    """True but for the lower third, and a corner that moves."""
    mask = np.ones(size, bool)
    mask[2 * size[0] // 3 :] = False
    return mask


def own_mask(number, *, size=(96, 120)):
    mask = bonnet(size=size)
    mask[:30, 3 * number : 3 * number + 24] = False
    return mask


def masked_frames(*, seed=None, mask=own_mask):
    """Frames with masks; with a `seed`, noise stands under them."""
    generator = np.random.default_rng(seed)
    frames = []
    for number, rgb in enumerate(scene()):
        used = mask(number)
        if seed is not None:
            rgb = np.where(used[..., None], rgb, generator.integers(0, 256, rgb.shape, np.uint8))
        frames.append(Frame(rgb, number, number / 10, f"f{number}", mask=used))
    return frames


def windows(network, frames, **options):
    return list(Stream(network, size=SIZE, **options).run(frames, ahead=0))


def assert_same(ours, theirs):
    """To the bit, the pictures that are kept of the frames too."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        for part in ("world_from_cam", "points_cam", "confidence_logit", "intrinsics"):
            assert torch.equal(getattr(a, part), getattr(b, part)), part
        assert all(np.array_equal(x.rgb, y.rgb) for x, y in zip(a.frames, b.frames, strict=True))


@pytest.mark.parametrize("name", ["compact", "pocket"])
def test_what_masks_hide_changes_no_number(name, request):
    """From the source's pixels to the placed windows: with the frames between keyframes, and over all windows."""
    network = request.getfixturevalue(name)
    plain = windows(network, masked_frames())
    assert len(plain) > 1
    assert_same(windows(network, masked_frames(seed=1)), plain)
    for placed in plain:
        hidden = torch.stack([torch.from_numpy(frame.mask) for frame in placed.frames]).logical_not()
        assert bool(hidden.any())
        assert not placed.depth[hidden].any()
        assert not placed.confidence[hidden].any()
        assert bool((placed.depth[~hidden] > 0).float().mean() > 0.8)


def test_without_masks_it_does(pocket):
    """So the test above can fail."""
    bare = [windows(pocket, [frame.rgb for frame in masked_frames(seed=seed)])[-1] for seed in (None, 1)]
    assert not torch.equal(bare[0].world_from_cam, bare[1].world_from_cam)


@pytest.mark.parametrize("name", ["compact", "pocket"])
def test_a_masked_run_cut_in_two_equals_the_run_in_one_piece(name, request):
    network = request.getfixturevalue(name)
    whole = windows(network, masked_frames())
    begun = Stream(network, size=SIZE)
    first = next(begun.run(masked_frames(), ahead=0))
    again = Stream(network, size=SIZE)
    again.state = StreamState.from_bytes(begun.state.to_bytes())
    assert_same([first, *again.run(masked_frames(), ahead=0)], whole)


def run(frames, out, network, **options):
    return openloger.reconstruct(frames, out, network=network, size=SIZE, options=RunOptions(**options))


def test_a_recording_has_no_points_there(pocket, tmp_path):
    recording = run(masked_frames(), tmp_path / "out", pocket)
    assert recording.meta.masks == {"given": True}
    assert summarise(recording).masks == ("one a frame",)
    anything = PointSelection(confidence_min=0.0, depth_edge=None)
    for chunk in select_points(recording, anything):
        frame = recording.frame(chunk.frame)
        columns, rows = (chunk.pixels_xy - 0.5).astype(int).T
        assert frame.mask[rows, columns].all()
        assert len(chunk) == len(frame_points(frame)) == frame.mask.sum() < frame.mask.size
        assert not frame.confidence[~frame.mask].any()
    assert sum(window.clipped_pixels for window in recording.windows) == 0


def test_one_picture_for_all(pocket, tmp_path):
    """The same as that mask given with every frame."""
    picture = tmp_path / "bonnet.png"
    Image.fromarray(np.where(bonnet(), np.uint8(255), np.uint8(0))).save(picture)
    ours = run(scene(), tmp_path / "ours", pocket, mask_static=picture)
    theirs = run(masked_frames(mask=lambda number: bonnet()), tmp_path / "theirs", pocket)
    assert np.array_equal(ours.world_from_cam, theirs.world_from_cam)
    assert all(np.array_equal(ours.depth(number), theirs.depth(number)) for number in range(LENGTH))


def test_a_run_is_continued_with_its_masks_alone(pocket, tmp_path):
    picture, other, moved = (tmp_path / name for name in ("bonnet.png", "other.png", "moved.png"))
    for path, mask in ((picture, bonnet()), (other, own_mask(3)), (moved, bonnet())):
        Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).save(path)
    whole = run(scene(), tmp_path / "whole", pocket, mask_static=picture)
    part = run(scene(), tmp_path / "part", pocket, mask_static=picture, should_stop=lambda: True)
    assert not part.complete
    for options in ({}, {"mask_static": other}):
        with pytest.raises(RecordingError, match="masks"):
            run(scene(), tmp_path / "part", pocket, existing="resume", **options)
    resumed = run(scene(), tmp_path / "part", pocket, existing="resume", mask_static=moved)
    assert resumed.complete
    assert all(np.array_equal(resumed.depth(number), whole.depth(number)) for number in range(LENGTH))


@pytest.mark.parametrize("name", ["sky", "moving"])
def test_what_the_network_predicts(compact, name):
    """Of keyframes, where its logit says so; the frames between have it carried over.

    The logit is a random one of the features, which is positive in half of any picture, whatever was trained.
    """
    frames = scene()
    images = torch.stack([torch.from_numpy(rgb).permute(2, 0, 1) for rgb in frames[:8]]).float() / 255
    small = torch.nn.functional.interpolate(images, SIZE)
    stream = Stream(compact, size=SIZE, keyframes="all", mask=(name,))
    output = compact.heads.output.requires_grad_(False)  # of log depth, confidence, sky, moving
    place = 2 if name == "sky" else 3
    weight, bias = output.weight[place].clone(), output.bias[place].clone()
    output.weight[place] = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logit = getattr(compact(Window(small[None], 8, 2))[0], f"{name}_logit")
    output.bias[place] -= logit.median()
    try:
        placed = next(stream.run(small, ahead=0))
        with torch.inference_mode():
            found = getattr(compact(Window(small[None], 8, 2, still_only=name == "moving"))[0], f"{name}_logit")[0] > 0
        between = Stream(compact, size=SIZE, keyframes="auto", mask=(name,)).run(frames, ahead=0)
        shares = [float((window.depth == 0).float().mean()) for window in between]
    finally:
        output.weight[place], output.bias[place] = weight, bias
    assert 0.2 < found.float().mean() < 0.8
    assert torch.equal(placed.depth == 0, found)
    assert all(0.1 < share < 0.9 for share in shares)


def test_a_network_that_does_not_predict_it_says_so(pocket, tmp_path):
    with pytest.raises(InputError, match="the network pocket does not predict it; give masks of the frames"):
        run(scene(), tmp_path / "out", pocket, mask=("sky",))
    with pytest.raises(InputError, match="mask 'grass' is none of sky, moving"):
        Stream(pocket, mask=("grass",))


def test_frames_with_a_mask_of_another_size_are_refused(pocket):
    small = np.ones((5, 5), bool)
    frames = [SimpleNamespace(**{**vars(frame), "mask": small}) for frame in masked_frames()]
    with pytest.raises(InputError, match=r"the mask of frame 0 is bool \(5, 5\); give bool"):
        windows(pocket, frames)


@pytest.mark.parametrize("placement", ["sim3", "se3"])
def test_frames_that_are_hidden_whole(pocket, placement):
    """A lens that is covered for a while: all is finite, and the windows after are placed."""
    frames = masked_frames(mask=lambda number: np.full((96, 120), not 6 <= number < 15))
    placed = windows(pocket, frames, placement=placement)
    assert all(bool(window.points_cam.isfinite().all()) for window in placed)
    assert not placed[1].depth[0].any()
    assert bool(placed[-1].depth[-1].all())
