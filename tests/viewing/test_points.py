from __future__ import annotations

import numpy as np
import pytest
import torch

from openloger.geometry import depth_edges, normals_from_points
from openloger.recording import RecordedFrame
from openloger.viewing.scene.points import EDGE_STEP, EDGE_UNKNOWN, NORMAL_UNIT, Points, edge_steps, frame_points


def frame(depth: np.ndarray, number: int = 7) -> RecordedFrame:
    height, width = depth.shape
    rows, columns = np.mgrid[:height, :width]
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    matrix[:3, 3] = 1, 2, 3
    return RecordedFrame(
        number=number,
        name="a",
        source_index=number,
        timestamp_s=0.0,
        world_from_cam=matrix,
        intrinsics=np.array([[20.0, 0, width / 2], [0, 21, height / 2], [0, 0, 1]]),
        depth=depth.astype(np.float32),
        confidence=(columns / width).astype(np.float32),
        rgb=np.stack([rows, columns, rows], -1).astype(np.uint8),
    )


def bumpy(seed: int = 0, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    generator = np.random.default_rng(seed)
    depth = 3 + 0.05 * generator.standard_normal(size)
    depth[generator.random(size) < 0.05] *= 3
    return depth.astype(np.float32)


def test_points_are_those_of_the_recording_without_the_pixels_that_have_none() -> None:
    depth = bumpy()
    depth[3, 4], depth[5, 6], depth[7, 8] = np.nan, 0, -1
    made, seen = frame_points(frame(depth)), frame(depth)
    usable = np.isfinite(depth) & (depth > 0)
    np.testing.assert_allclose(made.position, seen.points_world[usable], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(made.rgb, seen.rgb[usable])
    np.testing.assert_array_equal(made.confidence, np.rint(255 * seen.confidence[usable]))
    assert set(made.frame.tolist()) == {7}


@pytest.mark.parametrize("stride", [2, 3, 5])
def test_a_stride_takes_pixels_out_of_the_whole_picture(stride: int) -> None:
    whole, thinned = frame_points(frame(bumpy())), frame_points(frame(bumpy()), pixel_stride=stride)
    rows = {tuple(row): k for k, row in enumerate(whole.position.tolist())}
    at = [rows[tuple(row)] for row in thinned.position.tolist()]
    for of_whole, of_thinned in zip(whole[np.array(at)].columns, thinned.columns, strict=True):
        np.testing.assert_array_equal(of_whole, of_thinned)
    assert len(thinned) == pytest.approx(len(whole) / stride**2, rel=0.3)


@pytest.mark.parametrize("steps", [2, 6, 20, 100, 200])
def test_edges_are_those_of_geometry_at_every_threshold(steps: int) -> None:
    depth = bumpy(steps)
    depth[2, 2], depth[9, 9] = np.nan, 0
    smooth = ~depth_edges(torch.from_numpy(depth), relative=steps * EDGE_STEP).numpy()
    assert 0 < smooth.sum() < smooth.size
    np.testing.assert_array_equal(edge_steps(depth) <= steps, smooth)


@pytest.mark.parametrize("stride", [1, 3])
def test_normals_are_those_of_geometry(stride: int) -> None:
    seen = frame(bumpy())
    made = frame_points(seen, pixel_stride=stride)
    normals = normals_from_points(torch.from_numpy(seen.points_cam).double()).numpy() @ seen.world_from_cam[:3, :3].T
    offset = (stride - 1) // 2
    expected = normals[offset::stride, offset::stride].reshape(-1, 3)
    assert len(made) == len(expected)
    np.testing.assert_allclose(made.normal / NORMAL_UNIT, expected, atol=0.006)


def test_a_pixel_stands_for_a_neighbour_without_depth() -> None:
    depth = np.full((5, 5), 2.0, np.float32)
    depth[2, 2] = 0
    made = frame_points(frame(depth))
    np.testing.assert_array_equal(made.normal, np.tile([-NORMAL_UNIT, 0, 0], (24, 1)))  # the camera looks along x
    depth[:, 1:] = 0
    assert not frame_points(frame(depth)).normal.any()


def test_beside_no_depth_the_edge_is_unknown() -> None:
    depth = np.full((5, 5), 2.0, np.float32)
    depth[2, 2] = np.nan
    steps = edge_steps(depth)
    assert (steps[1:4, 1:4] == EDGE_UNKNOWN).all()
    assert (steps[0] == 0).all()


def test_points_are_joined_and_chosen_column_by_column() -> None:
    made = frame_points(frame(bumpy()))
    again = Points.joined([made[:100], made[100:]])
    for a, b in zip(made.columns, again.columns, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    assert len(Points.joined([])) == 0
    assert made.nbytes == 28 * len(made)
