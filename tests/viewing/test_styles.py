"""The scene as splats and as a mesh, and what a correction changed, as values and as files."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import torch
import trimesh

from openloger.errors import InputError
from openloger.geometry import Sim3
from openloger.recording import CorrectionStep, Recording, add_correction, open_recording
from openloger.viewing import Settings, load_snapshot
from openloger.viewing.browser.mesher import Mesher
from openloger.viewing.browser.share import share_page, shown_bytes
from openloger.viewing.report.page import path_section
from openloger.viewing.scene import mesh as scene_mesh
from openloger.viewing.scene.display import HIDDEN, mask_picture, sized_clouds, splats
from openloger.viewing.scene.mesh import (
    MeshInterruptedError,
    MeshKey,
    SceneMesh,
    build_mesh,
    glb_bytes,
    visible_mesh,
)
from openloger.viewing.scene.snapshot import SceneSnapshot, closures, snapshot_of

FRAMES = 30
KEY = MeshKey(0.1, 0.15)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return scenes.write_recording(tmp_path_factory.mktemp("walk") / "walk", scenes.room(FRAMES))


@pytest.fixture(scope="module")
def known(walk: Recording) -> SceneSnapshot:
    return load_snapshot(walk, budget=8000)


@pytest.fixture(scope="module")
def mesh(walk: Recording) -> SceneMesh:
    return build_mesh(walk, KEY, progress=lambda share: None, is_wanted=lambda: True)


def test_splats_are_flat_discs_as_wide_as_the_points_are_drawn(known: SceneSnapshot) -> None:
    settings, points = Settings(frame=FRAMES, extent="everything", edge_max=0.15), known.snapshot.points
    drawn = {"edge": known.snapshot.edge, "frame_count": FRAMES}
    flat = splats(points, settings, known.place, **drawn)
    clouds = list(sized_clouds(points, settings, known.place, **drawn))
    assert flat is not None
    assert len(flat.position) == sum(len(cloud.position) for cloud in clouds)
    deviations = np.sqrt(np.linalg.eigvalsh(flat.covariance.astype(np.float64)))  # ascending
    turned = deviations[:, 0] < 0.5 * deviations[:, 2]
    assert turned.mean() > 0.95, "hardly any point has no normal"
    np.testing.assert_allclose(deviations[turned, 0], 0.1 * deviations[turned, 2], rtol=0.01)
    np.testing.assert_allclose(deviations[turned, 1], deviations[turned, 2], rtol=0.01)
    sizes = np.sort(np.concatenate([np.full(len(cloud.position), cloud.size) for cloud in clouds]))
    np.testing.assert_allclose(np.sort(2 * deviations[:, 2]), sizes, rtol=0.01)


def test_on_the_floor_splats_lie_flat(known: SceneSnapshot) -> None:
    points = known.snapshot.points
    floor = known.place.ground
    heights = points.position.astype(np.float64) @ known.place.up
    low = points[(np.abs(heights - floor) < 0.05) & (points.edge < 20)]
    flat = splats(
        low, Settings(extent="everything", edge_max=0.15), known.place, edge=known.snapshot.edge, frame_count=FRAMES
    )
    assert flat is not None
    assert len(flat.position) > 50
    thin = np.linalg.eigh(flat.covariance.astype(np.float64))[1][..., 0]
    assert np.median(np.abs(thin @ known.place.up)) > 0.95


def test_of_no_points_there_are_no_splats(known: SceneSnapshot) -> None:
    nothing = Settings(confidence_min=1.0)
    assert splats(known.snapshot.points, nothing, known.place, edge=1.0, frame_count=FRAMES) is None
    with pytest.raises(InputError, match="lower confidence"):
        shown_bytes(known, replace(nothing, style="splats"), None)


def test_the_splats_shown_are_saved_as_3dgs_has_them(known: SceneSnapshot) -> None:
    settings = Settings(frame=12, style="splats", edge_max=0.15)
    header, _, body = shown_bytes(known, settings, None).partition(b"end_header\n")
    names = [line.split()[-1].decode() for line in header.splitlines() if line.startswith(b"property")]
    rows = np.frombuffer(body, [(name, "<f4") for name in names])
    flat = splats(
        known.snapshot.points[known.snapshot.points.frame <= 12],
        settings,
        known.place,
        edge=known.snapshot.edge,
        frame_count=FRAMES,
    )
    assert flat is not None
    assert len(rows) == len(flat.position)
    xyz = np.stack([rows[axis] for axis in "xyz"], 1)
    np.testing.assert_allclose(xyz * known.place.unit, flat.position, rtol=1e-5)
    width = 2 * np.exp(rows["scale_0"]) * known.place.unit
    np.testing.assert_allclose(width, 2 * np.sqrt(np.linalg.eigvalsh(flat.covariance)[:, -1]), rtol=0.01)
    np.testing.assert_allclose(1 / (1 + np.exp(-rows["opacity"])), flat.opacity, rtol=1e-4)


def off_the_room(positions: np.ndarray, first_from_world: np.ndarray) -> np.ndarray:
    """Distance from the made-up room's walls and balls; `first_from_world` is the first camera's."""
    world = (positions - first_from_world[:3, 3]) @ first_from_world[:3, :3]
    low, high = np.array([-2.5, -1.5, -4.0]), np.array([2.5, 1.2, 4.5])
    walls = np.minimum(np.abs(world - low), np.abs(world - high)).min(1)
    balls = [((-1.2, 0.6, 1.0), 0.6), ((1.3, 0.8, 2.4), 0.4), ((0.2, 0.9, 3.4), 0.3)]
    off = [np.abs(np.linalg.norm(world - centre, axis=1) - radius) for centre, radius in balls]
    return np.min([walls, *off], axis=0)


def test_the_mesh_lies_on_the_surfaces(walk: Recording, mesh: SceneMesh) -> None:
    first_from_world = np.linalg.inv(scenes.room(FRAMES)[0].world_from_cam)
    off = off_the_room(mesh.vertices.astype(np.float64), first_from_world)
    assert len(mesh.faces) > 1000
    assert np.quantile(off, 0.9) < mesh.voxel
    assert mesh.faces.max() < len(mesh.vertices)
    assert mesh.frame_count == len(walk)


def test_a_mesh_is_made_coarser_until_it_is_small_enough(
    walk: Recording, mesh: SceneMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene_mesh, "MOST_VERTICES", len(mesh.vertices) // 2)
    smaller = build_mesh(walk, KEY, progress=lambda share: None, is_wanted=lambda: True)
    assert len(smaller.vertices) <= len(mesh.vertices) // 2
    assert smaller.voxel > mesh.voxel


def test_a_mesh_that_is_no_longer_wanted_is_given_up(walk: Recording) -> None:
    shares: list[float] = []
    with pytest.raises(MeshInterruptedError):
        build_mesh(walk, KEY, progress=shares.append, is_wanted=lambda: len(shares) < 5)
    assert len(shares) == 5
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1


@pytest.mark.parametrize(("key", "said"), [(MeshKey(0.1, 0.0), "edges 0"), (MeshKey(1.0, None), "no surface is left")])
def test_where_there_is_no_mesh_it_is_said(walk: Recording, key: MeshKey, said: str) -> None:
    with pytest.raises(InputError, match=said):
        build_mesh(walk, key, progress=lambda share: None, is_wanted=lambda: True)
    mesher = Mesher(walk)
    try:
        until(lambda: mesher.mesh(key) is None and said in mesher.note(key))
    finally:
        mesher.close()


def test_a_mesh_of_a_recording_that_changed_meanwhile_is_not_kept(
    walk: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[SceneMesh] = []

    def made_while_it_changes(*args: Any, **kwargs: Any) -> SceneMesh:
        made.append(build_mesh(*args, **kwargs))
        if len(made) == 1:
            mesher.discard()  # after the last look whether it is still wanted
        return made[-1]

    monkeypatch.setattr("openloger.viewing.browser.mesher.build_mesh", made_while_it_changes)
    mesher = Mesher(walk)
    try:
        until(lambda: mesher.mesh(KEY) is not None)
        assert len(made) == 2
        assert mesher.mesh(KEY) is made[1]
    finally:
        mesher.close()


def test_windows_get_a_mesh_once_it_is_made(walk: Recording) -> None:
    mesher = Mesher(walk)
    try:
        assert mesher.mesh(KEY) is None
        assert "being made" in mesher.note(KEY)
        until(lambda: mesher.mesh(KEY) is not None)
        made = mesher.mesh(KEY)
        assert made is mesher.mesh(KEY)
        assert f"{FRAMES} frames" in mesher.note(KEY)
        mesher.discard()
        assert mesher.mesh(KEY) is None
    finally:
        mesher.close()


def until(condition: Callable[[], bool]) -> None:
    limit_s = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < limit_s, "waited in vain"
        time.sleep(0.02)


def test_heights_and_what_is_overhead_cut_the_mesh(known: SceneSnapshot, mesh: SceneMesh) -> None:
    place, centres = known.place, known.cameras.world_from_cam[:, :3, 3]
    whole = visible_mesh(mesh, Settings(), place, centres)
    assert len(whole.faces) == len(mesh.faces)
    cut = visible_mesh(mesh, Settings(height_range=(0.0, 0.5)), place, centres)
    assert 0 < len(cut.faces) < len(mesh.faces)
    assert (cut.vertices @ place.up).max() <= (place.low + place.high) / 2 + 1e-4
    assert place.roofed
    below = visible_mesh(mesh, Settings(overhead=False), place, centres)
    assert 0 < len(below.faces) < len(mesh.faces)
    assert (below.vertices @ place.up).max() <= place.eyes.max() + place.headroom + 1e-4
    coloured = visible_mesh(mesh, Settings(colouring="height"), place, centres)
    assert (coloured.rgb != whole.rgb).any()
    assert len(visible_mesh(mesh, Settings(height_range=(1.0, 1.0)), place, centres).faces) < len(mesh.faces) / 4


def test_the_mesh_shown_is_saved_as_glb(known: SceneSnapshot, mesh: SceneMesh) -> None:
    settings = Settings(style="mesh", height_range=(0.0, 0.6))
    shown = visible_mesh(mesh, settings, known.place, known.cameras.world_from_cam[:, :3, 3])
    data = shown_bytes(known, settings, mesh)
    assert data == glb_bytes(shown)
    read = trimesh.load(io.BytesIO(data), file_type="glb", force="mesh", process=False)
    np.testing.assert_allclose(read.vertices, shown.vertices * [1, -1, -1], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(read.faces, shown.faces)
    with pytest.raises(InputError, match="not made yet"):
        shown_bytes(known, settings, None)
    with pytest.raises(InputError, match="not made yet"):
        share_page(known, settings)


def bent(recording: Recording, *, loops: list[list[int]] | None = None) -> None:
    """A correction that turns and lifts the path's end."""
    turn = torch.tensor([[0.0, 0, 0, 0, 0, 0, 0], [0.1, 0.2, 0, 0, 0.15, 0, 0.05]], dtype=torch.float64)
    details = {} if loops is None else {"closures": loops}
    add_correction(
        recording.path,
        CorrectionStep("drift", (0, FRAMES - 1), Sim3.exp(turn), is_metric=False, is_upright=False, details=details),
    )


def test_the_path_as_recorded_begins_where_the_corrected_one_does(tmp_path: Path) -> None:
    recording = scenes.write_recording(tmp_path / "walk", scenes.room(FRAMES))
    overview = load_snapshot(recording, budget=4000).snapshot
    assert snapshot_of(recording, overview).recorded_path is None
    one = torch.ones(1, dtype=torch.float64)
    whole = Sim3(2 * one, torch.eye(3, dtype=torch.float64)[None], torch.ones(1, 3, dtype=torch.float64))
    add_correction(recording.path, CorrectionStep("gps", (0,), whole, is_metric=True, is_upright=False))
    recording.refresh()
    assert snapshot_of(recording, overview).recorded_path is None, "one similarity bends nothing"
    bent(recording, loops=[[0, 20], [3, 999]])
    recording.refresh()
    scene = snapshot_of(recording, overview)
    raw = open_recording(recording.path, corrected=False).world_from_cam[:, :3, 3]
    assert scene.recorded_path is not None
    np.testing.assert_allclose(scene.recorded_path, 2 * raw + 1, atol=1e-9)
    np.testing.assert_allclose(scene.recorded_path[0], scene.cameras.world_from_cam[0, :3, 3], atol=1e-9)
    assert scene.loops == ((0, 20),), "of frames that there are"
    ends = closures(scene)
    assert ends is not None
    np.testing.assert_array_equal(ends[0], scene.cameras.world_from_cam[[0, 20], :3, 3])
    reported = path_section(scene, unit="m")
    assert reported.count('class="s0 dotted"') == 4, "the path and one loop, from above and from the side"
    assert "closed loops (1)" in reported
    assert "dotted" not in path_section(replace(scene, recorded_path=None, loops=()), unit="m")


def test_what_a_mask_hides_is_red() -> None:
    rgb = np.full((2, 3, 3), 90, np.uint8)
    mask = np.array([[True, False, True], [True, True, True]])
    shown = mask_picture(rgb, mask)
    assert (shown[mask] == 90).all()
    assert np.abs(shown[0, 1].astype(float) - (0.35 * 90 + 0.65 * np.array(HIDDEN))).max() <= 1
