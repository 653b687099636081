"""One motion of a rig from what each of its views predicts by itself.

A rig's views share their centre, and the rotations R_v (rig from view) between them are known. Each view has cameras
(Q_v(t), c_v(t)) in a world of its own, of unknown rotation A_v, scale s_v and origin, with errors of its own. Sought
are the rig's rotations R(t) and centres c(t) with

    R(t) ≈ A_v Q_v(t) R_vᵀ        c(t) − c̄ ≈ s_v A_v (c_v(t) − c̄_v)

by iteratively reweighted means over the views. A view's weight falls with its distance from the mean of the others, in
units of the median view's (Geman and McClure 1985), so that a view without anything to go by, as of the sky or of a
blank wall, has next to no part in it. The mean begins at the view of which half of the others are nearest.

Scales are found together, in logarithms, from three things: how far the views' paths go, where the motion decides it;
their distances to the surfaces that two of them see (`Seams`); and their scales before (`ViewScales`), which fix the
common scale and decide where nothing moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from openloger.geometry.cameras import project, unproject, weighted_median
from openloger.geometry.rotations import matrix_product, nearest_rotation, rotate, rotation_angle
from openloger.shapes import Float, Float64, Int, Tensor

SIGMA_FIRST = 0.3  # of log scales of the same network, before anything is known of a view
SIGMA_WINDOW = 0.03  # of log scale, from a window to the next
SIGMA_PATH = 0.02  # of log scale by a path, at best
SIGMA_SEAM = 0.05  # of log scale by a seam, at best
LEAST_SEAM = 20  # pixels in all frames, for a seam to count
_STEPS = 24
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class ViewScales:
    """What is known of the views' scales: logarithms and their information (1 / variance)."""

    log: Float64[Tensor, " view"]
    information: Float64[Tensor, " view"]

    @staticmethod
    def unknown(views: int) -> ViewScales:
        """Before the first window."""
        return ViewScales(torch.zeros(views).double(), torch.full((views,), SIGMA_FIRST**-2).double())


@dataclass(frozen=True, eq=False)
class Seams:
    """Of pairs of views that see the same surfaces: the log ratio of the second's distances to the first's."""

    pairs: Int[Tensor, "seam 2"]
    log_ratio: Float64[Tensor, " seam"]
    information: Float64[Tensor, " seam"]


@dataclass(frozen=True, eq=False)
class RigMotion:
    """A rig's motion in a window, and what the views have to do with it."""

    rotation: Float64[Tensor, "instant 3 3"]  # window from rig; the first is the identity
    centre: Float64[Tensor, "instant 3"]  # in the window, in units of the first scales; the first is 0
    weight: Float64[Tensor, " view"]  # of each view's path in it; they sum to 1
    scale: Float64[Tensor, " view"]  # the window's units per unit of the view's
    turn: Float64[Tensor, "view 3 3"]  # window from the view's world
    known: ViewScales  # for the next window


def rig_motion(
    rotation: Float64[Tensor, "view instant 3 3"],
    centre: Float64[Tensor, "view instant 3"],
    rig_from_view: Float64[Tensor, "view 3 3"],
    *,
    seams: Seams,
    before: ViewScales,
) -> RigMotion:
    """The motion that the views' cameras (the view's world from camera) agree on."""
    of_rig = matrix_product(rotation, rig_from_view.mT[:, None])
    window_from_rig, turn = _mean_rotations(of_rig)
    path = rotate(turn[:, None], centre - centre.mean(1, keepdim=True))
    log, weight, information = _scales(path, seams, before)
    joined = _mean(path * log.exp()[:, None, None], weight)
    return RigMotion(
        rotation=window_from_rig,
        centre=joined - joined[0],
        weight=weight / weight.sum(),
        scale=log.exp(),
        turn=turn,
        known=ViewScales(log, 1 / (1 / information + SIGMA_WINDOW**2)),
    )


def _mean_rotations(found: Tensor) -> tuple[Tensor, Tensor]:
    """R(t), beginning with the identity, and A_v."""
    relative = matrix_product(found[:, :1].mT, found)
    apart = rotation_angle(matrix_product(relative[:, None].mT, relative[None])).mean(-1)
    mean = relative[_middle(apart)]
    turn = found[:, 0].mT
    for _ in range(_STEPS):
        turn = nearest_rotation(matrix_product(mean, found.mT).sum(1))
        turned = matrix_product(turn[:, None], found)
        missed = rotation_angle(matrix_product(mean.mT, turned)).square().mean(1)
        mean = nearest_rotation((_weight(missed)[:, None, None, None] * turned).sum(0))
    first = mean[0].mT
    return matrix_product(first, mean), matrix_product(first, turn)


def _scales(path: Tensor, seams: Seams, before: ViewScales) -> tuple[Tensor, Tensor, Tensor]:
    """Log scales, weights of the paths, and information about the scales."""
    log = before.log
    scaled = path * log.exp()[:, None, None]
    weight = torch.zeros_like(log)
    weight[_middle(_angles(path))] = 1.0
    others = _mean(scaled, weight)[None].expand_as(path)
    information = before.information
    for _ in range(_STEPS):
        length2, along = others.square().sum((1, 2)), (others * path).sum((1, 2))
        ratio = torch.where(along > 0, length2 / along.clamp_min(_TINY), 1.0)
        noise = (path * ratio[:, None, None] - others).square().mean((1, 2)) + SIGMA_PATH**2 * length2
        of_path = torch.where(along > 0, length2 / noise.clamp_min(_TINY), 0.0)
        log, information = _solved(ratio.clamp_min(_TINY).log(), of_path, seams, before, log)
        scaled = path * log.exp()[:, None, None]
        missed = (scaled - others).square().mean((1, 2))
        weight = _weight(missed, least=_TINY * float(others.square().mean()))
        rest = weight.sum() - weight
        others = ((weight[:, None, None] * scaled).sum(0) - weight[:, None, None] * scaled) / rest[:, None, None]
    return log, weight, information


def _solved(
    of_path: Tensor, path_information: Tensor, seams: Seams, before: ViewScales, log: Tensor
) -> tuple[Tensor, Tensor]:
    """Log scales, and the information about each: of paths up to a common factor, of seams, and from before."""
    first, second = seams.pairs.T
    kept = _kept((log - before.log).square() * before.information) * before.information
    between = _kept((log[first] - log[second] - seams.log_ratio).square() * seams.information) * seams.information
    matrix = kept.diag() + path_information.diag()
    matrix -= path_information[:, None] * path_information / path_information.sum().clamp_min(_TINY)
    common = (path_information * of_path).sum() / path_information.sum().clamp_min(_TINY)
    right = kept * before.log + path_information * (of_path - common)
    matrix = matrix.index_put((first, first), between, accumulate=True)
    matrix = matrix.index_put((second, second), between, accumulate=True)
    matrix = matrix.index_put((first, second), -between, accumulate=True)
    matrix = matrix.index_put((second, first), -between, accumulate=True)
    right = right.index_add(0, first, between * seams.log_ratio).index_add(0, second, -between * seams.log_ratio)
    return torch.linalg.solve(matrix, right), matrix.diagonal().clone()


def _angles(path: Tensor) -> Tensor:
    """Between whole paths, as vectors; (view, view). A right angle where one does not move."""
    flat = path.flatten(1)
    unit = flat / flat.norm(dim=1, keepdim=True).clamp_min(_TINY)
    return (unit @ unit.T).clamp(-1, 1).acos()


def _middle(apart: Tensor) -> int:
    """The view of which half of the others are nearest."""
    others = apart.masked_fill(torch.eye(len(apart), dtype=torch.bool), torch.inf).sort(dim=1).values[:, :-1]
    return int(others[:, (len(apart) - 1) // 2].argmin()) if len(apart) > 2 else 0


def _weight(missed: Tensor, *, least: float = _TINY) -> Tensor:
    """Of views by their mean squared distances."""
    return (1 + missed / missed.median().clamp_min(max(least, torch.finfo(missed.dtype).tiny))) ** -2


def _kept(squares: Tensor) -> Tensor:
    """The weight of residuals by their squares in units of the variance: a ninth past √18 standard deviations."""
    return (1 + squares / 9) ** -2


def _mean(scaled: Tensor, weight: Tensor) -> Tensor:
    return (weight[:, None, None] * scaled).sum(0) / weight.sum()


@dataclass(frozen=True, eq=False)
class SeamPixels:
    """The pixels of each two views that look along the same rays."""

    pairs: Int[Tensor, "seam 2"]
    first: tuple[Int[Tensor, " pixel"], ...]  # of each pair, in the flattened picture
    second: tuple[Int[Tensor, " pixel"], ...]
    stretch: Float[Tensor, "height width"]  # distance from the centre by depth

    @staticmethod
    def of(
        rig_from_view: Float64[Tensor, "view 3 3"], intrinsics: Float64[Tensor, "3 3"], size: tuple[int, int]
    ) -> SeamPixels:
        """Of views of (height, width) through one camera matrix; those that have less than a few are left out."""
        height, width = size
        of_pixel = unproject(torch.ones(size, dtype=torch.float64), intrinsics)
        rays = of_pixel.flatten(0, 1)
        number = torch.arange(height * width)
        pairs, first, second = [], [], []
        for one in range(len(rig_from_view)):
            for other in range(one + 1, len(rig_from_view)):
                seen = rays @ (rig_from_view[other].mT @ rig_from_view[one]).mT
                x, y = project(seen, intrinsics).floor().unbind(-1)
                inside = (seen[:, 2] > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
                if int(inside.sum()) >= LEAST_SEAM:
                    pairs.append([one, other])
                    first.append(number[inside])
                    second.append((y * width + x)[inside].long())
        seams = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
        return SeamPixels(seams, tuple(first), tuple(second), of_pixel.norm(dim=-1).float())

    def compare(
        self,
        depth: Float[Tensor, "view instant height width"],
        weight: Float[Tensor, "view instant height width"],
    ) -> Seams:
        """By the weighted median over all pixels and instants; pixels without depth or weight have no say."""
        kept, ratios, information = [], [], []
        distance, weight = (depth * self.stretch).flatten(2), weight.flatten(2)
        for (one, other), first, second in zip(self.pairs.tolist(), self.first, self.second, strict=True):
            near, far = distance[one][:, first], distance[other][:, second]
            share = weight[one][:, first] * weight[other][:, second]
            used = (share > 0) & (near > 0) & (far > 0)
            if int(used.sum()) < LEAST_SEAM:
                continue
            ratio, share = (far[used] / near[used]).log().double(), share[used].double()
            middle = weighted_median(ratio, share)
            spread = float(weighted_median((ratio - middle).abs(), share))
            kept.append([one, other])
            ratios.append(float(middle))
            information.append(1 / (SIGMA_SEAM**2 + spread**2))
        return Seams(
            torch.tensor(kept, dtype=torch.int64).reshape(-1, 2),
            torch.tensor(ratios, dtype=torch.float64),
            torch.tensor(information, dtype=torch.float64),
        )
