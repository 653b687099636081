"""The exporters on a recording that lies on disk, and the two commands that read one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
import trimesh
from placed_windows import placed_window
from stand_in import StandIn, pixels_of, project

from openloger.cli import main
from openloger.export import FORMATS, PointSelection, export_recording
from openloger.geometry import unproject
from openloger.outputs import MANIFEST
from openloger.recording import Recording, RecordingMeta, create_recording, open_recording
from openloger.values import Frame

FRAMES = 20  # more than one chunk on disk


def record(folder: Path, *, complete: bool = True) -> Recording:
    made = StandIn(FRAMES)
    depth = torch.from_numpy(np.stack([made.depth(i) for i in range(FRAMES)]))
    placed = placed_window(
        [Frame(made.rgb(i), i, float(made.timestamps_s[i]), made.names[i]) for i in range(FRAMES)],
        torch.from_numpy(made.world_from_cam),
        unproject(depth, torch.from_numpy(made.intrinsics).float()),
        torch.from_numpy(np.stack([made.confidence(i) for i in range(FRAMES)])),
    )
    meta = RecordingMeta(
        height=made.height,
        width=made.width,
        source="my clip.mp4",
        network="pocket",
        weights_hash=None,
        settings={"window": 32},
    )
    writer = create_recording(folder, meta)
    writer.append(placed)
    if complete:
        writer.finish(complete=True)
    writer.close()
    return open_recording(folder)


def test_pycolmap_projects_a_recordings_points_to_their_pixels(tmp_path: Path) -> None:
    recording = record(tmp_path / "out")
    export_recording(recording, "colmap", tmp_path / "model", selection=PointSelection(pixel_stride=3))
    model = pycolmap.Reconstruction(str(tmp_path / "model" / "sparse" / "0"))
    assert model.num_reg_images() == FRAMES
    assert {point.color[1] for point in model.points3D.values()} == set(range(3, 24, 3))  # row 0 has little confidence
    for point in model.points3D.values():
        ((frame,), (xy,)) = pixels_of(point.color[None])
        np.testing.assert_allclose(model.images[frame + 1].project_point(point.xyz), xy, atol=1e-6)


def test_points_are_the_recordings_own(tmp_path: Path) -> None:
    recording = record(tmp_path / "out")
    export_recording(recording, "ply", tmp_path / "cloud.ply")
    cloud = trimesh.load(tmp_path / "cloud.ply", process=False)
    frames, xy = pixels_of(np.asarray(cloud.colors))
    rows, columns = np.floor(xy.T[::-1]).astype(int)
    own = np.stack([recording.points_world(i) for i in range(FRAMES)])[frames, rows, columns]
    np.testing.assert_allclose(cloud.vertices, own, atol=1e-5)
    back = project(np.asarray(cloud.vertices), recording.intrinsics[frames], recording.world_from_cam[frames])
    np.testing.assert_allclose(back, xy, atol=1e-3)


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


@pytest.mark.parametrize("to", FORMATS)
def test_the_command_writes_every_format_beside_the_recording(
    tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "out")
    assert run("export", tmp_path / "out", "--to", to, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["frames"] == FRAMES
    assert all(Path(entry).exists() for entry in told["written"])
    output = tmp_path / f"out{FORMATS[to].ending}"
    proof = output if output.is_dir() else tmp_path  # of who wrote it
    assert {*tmp_path.iterdir(), proof / MANIFEST} == {tmp_path / "out", output, proof / MANIFEST}
    assert (proof / MANIFEST).is_file()


def test_the_command_takes_a_selection_and_a_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "out", complete=False)
    options = ["--confidence-min", "0.5", "--depth-edge", "None", "--max-points", "321", "--frame-stride", "2"]
    assert run("export", tmp_path / "out", "--to", "ply", "-o", tmp_path / "a" / "b.ply", *options) == 0
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'a' / 'b.ply'}\n"
    assert f"is not complete; what it has is exported ({FRAMES} frames)" in told.err
    cloud = trimesh.load(tmp_path / "a" / "b.ply", process=False)
    assert len(cloud.vertices) == 321
    assert set(np.asarray(cloud.colors)[:, 0].tolist()) <= set(range(0, FRAMES, 2))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere", "--to", "ply"], "there is no such folder"),
        (["out", "--to", "ply", "--confidence-min", "7"], "confidence_min is 7.0: it must be from 0 to 1"),
        (["out", "--to", "ply", "-o", "out"], "out is a folder, and export ply writes one file"),
        (["out", "--to", "colmap", "-o", "out"], "out exists"),
        (["out", "--to", "tum", "--images", "out"], "tum has no pictures"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    record(Path("out"))
    assert run("export", *arguments) == 2
    told = capsys.readouterr().err
    assert complaint in told
    assert told.count("\n") == 1


def test_info_tells_what_a_recording_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = record(tmp_path / "out")
    assert run("info", tmp_path / "out", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["frames"], told["height"], told["width"], told["complete"]) == (FRAMES, 24, 32, True)
    assert told["duration_s"] == pytest.approx((FRAMES - 1) / 30)
    steps = np.linalg.norm(np.diff(recording.world_from_cam[:, :3, 3], axis=0), axis=1)
    assert told["path_length"] == pytest.approx(steps.sum())
    assert told["focal_px"][1] == pytest.approx(np.median(recording.intrinsics[:, 0, 0]))
    assert told["residual_px"] < 0.5
    points = np.concatenate([recording.points_world(i)[1:].reshape(-1, 3) for i in range(FRAMES)])
    for axis in range(3):
        assert points[:, axis].min() <= told["scene_box"]["low"][axis] < told["scene_box"]["high"][axis]
        assert told["scene_box"]["high"][axis] <= points[:, axis].max()
    assert run("info", tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert f"{FRAMES} of 24×32 pixels, 0.6 s" in told
    assert "window 32" in told


def test_info_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "out", complete=False)
    assert run("info", tmp_path / "out", "--json") == 0
    command = f"openloger reconstruct 'my clip.mp4' -o {tmp_path / 'out'} --resume"
    assert json.loads(capsys.readouterr().out)["resume"] == command
    assert run("info", tmp_path / "out") == 0
    assert command in capsys.readouterr().out


def test_info_of_a_recording_without_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meta = RecordingMeta(height=6, width=8, source="x", network="pocket", weights_hash=None, settings={})
    create_recording(tmp_path / "out", meta).close()
    assert run("info", tmp_path / "out") == 0
    assert "0 of 6×8 pixels" in capsys.readouterr().out
    assert run("export", tmp_path / "out", "--to", "ply") == 2
    assert "no frames yet" in capsys.readouterr().err
