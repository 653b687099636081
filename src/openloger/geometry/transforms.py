"""Rigid motions and similarities as frozen values, batched over leading axes.

Name them `a_from_b`: `world_from_cam.apply(points_cam)` gives world points, and
`world_from_cam @ cam_from_x` is `world_from_x`.

One rule for `apply`: the transform's batch axes lead the points' axes, and whatever axes follow are points that share
a transform. So a batch of `frame` transforms moves "frame 3", "frame point 3" and "frame height width 3", and a
single transform moves anything that ends in 3. `@` broadcasts batches as torch does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import torch

from openloger.errors import InputError
from openloger.geometry.rotations import (
    axis_angle_from_rotation,
    matrix_product,
    rotate,
    rotation_from_axis_angle,
)
from openloger.shapes import Float, Tensor

_NODES = 24  # of the quadrature in `Sim3.exp`
_TERMS = 27  # of the series in `Sim3.inverse_right_jacobian`, each a quarter of the one before at an angle of π
_LOG_ROUNDING = -36.7  # the logarithm of where it may end before that


@dataclass(frozen=True, eq=False)
class SE3:
    """x ↦ R x + t."""

    rotation: Float[Tensor, "*batch 3 3"]
    translation: Float[Tensor, "*batch 3"]  # in the units of the frame mapped to

    @staticmethod
    def identity(*batch: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> SE3:
        """The motion that moves nothing, `batch` times; dtype and device as in `torch.eye`."""
        rotation = torch.eye(3, dtype=dtype, device=device)
        return SE3(rotation.expand(*batch, 3, 3), rotation.new_zeros(*batch, 3))

    @staticmethod
    def from_matrix(matrix: Float[Tensor, "*batch 4 4"]) -> SE3:
        """Of a homogeneous matrix, whose rotation is taken as it is."""
        return SE3(matrix[..., :3, :3], matrix[..., :3, 3])

    @staticmethod
    def exp(twist: Float[Tensor, "*batch 6"]) -> SE3:
        """The motion of a twist (ρ, φ): rotation by the axis-angle vector φ, translation V(φ) ρ; smooth at 0.

        V is the left Jacobian of SO(3) (Barfoot, "State Estimation for Robotics", 2017, eq. 7.85); ρ has the unit of
        the translation. exp(ξ) @ T moves T by ξ in the frame mapped to.
        """
        rho, phi = twist[..., :3], twist[..., 3:]
        angle2, small = _angle2(phi)
        angle = angle2.sqrt()
        once = torch.where(small, 0.5 - _square(phi) / 24, (1 - angle.cos()) / angle2)
        twice = torch.where(small, 1 / 6 - _square(phi) / 120, (angle - angle.sin()) / (angle2 * angle))
        across = torch.linalg.cross(phi, rho)
        translation = rho + once * across + twice * torch.linalg.cross(phi, across)
        return SE3(rotation_from_axis_angle(phi), translation)

    def log(self) -> Float[Tensor, "*batch 6"]:
        """The twist (ρ, φ) with an angle of at most π; inverse of `exp`."""
        phi, t = axis_angle_from_rotation(self.rotation), self.translation
        angle2, small = _angle2(phi)
        half = angle2.sqrt() / 2
        twice = torch.where(small, 1 / 12 + _square(phi) / 720, (1 - half * half.cos() / half.sin()) / angle2)
        across = torch.linalg.cross(phi, t)
        return torch.cat([t - 0.5 * across + twice * torch.linalg.cross(phi, across), phi], -1)

    def adjoint(self) -> Float[Tensor, "*batch 6 6"]:
        """Ad with T exp(ξ) = exp(Ad ξ) T: what a twist (ρ, φ) in the frame mapped from is in the frame mapped to."""
        R = self.rotation
        moved = torch.linalg.cross(self.translation[..., None].expand_as(R), R, dim=-2)  # [t]× R
        return torch.cat([torch.cat([R, moved], -1), torch.cat([torch.zeros_like(R), R], -1)], -2)

    @property
    def batch_shape(self) -> torch.Size:
        return self.translation.shape[:-1]

    def matrix(self) -> Float[Tensor, "*batch 4 4"]:
        return _homogeneous(self.rotation, self.translation)

    def inverse(self) -> SE3:
        """`b_from_a` of `a_from_b`."""
        rotation = self.rotation.mT
        return SE3(rotation, -rotate(rotation, self.translation))

    def __matmul__(self, other: SE3) -> SE3:
        """`a_from_b @ b_from_c` is `a_from_c`."""
        return SE3(
            matrix_product(self.rotation, other.rotation), rotate(self.rotation, other.translation) + self.translation
        )

    def apply(self, points: Float[Tensor, "*axes 3"]) -> Float[Tensor, "*axes 3"]:
        """The points moved; the batch axes of the transform lead the points' axes."""
        rotation, translation = lead(points, self.rotation, self.translation, batch=len(self.batch_shape))
        return rotate(rotation, points) + translation

    def to(self, *args: Any, **kwargs: Any) -> SE3:
        """`Tensor.to` of both parts."""
        return SE3(self.rotation.to(*args, **kwargs), self.translation.to(*args, **kwargs))

    def __getitem__(self, index: int | slice | Tensor) -> SE3:
        """Indexes the first batch axis."""
        assert self.batch_shape, "a single transform cannot be indexed"
        return SE3(self.rotation[index], self.translation[index])


@dataclass(frozen=True, eq=False)
class Sim3:
    """x ↦ s R x + t, with s > 0."""

    scale: Float[Tensor, "*batch"]
    rotation: Float[Tensor, "*batch 3 3"]
    translation: Float[Tensor, "*batch 3"]  # in the units of the frame mapped to

    @staticmethod
    def identity(*batch: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Sim3:
        """The similarity that moves nothing, `batch` times; dtype and device as in `torch.eye`."""
        return Sim3.from_se3(SE3.identity(*batch, dtype=dtype, device=device))

    @staticmethod
    def from_se3(rigid: SE3) -> Sim3:
        """The same motion with scale 1."""
        return Sim3(torch.ones_like(rigid.translation[..., 0]), rigid.rotation, rigid.translation)

    @staticmethod
    def from_matrix(matrix: Float[Tensor, "*batch 4 4"]) -> Sim3:
        """Of a homogeneous matrix whose upper left block is s R.

        Raises InputError where that block's determinant, s³, is not positive.
        """
        linear = matrix[..., :3, :3]
        determinant = torch.det(linear)
        if not bool((determinant > 0).all()):
            raise InputError(
                f"a similarity's 3 × 3 block has determinant {determinant.min().item():g}; it must be positive"
            )
        scale = determinant ** (1 / 3)
        return Sim3(scale, linear / scale[..., None, None], matrix[..., :3, 3])

    @staticmethod
    def exp(twist: Float[Tensor, "*batch 7"]) -> Sim3:
        """The similarity of a twist (ρ, φ, σ): scale e^σ, rotation by the axis-angle vector φ, translation W(φ, σ) ρ.

        W = ∫₀¹ e^{sσ} exp(s [φ]×) ds (Strasdat, "Local Accuracy and Global Consistency for Efficient Visual SLAM",
        2012, sec. 2.4). exp(ξ) @ T moves T by ξ in the frame mapped to.
        """
        rho, phi, sigma = twist[..., :3], twist[..., 3:6], twist[..., 6]
        translation = rotate(_similarity_jacobian(phi, sigma), rho)
        return Sim3(sigma.exp(), rotation_from_axis_angle(phi), translation)

    def log(self) -> Float[Tensor, "*batch 7"]:
        """The twist (ρ, φ, σ) with an angle of at most π; inverse of `exp`."""
        phi, sigma = axis_angle_from_rotation(self.rotation), self.scale.log()
        rho = torch.linalg.solve(_similarity_jacobian(phi, sigma), self.translation)
        return torch.cat([rho, phi, sigma[..., None]], -1)

    def adjoint(self) -> Float[Tensor, "*batch 7 7"]:
        """Ad with T exp(ξ) = exp(Ad ξ) T: what a twist (ρ, φ, σ) in the frame mapped from is in the frame mapped to.

        Strasdat, "Local Accuracy and Global Consistency for Efficient Visual SLAM", 2012, sec. 2.4.
        """
        R, t = self.rotation, self.translation
        moved = torch.linalg.cross(t[..., None].expand_as(R), R, dim=-2)  # [t]× R
        zero, none = torch.zeros_like(R), torch.zeros_like(t)[..., None]
        one = torch.ones_like(self.scale)[..., None, None]
        return torch.cat(
            [
                torch.cat([self.scale[..., None, None] * R, moved, -t[..., None]], -1),
                torch.cat([zero, R, none], -1),
                torch.cat([none.mT, none.mT, one], -1),
            ],
            -2,
        )

    @staticmethod
    def inverse_right_jacobian(twist: Float[Tensor, "*batch 7"]) -> Float[Tensor, "*batch 7 7"]:
        """J⁻¹ with log(exp(ξ) exp(δ)) = ξ + J⁻¹ δ to first order, for angles and |σ| of at most π.

        J⁻¹ = Σ Bₙ (−ad ξ)ⁿ / n! with Bernoulli's numbers Bₙ, and ad ξ · η the bracket of twists (Barfoot, "State
        Estimation for Robotics", 2017, eq. 7.79); the terms left out are below rounding where √(φ² + σ²) < π.
        """
        rho, phi, sigma = twist[..., :3], twist[..., 3:6], twist[..., 6:, None]
        eye = torch.eye(3, dtype=twist.dtype, device=twist.device).expand(*phi.shape, 3)
        turned, moved = (torch.linalg.cross(vector[..., None].expand_as(eye), eye, dim=-2) for vector in (phi, rho))
        bracket = twist.new_zeros(*twist.shape, 7)
        bracket[..., :3, :3], bracket[..., :3, 3:6], bracket[..., :3, 6] = sigma * eye + turned, moved, -rho
        bracket[..., 3:6, 3:6] = turned
        square, one = bracket @ bracket, torch.eye(7, dtype=twist.dtype, device=twist.device)
        shrink = float(twist[..., 3:].norm(dim=-1).amax()) / (2 * math.pi) if twist.numel() else 0.0
        terms = 2 + math.ceil(_LOG_ROUNDING / math.log(max(shrink, 1e-6))) // 2 if shrink < 0.5 else _TERMS
        total = torch.zeros_like(bracket)
        for factor in reversed(_bernoulli()[:terms]):
            total = total @ square + factor * one
        return total + bracket / 2

    @property
    def batch_shape(self) -> torch.Size:
        return self.scale.shape

    @property
    def rigid(self) -> SE3:
        """R and t without the scale.

        Of `world_from_window @ Sim3.from_se3(window_from_cam)` this is `world_from_cam`: where the camera stands.
        """
        return SE3(self.rotation, self.translation)

    def matrix(self) -> Float[Tensor, "*batch 4 4"]:
        return _homogeneous(self.scale[..., None, None] * self.rotation, self.translation)

    def inverse(self) -> Sim3:
        """`b_from_a` of `a_from_b`."""
        scale, rotation = 1 / self.scale, self.rotation.mT
        return Sim3(scale, rotation, -scale[..., None] * rotate(rotation, self.translation))

    def __matmul__(self, other: Sim3) -> Sim3:
        """`a_from_b @ b_from_c` is `a_from_c`."""
        moved = self.scale[..., None] * rotate(self.rotation, other.translation)
        return Sim3(self.scale * other.scale, matrix_product(self.rotation, other.rotation), moved + self.translation)

    def apply(self, points: Float[Tensor, "*axes 3"]) -> Float[Tensor, "*axes 3"]:
        """The points moved; the batch axes of the transform lead the points' axes."""
        linear = self.scale[..., None, None] * self.rotation
        linear, translation = lead(points, linear, self.translation, batch=len(self.batch_shape))
        return rotate(linear, points) + translation

    def to(self, *args: Any, **kwargs: Any) -> Sim3:
        """`Tensor.to` of all parts."""
        return Sim3(
            self.scale.to(*args, **kwargs), self.rotation.to(*args, **kwargs), self.translation.to(*args, **kwargs)
        )

    def __getitem__(self, index: int | slice | Tensor) -> Sim3:
        """Indexes the first batch axis."""
        assert self.batch_shape, "a single transform cannot be indexed"
        return Sim3(self.scale[index], self.rotation[index], self.translation[index])


def lead(points: Tensor, *parts: Tensor, batch: int) -> tuple[Tensor, ...]:
    """`parts` with axes of size 1 after their `batch` leading axes, so that they broadcast against `points`."""
    shared = points.ndim - 1 - batch
    assert shared >= 0, f"points {tuple(points.shape)} have fewer axes than the {batch} batch axes of the transform"
    return tuple(part.reshape(*part.shape[:batch], *(1,) * shared, *part.shape[batch:]) for part in parts)


@cache
def _bernoulli() -> tuple[float, ...]:
    """B₂ₙ / (2n)! for n = 0, 1, …: the coefficients of x/2 · coth(x/2)."""
    b = [Fraction(1)]
    for n in range(1, 2 * _TERMS):
        b.append(-sum((b[k] / math.factorial(n + 1 - k) for k in range(n)), Fraction()))
    return tuple(map(float, b[::2]))


@cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(_NODES)


def _similarity_jacobian(phi: Tensor, sigma: Tensor) -> Tensor:
    """W = A I + B [φ]× + C [φ]×², with its three integrals over s by Gauss and Legendre's rule.

    A = ∫ e^{sσ} ds, B = ∫ s e^{sσ} sinc(sθ) ds, C = ∫ s² e^{sσ} sinc²(sθ/2) / 2 ds: smooth, so that no case is
    special, and exact to rounding for angles up to π and scales from 1/1000 to 1000.
    """
    nodes, weights = _quadrature()
    at = torch.as_tensor((nodes + 1) / 2, dtype=phi.dtype, device=phi.device)
    weight = torch.as_tensor(weights / 2, dtype=phi.dtype, device=phi.device)
    grown = (at * sigma[..., None]).exp() * weight
    turned = at * torch.linalg.vector_norm(phi, dim=-1, keepdim=True) / torch.pi  # torch's sinc is sin(πx) / πx
    a, b = grown.sum(-1), (grown * at * torch.sinc(turned)).sum(-1)
    c = (grown * at.square() * torch.sinc(turned / 2).square() / 2).sum(-1)
    eye = torch.eye(3, dtype=phi.dtype, device=phi.device).expand(*phi.shape, 3)
    cross = torch.linalg.cross(phi[..., None].expand_as(eye), eye, dim=-2)  # [φ]×
    a, b, c = (factor[..., None, None] for factor in (a, b, c))
    return a * eye + b * cross + c * matrix_product(cross, cross)


def _square(vector: Tensor) -> Tensor:
    return (vector * vector).sum(-1, keepdim=True)


def _angle2(phi: Tensor) -> tuple[Tensor, Tensor]:
    """The squared angle, 1 where it is so small that series replace the closed forms, and where that is."""
    angle2 = _square(phi)
    small = angle2 < torch.finfo(phi.dtype).eps ** 0.5
    return torch.where(small, 1.0, angle2), small


def _homogeneous(linear: Tensor, translation: Tensor) -> Tensor:
    top = torch.cat([linear, translation[..., None]], -1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], -2)
