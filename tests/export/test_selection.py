from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stand_in import HEIGHT, WIDTH, StandIn, WithDepth, pixels_of, project

from openloger.errors import InputError
from openloger.export import PointSelection, select_points
from openloger.export.sampling import thin
from openloger.export.selection import trusted_pixels
from openloger.export.voxels import VoxelSet, voxel_keys
from openloger.geometry import SE3, unproject

LAWS = settings(derandomize=True, deadline=None, max_examples=60)
EVERYTHING = PointSelection(confidence_min=0.0, depth_edge=None)


def gathered(recording: StandIn, selection: PointSelection) -> tuple[np.ndarray, np.ndarray]:
    chunks = list(select_points(recording, selection))
    return np.concatenate([c.points_world for c in chunks]), np.concatenate([c.rgb for c in chunks])


def test_every_pixel_of_every_frame_comes_once_and_in_order() -> None:
    points, rgb = gathered(StandIn(), EVERYTHING)
    frames, xy = pixels_of(rgb)
    expected = [(f, j + 0.5, i + 0.5) for f in range(5) for i in range(HEIGHT) for j in range(WIDTH)]
    assert len(points) == len(expected)
    np.testing.assert_array_equal(np.column_stack([frames, xy]), expected)


def test_points_are_those_of_the_whole_unprojected_map() -> None:
    recording = StandIn()
    for chunk in select_points(recording, EVERYTHING):
        depth = torch.from_numpy(recording.depth(chunk.frame)).double()
        points_cam = unproject(depth, torch.from_numpy(recording.intrinsics[chunk.frame]))
        world_from_cam = SE3.from_matrix(torch.from_numpy(recording.world_from_cam[chunk.frame]))
        slow = world_from_cam.apply(points_cam.reshape(-1, 3)).numpy()
        np.testing.assert_allclose(chunk.points_world, slow, atol=1e-12)


def test_points_fall_back_onto_their_pixels() -> None:
    recording = StandIn()
    points, rgb = gathered(recording, PointSelection())
    frames, xy = pixels_of(rgb)
    back = project(points, recording.intrinsics[frames], recording.world_from_cam[frames])
    np.testing.assert_allclose(back, xy, atol=1e-9)
    for chunk in select_points(recording, PointSelection()):
        np.testing.assert_array_equal(chunk.pixels_xy, pixels_of(chunk.rgb)[1])


def test_confidence_below_the_least_is_left_out() -> None:
    _, rgb = gathered(StandIn(), PointSelection(confidence_min=0.5, depth_edge=None))
    assert len(rgb) == 5 * (HEIGHT - 1) * WIDTH
    assert rgb[:, 1].min() == 1  # the first row has little confidence


@pytest.mark.parametrize("height", [48, 64, 128, 480])
def test_the_usual_edge_keeps_the_ground(height: int) -> None:
    """A level ground under a level camera: the lower half of what is below the horizon, in a picture of any size."""
    row = np.arange(height) + 0.5 - height / 2
    depth = np.where(row > 0, height / np.maximum(row, 0.5), 1000.0).astype(np.float32)[:, None].repeat(8, axis=1)
    kept = trusted_pixels(depth, np.ones_like(depth), PointSelection())
    assert kept[3 * height // 4 + 1 :].all()
    assert not kept[height // 2 : height // 2 + 3].any()  # at the horizon it breaks
    depth[:, 4:] *= 1.5  # and a step is an edge
    assert not trusted_pixels(depth, np.ones_like(depth), PointSelection())[:, 3:5].any()


def test_depth_edges_are_left_out_and_bad_depth_always() -> None:
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    depth[:, 16:] = 4
    _, rgb = gathered(WithDepth(1, depth_map=depth), PointSelection(depth_edge=0.1))
    assert set(rgb[:, 2].tolist()) == set(range(WIDTH)) - {15, 16}
    depth = np.full((HEIGHT, WIDTH), 2, np.float32)
    depth[3, 4], depth[5, 6], depth[7, 8], depth[9, 10] = np.nan, np.inf, 0, -1
    _, rgb = gathered(WithDepth(1, depth_map=depth), EVERYTHING)
    left_out = {(i, j) for i in range(HEIGHT) for j in range(WIDTH)} - {(i, j) for _, i, j in rgb.tolist()}
    assert left_out == {(3, 4), (5, 6), (7, 8), (9, 10)}


def test_strides() -> None:
    _, rgb = gathered(StandIn(), PointSelection(confidence_min=0.0, depth_edge=None, frame_stride=2, pixel_stride=5))
    assert set(rgb[:, 0].tolist()) == {0, 2, 4}
    assert set(rgb[:, 1].tolist()) == {0, 5, 10, 15, 20}
    assert set(rgb[:, 2].tolist()) == {0, 5, 10, 15, 20, 25, 30}


@pytest.mark.parametrize("most", [1, 7, 100, 5 * HEIGHT * WIDTH - 1])
def test_max_points_gives_exactly_as_many_evenly_and_always_the_same(most: int) -> None:
    selection = PointSelection(confidence_min=0.0, depth_edge=None, max_points=most)
    points, rgb = gathered(StandIn(), selection)
    assert len(points) == most
    assert len(np.unique(rgb, axis=0)) == most
    np.testing.assert_array_equal(gathered(StandIn(), selection)[1], rgb)
    in_frame = np.bincount(rgb[:, 0], minlength=5)
    assert in_frame.max() - in_frame.min() <= 2


def test_max_points_that_suffices_changes_nothing_and_reads_once() -> None:
    recording = StandIn()
    selection = PointSelection(confidence_min=0.0, depth_edge=None, max_points=5 * HEIGHT * WIDTH)
    assert len(gathered(recording, selection)[0]) == 5 * HEIGHT * WIDTH
    assert sorted(recording.reads)[1:] == [0, 1, 2, 3, 4]  # once more of frame 0, for its size


def test_max_points_counts_what_the_voxels_leave() -> None:
    voxels = PointSelection(confidence_min=0.0, depth_edge=None, voxel=0.3)
    left = len(gathered(StandIn(), voxels)[0])
    assert 50 < left < 5 * HEIGHT * WIDTH / 4
    thinned = PointSelection(confidence_min=0.0, depth_edge=None, voxel=0.3, max_points=left - 20)
    assert len(gathered(StandIn(), thinned)[0]) == left - 20


@LAWS
@given(st.data(), st.integers(1, 400), st.integers(1, 400))
def test_thinning_takes_one_of_each_run_however_the_stream_is_cut(data: st.DataObject, total: int, wanted: int) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, total), max_size=8)))
    edges = [0, *cuts, total]
    pieces = [a + thin(a, b, total=total, wanted=wanted) for a, b in pairwise(edges)]
    kept = np.concatenate(pieces)
    np.testing.assert_array_equal(kept, thin(0, total, total=total, wanted=wanted))
    most = min(wanted, total)
    assert len(kept) == most
    for k, item in enumerate(kept):
        assert k * total // most <= item < (k + 1) * total // most


def test_thinning_has_no_stripes() -> None:
    kept = thin(0, 100_000, total=100_000, wanted=10_000)
    by_column = np.bincount(kept % 100, minlength=100)  # as if rows had 100 pixels
    assert by_column.min() > 60
    assert by_column.max() < 140


@LAWS
@given(st.lists(st.lists(st.tuples(*[st.floats(-3, 3)] * 3), max_size=40), max_size=6), st.floats(0.05, 2))
def test_voxels_keep_the_first_point_of_each_cube(frames: list[list[tuple[float, ...]]], size: float) -> None:
    fast, slow = VoxelSet(), set()
    for frame in frames:
        points = np.array(frame, np.float64).reshape(-1, 3)
        first = fast.add(voxel_keys(points, size))
        for point, is_first in zip(points, first, strict=True):
            cube = tuple(np.floor(point / size).astype(int))
            assert is_first == (cube not in slow)
            slow.add(cube)
    assert len(fast) == len(slow)


def test_voxels_take_as_many_bytes_as_promised() -> None:
    voxels = VoxelSet()
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(40):
        keys = voxel_keys(rng.uniform(-1e4, 1e4, (10_000, 3)), 0.01)
        seen += int(voxels.add(keys).sum())
        assert voxels.nbytes / len(voxels) < 27
        assert not voxels.add(keys).any()
    assert len(voxels) == seen == 400_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence_min": 1.5},
        {"confidence_min": float("nan")},
        {"depth_edge": 0.0},
        {"frame_stride": 0},
        {"pixel_stride": -1},
        {"voxel": 0.0},
        {"max_points": 0},
    ],
)
def test_absurd_selections_are_refused_by_name(wrong: dict[str, float]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=f"{name} is {value}: it must be"):
        list(select_points(StandIn(), PointSelection(**wrong)))


def test_a_recording_without_frames_is_refused() -> None:
    with pytest.raises(InputError, match="no frames yet"):
        list(select_points(StandIn(0)))


def test_progress_counts_frames_of_both_passes() -> None:
    steps: list[tuple[int, int]] = []
    list(select_points(StandIn(), PointSelection(max_points=10), progress=lambda *step: steps.append(step)))
    assert steps == [(done, 10) for done in range(1, 11)]


def test_memory_does_not_grow_with_the_video() -> None:
    selection = PointSelection(max_points=5_000)
    few, many = (_peak_bytes(StandIn(frames, height=72, width=96), selection) for frames in (40, 440))
    assert many - few < 400 * 1_000  # a frame's depth alone takes 27 kB


def _peak_bytes(recording: StandIn, selection: PointSelection) -> int:
    assert len(recording.world_from_cam) == len(recording.intrinsics)  # made before, and kept
    tracemalloc.start()
    try:
        for _ in select_points(recording, selection):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
