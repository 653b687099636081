from __future__ import annotations

from typing import Any

import pytest
import torch
from geometry_values import DEVICES, DTYPES, LAW, axis_angles, normal, rigid_motions, seeds, similarities, vectors
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from openloger.errors import InputError
from openloger.geometry import SE3, Sim3, rotation_from_axis_angle

Transform = Any  # SE3 or Sim3, all of one kind within a law


def pairs(count: int) -> st.SearchStrategy[tuple[Transform, ...]]:
    """`count` transforms of one kind."""
    return st.one_of(st.tuples(*[rigid_motions()] * count), st.tuples(*[similarities()] * count))


def assert_same(a: Transform, b: Transform) -> None:
    """Equal as matrices, to 1e-12 of their largest entry."""
    assert type(a) is type(b)
    assert_close(a.matrix(), b.matrix(), rtol=0, atol=1e-12 * float(a.matrix().abs().max()))


@LAW
@given(pairs(2))
def test_a_product_is_again_a_transform(ab: tuple[Transform, ...]) -> None:
    product = ab[0] @ ab[1]
    assert type(product) is type(ab[0])
    assert_close(product.rotation @ product.rotation.mT, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-13)
    assert float(torch.det(product.rotation)) == pytest.approx(1)


@LAW
@given(pairs(3))
def test_products_associate(abc: tuple[Transform, ...]) -> None:
    a, b, c = abc
    assert_same((a @ b) @ c, a @ (b @ c))


@LAW
@given(pairs(1))
def test_inverse_undoes_on_either_side(one: tuple[Transform, ...]) -> None:
    (a,) = one
    identity = type(a).identity(dtype=torch.float64)
    size = float(max(a.matrix().abs().max(), a.inverse().matrix().abs().max()))
    assert_close((a @ a.inverse()).matrix(), identity.matrix(), rtol=0, atol=1e-13 * size)
    assert_close((a.inverse() @ a).matrix(), identity.matrix(), rtol=0, atol=1e-13 * size)
    assert_same(a @ identity, a)
    assert_same(identity @ a, a)


@LAW
@given(pairs(2), seeds())
def test_matrices_and_points_see_the_same_product(ab: tuple[Transform, ...], seed: int) -> None:
    a, b = ab
    assert_close((a @ b).matrix(), a.matrix() @ b.matrix(), rtol=1e-12, atol=1e-9)
    points = normal(5, 3, seed=seed)
    assert_close((a @ b).apply(points), a.apply(b.apply(points)), rtol=1e-12, atol=1e-9)
    homogeneous = torch.cat([points, torch.ones(5, 1, dtype=torch.float64)], -1)
    assert_close(a.apply(points), (homogeneous @ a.matrix().mT)[:, :3], rtol=1e-12, atol=1e-9)


@LAW
@given(pairs(1))
def test_matrix_round_trip(one: tuple[Transform, ...]) -> None:
    assert_same(type(one[0]).from_matrix(one[0].matrix()), one[0])


@LAW
@given(rigid_motions(), rigid_motions())
def test_rigid_motions_are_the_similarities_of_scale_one(a: SE3, b: SE3) -> None:
    assert_same(Sim3.from_se3(a) @ Sim3.from_se3(b), Sim3.from_se3(a @ b))
    assert_same(Sim3.from_se3(a).rigid, a)


@LAW
@given(similarities(), rigid_motions())
def test_a_similarity_moves_a_camera_with_what_it_sees(world_from_window: Sim3, window_from_cam: SE3) -> None:
    world_from_cam = (world_from_window @ Sim3.from_se3(window_from_cam)).rigid
    point_cam = torch.tensor([0.3, -0.2, 2.0], dtype=torch.float64)
    seen = world_from_window.apply(window_from_cam.apply(point_cam))
    assert_close(world_from_cam.apply(world_from_window.scale * point_cam), seen, rtol=1e-12, atol=1e-8)


def twists(most: float = 3.1) -> st.SearchStrategy[torch.Tensor]:
    """(ρ, φ) of any angle up to `most`, tiny ones often enough."""
    turns = st.one_of(axis_angles(0, most), axis_angles(0, 1e-4))
    return st.tuples(vectors(100.0), turns).map(torch.cat)


@LAW
@given(twists())
def test_exp_is_the_matrix_exponential_and_log_its_inverse(twist: torch.Tensor) -> None:
    rho, (x, y, z) = twist[:3], twist[3:].tolist()
    generator = torch.zeros(4, 4, dtype=torch.float64)
    generator[:3, :3] = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=rho.dtype)
    generator[:3, 3] = rho
    motion = SE3.exp(twist)
    assert_close(motion.matrix(), torch.linalg.matrix_exp(generator), rtol=1e-9, atol=1e-9)
    assert_close(motion.log(), twist, rtol=1e-8, atol=1e-8)
    assert_same(SE3.exp(-twist), motion.inverse())


@LAW
@given(twists(), st.floats(-4, 4))
def test_exp_of_similarities_is_the_matrix_exponential_and_log_its_inverse(twist: torch.Tensor, growth: float) -> None:
    x, y, z = twist[3:].tolist()
    whole = torch.cat([twist, torch.tensor([growth], dtype=torch.float64)])
    generator = torch.zeros(4, 4, dtype=torch.float64)
    generator[:3, :3] = torch.tensor([[growth, -z, y], [z, growth, -x], [-y, x, growth]], dtype=torch.float64)
    generator[:3, 3] = twist[:3]
    moved = Sim3.exp(whole)
    wanted = torch.linalg.matrix_exp(generator)
    assert_close(moved.matrix(), wanted, rtol=0, atol=1e-9 * float(wanted.abs().max()))
    assert_close(moved.log(), whole, rtol=1e-7, atol=1e-7)
    assert_close((moved @ Sim3.exp(-whole)).matrix(), torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-8)


@LAW
@given(rigid_motions(), twists(1.0))
def test_the_adjoint_moves_a_twist_to_the_other_side(motion: SE3, twist: torch.Tensor) -> None:
    assert_same(SE3.exp(motion.adjoint() @ twist) @ motion, motion @ SE3.exp(twist))


@pytest.mark.parametrize("size", [0.0, 1e-6, 0.1, 1.0])
def test_the_adjoint_and_the_jacobian_of_similarities(size: float) -> None:
    """T exp(ξ) = exp(Ad ξ) T, and log(exp(ξ) exp(δ)) = ξ + J⁻¹ δ by central differences."""
    similarity, twist = batch(20), size * normal(20, 7, seed=21)
    moved = (similarity.adjoint() @ twist[..., None])[..., 0]
    left, right = (Sim3.exp(moved) @ similarity).matrix(), (similarity @ Sim3.exp(twist)).matrix()
    assert_close(left, right, rtol=1e-9, atol=1e-9)
    twist[:, 3:6] *= (3.0 / twist[:, 3:6].norm(dim=-1, keepdim=True).clamp_min(3.0)) if size else 1.0
    steps = 1e-5 * torch.eye(7, dtype=torch.float64)[:, None]
    ahead, behind = ((Sim3.exp(twist) @ Sim3.exp(step)).log() for step in (steps, -steps))
    slope = ((ahead - behind) / 2e-5).permute(1, 2, 0)
    assert_close(Sim3.inverse_right_jacobian(twist), slope, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-4, 0.3, 2.0])
def test_exp_and_log_have_gradients_at_every_angle(size: float) -> None:
    twist = (normal(4, 6, seed=9) * size).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: SE3.exp(x).matrix(), twist)
    assert torch.autograd.gradcheck(lambda x: (SE3.exp(x) @ SE3.exp(2 * x)).log(), twist / 8)


def batch(*shape: int, dtype: torch.dtype = torch.float64) -> Sim3:
    rotation = rotation_from_axis_angle(normal(*shape, 3, seed=1, dtype=dtype))
    return Sim3(normal(*shape, seed=2, dtype=dtype).exp(), rotation, normal(*shape, 3, seed=3, dtype=dtype))


@pytest.mark.parametrize("inner", [(), (7,), (4, 5)])
@pytest.mark.parametrize("rigid", [False, True])
def test_batch_axes_lead_the_points(inner: tuple[int, ...], rigid: bool) -> None:
    transform = batch(2, 3).rigid if rigid else batch(2, 3)
    points = normal(2, 3, *inner, 3, seed=4)
    together = transform.apply(points)
    assert together.shape == points.shape
    for i in range(2):
        for j in range(3):
            assert_close(together[i, j], transform[i][j].apply(points[i, j]))
    with pytest.raises(AssertionError, match=r"\b2 batch axes"):
        transform.apply(points.reshape(-1, 3)[0])


def test_products_broadcast_batches() -> None:
    one, many = batch(), batch(4)
    for product in (one @ many, (one.rigid @ many.rigid)):
        assert product.batch_shape == (4,)
        assert product.rotation.shape == (4, 3, 3)
    assert_same((one @ many)[2], one @ many[2])


def test_indexing_takes_the_first_batch_axis() -> None:
    many = batch(5)
    assert_same(many[1:3], Sim3(many.scale[1:3], many.rotation[1:3], many.translation[1:3]))
    assert many.rigid[torch.tensor([0, 4])].batch_shape == (2,)
    for single in (batch(), batch().rigid):
        with pytest.raises(AssertionError, match="single transform"):
            single[0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_and_device_stay(dtype: torch.dtype, device: str) -> None:
    similarity = batch(2, dtype=dtype).to(device)
    points = normal(2, 6, 3, seed=5, dtype=dtype).to(device)
    tensors = [similarity.apply(points), (similarity @ similarity.inverse()).matrix(), similarity.rigid.matrix()]
    tensors += [similarity.rigid.apply(points), (similarity.rigid @ similarity.rigid.inverse()).matrix()]
    tensors += [Sim3.from_matrix(similarity.matrix()).scale, Sim3.identity(2, dtype=dtype, device=device).matrix()]
    for tensor in tensors:
        assert tensor.dtype == dtype
        assert tensor.device.type == device


@pytest.mark.parametrize("device", DEVICES)
def test_autocast_does_not_touch_the_precision(device: str) -> None:
    similarity = batch(2, dtype=torch.float32).to(device)
    points = normal(2, 6, 3, seed=6, dtype=torch.float32).to(device)
    outside = (similarity.apply(points), (similarity @ similarity).matrix())
    with torch.autocast(device, dtype=torch.bfloat16):
        inside = (similarity.apply(points), (similarity @ similarity).matrix())
    for a, b in zip(outside, inside, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


def test_a_mirror_is_no_similarity() -> None:
    with pytest.raises(InputError, match="determinant -1"):
        Sim3.from_matrix(torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0])))
    with pytest.raises(InputError, match="must be positive"):
        Sim3.from_matrix(torch.zeros(2, 4, 4))
