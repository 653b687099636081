"""One motion of a rig from its views: the true one, whatever worlds, scales and errors they have."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from openloger.geometry import centred_intrinsics, rotation_angle, rotation_from_axis_angle, unproject
from openloger.geometry.rig import RigMotion, SeamPixels, Seams, ViewScales, rig_motion
from openloger.geometry.views import CameraRig

VIEWS, INSTANTS = 4, 10
RIG = CameraRig.ring(VIEWS).rig_from_view
NO_SEAMS = Seams(torch.zeros(0, 2).long(), torch.zeros(0).double(), torch.zeros(0).double())
LOG_SCALES = torch.tensor([0.2, -0.3, 0.0, 0.1]).double()  # their sum is 0: the common scale is the first one


class Motion:
    """A rig that turns and goes, and its views' cameras in worlds of their own."""

    def __init__(self, seed: int, *, speed: float = 0.3) -> None:
        self._random = torch.Generator().manual_seed(seed)
        self.rotation = rotation_from_axis_angle(self.normal(INSTANTS, 3).mul(0.05).cumsum(0))
        ahead = torch.tensor([0.0, 0.0, speed], dtype=torch.float64)
        self.centre = (speed * 0.2 * self.normal(INSTANTS, 3) + ahead).cumsum(0)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._random, dtype=torch.float64)

    def of_views(
        self, log_scales: Tensor, *, turn: Tensor | float = 0.0, shift: Tensor | float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """World from camera of each view; standard deviations of their errors, of all or of each."""
        turns, shifts = (torch.as_tensor(value).double().expand(VIEWS)[:, None, None] for value in (turn, shift))
        worlds = rotation_from_axis_angle(self.normal(VIEWS, 3))[:, None]
        wrong = rotation_from_axis_angle(turns * self.normal(VIEWS, INSTANTS, 3))
        rotation = worlds @ self.rotation @ wrong @ RIG[:, None]
        centre = self.centre + shifts * self.normal(VIEWS, INSTANTS, 3)
        moved = (worlds @ centre[..., None])[..., 0] / log_scales.exp()[:, None, None]
        return rotation, moved + self.normal(VIEWS, 1, 3)

    def turn_error(self, found: RigMotion) -> float:
        return float(rotation_angle((self.rotation[0].mT @ self.rotation).mT @ found.rotation).max())

    def path_error(self, found: RigMotion) -> float:
        """RMS, as a share of the path's length, after one scale."""
        path = (self.centre - self.centre[0]) @ self.rotation[0]
        scale = (path * found.centre).sum() / found.centre.square().sum()
        return float((scale * found.centre - path).square().sum(-1).mean().sqrt() / path.diff(dim=0).norm(dim=-1).sum())


def join(cameras: tuple[Tensor, Tensor], *, seams: Seams = NO_SEAMS, before: ViewScales | None = None) -> RigMotion:
    return rig_motion(*cameras, RIG, seams=seams, before=before or ViewScales.unknown(VIEWS))


@pytest.mark.parametrize("seed", range(5))
def test_views_without_errors_give_the_true_motion_and_their_scales(seed: int) -> None:
    motion = Motion(seed)
    found = join(motion.of_views(LOG_SCALES))
    assert motion.turn_error(found) < 1e-9
    assert motion.path_error(found) < 1e-9
    log_scales = found.scale.log()
    assert log_scales - log_scales[0] == pytest.approx(LOG_SCALES - LOG_SCALES[0], abs=0.003)
    assert float(log_scales.mean()) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_views_with_errors_are_better_together_than_alone(seed: int) -> None:
    motion = Motion(seed)
    rotation, centre = motion.of_views(LOG_SCALES, turn=0.01, shift=0.05)
    together = join((rotation, centre))
    alone = [
        rig_motion(
            rotation[v : v + 1].expand(2, -1, -1, -1),
            centre[v : v + 1].expand(2, -1, -1),
            RIG[[v, v]],
            seams=NO_SEAMS,
            before=ViewScales.unknown(2),
        )
        for v in range(VIEWS)
    ]
    assert motion.path_error(together) < sum(map(motion.path_error, alone)) / VIEWS
    assert together.scale.log() == pytest.approx(LOG_SCALES, abs=0.1)


@pytest.mark.parametrize("instants", [1, 3])
def test_a_rig_that_stands_still_has_scales_as_before_and_no_motion(instants: int) -> None:
    still = rotation_from_axis_angle(torch.zeros(3).double()) @ RIG[:, None].expand(-1, instants, -1, -1)
    found = join((still, torch.zeros(VIEWS, instants, 3).double()))
    assert (found.rotation - torch.eye(3)).abs().max() < 1e-9
    assert (found.centre == 0).all()
    assert found.scale == pytest.approx(torch.ones(VIEWS).double())
    assert found.weight == pytest.approx(torch.full((VIEWS,), 1 / VIEWS).double())


@pytest.mark.parametrize("bad", range(VIEWS))
def test_one_bad_view_of_four_does_not_move_the_result(bad: int) -> None:
    motion = Motion(bad)
    is_bad = torch.arange(VIEWS) == bad
    rotation, centre = motion.of_views(LOG_SCALES, turn=0.6 * is_bad, shift=2.0 * is_bad)
    found = join((rotation, centre))
    assert motion.turn_error(found) < 1e-6
    assert motion.path_error(found) < 1e-4
    assert float(found.weight[bad]) < 1e-4


def test_a_view_of_another_scale_does_not_move_the_others() -> None:
    """After windows in which all scales were steady, one view's jumps."""
    before = ViewScales(torch.zeros(VIEWS).double(), torch.full((VIEWS,), 0.03**-2).double())
    wrong = torch.tensor([0.0, 0.0, math.log(2.0), 0.0]).double()
    found = join(Motion(0).of_views(wrong, shift=0.003), before=before)
    assert found.scale.log() == pytest.approx(wrong, abs=0.05)


def test_scales_stay_while_nothing_moves() -> None:
    before = ViewScales(LOG_SCALES, torch.full((VIEWS,), 400.0).double())
    motion = Motion(0, speed=0.0)
    found = join(motion.of_views(torch.zeros(VIEWS).double(), turn=0.01, shift=1e-3), before=before)
    assert found.scale.log() == pytest.approx(LOG_SCALES, abs=0.02)
    assert float(found.centre.norm(dim=-1).max()) < 4e-3


def test_what_is_known_of_scales_fades_from_window_to_window() -> None:
    known = join(Motion(0).of_views(LOG_SCALES)).known
    later = join(Motion(1, speed=0.0).of_views(LOG_SCALES), before=known).known
    assert bool((later.information < known.information).all())


def box_depth(rig_from_view: Tensor, intrinsics: Tensor, size: tuple[int, int]) -> Tensor:
    """Depth of the walls of a room of 4 × 3 × 6 around the rig, in each view."""
    rays = unproject(torch.ones(size, dtype=torch.float64), intrinsics)
    in_rig = torch.einsum("vij,hwj->vhwi", rig_from_view, rays)
    return (torch.tensor([2.0, 1.5, 3.0]).double() / in_rig.abs()).min(-1).values


def test_seams_find_the_scales_of_views_that_stand_still() -> None:
    size, rig = (24, 32), CameraRig.ring(5).rig_from_view
    intrinsics = centred_intrinsics(torch.tensor(16.0).double(), size=size)  # 90° across
    log_scales = torch.tensor([0.25, -0.1, -0.2, 0.05, 0.0]).double()
    depth = box_depth(rig, intrinsics, size) / log_scales.exp()[:, None, None]
    pixels = SeamPixels.of(rig, intrinsics, size)
    assert pixels.pairs.tolist() == [[0, 1], [0, 4], [1, 2], [2, 3], [3, 4]]
    seams = pixels.compare(depth[:, None].float(), torch.ones(5, 1, *size))
    assert seams.log_ratio == pytest.approx(log_scales[seams.pairs[:, 0]] - log_scales[seams.pairs[:, 1]], abs=0.03)
    rotation, centre = torch.eye(3).double() @ rig[:, None], torch.zeros(5, 1, 3).double()
    found = rig_motion(rotation, centre, rig, seams=seams, before=ViewScales.unknown(5))
    assert found.scale.log() == pytest.approx(log_scales, abs=0.05)


def test_hidden_pixels_are_no_part_of_a_seam() -> None:
    size, rig = (24, 32), CameraRig.ring(5).rig_from_view
    pixels = SeamPixels.of(rig, centred_intrinsics(torch.tensor(16.0).double(), size=size), size)
    weight = torch.ones(5, 1, *size)
    weight[0] = 0.0
    assert pixels.compare(torch.ones(5, 1, *size), weight).pairs.tolist() == [[1, 2], [2, 3], [3, 4]]
