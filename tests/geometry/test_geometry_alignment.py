from __future__ import annotations

import math

import pytest
import torch
from geometry_values import DEVICES, DTYPES, LAW, normal, seeds, similarities
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.testing import assert_close

from openloger.errors import InputError
from openloger.geometry import ScaleMode, Sim3, depth_scale, rotation_from_axis_angle, umeyama


def squared_error(transform: Sim3, source: Tensor, target: Tensor, weights: Tensor) -> float:
    return float((weights * (transform.apply(source) - target).square().sum(-1)).sum())


@LAW
@given(similarities(), seeds(), st.integers(4, 30))
def test_alignment_finds_the_similarity(similarity: Sim3, seed: int, points: int) -> None:
    source = normal(points, 3, seed=seed)
    found = umeyama(source, similarity.apply(source))
    tolerance = 1e-9 * float(similarity.translation.norm() / similarity.scale + 1)
    assert_close(found.scale / similarity.scale, torch.ones((), dtype=torch.float64), rtol=tolerance, atol=0)
    assert_close(found.rotation, similarity.rotation, rtol=0, atol=tolerance)
    assert_close(found.apply(source), similarity.apply(source), rtol=0, atol=tolerance * float(similarity.scale) * 10)


@LAW
@given(similarities(), seeds())
def test_three_points_of_a_plane_are_enough(similarity: Sim3, seed: int) -> None:
    source = normal(3, 3, seed=seed)
    found = umeyama(source, similarity.rigid.apply(source), with_scale=False)
    assert_close(found.rotation, similarity.rotation, rtol=0, atol=1e-6)
    assert float(torch.det(found.rotation)) == pytest.approx(1)


@LAW
@given(seeds(), st.booleans(), st.booleans())
def test_no_neighbour_aligns_better(seed: int, with_scale: bool, mirrored: bool) -> None:
    source, target = normal(8, 3, seed=seed), normal(8, 3, seed=seed + 1)
    if mirrored:
        target = -source + 0.1 * target  # a mirror image: only a proper rotation may come out
    weights = normal(8, seed=seed + 2).exp()
    found = umeyama(source, target, weights, with_scale=with_scale)
    assert float(torch.det(found.rotation)) == pytest.approx(1)
    if not with_scale:
        assert float(found.scale) == 1
    least = squared_error(found, source, target, weights)
    for k in range(20):
        nudge = 0.01 * normal(7, seed=seed + 3 + k)
        neighbour = Sim3(
            found.scale * (nudge[0].exp() if with_scale else 1),
            rotation_from_axis_angle(nudge[1:4]) @ found.rotation,
            found.translation + nudge[4:],
        )
        assert squared_error(neighbour, source, target, weights) >= least * (1 - 1e-12)


@LAW
@given(seeds(), similarities(), st.floats(1e-6, 1e6))
def test_gauge_and_units_of_weight_do_not_matter(seed: int, gauge: Sim3, unit: float) -> None:
    source, target = normal(10, 3, seed=seed), normal(10, 3, seed=seed + 1)
    weights = normal(10, seed=seed + 2).exp()
    found = umeyama(source, target, weights)
    moved = umeyama(source, gauge.apply(target), unit * weights)
    size = float(gauge.matrix().abs().max())
    assert_close(moved.matrix(), (gauge @ found).matrix(), rtol=0, atol=1e-7 * size)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(seed))
    assert_close(umeyama(source[order], target[order], weights[order]).matrix(), found.matrix(), rtol=0, atol=1e-9)


def test_weights_repeat_and_remove_points() -> None:
    source, target = normal(6, 3, seed=0), normal(6, 3, seed=1)
    weights = torch.tensor([2.0, 1, 1, 1, 1, 0], dtype=torch.float64)
    repeated = umeyama(torch.cat([source[:1], source[:5]]), torch.cat([target[:1], target[:5]]))
    assert_close(umeyama(source, target, weights).matrix(), repeated.matrix())


def test_alignment_has_a_gradient() -> None:
    source, target = normal(5, 3, seed=0).requires_grad_(), normal(5, 3, seed=1).requires_grad_()
    assert gradcheck(lambda a, b: umeyama(a, b).matrix(), (source, target))


LINE = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None] * torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
SPREAD = normal(9, 3, seed=7)


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (SPREAD[:2], SPREAD[:2], "at least 3 points.*2 were given"),
        (SPREAD[:0], SPREAD[:0], "0 were given"),
        (LINE, SPREAD, "on one line"),
        (SPREAD, LINE + 5, "on one line"),
        (torch.ones_like(SPREAD), SPREAD, "one point"),
        (SPREAD, 0 * SPREAD, "one point"),
        (SPREAD / 0, SPREAD, "finite points"),
        (SPREAD, SPREAD * math.nan, "finite points"),
    ],
)
@pytest.mark.parametrize("with_scale", [False, True])
def test_degenerate_points_are_refused(source: Tensor, target: Tensor, said: str, with_scale: bool) -> None:
    with pytest.raises(InputError, match=said):
        umeyama(source, target, with_scale=with_scale)


@pytest.mark.parametrize(("weight", "said"), [(-1.0, "non-negative"), (math.nan, "finite"), (0.0, "2 were given")])
def test_useless_weights_are_refused(weight: float, said: str) -> None:
    weights = torch.full((9,), weight, dtype=torch.float64)
    weights[:2] = 1
    with pytest.raises(InputError, match=said):
        umeyama(SPREAD, SPREAD, weights)


MODES: list[ScaleMode] = ["median", "median_all", "trimmed_mean", "trimmed_mean_all"]


@LAW
@given(seeds(), st.floats(0.002, 500), st.sampled_from(MODES))
def test_depth_scale_of_scaled_depths(seed: int, scale: float, mode: ScaleMode) -> None:
    depth = normal(3, 6, 8, seed=seed).exp()
    assert float(depth_scale(scale * depth, depth, mode=mode)) == pytest.approx(scale)
    assert float(depth_scale(depth, scale * depth, mode=mode)) == pytest.approx(1 / scale)


@pytest.mark.parametrize("mode", MODES)
def test_depth_scale_bears_a_fifth_of_nonsense_and_leaves_the_void_out(mode: ScaleMode) -> None:
    current = normal(2, 10, 10, seed=0).exp()
    previous = 3 * current
    previous[:, :2] *= 1000
    current[:, 3, 0], current[:, 3, 1], previous[:, 3, 2], previous[:, 3, 3] = math.nan, 0, -1, math.inf
    assert float(depth_scale(previous, current, mode=mode)) == pytest.approx(3)


def test_only_the_first_frame_counts_unless_all_do() -> None:
    current = torch.ones(3, 2, 2)
    previous = torch.tensor([2.0, 5.0, 5.0])[:, None, None].expand(3, 2, 2)
    assert [float(depth_scale(previous, current, mode=mode)) for mode in MODES] == [2, 5, 2, 4.5]


def test_the_median_of_an_even_number_is_the_lower_middle_one() -> None:
    ratios = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    assert float(depth_scale(ratios, torch.ones(1, 2, 2))) == 2
    assert float(depth_scale(ratios, torch.ones(1, 2, 2), mode="trimmed_mean")) == 2.5


def test_depth_scale_is_clamped() -> None:
    ones = torch.ones(1, 2, 2, dtype=torch.float64)
    assert float(depth_scale(1e6 * ones, ones)) == 1e3
    assert float(depth_scale(ones, 1e6 * ones)) == 1e-3


def test_depth_scale_refuses_what_it_cannot_tie() -> None:
    ones = torch.ones(1, 2, 2)
    with pytest.raises(InputError, match="no pixel"):
        depth_scale(ones, ones * math.nan)
    with pytest.raises(InputError, match="no pixel"):
        depth_scale(ones[:0], ones[:0])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_and_device_stay(dtype: torch.dtype, device: str) -> None:
    source, target = (normal(6, 3, seed=seed, dtype=dtype).to(device) for seed in (0, 1))
    depth = torch.ones(1, 2, 2, dtype=dtype, device=device)
    with torch.autocast(device, dtype=torch.bfloat16):
        tensors = [umeyama(source, target).matrix(), umeyama(source, target, source[:, 0].abs()).scale]
        tensors += [depth_scale(2 * depth, depth, mode=mode) for mode in MODES]
    for tensor in tensors:
        assert tensor.dtype == dtype
        assert tensor.device.type == device
