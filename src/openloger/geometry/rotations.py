"""Rotations: 3 × 3 matrices, wxyz quaternions, axis-angle vectors, and the projection onto SO(3).

Products of 3-vectors and 3 × 3 matrices are written out elementwise: autocast and TF32 lower the precision of
`matmul`, and the length of a chain of cameras must not depend on them.
"""

from __future__ import annotations

from typing import Any

import torch

from openloger.errors import InputError
from openloger.shapes import Float, Tensor


def matrix_product(a: Float[Tensor, "*a 3 3"], b: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "... 3 3"]:
    """a b, batches broadcast, in the precision of the input, also under autocast."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def rotate(rotation: Float[Tensor, "*a 3 3"], vectors: Float[Tensor, "*b 3"]) -> Float[Tensor, "... 3"]:
    """R v for every v, batches broadcast, in the precision of the input, also under autocast."""
    x, y, z = vectors[..., 0:1], vectors[..., 1:2], vectors[..., 2:3]
    return rotation[..., :, 0] * x + rotation[..., :, 1] * y + rotation[..., :, 2] * z


def rotation_angle(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """The angle of a rotation in radians, 0 to π, as atan2 of its sine and cosine: exact at both ends.

    The gradient at 0 and at π, where the angle has a kink, is 0.
    """
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.atan2(torch.linalg.vector_norm(_twice_axis_sine(rotation), dim=-1), trace - 1)


def quaternion_wxyz_from_rotation(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """The unit quaternion (w, x, y, z) with w ≥ 0 of a rotation.

    4 q qᵀ is linear in R; its row with the largest diagonal entry is a well-conditioned multiple of q
    (Shepperd 1978), at every angle.
    """
    m = rotation
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = _twice_axis_sine(m).unbind(-1)
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    outer = torch.stack(
        [
            torch.stack([1 + xx + yy + zz, wx, wy, wz], -1),
            torch.stack([wx, 1 + xx - yy - zz, xy, xz], -1),
            torch.stack([wy, xy, 1 - xx + yy - zz, yz], -1),
            torch.stack([wz, xz, yz, 1 - xx - yy + zz], -1),
        ],
        -2,
    )
    best = outer.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = outer.take_along_dim(best[..., None, None], -2).squeeze(-2)
    unit = row / torch.linalg.vector_norm(row, dim=-1, keepdim=True)
    return torch.where(unit[..., :1] < 0, -unit, unit)


def rotation_from_quaternion_wxyz(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation of a quaternion (w, x, y, z), which need not have unit length.

    Raises InputError where a quaternion is zero or not finite.
    """
    norm = torch.linalg.vector_norm(quaternion, dim=-1, keepdim=True)
    if not bool(((norm > 0) & norm.isfinite()).all()):
        raise InputError("a quaternion is zero or not finite and stands for no rotation; check its source")
    return _rotation_from_unit_quaternion(quaternion / norm)


def rotation_from_axis_angle(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """exp: the rotation about the vector's direction by its length in radians; smooth at 0."""
    angle2 = (axis_angle * axis_angle).sum(-1, keepdim=True)
    small = angle2 < torch.finfo(axis_angle.dtype).eps ** 0.5
    angle = torch.where(small, 1.0, angle2).sqrt()
    w = torch.where(small, 1 - angle2 / 8, (angle / 2).cos())
    sine_over_angle = torch.where(small, 0.5 - angle2 / 48, (angle / 2).sin() / angle)
    return _rotation_from_unit_quaternion(torch.cat([w, sine_over_angle * axis_angle], -1))


def axis_angle_from_rotation(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """log: axis times angle in radians, of length at most π; inverse of `rotation_from_axis_angle`."""
    quaternion = quaternion_wxyz_from_rotation(rotation)
    w, xyz = quaternion[..., :1], quaternion[..., 1:]
    sine2 = (xyz * xyz).sum(-1, keepdim=True)
    small = sine2 < torch.finfo(rotation.dtype).eps ** 0.5
    sine = torch.where(small, 1.0, sine2).sqrt()
    angle_over_sine = torch.where(small, 2 + sine2 / 3, 2 * torch.atan2(sine, w) / sine)
    return angle_over_sine * xyz


def nearest_rotation(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation nearest to M in the Frobenius norm: M = U S Vᵀ, R = U diag(1, 1, det(U Vᵀ)) Vᵀ.

    The backward pass is the closed form of the polar factor's derivative and not that of the SVD, whose terms
    1 / (sᵢ² − sⱼ²) blow up at equal singular values, that is, at every rotation. With S' the signed singular values,
    U' = U diag(1, 1, det(U Vᵀ)) and G' = U'ᵀ G V, the gradient is U' K Vᵀ with Kᵢⱼ = (G'ᵢⱼ − G'ⱼᵢ) / (s'ᵢ + s'ⱼ).
    It is infinite only where the nearest rotation is not unique (s'₂ + s'₃ = 0); there the denominator is floored at
    √eps of the largest singular value. float32 or float64; differentiable once.
    """
    return _NearestRotation.apply(matrix)  # pyright: ignore[reportReturnType]  # torch types `apply` as Any | None


class _NearestRotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        left, S, Vt = torch.linalg.svd(matrix)
        sign = torch.det(left) * torch.det(Vt)
        flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign.sign()], -1)
        U = left * flip[..., None, :]
        ctx.save_for_backward(U, S * flip, Vt)
        return matrix_product(U, Vt)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        U, S, Vt = ctx.saved_tensors
        g = matrix_product(matrix_product(U.mT, grad), Vt.mT)
        root_eps = torch.finfo(S.dtype).eps ** 0.5
        floor = root_eps * S[..., 0].clamp_min(root_eps)
        denominator = torch.maximum(S[..., :, None] + S[..., None, :], floor[..., None, None])
        return matrix_product(matrix_product(U, (g - g.mT) / denominator), Vt)


def _twice_axis_sine(rotation: Tensor) -> Tensor:
    """2 sin(angle) axis, from the antisymmetric part."""
    m = rotation
    return torch.stack([m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1)


def _rotation_from_unit_quaternion(quaternion: Tensor) -> Tensor:
    w, x, y, z = quaternion.unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
    ]
    return torch.stack(rows, -2)
