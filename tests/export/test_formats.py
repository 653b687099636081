from __future__ import annotations

import logging
import os
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import trimesh
from pxr import Usd
from stand_in import StandIn

from openloger.errors import InputError
from openloger.export import FORMATS, PointSelection, export_recording
from openloger.outputs import MANIFEST


def path_for(to: str, folder: Path) -> Path:
    return folder / f"made{FORMATS[to].ending}"


def test_an_unknown_format_lists_the_known() -> None:
    with pytest.raises(InputError, match=f"no format 'obj': choose one of {', '.join(FORMATS)}"):
        export_recording(StandIn(), "obj", "x.obj")


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_is_all_that_it_leaves(tmp_path: Path, to: str) -> None:
    path = path_for(to, tmp_path)
    written = export_recording(StandIn(), to, path)
    assert written
    assert all(entry.exists() for entry in written)
    assert left_in(tmp_path) == [path]


@pytest.mark.parametrize("to", FORMATS)
def test_what_exists_is_kept_unless_overwritten(tmp_path: Path, to: str) -> None:
    path = path_for(to, tmp_path)
    export_recording(StandIn(3), to, path)
    before = contents(path)
    with pytest.raises(InputError, match=r"another path.*--overwrite"):
        export_recording(StandIn(5), to, path)
    assert contents(path) == before
    export_recording(StandIn(5), to, path, overwrite=True)
    assert contents(path) != before
    assert left_in(tmp_path) == [path]


@pytest.mark.parametrize("to", ["ply", "colmap", "nerfstudio"])
def test_an_interrupted_export_leaves_what_there_was(tmp_path: Path, to: str) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    path = path_for(to, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        export_recording(StandIn(), to, path, progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    export_recording(StandIn(3), to, path)
    before = contents(path)
    with pytest.raises(KeyboardInterrupt):
        export_recording(StandIn(), to, path, overwrite=True, progress=interrupt)
    assert contents(path) == before
    assert left_in(tmp_path) == [path]


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match=r"thesis\.tex.*another path"):
        export_recording(StandIn(), "colmap", tmp_path / "home", overwrite=True)
    with pytest.raises(InputError, match=r"folder.*ply"):
        export_recording(StandIn(), "ply", tmp_path / "home", overwrite=True)
    with pytest.raises(InputError, match=r"file.*colmap"):
        export_recording(StandIn(), "colmap", tmp_path / "home" / "thesis.tex", overwrite=True)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "precious"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*cloud.ply"):
        export_recording(StandIn(), "ply", tmp_path / "file" / "cloud.ply")


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("openloger.export.ply.PlyFile.add", full)
    with pytest.raises(InputError, match=r"cloud\.ply.*No space left"):
        export_recording(StandIn(), "ply", tmp_path / "cloud.ply")
    assert list(tmp_path.iterdir()) == []


NOTHING = PointSelection(confidence_min=0.99)
LOWER_IT = r"no pixel passes the selection: lower confidence_min (now 0.99), or pass depth_edge None (now auto)"


def test_a_cloud_without_points_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(LOWER_IT)):
        export_recording(StandIn(), "ply", tmp_path / "cloud.ply", selection=NOTHING)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["glb", "colmap", "nerfstudio", "usd"])
def test_cameras_go_without_points_and_a_warning_says_so(
    tmp_path: Path, to: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("openloger"), "propagate", True)
    export_recording(StandIn(), to, path_for(to, tmp_path), selection=NOTHING)
    assert f"{LOWER_IT}; the export has no points" in caplog.text
    if to == "glb":
        assert set(trimesh.load_scene(tmp_path / "made.glb").geometry) == {"frusta", "path"}
    if to == "colmap":
        for read in ("read_binary", "read_text"):
            model = pycolmap.Reconstruction()
            getattr(model, read)(str(tmp_path / "made_colmap" / "sparse" / "0"))
            assert (model.num_reg_images(), model.num_points3D()) == (5, 0)
    if to == "usd":
        assert Usd.Stage.Open(str(tmp_path / "made.usdc")).GetPrimAtPath("/reconstruction/camera")


def test_images_go_only_with_formats_that_have_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ply.*colmap, nerfstudio"):
        export_recording(StandIn(), "ply", tmp_path / "cloud.ply", images=tmp_path)


@pytest.mark.parametrize("to", FORMATS)
def test_progress_reaches_its_end(tmp_path: Path, to: str) -> None:
    steps: list[tuple[int, int]] = []
    export_recording(StandIn(), to, path_for(to, tmp_path), progress=lambda *step: steps.append(step))
    assert steps[-1] == (5, 5)
    assert steps == sorted(steps)


@pytest.mark.parametrize(
    ("to", "bytes_a_frame"), [("ply", 0), ("glb", 1_000), ("colmap", 2_000), ("nerfstudio", 6_000), ("tum", 1_500)]
)
def test_memory_grows_by_the_cameras_alone(tmp_path: Path, to: str, bytes_a_frame: int) -> None:
    """A frame's pixels take 100 kB here, so none of them may stay."""
    few, many = 20, 100
    peaks = []
    for frames in (few, many):
        recording = StandIn(frames, height=72, width=96)
        assert len(recording.world_from_cam) == len(recording.intrinsics)  # made before, and kept
        tracemalloc.start()
        export_recording(
            recording, to, path_for(to, tmp_path / str(frames)), selection=PointSelection(max_points=5_000)
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    allowed = np.array(100_000 + (many - few) * bytes_a_frame)
    assert peaks[1] - peaks[0] < allowed


def left_in(folder: Path) -> list[Path]:
    """The files that are there, without the manifest."""
    return [entry for entry in folder.iterdir() if entry.name != MANIFEST]


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path.parent)): file.read_bytes() for file in files}


@pytest.mark.parametrize("to", ["usd", "rerun"])
def test_a_path_that_a_library_cannot_take_is_refused(to: str, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"out\xff") / f"a{FORMATS[to].ending}"
    with pytest.raises(InputError, match="is not UTF-8"):
        export_recording(StandIn(), to, path)
    assert not path.parent.exists()
