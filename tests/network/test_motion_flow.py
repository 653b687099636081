"""Flow: coarse matches find whole cells, Lucas–Kanade finds parts of a pixel, and shortcuts equal the plain way."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from network.motion_scenes import HEIGHT, SIZE, WIDTH, generator, texture
from openloger.errors import InputError
from openloger.geometry import pixel_grid
from openloger.network import correlation
from openloger.network.motion import EdgeFlow, Edges, flow_between, flow_features, lucas_kanade, matching
from openloger.worlds import World

PIXELS = pixel_grid(HEIGHT, WIDTH)


def picture(pixel: Tensor, seed: int = 0) -> Tensor:
    return texture(pixel, seed=seed)[None, None].expand(1, 3, -1, -1)


def refined(target: Tensor, coarse: Tensor) -> Tensor:
    source = lucas_kanade.prepare(picture(PIXELS))
    flow = lucas_kanade.refine(source, lucas_kanade.prepare(target), coarse)
    return flow.shift_px[0].movedim(0, -1)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.37, -1.62), (2.8, 2.1), (-0.05, 0.4)])
def test_a_shift_is_found_to_a_part_of_a_pixel(shift: tuple[float, float]) -> None:
    true = torch.tensor(shift)
    found = refined(picture(PIXELS - true), torch.zeros(1, 2, HEIGHT // 8, WIDTH // 8))
    assert_close(found[3:-3, 3:-3].mean((0, 1)), true, rtol=0, atol=0.02)
    assert float((found[3:-3, 3:-3] - true).abs().max()) < 0.15


def test_a_warp_is_found_from_a_rough_start() -> None:
    """Turned, stretched and moved by some pixels; the start is the true flow in whole cells' steps of 2 px."""
    matrix = torch.tensor([[1.04, -0.05], [0.06, 0.97]])
    middle, offset = torch.tensor([WIDTH / 2, HEIGHT / 2]), torch.tensor([4.3, -2.6])
    target = (PIXELS - middle - offset) @ torch.linalg.inv(matrix).mT + middle
    cells = pixel_grid(HEIGHT // 8, WIDTH // 8) * 8
    coarse = (((cells - middle) @ matrix.mT + middle + offset - cells) / 2).round() * 2
    fine = pixel_grid(HEIGHT // 4, WIDTH // 4) * 4
    true = (fine - middle) @ matrix.mT + middle + offset - fine
    error = (refined(picture(target), coarse.movedim(-1, 0)[None]) - true).norm(dim=-1)[4:-4, 4:-4]
    assert float(error.median()) < 0.06
    assert float(error.quantile(0.95)) < 0.3


def test_how_much_the_flow_varies_is_not_smoothed_away() -> None:
    """Means over neighbours made the flow of a camera that turns vary too little, and its focal length too long."""
    size, angle = torch.tensor([192, 144]), torch.tensor(8.0).deg2rad()
    rotation = torch.tensor([[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]])
    intrinsics = torch.tensor([[120.0, 0, 96], [0, 120, 72], [0, 0, 1]])
    homography = intrinsics @ rotation @ intrinsics.inverse()

    def moved(pixel: Tensor, by: Tensor) -> Tensor:
        ray = torch.cat([pixel, torch.ones_like(pixel[..., :1])], -1) @ by.mT
        return ray[..., :2] / ray[..., 2:]

    def flow(stride: int) -> tuple[Tensor, Tensor]:
        cells = pixel_grid(144 // stride, 192 // stride) * stride
        return cells, moved(cells, homography) - cells

    grid = moved(pixel_grid(144, 192), homography.inverse()) * (2 / size) - 1
    cells, true = flow(4)
    start = flow(8)[1].mean((0, 1)).expand(18, 24, 2).movedim(-1, 0)[None]
    around = true - true.mean((0, 1))
    shrunk, total = torch.zeros(2), torch.zeros(2)
    for number in (0, 40, 80):
        seen = torch.tensor(World("rooms", seed=0, size=(144, 192))[number].rgb).float().movedim(-1, 0)[None] / 255
        turned = F.grid_sample(seen, grid[None], mode="bicubic", padding_mode="reflection", align_corners=False)
        found = lucas_kanade.refine(lucas_kanade.prepare(seen), lucas_kanade.prepare(turned.clamp(0, 1)), start)
        error = found.shift_px[0].movedim(0, -1) - true
        inner = [((at > 8) & (at < size - 8)).all(-1) for at in (cells, cells + true)]
        sure = found.texture[0] / (found.texture[0] + 0.01)
        weight = (sure * inner[0] * inner[1] * (error.norm(dim=-1) < 2))[..., None]
        shrunk, total = shrunk + (weight * error * around).sum((0, 1)), total + (weight * around * around).sum((0, 1))
    assert float((shrunk / total).abs().max()) < 4e-3  # 0.010 where the last step is smoothed


def test_light_that_changes_is_no_motion() -> None:
    found = refined(0.3 + 0.6 * picture(PIXELS - torch.tensor([1.3, 0.6])), torch.zeros(1, 2, HEIGHT // 8, WIDTH // 8))
    assert_close(found[3:-3, 3:-3].mean((0, 1)), torch.tensor([1.3, 0.6]), rtol=0, atol=0.03)


@pytest.mark.parametrize("size", [9, 17])
def test_running_sums_are_box_means(size: int) -> None:
    maps = torch.randn(2, 1, 40, 56, generator=generator(0))
    plain = F.avg_pool2d(F.pad(maps, (size // 2,) * 4, mode="replicate"), size, 1)
    assert_close(lucas_kanade._box(maps, size), plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-5, 1)])
def test_whole_cells_are_matched(shift: tuple[int, int]) -> None:
    features = torch.randn(1, 24, 12, 16, generator=generator(1))
    target = torch.roll(features, (shift[1], shift[0]), (2, 3))
    maps = [(one, F.avg_pool2d(one, 2)) for one in (features, target)]
    flow = matching.match(*(F.normalize(one * 5, dim=1) for one, _ in maps))
    inner = flow[0, :, 5:-5, 6:-6]
    assert float((inner - 8 * torch.tensor(shift)[:, None, None]).abs().max()) < 8
    described = [matching.describe(*pair) for pair in maps]
    assert described[0].shape == (1, 48, 12, 16)
    assert_close(described[0].norm(dim=1), torch.ones(1, 12, 16))


def test_cells_that_take_turns_are_matched_as_together(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = (F.normalize(torch.randn(3, 24, 6, 8, generator=generator(n)), dim=1) for n in (1, 2))
    whole = matching.match(source, target)
    monkeypatch.setattr(correlation, "MOST_AT_ONCE", 3 * 48 * 5)
    assert_close(matching.match(source, target), whole, rtol=1e-5, atol=1e-5)


def test_stride_16_maps_may_be_rounded_up() -> None:
    described = matching.describe(torch.randn(2, 8, 9, 13), torch.randn(2, 6, 5, 7))
    assert described.shape == (2, 14, 9, 13)


def test_the_median_removes_single_cells() -> None:
    maps = torch.zeros(1, 2, 6, 6)
    maps[0, :, 2, 3] = 50
    assert not bool(matching.median_3x3(maps).any())


def random_frames(batch: int, frames: int) -> tuple[Tensor, Tensor, Tensor]:
    images = torch.stack(
        [torch.stack([picture(PIXELS + 2.0 * f, seed=b)[0] for f in range(frames)]) for b in range(batch)]
    )
    flat = F.avg_pool2d(images.flatten(0, 1), 8)
    random = generator(3)
    mix8, mix16 = torch.randn(8, 3, generator=random), torch.randn(10, 3, generator=random)
    stride16 = F.avg_pool2d(flat, 2)
    return images, torch.einsum("oc,ichw->iohw", mix8, flat), torch.einsum("oc,ichw->iohw", mix16, stride16)


def test_batches_and_edges_are_independent() -> None:
    images, stride8, stride16 = random_frames(2, 3)
    edges = Edges(torch.tensor([0, 2, 1]), torch.tensor([1, 0, 2]))
    together = flow_between(flow_features(images, stride8, stride16), edges)
    for b in range(2):
        at = slice(3 * b, 3 * b + 3)
        features = flow_features(images[b : b + 1], stride8[at], stride16[at])
        for e in range(3):
            alone = flow_between(features, Edges(edges.source[e : e + 1], edges.target[e : e + 1]))
            assert_close(alone.shift_px[0, 0], together.shift_px[b, e], rtol=1e-4, atol=1e-4)
            assert_close(alone.weight[0, 0], together.weight[b, e], rtol=1e-4, atol=1e-4)
    assert together.motion_px.shape == (2, 3)


def test_flow_that_does_not_lead_back_loses_its_weight() -> None:
    edges = Edges(torch.tensor([0, 1, 1]), torch.tensor([1, 0, 2]))
    forth = torch.tensor([5.0, -3.0]).expand(12, 16, 2)
    shift = torch.stack([forth, -forth, forth])[None].clone()
    shift[0, 0, 4, 7] += torch.tensor([0.0, 6.0])  # goes somewhere else
    flow = EdgeFlow(shift, torch.full((1, 3, 12, 16), 0.5), torch.ones(1, 3, 12, 16, dtype=torch.bool))
    weight = flow.returning(edges).weight
    assert float(weight[0, 0, 4, 7]) < 1e-6
    weight[0, 0, 4, 7] = 0.5
    assert_close(weight[0, 0], torch.full((12, 16), 0.5))
    assert float((weight[0, 1] < 0.01).sum()) in (1, 2, 3, 4)  # whoever comes back to that cell
    assert torch.equal(weight[0, 2], torch.full((12, 16), 0.5))  # no edge back, nothing to compare
    alone = Edges(torch.tensor([0]), torch.tensor([1]))
    assert torch.equal(flow[:1].returning(alone).weight, flow[:1].weight)


def test_sides_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="multiples of 8, not 30 × 40"):
        flow_features(torch.zeros(1, 1, 3, 30, 40), torch.zeros(1, 4, 4, 5), torch.zeros(1, 4, 2, 3))


def test_bare_walls_weigh_nothing() -> None:
    images = torch.full((1, 2, 3, *SIZE), 0.5)
    features = flow_features(
        images, torch.zeros(2, 4, HEIGHT // 8, WIDTH // 8), torch.zeros(2, 4, HEIGHT // 16, WIDTH // 16)
    )
    flow = flow_between(features, Edges.chain(2))
    assert float(flow.weight.max()) < 1e-3
    assert bool(flow.shift_px.isfinite().all())
