"""Scale, gravity and place are found where a world's truth is known, and refused where the data cannot decide."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from true_recordings import FPS, Walk, record, walk

from openloger.corrections import (
    Alignment,
    KnownDistance,
    PicturePoint,
    align_by_camera_height,
    align_by_depth,
    align_by_distances,
    align_by_gps,
    align_by_poses,
    align_up,
    apply,
    undo,
)
from openloger.corrections.ground_motion import best_height, heights_tried, level_normals
from openloger.errors import InputError, RecordingError
from openloger.geometry import rotation_from_axis_angle
from openloger.geometry.earth import GeoOrigin
from openloger.recording import Recording, open_recording

SCALE = 3.7
ORIGIN = GeoOrigin(47.3667, 8.55, 408.0)
START = "2026-05-01T10:00:00Z"
START_S = 1777629600.0


def geodetic(centres: np.ndarray) -> np.ndarray:
    """Latitude, longitude and altitude of points of a world (x east, y down, z north) at ORIGIN, by another way."""
    from pyproj import Transformer

    place = f"+lat_0={ORIGIN.latitude_deg} +lon_0={ORIGIN.longitude_deg} +h_0={ORIGIN.altitude_m}"
    to_earth = Transformer.from_pipeline(f"+proj=pipeline +step +inv +proj=topocentric +ellps=WGS84 {place}")
    to_degrees = Transformer.from_crs("EPSG:4978", "EPSG:4979", always_xy=True)
    longitude, latitude, altitude = to_degrees.transform(
        *to_earth.transform(centres[:, 0], centres[:, 2], -centres[:, 1])
    )
    return np.stack([latitude, longitude, altitude], 1)


def write_csv(path: Path, centres: np.ndarray, times_s: np.ndarray, *, heights: bool = True) -> Path:
    rows = ["time,lat,lon" + (",ele" if heights else "")]
    for (latitude, longitude, altitude), time_s in zip(geodetic(centres), times_s, strict=True):
        rows.append(f"{time_s},{latitude:.9f},{longitude:.9f}" + (f",{altitude:.3f}" if heights else ""))
    path.write_text("\n".join(rows))
    return path


def write_gpx(path: Path, centres: np.ndarray, times_s: np.ndarray) -> Path:
    from datetime import UTC, datetime

    points = [
        f'<trkpt lat="{latitude:.9f}" lon="{longitude:.9f}"><ele>{altitude:.3f}</ele>'
        f"<time>{datetime.fromtimestamp(START_S + time_s, UTC).isoformat()}</time></trkpt>"
        for (latitude, longitude, altitude), time_s in zip(geodetic(centres), times_s, strict=True)
    ]
    head = '<?xml version="1.0"?><gpx xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>'
    path.write_text(f"{head}{''.join(points)}</trkseg></trk></gpx>")
    return path


def errors(recording: Recording, found: Alignment, made: Walk) -> np.ndarray:
    """Distances of the aligned cameras from the true ones, up to a shift of the world."""
    apply(recording, found)
    off = recording.world_from_cam[:, :3, 3] - made.true_centres
    return np.linalg.norm(off - off.mean(0), axis=1)


def test_gps_gives_metres_and_place(recording: Recording, street: Walk, tmp_path: Path) -> None:
    times_s = np.array([sample.timestamp_s for sample in street.samples])
    dice = np.random.default_rng(0)
    centres = street.true_centres + dice.normal(0, 0.05, street.true_centres.shape)
    centres[::7] += dice.normal(0, 300, centres[::7].shape)  # outliers
    found = align_by_gps(recording, write_gpx(tmp_path / "a.gpx", centres, times_s), start=START)
    assert found.scale == pytest.approx(SCALE, rel=0.01)
    assert found.given == 40
    assert 30 <= found.used <= 34
    assert found.residual == pytest.approx(0.05 * np.sqrt(3), rel=0.35)
    assert errors(recording, found, street).max() < 0.1
    assert recording.is_metric
    assert recording.is_upright
    assert recording.origin is not None
    again = recording.origin.utm_from_world(recording.world_from_cam[:1, :3, 3])[0]
    wanted = ORIGIN.utm_from_world(street.true_centres[:1])[0]
    np.testing.assert_allclose(again, wanted, atol=0.2)


def test_a_track_of_another_clock_is_refused_and_one_that_is_late_is_found(
    recording: Recording, street: Walk, tmp_path: Path
) -> None:
    times_s = np.array([sample.timestamp_s for sample in street.samples])
    with pytest.raises(InputError, match=r"do not overlap.*--start"):
        align_by_gps(recording, write_gpx(tmp_path / "a.gpx", street.true_centres, times_s))
    far = write_csv(tmp_path / "far.csv", street.true_centres, times_s + 500)
    with pytest.raises(InputError, match="do not overlap"):
        align_by_gps(recording, far, start="0")
    three = write_csv(tmp_path / "three.csv", street.true_centres[:3], times_s[:3])
    with pytest.raises(InputError, match="3 of its fixes fall into the recording; 4 are needed"):
        align_by_gps(recording, three)


def test_a_straight_track_leaves_the_rotation_to_gravity(recording: Recording, street: Walk, tmp_path: Path) -> None:
    """The truth of a straight part: its rotation about itself can come from the pictures alone."""
    centres, times_s = street.true_centres, np.array([sample.timestamp_s for sample in street.samples])
    centres = centres[:12]
    file = write_csv(tmp_path / "a.csv", centres, times_s[:12], heights=False)
    found = align_by_gps(recording, file)
    assert any("rotation about it is free" in note for note in found.notes)
    assert found.scale == pytest.approx(SCALE, rel=0.05)
    apply(recording, found)
    up = -recording.world_from_cam[:, :3, 1].mean(0)
    true_up = -street.true_world_from_cam[:, :3, 1].mean(0)
    assert np.rad2deg(np.arccos(up @ true_up / np.linalg.norm(up) / np.linalg.norm(true_up))) < 4


def test_a_track_of_another_path_is_refused(recording: Recording, tmp_path: Path) -> None:
    turn = np.linspace(0, 20, 40)
    centres = np.stack([30 * np.cos(turn), 0 * turn, 30 * np.sin(turn)], 1)
    file = write_csv(tmp_path / "a.csv", centres, np.arange(40) / FPS)
    with pytest.raises(InputError, match="does not have the shape"):
        align_by_gps(recording, file)


def test_drift_bends_the_path_to_the_fixes(street: Walk, tmp_path: Path) -> None:
    recording = record(street, tmp_path / "street", growth=0.3, swerve=0.2)
    times_s = np.array([sample.timestamp_s for sample in street.samples])
    file = write_csv(tmp_path / "a.csv", street.true_centres, times_s)
    stiff, bent = align_by_gps(recording, file), align_by_gps(recording, file, drift=True)
    assert stiff.residual is not None
    assert bent.residual is not None
    assert bent.residual < stiff.residual / 4
    assert errors(recording, bent, street).max() < 0.4
    depths = [recording.depth(frame)[street.samples[frame].valid] for frame in (0, 39)]
    true = [street.samples[frame].depth[street.samples[frame].valid] for frame in (0, 39)]
    ratios = [np.median(depth / wanted) for depth, wanted in zip(depths, true, strict=True)]
    np.testing.assert_allclose(ratios, 1, atol=0.08)  # 0.86 and 1.16 with one scale for all


@pytest.mark.parametrize("kind", ["kitti", "tum", "json"])
def test_poses_give_scale_and_frame(recording: Recording, street: Walk, tmp_path: Path, kind: str) -> None:
    true, times_s = street.true_world_from_cam, np.array([sample.timestamp_s for sample in street.samples])
    if kind == "kitti":
        file = tmp_path / "poses.txt"
        np.savetxt(file, true[:, :3].reshape(-1, 12))
    elif kind == "tum":
        from openloger.export.trajectories import quaternions_wxyz

        file = tmp_path / "poses.txt"
        xyzw = np.roll(quaternions_wxyz(true), -1, axis=-1)
        np.savetxt(file, np.concatenate([times_s[:, None], true[:, :3, 3], xyzw], 1))
    else:
        gl = np.diag([1.0, -1, -1, 1])
        frames = [
            {"timestamp": time_s, "transform": (gl @ matrix @ gl).T.ravel().tolist()}
            for time_s, matrix in zip(times_s, true, strict=True)
        ]
        file = tmp_path / "poses.json"
        file.write_text(json.dumps({"frames": frames}))
    found = align_by_poses(recording, file)
    apply(recording, found)
    np.testing.assert_allclose(recording.world_from_cam, true, atol=1e-4)
    assert found.scale == pytest.approx(SCALE, rel=1e-4)


def test_poses_in_millimetres_are_refused_or_named(recording: Recording, street: Walk, tmp_path: Path) -> None:
    true = street.true_world_from_cam
    true[:, :3, 3] *= 1000
    np.savetxt(tmp_path / "poses.txt", true[:, :3].reshape(-1, 12))
    with pytest.raises(InputError, match=r"taken as metres, the scene is .* give its unit"):
        align_by_poses(recording, tmp_path / "poses.txt")
    assert align_by_poses(recording, tmp_path / "poses.txt", unit="mm").scale == pytest.approx(SCALE, rel=1e-4)


def test_distances_give_the_scale(recording: Recording, street: Walk) -> None:
    known = [_distance(street, 5, np.array([90, 25]), np.array([90, 100]))]  # on the ground
    found = align_by_distances(recording, known)
    assert found.scale == pytest.approx(SCALE, rel=0.05)
    assert found.residual is None
    with pytest.raises(InputError, match="outside the picture, which has 128×96"):
        align_by_distances(recording, [KnownDistance(PicturePoint(0, 500.0, 5.0), PicturePoint(0, 5.0, 5.0), 1.0)])
    with pytest.raises(InputError, match="no frame 400; the recording has 0 to 39"):
        align_by_distances(recording, [KnownDistance(PicturePoint(400, 5.0, 5.0), PicturePoint(0, 5.0, 5.0), 1.0)])
    with pytest.raises(InputError, match="too near each other"):
        align_by_distances(recording, [KnownDistance(known[0].first, known[0].first, 1.0)])
    far = KnownDistance(known[0].first, known[0].second, 3 * known[0].metres)
    with pytest.raises(InputError, match="contradict each other"):
        align_by_distances(recording, [*known, far])


def _distance(made: Walk, frame: int, first: np.ndarray, second: np.ndarray) -> KnownDistance:
    sample = made.samples[frame]
    points = []
    for row, column in (first, second):
        ray = np.linalg.inv(sample.intrinsics) @ np.array([column + 0.5, row + 0.5, 1.0])
        points.append(sample.depth[row, column] * ray)
    ends = [PicturePoint(frame, float(column) + 0.5, float(row) + 0.5) for row, column in (first, second)]
    return KnownDistance(ends[0], ends[1], float(np.linalg.norm(points[0] - points[1])))


@pytest.mark.parametrize("family", ["rooms", "street"])
def test_gravity_is_found(tmp_path: Path, family: str) -> None:
    made = walk(family, 3, 40 if family == "street" else 24)
    recording = record(made, tmp_path / family)
    found = align_up(recording)
    apply(recording, found)
    true_up_cam = -made.true_world_from_cam[:, 1, :3]  # up of the true world is −y, in each camera's axes
    ups = np.einsum("nij,nj->ni", recording.world_from_cam[:, :3, :3], true_up_cam)
    off = np.rad2deg(np.arccos(np.clip(-ups[:, 1], -1, 1)))
    assert off.max() < 1.0
    assert recording.is_upright
    assert not recording.is_metric
    with pytest.raises(InputError, match="upright already"):
        align_up(recording)


@pytest.mark.parametrize("drift", [False, True])
def test_camera_height_gives_the_scale(street: Walk, tmp_path: Path, drift: bool) -> None:
    recording = record(street, tmp_path / "street", growth=0.4 if drift else 0.0)
    heights = -(street.true_centres[:, 1] + 0.0)
    found = align_by_camera_height(recording, float(np.median(heights)), drift=drift)
    apply(recording, found)
    walked = np.linalg.norm(np.diff(recording.world_from_cam[:, :3, 3], axis=0), axis=1)
    true = np.linalg.norm(np.diff(street.true_centres, axis=0), axis=1)
    for part in (slice(0, 10), slice(-10, None)):
        assert walked[part].sum() == pytest.approx(true[part].sum(), rel=0.12)


@pytest.mark.parametrize(("noise", "is_refused"), [(0.0, False), (0.07, False), (0.3, True)])
def test_heights_that_differ_decide_nothing(street: Walk, tmp_path: Path, noise: float, is_refused: bool) -> None:
    """Depth whose scale is another one in each frame: a little of that is what networks have (docs/scale.md)."""
    dice = np.random.default_rng(1)
    factors = np.exp(noise * dice.standard_normal(len(street.samples)))
    samples = tuple(
        replace(sample, depth=sample.depth * np.float32(factor))
        for sample, factor in zip(street.samples, factors, strict=True)
    )
    recording = record(replace(street, samples=samples), tmp_path / "street")
    heights = -street.true_centres[:, 1]
    if is_refused:
        with pytest.raises(InputError, match=r"differ by \d\d % .* 15 % .* stretches of the path .* --drift"):
            align_by_camera_height(recording, float(np.median(heights)))
        return
    found = align_by_camera_height(recording, float(np.median(heights)))
    assert found.scale == pytest.approx(SCALE, rel=0.06)
    assert any("stretches of the path it is × " in note for note in found.notes)


def with_depth_times(made: Walk, factor: float) -> Walk:
    """All of its depth too large by one factor, its path as it is."""
    return replace(made, samples=tuple(replace(one, depth=one.depth * np.float32(factor)) for one in made.samples))


@pytest.mark.parametrize("factor", [1.0, 0.7, 1.35])
@pytest.mark.parametrize("drift", [False, True])
def test_depth_of_another_scale_than_the_path_is_seen_by_the_ground(
    street: Walk, tmp_path: Path, factor: float, drift: bool
) -> None:
    """Heights by depth agree with each other then, and all are wrong for the path."""
    recording = record(with_depth_times(street, factor), tmp_path / "street")
    height = float(np.median(-street.true_centres[:, 1]))
    if factor == 1:
        notes = align_by_camera_height(recording, height, drift=drift).notes
        (note,) = (one for one in notes if "by the motion of the ground, in" in one)
        assert float(note.rpartition(" ")[2]) == pytest.approx(SCALE, rel=0.05)
        assert any("--camera" in one for one in notes)
        return
    with pytest.raises(InputError, match="depth and path contradict each other: by depth") as refused:
        align_by_camera_height(recording, height, drift=drift)
    by_depth, by_motion = (float(one.rstrip(",;")) for one in re.findall(r"× ([\d.]+)", str(refused.value)))
    assert by_depth == pytest.approx(SCALE / factor, rel=0.06)
    assert by_motion == pytest.approx(SCALE, rel=0.05)


@pytest.mark.parametrize("without", ["texture", "motion"])
def test_ground_that_decides_nothing_is_said(street: Walk, tmp_path: Path, without: str) -> None:
    if without == "texture":
        samples = tuple(replace(one, rgb=np.full_like(one.rgb, 90)) for one in street.samples)
    else:
        samples = street.samples[:1] * 12
    recording = record(replace(street, samples=samples), tmp_path / "street")
    (note,) = (one for one in align_by_camera_height(recording, 1.6).notes if "depth alone" in one)
    assert "in 0 of" in note


@given(shift=st.floats(-1.0, 1.0), width=st.floats(0.06, 0.3), floor=st.floats(-0.2, 0.3))
def test_the_best_height_is_where_the_pictures_agree_most(shift: float, width: float, floor: float) -> None:
    curve = floor + (0.8 - floor) * np.exp(-(((heights_tried() - shift) / width) ** 2))
    assert best_height(curve) == pytest.approx(shift, abs=0.002)
    assert best_height(floor + 0.15 * (curve - floor)) is None  # too flat
    assert best_height(heights_tried() / 2) is None  # best at the end


@given(pitch=st.floats(-8, 8), roll=st.floats(-8, 8), seed=st.integers(0, 1000))
def test_normals_are_tilted_so_that_the_cameras_move_along_the_ground(pitch: float, roll: float, seed: int) -> None:
    """A tilt that all cameras share is found where they move both ways, outliers or not; and else in the one way."""
    dice = np.random.default_rng(seed)
    level_cameras = rotation_from_axis_angle(
        torch.tensor([0.0, 1.0, 0.0]) * torch.from_numpy(dice.normal(size=(40, 1)))
    )
    turn = (level_cameras @ rotation_from_axis_angle(torch.tensor([-0.15, 0.0, 0.0]).double())).numpy()  # looking down
    level = dice.uniform(-np.pi, np.pi, 40)
    ways = np.stack([np.sin(level), np.zeros(40), np.cos(level)], 1)
    ways[::8, 1] = 0.5  # stairs
    true = np.tile([0.0, -1.0, 0.0], (40, 1))
    ahead, right = level_cameras[:, :, 2].numpy(), level_cameras[:, :, 0].numpy()
    tilted = true + np.tan(np.deg2rad(pitch)) * ahead + np.tan(np.deg2rad(roll)) * right
    tilted /= np.linalg.norm(tilted, axis=1, keepdims=True)
    found = level_normals(tilted, turn, ways)
    assert np.rad2deg(np.arccos((found * true).sum(1).clip(-1, 1))).max() < 0.2 * abs(pitch) + 0.2 * abs(roll) + 1.0
    straight = np.tile([0.0, 0.0, 1.0], (40, 1))
    one_way = level_normals(tilted, np.tile(np.eye(3), (40, 1, 1)), straight)
    assert (
        np.abs(one_way[:, 0] - tilted[:, 0]).max() < 0.03
    )  # no camera moves sideways, and nothing says which is level


@pytest.mark.parametrize("ending", ["npy", "png"])
def test_depth_maps_give_the_scale(recording: Recording, street: Walk, tmp_path: Path, ending: str) -> None:
    from PIL import Image

    folder = tmp_path / "depth"
    folder.mkdir()
    for frame in range(0, 40, 5):
        depth = np.where(street.samples[frame].valid, street.samples[frame].depth, 0)[::2, ::2]
        if frame == 10:
            depth = depth * 9  # a map that is wrong
        if ending == "npy":
            np.save(folder / f"{frame:06d}.npy", depth)
        else:
            Image.fromarray((depth * 1000).clip(0, 65534).astype(np.uint16)).save(folder / f"{frame:06d}.png")
    found = align_by_depth(recording, folder)
    assert found.scale == pytest.approx(SCALE, rel=0.03)
    assert (found.used, found.given) == (7, 8)


def test_undo_brings_back_what_was_recorded(recording: Recording) -> None:
    cameras, depth = recording.world_from_cam, recording.depth(3)
    apply(recording, align_up(recording))
    apply(recording, align_by_camera_height(recording, 1.6))
    assert recording.depth(3).max() > 2 * depth.max()
    assert undo(recording).method == "camera-height"
    np.testing.assert_array_equal(recording.depth(3), depth)
    assert undo(recording).method == "up"
    np.testing.assert_array_equal(recording.world_from_cam, cameras)
    assert recording.correction is None
    with pytest.raises(RecordingError, match="nothing to undo"):
        undo(recording)


def test_poses_that_are_all_unknown_are_said_to_be(recording: Recording, tmp_path: Path) -> None:
    np.savetxt(tmp_path / "poses.txt", np.full((len(recording), 12), np.nan))
    with pytest.raises(InputError, match="no pose of finite numbers"):
        align_by_poses(recording, tmp_path / "poses.txt")


@pytest.mark.parametrize("start", ["nan", "inf"])
def test_a_start_that_is_no_time_is_refused(recording: Recording, street: Walk, tmp_path: Path, start: str) -> None:
    file = write_csv(tmp_path / "a.csv", street.true_centres, np.arange(len(street.true_centres)) / FPS)
    with pytest.raises(InputError, match=f"start {start}: time 0 is not a finite number"):
        align_by_gps(recording, file, start=start)


def test_of_two_alignments_of_the_same_cameras_one_is_written(recording: Recording) -> None:
    """As two commands at once compute them: applied one behind the other, both would be wrong."""
    other = open_recording(recording.path)
    found, late = align_by_camera_height(recording, 1.6), align_by_camera_height(other, 1.6)
    apply(recording, found)
    with pytest.raises(RecordingError, match="another command has changed its correction"):
        apply(other, late)
    assert open_recording(recording.path).correction_texts == recording.correction_texts
    assert len(recording.correction_texts) == 1
