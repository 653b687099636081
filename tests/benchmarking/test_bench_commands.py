"""`openloger bench` and the scripts beside it, as they are typed."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from openloger.benchmarking import Ledger, write_clip
from openloger.benchmarking.serial import STAGES
from openloger.cli import main
from openloger.errors import InputError
from openloger.worlds import World

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main(["bench", *map(str, arguments)])
    return int(left.value.code or 0)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a script by its name."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield importlib.import_module
    for path in SCRIPTS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("name", [path.stem for path in sorted(SCRIPTS.glob("*.py"))])
def test_a_script_has_all_that_it_imports(script: Any, name: str) -> None:
    assert callable(script(name).main)


def test_stages_as_json_and_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write_clip(tmp_path / "clip.mp4", 9, size=(48, 64))
    arguments = ("stages", "--video", video, "--repeats", "1", "--device", "cpu", "--out", tmp_path / "stages.json")
    assert run(*arguments, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "stages.json").read_text())
    assert set(told["results"]["stages"]["share"]) == set(STAGES)
    assert told["settings"]["network"] == "pocket"
    assert told["ended"] is not None
    assert run(*arguments) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("stages", "--video", "nowhere.mp4"), "nowhere.mp4"),
        (("twin", "--network", "giant"), "giant"),
        (("presets", "--presets", "giant"), "giant"),
        (("presets", "--devices", "abacus"), "abacus"),
        (("length", "--frames", "0"), "at least 1"),
        (("stages", "--repeats", "0"), "repeats 0"),
        (("stages", "--threads", "0"), "threads 0"),
        (("soak", "--video", "nowhere.mp4"), "nowhere.mp4"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.set_num_threads", lambda threads: None)
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.slow
def test_a_short_soak_from_the_world_to_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("soak", "--frames", "120", "--size", "32", "40", "--folder", tmp_path, "--device", "cpu")
    assert run(*arguments) == 0
    told = capsys.readouterr()
    assert "last / first" in told.out
    assert "120 frames of 64×80 through `pocket`" in told.err
    assert (tmp_path / "street-7-32x40-10fps-120.mp4").is_file()


def test_colmap_s_frames_are_the_video_s(script: Any, tmp_path: Path) -> None:
    colmap: ModuleType = script("colmap")
    sequence = colmap.open_sequence("world:rooms:3", size=(32, 48), fps=10.0)
    assert colmap.write_frames(sequence, tmp_path / "frames", frames=3, stride=4) == 3
    cameras = colmap.read_cameras(tmp_path / "frames")
    shown = World("rooms", seed=3, size=(32, 48), fps=10.0)
    assert np.array_equal(cameras, [shown.world_from_cam(4 * number) for number in range(3)])
    again = colmap.open_sequence(str(tmp_path / "frames"), size=(32, 48), fps=10.0)
    assert [np.array_equal(frame.rgb, shown[4 * frame.index].rgb) for frame in again] == [True] * 3


def test_colmap_s_error_is_up_to_a_similarity(script: Any) -> None:
    colmap: ModuleType = script("colmap")
    shown = World("rooms", seed=3)
    truth = np.array([shown.world_from_cam(9 * number) for number in range(6)])
    moved = truth.copy()
    moved[:, :3, 3] = 5 * truth[:, :3, 3] + [1, 2, 3]
    rmse, angle_deg = colmap.path_error(moved, truth)
    assert rmse == pytest.approx(0, abs=1e-6)
    assert angle_deg == pytest.approx(0, abs=1e-3)
    assert colmap.path_error(truth[:2], truth[:2]) == (None, None)


@pytest.mark.parametrize(
    ("source", "frames", "said"),
    [("world:rooms", 5, "world:FAMILY:SEED"), ("world:rooms:3", 2, "at least 3"), ("/nowhere", 5, "not a folder")],
)
def test_colmap_s_wrong_input(script: Any, tmp_path: Path, source: str, frames: int, said: str) -> None:
    colmap: ModuleType = script("colmap")

    def write() -> None:
        sequence = colmap.open_sequence(source, size=(32, 48), fps=10.0)
        colmap.write_frames(sequence, tmp_path / "frames", frames=frames, stride=1)

    with pytest.raises(InputError, match=said):
        write()


def test_without_pycolmap_it_says_how_to_get_it(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colmap: ModuleType = script("colmap")
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(InputError, match=r"pip install '\.\[colmap\]'"):
        colmap.run_colmap(tmp_path, matching="sequential", threads=1)


def test_all_passes_over_what_is_whole_and_sums_it_up(script: Any, tmp_path: Path) -> None:
    every: ModuleType = script("all")
    result = {"repeats": 1, "share": {"decode": 0.5, "rest": 0.5}, "parts_of_whole": 1.0}
    times = {"ms_per_frame": {"decode": 1.0, "rest": 1.0, "whole": 2.0}}
    ledger = Ledger("stages", {}, path=tmp_path / "stages-pocket.json")
    ledger.measure("stages", lambda: {**result, **times})
    assert not every.is_whole(tmp_path / "stages-pocket.json")
    ledger.conclude()
    assert every.is_whole(tmp_path / "stages-pocket.json")
    told = every.summary(tmp_path)
    assert "## stages-pocket" in told
    assert "| decode | 50.0 % | 1.000 |" in told
    assert "## soak" not in told
