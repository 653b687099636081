from __future__ import annotations

import math

import pytest
import torch
from geometry_values import DEVICES, DTYPES, LAW, normal, rotations, seeds
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from openloger.geometry import depth_edges, intrinsics_matrix, normals_from_points, pixel_grid, unproject

HEIGHT, WIDTH = 24, 32
FOCAL = 30.0
INTRINSICS = intrinsics_matrix(
    torch.tensor([FOCAL, FOCAL], dtype=torch.float64), torch.tensor([WIDTH / 2, HEIGHT / 2], dtype=torch.float64)
)


def rays() -> Tensor:
    return unproject(torch.ones(HEIGHT, WIDTH, dtype=torch.float64), INTRINSICS)


@LAW
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.1, 100))
def test_normals_of_a_plane(slope_x: float, slope_y: float, distance: float) -> None:
    """The plane n·p = -distance, n turned towards the camera, at every pixel, the border's too."""
    normal_cam = torch.tensor([slope_x, slope_y, -2.0], dtype=torch.float64)
    normal_cam = normal_cam / normal_cam.norm()
    points = rays() * (-distance / (rays() @ normal_cam))[..., None]
    assert_close(normals_from_points(points), normal_cam.expand(HEIGHT, WIDTH, 3), rtol=0, atol=1e-9)


def test_normals_of_a_sphere_point_away_from_its_centre() -> None:
    centre, radius = torch.tensor([0.1, -0.2, 5.0], dtype=torch.float64), 4.5
    toward = (rays() * centre).sum(-1)
    length2 = rays().square().sum(-1)
    root = toward.square() - length2 * (centre.square().sum() - radius**2)
    assert float(root.min()) > 0
    points = rays() * ((toward - root.sqrt()) / length2)[..., None]
    radial = (points - centre) / radius
    cosine = (normals_from_points(points) * radial).sum(-1)
    assert float(cosine[1:-1, 1:-1].min()) > math.cos(math.radians(1))
    assert float(cosine.min()) > math.cos(math.radians(5))


@LAW
@given(rotations(), seeds(), st.floats(0.01, 100))
def test_normals_turn_with_the_points(rotation: Tensor, seed: int, scale: float) -> None:
    points = unproject(normal(2, 6, 7, seed=seed).exp(), INTRINSICS)
    turned = normals_from_points(scale * points @ rotation.mT)
    assert_close(turned, normals_from_points(points) @ rotation.mT, rtol=0, atol=1e-6)
    assert_close(turned.norm(dim=-1), torch.ones(2, 6, 7, dtype=torch.float64))
    assert float((turned * (points @ rotation.mT)).sum(-1).max()) <= 1e-9


@pytest.mark.parametrize("points", [torch.zeros(4, 5, 3), torch.full((4, 5, 3), math.nan), torch.ones(1, 1, 3)])
def test_no_surface_has_no_normal(points: Tensor) -> None:
    assert torch.equal(normals_from_points(points), torch.zeros_like(points))


def test_one_void_point_spoils_only_its_neighbours() -> None:
    points = rays() * 3
    points[5, 6] = math.nan
    length = normals_from_points(points).norm(dim=-1)
    spoiled = {(int(i), int(j)) for i, j in (length < 0.5).nonzero()}
    assert spoiled == {(4, 6), (6, 6), (5, 5), (5, 7)}
    assert_close(length[0], torch.ones(WIDTH, dtype=torch.float64))


def edges_slowly(depth: Tensor, relative: float) -> list[list[bool]]:
    """The definition, pixel by pixel."""
    height, width = depth.shape
    edges = [[True] * width for _ in range(height)]
    for i in range(height):
        for j in range(width):
            around = depth[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
            if bool((around.isfinite() & (around > 0)).all()):
                edges[i][j] = float(around.max() - around.min()) > relative * float(depth[i, j])
    return edges


@LAW
@given(seeds(), st.floats(0.01, 0.3), st.floats(0, 0.1), st.integers(1, 5), st.integers(1, 6))
def test_edges_by_definition(seed: int, relative: float, void: float, height: int, width: int) -> None:
    depth = 1 + 0.1 * normal(height, width, seed=seed).abs()
    chance = torch.rand(height, width, generator=torch.Generator().manual_seed(seed))
    for value, above in ((math.nan, 0.0), (0.0, 0.25), (math.inf, 0.5), (-1.0, 0.75)):
        depth[(chance > above) & (chance < above + void / 4)] = value
    assert depth_edges(depth, relative=relative).tolist() == edges_slowly(depth, relative)


@LAW
@given(seeds(), st.integers(-20, 20))
def test_edges_do_not_depend_on_the_unit(seed: int, power: int) -> None:
    depth = 1 + 0.05 * normal(2, 3, 8, 9, seed=seed).abs()
    edges = depth_edges(depth)
    assert edges.shape == depth.shape
    assert torch.equal(depth_edges(depth * 2.0**power), edges)
    assert torch.equal(edges[1, 2], depth_edges(depth[1, 2]))


def test_a_step_is_an_edge_on_both_sides_and_a_slope_is_none() -> None:
    x = pixel_grid(6, 8)[..., 0]
    step = torch.where(x < 4, 1.0, 1.1)
    assert depth_edges(step).any(0).tolist() == [False] * 3 + [True] * 2 + [False] * 3
    assert not depth_edges(step, relative=0.2).any()
    assert not depth_edges(10 + 0.1 * x).any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_and_device_stay(dtype: torch.dtype, device: str) -> None:
    points = rays().to(device, dtype)
    with torch.autocast(device, dtype=torch.bfloat16):
        normals = normals_from_points(points)
        edges = depth_edges(points[..., 2])
    assert (normals.dtype, normals.device.type) == (dtype, device)
    assert (edges.dtype, edges.device.type) == (torch.bool, device)
