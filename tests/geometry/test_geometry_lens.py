"""The camera that a video's frames share, from what each frame's fit leaves behind."""

from __future__ import annotations

import pytest
import torch
from geometry_values import normal
from torch.testing import assert_close

from openloger.geometry import fit_intrinsics, fit_lens, intrinsics_matrix, unproject

SIZE, ASPECT = (48, 64), 1.25
LENS = intrinsics_matrix(torch.tensor([60.0, 48.0]).double(), torch.tensor([33.0, 22.0]).double())


def frames(count: int = 40) -> torch.Tensor:
    depth = normal(count, *SIZE, seed=0).exp() + 0.4
    return unproject(depth, LENS)


def lens_of(points: torch.Tensor, weight: torch.Tensor | None = None):
    fit = fit_intrinsics(points, weight, pixel_aspect=ASPECT)
    assert fit.statistics is not None
    return fit_lens(fit.statistics, size=SIZE, pixel_aspect=ASPECT)


def noisy(points: torch.Tensor) -> torch.Tensor:
    return points + 0.02 * points[..., 2:] * normal(*points.shape, seed=1)


def test_exact_points_give_the_lens() -> None:
    found = lens_of(frames())
    assert found is not None
    assert_close(found.intrinsics, LENS, rtol=1e-8, atol=1e-8)
    assert found.residual_px < 1e-5


def test_it_is_what_a_fit_of_all_pixels_at_once_gives() -> None:
    points = noisy(frames())
    found, pooled = lens_of(points), fit_intrinsics(points, pixel_aspect=ASPECT, shared=True).intrinsics[0]
    assert found is not None
    assert_close(found.intrinsics, pooled, rtol=2e-3, atol=0.05)
    assert found.intrinsics[0, 0].item() == pytest.approx(ASPECT * found.intrinsics[1, 1].item())


def test_frames_with_another_camera_have_no_influence() -> None:
    """As many as three in ten, all wrong in the same way; their own residual tells of them."""
    points = frames()
    points[:12] = unproject(points[:12, ..., 2], torch.diag(torch.tensor([1.6, 1.6, 1.0]).double()) @ LENS)
    found = lens_of(noisy(points))
    assert found is not None
    assert_close(found.intrinsics, LENS, rtol=5e-3, atol=0.1)
    assert float(found.frame_residual_px[:12].min()) > 3 * found.residual_px
    assert float(found.frame_residual_px[12:].max()) < 2 * found.residual_px


def test_frames_without_points_do_not_count() -> None:
    points, blind = frames(), torch.ones(40, *SIZE).double()
    blind[3:5] = 0
    found = lens_of(points, blind)
    assert found is not None
    assert found.frame_residual_px.isinf().nonzero().flatten().tolist() == [3, 4]
    assert_close(found.intrinsics, LENS, rtol=1e-8, atol=1e-8)
    assert lens_of(points, 0 * blind) is None
