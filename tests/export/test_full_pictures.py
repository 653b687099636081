"""Pictures of the source at full size: the recorded frames, undistorted if the run was, and no other's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from PIL import Image
from placed_windows import placed_window

from openloger.cli import main
from openloger.errors import InputError
from openloger.export import SourceFrames, export_recording
from openloger.frames import open_frames, resize_rgb
from openloger.frames.identity import identity
from openloger.frames.lenses import read_camera, undistorted
from openloger.geometry import scale_intrinsics, unproject
from openloger.geometry.views import view_intrinsics
from openloger.recording import Recording, RecordingMeta, create_recording, open_recording
from openloger.values import Frame

SIZE, SMALL = (60, 80), (30, 40)
LENS = "opencv:60,60,41,29,-0.2,0.03,0.001,-0.001"
TAKEN = [2, 4, 6]  # of 8 frames


def picture(number: int) -> np.ndarray:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    levels = [128 + 100 * np.sin((x + 5 * number) / 9), 128 + 100 * np.cos(y / 8), 20 * number + 0 * x]
    return np.stack(levels, -1).astype(np.uint8)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(8):
        Image.fromarray(picture(number)).save(folder / f"shot {number}.png".replace(" ", "_"))
    return folder


def record(clip: Path, *, camera: str | None = None, hidden: np.ndarray | None = None) -> Recording:
    """A plane 3 before the camera, which moves to the right; `hidden`, a frame's own pixels, is masked."""
    source = open_frames(clip, start=2, stop=7, stride=2)
    frames = [Frame(resize_rgb(one.rgb, SMALL), one.index, one.timestamp_s, one.name, SIZE) for one in source]
    view = view_intrinsics(read_camera(camera or "pinhole:60,60,41,29"), SIZE)
    known = scale_intrinsics(view, from_size=SIZE, to_size=SMALL)
    meta = RecordingMeta(
        height=SMALL[0],
        width=SMALL[1],
        source=str(clip),
        source_size=SIZE,
        source_identity=identity(source),
        network="pocket",
        weights_hash=None,
        settings={},
        camera=camera,
        masks=None if hidden is None else {"given": True},
        known_intrinsics_px=tuple(known[at].item() for at in ((0, 0), (1, 1), (0, 2), (1, 2))),
    )
    world_from_cam = torch.eye(4).repeat(len(frames), 1, 1)
    world_from_cam[:, 0, 3] = torch.arange(len(frames)) / 10
    points = unproject(torch.full((len(frames), *SMALL), 3.0), known.float())
    confidence = torch.full((len(frames), *SMALL), 0.9)
    if hidden is not None:
        points[torch.from_numpy(hidden)], confidence[torch.from_numpy(hidden)] = 0, 1e-9
    out = clip.with_name("out")
    with create_recording(out, meta) as writer:
        writer.append(placed_window(frames, world_from_cam, points, confidence, known_intrinsics=known))
        writer.finish()
    return open_recording(out)


def model_of(folder: Path) -> pycolmap.Reconstruction:
    return pycolmap.Reconstruction(str(folder / "sparse" / "0"))


def test_the_recorded_frames_are_written_at_full_size(clip: Path, tmp_path: Path) -> None:
    export_recording(record(clip), "colmap", tmp_path / "model", images=SourceFrames())
    files = sorted((tmp_path / "model" / "images").iterdir())
    assert [file.name for file in files] == [f"frame_00000{number}.jpg" for number in range(3)]
    for file, number in zip(files, TAKEN, strict=True):
        assert np.abs(np.asarray(Image.open(file)).astype(int) - picture(number)).max() <= 6
    model = model_of(tmp_path / "model")
    (camera,) = model.cameras.values()
    assert (camera.height, camera.width) == SIZE
    np.testing.assert_allclose(camera.params, [60, 60, 41, 29])
    image = model.images[2]
    for point in image.points2D[::50]:
        np.testing.assert_allclose(image.project_point(model.points3D[point.point3D_id].xyz), point.xy, atol=5.5)


def test_of_an_undistorted_run_they_are_undistorted(clip: Path, tmp_path: Path) -> None:
    recording = record(clip, camera=LENS)
    assert main_exit(["export", str(recording.path), "--to", "nerfstudio", "--pictures", "full"]) == 0
    scene = tmp_path / "out_nerfstudio"
    views = list(undistorted(open_frames(clip), read_camera(LENS)))
    for row, number in enumerate(TAKEN):
        written = np.asarray(Image.open(scene / "images" / f"frame_{row:06d}.jpg"))
        assert np.abs(written.astype(int) - views[number].rgb).max() <= 6
    transforms = json.loads((scene / "transforms.json").read_text())
    assert (transforms["h"], transforms["w"]) == SIZE
    assert transforms["fl_x"] == pytest.approx(view_intrinsics(read_camera(LENS), SIZE)[0, 0].item())
    assert transforms["k1"] == 0


def test_files_of_an_undistorted_run_have_the_original_camera(clip: Path, tmp_path: Path) -> None:
    recording = record(clip, camera=LENS)
    export_recording(recording, "colmap", tmp_path / "model", images=clip)
    model = model_of(tmp_path / "model")
    (camera,) = model.cameras.values()
    assert camera.model.name == "OPENCV"
    np.testing.assert_allclose(camera.params, read_camera(LENS).params)
    assert model.images[1].name == recording.names[0]
    off = [
        np.linalg.norm(model.images[1].project_point(model.points3D[seen.point3D_id].xyz) - seen.xy)
        for seen in model.images[1].points2D[:600:7]
    ]
    assert np.median(off) < 1e-5
    export_recording(recording, "nerfstudio", tmp_path / "scene", images=clip)
    transforms = json.loads((tmp_path / "scene" / "transforms.json").read_text())
    assert (transforms["camera_model"], transforms["k1"], transforms["p2"]) == ("OPENCV", -0.2, -0.001)
    assert "depth_file_path" not in transforms["frames"][0]


def test_a_source_that_moved_is_asked_for_and_another_one_refused(clip: Path, tmp_path: Path) -> None:
    recording = record(clip)
    moved = clip.rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"clip.*is not there.*--source"):
        export_recording(recording, "colmap", tmp_path / "model", images=SourceFrames())
    export_recording(recording, "colmap", tmp_path / "model", images=SourceFrames(moved))
    other = tmp_path / "other"
    shutil.copytree(moved, other)
    Image.fromarray(picture(3)).save(other / "shot_0.png")
    with pytest.raises(InputError, match="not what the recording was made from"):
        export_recording(recording, "colmap", tmp_path / "again", images=SourceFrames(other))
    assert not (tmp_path / "again").exists()


def test_options_that_do_not_go_together(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(record(clip).path)
    assert main_exit(["export", out, "--to", "colmap", "--source", "x"]) == 2
    assert main_exit(["export", out, "--to", "colmap", "--pictures", "full", "--images", "x"]) == 2
    assert main_exit(["export", out, "--to", "ply", "--pictures", "full"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert ["--source goes with" in said[0], "cannot both" in said[1], "has no pictures" in said[2]] == [True] * 3


def main_exit(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)
