"""Visible points as values: which pass, in which colour, from which time on, and from which viewpoint."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scenes

from openloger.recording import Recording
from openloger.viewing.scene.cameras import (
    FRUSTA,
    ORBIT_FOV,
    Cameras,
    Viewpoint,
    behind,
    frusta_lines,
    home,
    nearest_view,
    path_colours,
    path_lines,
    through,
)
from openloger.viewing.scene.display import (
    DISPLAY_DEPTH,
    GLOW,
    SLABS,
    SPECTRUM,
    UNKNOWN,
    SceneLayout,
    Settings,
    colours,
    confidence_picture,
    depth_picture,
    in_heights,
    is_roofed,
    mean_up,
    overhead,
    passing,
    ramp,
    slab_clouds,
    slab_stop,
    slab_width,
    spread,
)
from openloger.viewing.scene.level_of_detail import depth_levels
from openloger.viewing.scene.overview import Scale, usual_edge
from openloger.viewing.scene.plans import ScenePlan, plan_from_above, plan_from_the_side
from openloger.viewing.scene.points import EDGE_STEP, Points
from openloger.viewing.scene.snapshot import SceneSnapshot, load_snapshot, snapshot_of, visible_points, with_points


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return scenes.write_recording(tmp_path_factory.mktemp("walk") / "walk", scenes.room(40))


@pytest.fixture(scope="module")
def known(walk: Recording) -> SceneSnapshot:
    return load_snapshot(walk, budget=30_000)


def drawn(known: SceneSnapshot, settings: Settings) -> set[tuple[float, ...]]:
    """The positions that all slabs give together, in the recording's unit."""
    width = slab_width(known.snapshot.frame_count)
    rows = set()
    for slab in range(-(-known.snapshot.frame_count // width)):
        stop = slab_stop(slab, settings, width=width)
        for cloud in slab_clouds(known.snapshot, settings, known.place, start=slab * width, stop=stop):
            rows |= {tuple(row) for row in cloud.position.tolist()}
    return rows


@pytest.mark.parametrize(
    "settings",
    [
        Settings(frame=39),
        Settings(frame=11),
        Settings(frame=0),
        Settings(frame=11, extent="everything"),
        Settings(frame=39, confidence_min=0.7, edge_max=None),
        Settings(frame=39, depth_range=(0.5, 1.2), height_range=(0.2, 0.8)),
    ],
)
def test_slabs_together_show_just_what_is_shown(known: SceneSnapshot, settings: Settings) -> None:
    points = visible_points(known.snapshot.points, settings, known.place)
    assert len(points) > 0
    expected = {tuple(row) for row in (points.position * np.float32(known.place.unit)).tolist()}
    assert drawn(known, settings) == expected


def test_this_frame_alone_leaves_the_slabs_empty(known: SceneSnapshot) -> None:
    assert drawn(known, Settings(frame=20, extent="this frame")) == set()


def test_sliders_let_pass_what_they_say(known: SceneSnapshot) -> None:
    points, place = known.snapshot.points, known.place
    passes = passing(points, Settings(confidence_min=0.5, edge_max=0.05, depth_range=(0.5, 1.5)), place.scale)
    assert 0 < passes.sum() < len(points)
    np.testing.assert_array_equal(
        passes,
        (points.confidence >= 128)
        & (points.edge * EDGE_STEP <= 0.05 + 1e-9)
        & (points.depth >= 0.5 * place.scale.depth)
        & (points.depth <= 1.5 * place.scale.depth),
    )
    assert passing(points, Settings(confidence_min=0.0, edge_max=None), place.scale).all()


def test_a_ceiling_can_be_cut_off(known: SceneSnapshot) -> None:
    points, place = known.snapshot.points, known.place
    low = points[in_heights(points, Settings(height_range=(0.0, 0.5)), place)]
    heights = low.position @ place.up
    assert len(low) < len(points)
    assert heights.max() <= (place.low + place.high) / 2 + 1e-5
    assert heights.min() < place.low, "the lower end has no limit"


def test_sizes_follow_depth_and_the_slider(known: SceneSnapshot) -> None:
    settings = Settings(frame=39, extent="everything")
    sizes = {cloud.level: cloud.size for cloud in slab_clouds(known.snapshot, settings, known.place, start=0, stop=40)}
    levels = sorted(sizes)
    assert len(levels) >= 2
    for lower, upper in itertools.pairwise(levels):
        assert sizes[upper] / sizes[lower] == pytest.approx(2.0 ** (upper - lower))
    larger = slab_clouds(known.snapshot, replace(settings, point_size=2.0), known.place, start=0, stop=40)
    assert {cloud.level: cloud.size / 2 for cloud in larger} == pytest.approx(sizes)


def test_the_scene_has_the_size_that_browsers_navigate_in(known: SceneSnapshot, walk: Recording) -> None:
    depths = np.concatenate([walk.depth(k).ravel() for k in range(0, 40, 5)])
    assert known.place.unit * np.median(depths) == pytest.approx(DISPLAY_DEPTH, rel=0.15)
    levels = depth_levels(depths, known.place.scale.depth)
    assert abs(np.median(levels)) <= 1


def test_up_is_up_and_the_ground_is_below(known: SceneSnapshot) -> None:
    assert known.place.up @ [0, -1, 0] > 0.95
    heights = known.cameras.world_from_cam[:, :3, 3] @ known.place.up
    assert known.place.ground < heights.min() - 0.5


def test_up_where_cameras_cancel_out_is_the_firsts() -> None:
    upright, upside_down = np.eye(4), np.diag([-1.0, -1.0, 1.0, 1.0])
    np.testing.assert_allclose(mean_up(np.stack([upright, upside_down])), [0, -1, 0])
    np.testing.assert_allclose(mean_up(np.zeros((0, 4, 4))), [0, -1, 0])


@pytest.mark.parametrize("colouring", ["picture", "height", "time", "confidence"])
def test_colourings_order_what_they_speak_of(known: SceneSnapshot, colouring: str) -> None:
    points = known.snapshot.points
    rgb = colours(points, Settings(colouring=colouring), known.place, frame_count=40)
    if colouring == "picture":
        np.testing.assert_array_equal(rgb, points.rgb)
        return
    quantity = {
        "height": points.position.astype(np.float64) @ known.place.up,
        "time": points.frame.astype(float),
        "confidence": points.confidence.astype(float),
    }[colouring]
    low, high = {"height": (known.place.low, known.place.high), "time": (0.0, 39.0), "confidence": (0.0, 255.0)}[
        colouring
    ]
    np.testing.assert_array_equal(rgb, ramp(spread(quantity, low, high)))


def test_ramps_hit_their_ends_and_say_what_is_unknown() -> None:
    rgb = ramp(np.array([0.0, 1.0, -3.0, 7.0, np.nan]), GLOW)
    assert [tuple(row) for row in rgb.tolist()] == [GLOW[0], GLOW[-1], GLOW[0], GLOW[-1], UNKNOWN]
    middle = ramp(np.array([1 / (len(SPECTRUM) - 1)]))
    assert tuple(middle[0].tolist()) == SPECTRUM[1]
    assert spread(np.array([2.0, np.nan]), 2.0, 2.0)[0] == 0.5


def test_pictures_of_depth_are_bright_where_it_is_near_and_grey_where_there_is_none() -> None:
    depth = np.tile(np.linspace(1, 9, 50, dtype=np.float32), (10, 1))
    depth[0, :5] = 0
    picture = depth_picture(depth)
    assert picture[5, 0].sum() > picture[5, 25].sum() > picture[5, -1].sum()
    assert (picture[0, :5] == UNKNOWN).all()
    assert (depth_picture(np.zeros((4, 4), np.float32)) == UNKNOWN).all()
    assert tuple(confidence_picture(np.ones((1, 1), np.float32))[0, 0].tolist()) == SPECTRUM[-1]


@pytest.mark.parametrize("count", [1, 8, 300, 19_000])
def test_slabs_are_few_and_stay_where_they_are(count: int) -> None:
    width = slab_width(count)
    assert -(-count // width) <= SLABS
    assert width & (width - 1) == 0


def test_the_path_grows_to_the_current_frame(known: SceneSnapshot) -> None:
    for frame in (0, 1, 17, 39):
        lines = path_lines(known.cameras, Settings(frame=frame), known.place)
        assert len(lines.ends) == frame
        if frame:
            centre = known.cameras.world_from_cam[frame, :3, 3] * known.place.unit
            np.testing.assert_allclose(lines.ends[-1, 1], centre, rtol=1e-5, atol=1e-6)
    assert len(path_lines(known.cameras, Settings(frame=0, extent="everything"), known.place).ends) == 39


def test_long_paths_are_thinned() -> None:
    count = 19_000
    matrices = np.tile(np.eye(4), (count, 1, 1))
    matrices[:, 0, 3] = np.arange(count)
    intrinsics = np.tile([[20.0, 0, 16], [0, 20, 12], [0, 0, 1]], (count, 1, 1))
    cameras = Cameras(matrices, intrinsics, np.zeros(count, np.float32), (24, 32))
    up, nothing = np.array([0.0, -1.0, 0.0]), {"extent": np.zeros((0, 3)), "radii": np.zeros(0)}
    place = SceneLayout(Scale(2.0, 0.1, 0.03), up, -1.0, -1.0, 1.0, np.zeros(count), 0.5, roofed=False, **nothing)
    lines = path_lines(cameras, Settings(frame=count - 1), place)
    assert len(lines.ends) <= 3_001
    np.testing.assert_allclose(lines.ends[-1, 1, 0], (count - 1) * place.unit, rtol=1e-6)
    assert len(frusta_lines(cameras, Settings(frame=count - 1), place).ends) <= 8 * FRUSTA


def test_frusta_stand_where_cameras_stood(known: SceneSnapshot, walk: Recording) -> None:
    lines = frusta_lines(known.cameras, Settings(frame=0), known.place)
    assert lines.ends.shape == (8, 2, 3)
    centre = walk.world_from_cam[0, :3, 3] * known.place.unit
    np.testing.assert_allclose(lines.ends[:4, 0], np.tile(centre, (4, 1)), atol=1e-5)
    ahead = walk.world_from_cam[0, :3, 2]
    assert ((lines.ends[:4, 1] - centre) @ ahead > 0).all()


def test_path_colours_by_confidence_fill_in_what_was_not_read(known: SceneSnapshot) -> None:
    confidence = np.full(40, np.nan, np.float32)
    confidence[[0, 39]] = 0.2, 0.8
    cameras = replace(known.cameras, confidence=confidence)
    rgb = path_colours(cameras, Settings(path_colouring="confidence"))
    np.testing.assert_array_equal(rgb, ramp(np.linspace(0, 1, 40)))
    unknown = replace(cameras, confidence=np.full(40, np.nan, np.float32))
    assert (path_colours(unknown, Settings(path_colouring="confidence")) == UNKNOWN).all()


@pytest.mark.parametrize("aspect", [0.46, 1.0, 2.4])
def test_from_home_path_and_nearly_all_points_are_in_the_window(known: SceneSnapshot, aspect: float) -> None:
    seen = home(known.cameras, known.place, aspect=aspect)
    centres = known.cameras.world_from_cam[:, :3, 3]
    assert (np.abs(in_window(centres, seen, known.place, aspect)) <= 1).all()
    points = np.abs(in_window(known.place.extent, seen, known.place, aspect))
    assert (points <= 1).all(1).mean() >= 0.85
    assert points.max(0).max() > 0.75, "and from as near as that goes"
    discs = points + drawn_radii(seen, known.place, aspect)
    for axis in (0, 1):
        assert np.percentile(discs[:, axis], 91) <= 0.86, "points are in the window as the discs that are drawn"
    assert (seen.position - seen.look_at) @ known.place.up > 0, "from above"


@pytest.mark.parametrize("aspect", [0.6, 1.0, 2.4])
@pytest.mark.parametrize("make", [plan_from_above, plan_from_the_side])
def test_a_plan_is_looked_at_as_it_lies_on_the_paper(
    make: Callable[[SceneSnapshot], ScenePlan], aspect: float, known: SceneSnapshot
) -> None:
    plan = make(known)
    seen, towards = plan.viewpoint(known.place, aspect=aspect), plan.plane.towards
    path = in_window(plan.path, seen, known.place, aspect)
    assert (np.abs(path) <= 0.86).all(), "all of the path, with some room"
    assert path[-1, 0] > path[0, 0], "begin to end from left to right"
    points = in_window(plan.cloud, seen, known.place, aspect)
    assert (np.abs(points) <= 1).all(1).mean() >= 0.8
    assert np.percentile(np.abs(points).max(1), 95) > 0.5, "and from as near as that goes"
    assert (seen.position - seen.look_at) @ towards / seen.distance == pytest.approx(1.0, abs=1e-3)
    level = np.cross(seen.look_at - seen.position, known.place.up)
    assert level @ plan.plane.axes[0] == pytest.approx(np.linalg.norm(level)), "right is right, straight down too"


def test_a_plan_without_points_is_of_the_path(known: SceneSnapshot) -> None:
    plan = replace(plan_from_above(known), points=known.snapshot.points[:0])
    path = in_window(plan.path, plan.viewpoint(known.place, aspect=1.2), known.place, 1.2)
    assert (np.abs(path) <= 0.86).all()


def drawn_radii(seen: Viewpoint, place: SceneLayout, aspect: float) -> np.ndarray:
    """Of the points' discs along x and y, where the window's half width and height are 1."""
    depth = (place.extent * place.unit - seen.position) @ (seen.look_at - seen.position) / seen.distance
    return (place.radii * place.unit / depth / np.tan(ORBIT_FOV / 2))[:, None] / [aspect, 1.0]


def in_window(positions: np.ndarray, seen: Viewpoint, place: SceneLayout, aspect: float) -> np.ndarray:
    """x and y, from -1 to 1 in the window."""
    ahead = (seen.look_at - seen.position) / seen.distance
    right = np.cross(ahead, place.up) / np.linalg.norm(np.cross(ahead, place.up))
    offset = positions * place.unit - seen.position
    flat = offset @ np.stack([right / aspect, np.cross(ahead, right)], 1)
    return flat / (offset @ ahead)[:, None] / np.tan(ORBIT_FOV / 2)


def test_the_nearest_view_touches_on_both_sides() -> None:
    generator = np.random.default_rng(3)
    path = generator.normal(size=(50, 3)) * [3.0, 1.0, 2.0]
    slopes = (0.7, 0.4)
    position = nearest_view(np.zeros((0, 3)), path, slopes=slopes, radii=np.zeros(0))
    over = np.abs(path - position)[:, :2] / slopes - (path - position)[:, 2:]
    assert over.max() == pytest.approx(0, abs=1e-9)
    nearer = position + np.array([0, 0, 0.01])
    assert (np.abs(path - nearer)[:, :2] / slopes - (path - nearer)[:, 2:]).max() > 0


def test_what_is_overhead_goes_with_the_camera_that_saw_it_first() -> None:
    up, eyes = np.array([0.0, 0.0, 1.0]), np.array([0.0, 10.0])
    heights = np.array([1.5, 0.5, 10.5, 11.5], np.float32)
    bytes4 = np.zeros(4, np.uint8)
    points = Points(
        position=heights[:, None] * up.astype(np.float32),
        rgb=np.zeros((4, 3), np.uint8),
        frame=np.array([0, 0, 1, 1], np.int32),
        depth=np.ones(4, np.float32),
        confidence=bytes4,
        edge=bytes4,
        normal=np.zeros((4, 3), np.int8),
    )
    assert overhead(points, up, eyes, 1.0).tolist() == [True, False, False, True]
    assert overhead(points, up, np.zeros(0), 1.0).tolist() == [False] * 4


def test_a_roof_is_over_most_of_the_ground_and_a_statue_is_none() -> None:
    up = np.array([0.0, -1.0, 0.0])
    x, z = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 10, 41), np.linspace(0, 10, 41)))
    floor, roof = np.stack([x, 0 * x, z], 1), np.stack([x, 0 * x - 3, z], 1)
    statue = roof[(abs(x - 5) < 1) & (abs(z - 5) < 1)]
    for top, roofed in ((roof, True), (statue, False), (roof[:0], False)):
        over = np.arange(len(floor) + len(top)) >= len(floor)
        assert is_roofed(np.concatenate([floor, top]), over, up, cell=0.5) is roofed


def test_the_room_is_looked_into_without_its_ceiling(known: SceneSnapshot) -> None:
    assert known.place.roofed
    points = known.snapshot.points
    below = points[in_heights(points, Settings(overhead=False), known.place)]
    assert 0.3 * len(points) < len(below) < len(points)
    heights = below.position.astype(np.float64) @ known.place.up
    assert (heights <= known.place.eyes[below.frame] + known.place.headroom).all()
    assert (known.place.extent @ known.place.up).max() <= known.place.eyes.max() + known.place.headroom


def test_behind_and_through_look_where_the_camera_looks(known: SceneSnapshot) -> None:
    matrix = known.cameras.world_from_cam[10]
    inside = through(known.cameras, 10, known.place)
    np.testing.assert_allclose(inside.position, matrix[:3, 3] * known.place.unit)
    np.testing.assert_allclose((inside.look_at - inside.position) / inside.distance, matrix[:3, 2], atol=1e-9)
    outside = behind(known.cameras, 10, known.place)
    assert (outside.position - inside.position) @ matrix[:3, 2] < 0
    assert (outside.position - inside.position) @ known.place.up > 0
    np.testing.assert_allclose(known.cameras.fov(10), 2 * np.arctan(24 / known.cameras.intrinsics[10, 1, 1]))


def test_other_points_may_come_in_any_order(known: SceneSnapshot) -> None:
    backwards = known.snapshot.points[np.arange(len(known.snapshot.points))[::-1]]
    again = with_points(known, backwards, edge=1.0)
    assert drawn(again, Settings(frame=11)) == drawn(known, Settings(frame=11))
    assert again.snapshot.edge == 1.0


def test_a_recording_that_nothing_can_be_trusted_of_can_be_looked_at(tmp_path: Path) -> None:
    shots = [replace(shot, depth=np.zeros_like(shot.depth)) for shot in scenes.room(5, size=(12, 16))]
    recording = scenes.write_recording(tmp_path / "flat", shots)
    known = load_snapshot(recording, budget=2000)
    assert home(known.cameras, known.place).distance > 0
    assert list(slab_clouds(known.snapshot, Settings(), known.place, start=0, stop=5)) == []
    assert snapshot_of(recording, known.snapshot).last == 4


def test_low_pictures_have_coarser_edges() -> None:
    assert usual_edge(64) > usual_edge(128) > usual_edge(400) == 0.03
