"""The motion between two cameras from matches and depth: Gauss–Newton on SE(3) with uncertain depth.

Depth is a guess, so every match has a correction e of its log depth, with the prior N(0, σ_d²), and motion and
corrections are found together; bundle adjustment of two views, with the first camera and the lens given. A step
eliminates the corrections (Schur complement): linearised at e, the residual r − g e has the covariance
Σ = σ_f² I + σ_d² g gᵀ with g = ∂u/∂log z. So far points and the direction across the epipolar line decide the rotation,
and parallax decides the translation. Without the corrections, noise of depth shrinks the translation, as noise of a
regressor shrinks every slope, and turns the camera instead. Motions are changed by exp(ξ) on the left, ξ = (ρ, φ) as in
`SE3.exp`.

Legend: P pair, N match.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cache

import torch

from openloger.geometry import SE3
from openloger.shapes import Bool, Float, Tensor

_log = logging.getLogger("openloger")
LEAST_DEPTH = 1e-3  # in the unit of depth: what is nearer to the target, or behind it, is not seen
LARGEST_CORRECTION = 4.0  # of log depth, in its σ
DAMPING = 1e-6  # of a normal matrix with a unit diagonal


@dataclass(frozen=True)
class Noise:
    """The noise of flow and depth, and the cutoff beyond which matches do not count."""

    flow_sigma_px: float = 0.25
    depth_sigma: float = 0.1  # of log depth
    cutoff: float = 3.0  # σ: a match so far off has a quarter of its weight
    gate: float = 10.0  # σ: a match so far off the robust start has none


@dataclass(frozen=True, eq=False)
class Matches:
    """Points of a source camera and the pixels of a target that saw them."""

    point: Float[Tensor, "pair 3 match"]  # source camera frame, in the unit of depth
    pixel: Float[Tensor, "pair 2 match"]  # (x, y) in target
    weight: Float[Tensor, "pair match"]  # 0 to 1; 0: not usable
    focal_px: Float[Tensor, "pair 2"]  # of the target
    principal_px: Float[Tensor, "pair 2"]

    def reweighted(self, factor: Float[Tensor, "pair match"]) -> Matches:
        return replace(self, weight=self.weight * factor)


@dataclass(frozen=True, eq=False)
class Linearised:
    """Whitened residuals (projected − matched) and derivatives; x, then y in one axis."""

    rows: Float[Tensor, "pair 8 twice"]  # r − g e in σ, its six derivatives by ξ, and g, the one by log depth
    seen: Float[Tensor, "pair match"]  # 1 in front of the target camera, else 0

    @property
    def square(self) -> Float[Tensor, "pair match"]:
        """Squared Mahalanobis distance with the best depth."""
        x, y = self.rows[:, 0].chunk(2, -1)
        return x * x + y * y


@dataclass(frozen=True, eq=False)
class Projected:
    """Where points are seen after a motion, and what that depends on; (x, y) in pixels."""

    residual: tuple[Tensor, Tensor]  # (P, N) each
    by_depth: tuple[Tensor, Tensor]  # ∂u/∂log z of the source's depth
    normal: tuple[Tensor, Tensor]  # x / z and y / z
    inverse: Float[Tensor, "pair match"]  # 1 / z
    seen: Float[Tensor, "pair match"]


def project_matches(target_from_source: SE3, matches: Matches, log_depth: Float[Tensor, "pair match"]) -> Projected:
    """Residuals in pixels and their derivatives by log depth, with depth times exp(log_depth)."""
    R, (px, py, pz) = target_from_source.rotation[..., None], (matches.point * log_depth.exp()[:, None]).unbind(1)
    turned_x, turned_y, turned_z = (R[:, i, 0] * px + R[:, i, 1] * py + R[:, i, 2] * pz for i in range(3))
    tx, ty, tz = target_from_source.translation[..., None].unbind(1)
    fx, fy = matches.focal_px[..., None].unbind(1)
    cx, cy = matches.principal_px[..., None].unbind(1)
    seen = turned_z + tz > LEAST_DEPTH
    inverse = 1 / torch.where(seen, turned_z + tz, 1.0)
    x, y = (turned_x + tx) * inverse, (turned_y + ty) * inverse
    return Projected(
        residual=(fx * x + cx - matches.pixel[:, 0], fy * y + cy - matches.pixel[:, 1]),
        by_depth=(fx * inverse * (turned_x - x * turned_z), fy * inverse * (turned_y - y * turned_z)),
        normal=(x, y),
        inverse=inverse,
        seen=seen.to(x.dtype),
    )


def linearise(
    target_from_source: SE3, matches: Matches, noise: Noise, log_depth: Float[Tensor, "pair match"] | None = None
) -> Linearised:
    """Whitened by Σ^(−1/2) = (I − β ĝ ĝᵀ) / σ_f with β = 1 − (1 + σ_d² |g|² / σ_f²)^(−1/2)."""
    log_depth = torch.zeros_like(matches.weight) if log_depth is None else log_depth
    projected = project_matches(target_from_source, matches, log_depth)
    across, down = _rows(projected, matches, log_depth)
    gx, gy = across[:, 7:], down[:, 7:]
    ratio = (noise.depth_sigma / noise.flow_sigma_px) ** 2
    root = (1 + ratio * (gx * gx + gy * gy)).sqrt()
    along = (gx * across + gy * down) * (ratio / (root * (1 + root)))  # β / |g|² is finite at g = 0
    rows = torch.cat([across - gx * along, down - gy * along], -1) / noise.flow_sigma_px
    return Linearised(rows, projected.seen)


def _rows(projected: Projected, matches: Matches, log_depth: Tensor) -> tuple[Tensor, Tensor]:
    """r − g e; f/z [1 0 −x/z; 0 1 −y/z] [I, −[X]×]; g: (P, 8, N) for x and for y."""
    (x, y), inverse = projected.normal, projected.inverse
    zero, xy = torch.zeros_like(x), x * y
    fx, fy = matches.focal_px[..., None, None].unbind(1)
    across = fx * torch.stack([inverse, zero, -x * inverse, -xy, 1 + x * x, -y], 1)
    down = fy * torch.stack([zero, inverse, -y * inverse, -1 - y * y, xy, x], 1)
    first = (r - g * log_depth for r, g in zip(projected.residual, projected.by_depth, strict=True))
    parts = zip(first, (across, down), projected.by_depth, strict=True)
    across, down = (torch.cat([r[:, None], by_motion, g[:, None]], 1) for r, by_motion, g in parts)
    return across, down


def robust_weight(linearised: Linearised, matches: Matches, cutoff: float) -> Float[Tensor, "pair match"]:
    """Geman–McClure's weight of each match times its own; smooth, so that gradients pass."""
    return matches.weight * linearised.seen / (1 + linearised.square / cutoff**2).square()


def normal_equations(
    linearised: Linearised, weight: Float[Tensor, "pair match"]
) -> tuple[Float[Tensor, "pair 6 6"], Float[Tensor, "pair 6"]]:
    """Jᵀ W J and Jᵀ W r."""
    weighted = linearised.rows * torch.cat([weight, weight], -1)[:, None]
    products = torch.bmm(weighted[:, :7], linearised.rows[:, 1:7].mT)
    return products[:, 1:], products[:, 0]


def depth_correction(
    linearised: Linearised, step: Float[Tensor, "pair 6"], noise: Noise
) -> Float[Tensor, "pair match"]:
    """The best e after the motion took `step`: −σ_d² gᵀ Σ⁻¹ (r − g e + J ξ), of at most LARGEST_CORRECTION σ_d."""
    residual = linearised.rows[:, 0] + (step[:, None] @ linearised.rows[:, 1:7])[:, 0]
    x, y = (residual * linearised.rows[:, 7]).chunk(2, -1)
    most = LARGEST_CORRECTION * noise.depth_sigma
    return (-(noise.depth_sigma**2) * (x + y)).clamp(-most, most)


def solve_step(
    information: Float[Tensor, "*axes n n"], gradient: Float[Tensor, "*axes n"], *, damping: float = DAMPING
) -> Float[Tensor, "*axes n"]:
    """−(A + λ diag A)⁻¹ b; scaled to a unit diagonal first, as lengths and angles are of unlike size.

    Zero where a matrix is not positive definite: a step that nothing supports is not taken, and a warning logged once.
    """
    scale = information.diagonal(dim1=-2, dim2=-1).clamp_min(1e-12).rsqrt()
    eye = torch.eye(information.shape[-1], dtype=scale.dtype, device=scale.device)
    factor, failed = factorised(information * scale[..., :, None] * scale[..., None, :] + damping * eye)
    step = -torch.cholesky_solve((gradient * scale)[..., None], factor)[..., 0] * scale
    return torch.where(failed[..., None], 0.0, step)


def factorised(
    matrix: Float[Tensor, "*axes n n"], *, needed: bool = True
) -> tuple[Float[Tensor, "*axes n n"], Bool[Tensor, "*axes"]]:
    """Cholesky factors, and where there is none: that of the identity then, without a gradient, and a warning logged
    once where it is `needed`.

    A matrix that fails is factorised again in float64 on the CPU: float32 may round its least eigenvalue below zero,
    and some libraries err in float32 on processors that are emulated.
    """
    factor, info = torch.linalg.cholesky_ex(matrix)
    failed = info > 0
    if not bool(failed.any()):
        return factor, failed
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    factor, _ = torch.linalg.cholesky_ex(torch.where(failed[..., None, None], eye, matrix))
    double = matrix[failed].cpu().double()
    without = torch.linalg.cholesky_ex(double.detach()).info > 0
    again = torch.linalg.cholesky_ex(torch.where(without[:, None, None], eye.cpu().double(), double)).L
    if needed and bool(without.any()):
        warn_of_steps()
    return (
        factor.index_put((failed,), again.to(factor)),
        failed.index_put((failed,), without.to(failed.device)),
    )


@cache
def warn_of_steps() -> None:
    """Once a process: what fails in one window fails in the next."""
    _log.warning(
        "equations of the geometric camera have no solution (damaged weights or pictures, or float32 that this machine "
        "computes wrongly), so cameras there are the network's guess: do not measure in this reconstruction"
    )


def refine_motion(start: SE3, matches: Matches, noise: Noise, *, steps: int) -> tuple[SE3, Float[Tensor, "pair match"]]:
    """The motion and the corrections of log depth after reweighted Gauss–Newton steps; differentiable in everything."""
    motion, log_depth = start, torch.zeros_like(matches.weight)
    for _ in range(steps):
        linearised = linearise(motion, matches, noise, log_depth)
        step = solve_step(*normal_equations(linearised, robust_weight(linearised, matches, noise.cutoff)))
        log_depth = depth_correction(linearised, step, noise)
        motion = SE3.exp(step) @ motion
    return motion, log_depth
