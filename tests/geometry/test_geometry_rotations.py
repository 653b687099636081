from __future__ import annotations

import math

import pytest
import torch
from geometry_values import DEVICES, DTYPES, LAW, axis_angles, normal, rotations, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.testing import assert_close

from openloger.errors import InputError
from openloger.geometry import (
    axis_angle_from_rotation,
    nearest_rotation,
    quaternion_wxyz_from_rotation,
    rotation_angle,
    rotation_from_axis_angle,
    rotation_from_quaternion_wxyz,
)

EYE = torch.eye(3, dtype=torch.float64)


@LAW
@given(rotations())
def test_quaternion_round_trip(rotation: Tensor) -> None:
    quaternion = quaternion_wxyz_from_rotation(rotation)
    assert float(quaternion.norm()) == pytest.approx(1, abs=1e-14)
    assert float(quaternion[0]) >= 0
    assert_close(rotation_from_quaternion_wxyz(quaternion), rotation, rtol=0, atol=1e-14)


@LAW
@given(rotations(), st.floats(0.01, 100))
def test_any_multiple_of_a_quaternion_is_the_same_rotation(rotation: Tensor, factor: float) -> None:
    quaternion = quaternion_wxyz_from_rotation(rotation)
    for multiple in (factor * quaternion, -factor * quaternion):
        assert_close(rotation_from_quaternion_wxyz(multiple), rotation, rtol=0, atol=1e-14)


def test_quaternion_order_is_wxyz() -> None:
    quarter_about_z = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    half = math.sqrt(0.5)
    assert_close(quaternion_wxyz_from_rotation(quarter_about_z), torch.tensor([half, 0, 0, half]))
    assert_close(axis_angle_from_rotation(quarter_about_z), torch.tensor([0, 0, math.pi / 2]))


@pytest.mark.parametrize("quaternion", [[0.0, 0, 0, 0], [math.nan, 0, 0, 1], [math.inf, 0, 0, 0]])
def test_no_rotation_of_a_void_quaternion(quaternion: list[float]) -> None:
    with pytest.raises(InputError, match="no rotation"):
        rotation_from_quaternion_wxyz(torch.tensor([[1.0, 0, 0, 0], quaternion]))


@LAW
@given(st.one_of(axis_angles(0, math.pi - 1e-3), axis_angles(0, 1e-9)))
def test_log_undoes_exp(axis_angle: Tensor) -> None:
    assert_close(axis_angle_from_rotation(rotation_from_axis_angle(axis_angle)), axis_angle, rtol=0, atol=1e-12)


@LAW
@given(axis_angles(math.pi - 1e-4, math.pi))
def test_log_at_half_a_turn_is_a_logarithm(axis_angle: Tensor) -> None:
    rotation = rotation_from_axis_angle(axis_angle)
    log = axis_angle_from_rotation(rotation)
    assert float(log.norm()) <= math.pi + 1e-14
    assert_close(rotation_from_axis_angle(log), rotation, rtol=0, atol=1e-13)


@LAW
@given(st.one_of(axis_angles(), axis_angles(0, 1e-7), axis_angles(math.pi - 1e-7)))
def test_angle_is_the_length_of_the_logarithm(axis_angle: Tensor) -> None:
    rotation = rotation_from_axis_angle(axis_angle)
    assert_close(rotation_angle(rotation), axis_angle.norm(), rtol=1e-7, atol=1e-15)
    assert_close(rotation_angle(rotation.mT), rotation_angle(rotation), rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-12, 1e-4, 0.018, 0.019, 1.0, 3.1])
def test_exp_and_log_have_gradients_everywhere(length: float, dtype: torch.dtype) -> None:
    axis_angle = (length * torch.tensor([0.6, 0.0, -0.8], dtype=dtype)).requires_grad_()
    round_trip = axis_angle_from_rotation(rotation_from_axis_angle(axis_angle))
    jacobian = torch.autograd.functional.jacobian(
        lambda v: axis_angle_from_rotation(rotation_from_axis_angle(v)), axis_angle
    )
    tolerance = 1e-12 if dtype == torch.float64 else 2e-5
    assert_close(round_trip, axis_angle, rtol=0, atol=tolerance)
    assert_close(jacobian, torch.eye(3, dtype=dtype), rtol=0, atol=100 * tolerance)


def test_angle_has_a_gradient_at_the_identity() -> None:
    rotation = EYE.clone().requires_grad_()
    rotation_angle(rotation).backward()
    assert rotation.grad is not None
    assert rotation.grad.isfinite().all()


@LAW
@given(rotations(), rotations(), seeds())
def test_projection_is_a_rotation_that_follows_its_argument(left: Tensor, right: Tensor, seed: int) -> None:
    matrix = normal(3, 3, seed=seed)
    projected = nearest_rotation(matrix)
    assert_close(projected @ projected.mT, EYE, rtol=0, atol=1e-13)
    assert float(torch.det(projected)) == pytest.approx(1)
    assert_close(nearest_rotation(projected), projected, rtol=0, atol=1e-13)
    assert_close(nearest_rotation(left @ matrix @ right), left @ projected @ right, rtol=0, atol=1e-9)
    assert_close(nearest_rotation(7 * matrix), projected, rtol=0, atol=1e-11)


@LAW
@given(seeds())
def test_no_rotation_is_nearer(seed: int) -> None:
    matrix = normal(3, 3, seed=seed)
    nearest = nearest_rotation(matrix)
    others = torch.cat(
        [
            rotation_from_axis_angle(normal(50, 3, seed=seed + 1)),
            rotation_from_axis_angle(0.01 * normal(50, 3, seed=seed + 2)) @ nearest,
        ]
    )
    distances = torch.linalg.matrix_norm(others - matrix)
    assert float(torch.linalg.matrix_norm(nearest - matrix)) <= float(distances.min()) + 1e-12


ROTATION = rotation_from_axis_angle(torch.tensor([0.4, -1.1, 0.7], dtype=torch.float64))
MATRICES = {
    "generic": normal(3, 3, seed=0),
    "generic, det < 0": -normal(3, 3, seed=0) * torch.det(normal(3, 3, seed=0)).sign(),
    "a rotation": ROTATION,
    "nearly a rotation": ROTATION + 1e-9 * normal(3, 3, seed=1),
    "twice a rotation": 2 * ROTATION,
    "a reflection, uneven": ROTATION @ torch.diag(torch.tensor([1.0, 0.8, -0.3], dtype=torch.float64)),
    "equal pair": ROTATION @ torch.diag(torch.tensor([2.0, 2.0, 0.5], dtype=torch.float64)),
    "rank two": ROTATION @ torch.diag(torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_projection_gradient(name: str) -> None:
    if "det < 0" in name or "reflection" in name:
        assert float(torch.det(MATRICES[name])) < 0
    matrix = torch.stack([MATRICES[name], ROTATION @ MATRICES[name]]).requires_grad_()
    assert gradcheck(nearest_rotation, matrix, fast_mode=False)


def test_projection_gradient_is_that_of_the_svd() -> None:
    """The slow twin: autograd through the SVD, sound where the singular values are apart."""
    matrix, weight = MATRICES["generic"].clone().requires_grad_(), normal(3, 3, seed=5)
    U, _, Vt = torch.linalg.svd(matrix)
    sign = torch.stack([torch.ones(()), torch.ones(()), torch.det(U @ Vt).detach()]).double()
    (slow,) = torch.autograd.grad((U @ torch.diag(sign) @ Vt * weight).sum(), matrix)
    (fast,) = torch.autograd.grad((nearest_rotation(matrix) * weight).sum(), matrix)
    assert_close(fast, slow, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [0.0, 1e-7, 1e-6, 1e-4])
def test_float32_gradient_is_right_beside_a_rotation(size: float) -> None:
    matrix = (ROTATION + size * normal(3, 3, seed=2)).float()
    weight = normal(3, 3, seed=3)
    gradients = []
    for dtype in DTYPES:
        argument = matrix.to(dtype).requires_grad_()
        gradients += torch.autograd.grad((nearest_rotation(argument) * weight.to(dtype)).sum(), argument)
    assert_close(gradients[0].double(), gradients[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("matrix", [torch.zeros(3, 3), -torch.eye(3), torch.diag(torch.tensor([3.0, 0.0, 0.0]))])
def test_gradient_is_finite_where_the_projection_is_not_unique(matrix: Tensor, dtype: torch.dtype) -> None:
    argument = matrix.clone().to(dtype).requires_grad_()
    (nearest_rotation(argument) * normal(3, 3, seed=4, dtype=dtype)).sum().backward()
    assert argument.grad is not None
    assert argument.grad.isfinite().all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_device_and_batch_stay(dtype: torch.dtype, device: str) -> None:
    matrix = normal(2, 4, 3, 3, seed=6, dtype=dtype).to(device).requires_grad_()
    with torch.autocast(device, dtype=torch.bfloat16):
        rotation = nearest_rotation(matrix)
        values = [rotation, quaternion_wxyz_from_rotation(rotation), axis_angle_from_rotation(rotation)]
        values += [rotation_angle(rotation), rotation_from_axis_angle(values[2])]
        values += [rotation_from_quaternion_wxyz(values[1])]
        torch.stack([value.sum() for value in values]).sum().backward()
    assert_close(values[4], rotation, rtol=0, atol=1e-5)
    assert_close(values[5], rotation, rtol=0, atol=1e-5)
    assert matrix.grad is not None
    for value in (*values, matrix.grad):
        assert value.shape[:2] == (2, 4)
        assert value.dtype == dtype
        assert value.device.type == device
