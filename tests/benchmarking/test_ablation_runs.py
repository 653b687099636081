"""`openloger evaluate ablations` as it is typed: every variant on small worlds, cut, gone on with, refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openloger.benchmarking.ablations import run as room
from openloger.benchmarking.ablations.plan import Variant
from openloger.benchmarking.ablations.run import RenderedWorlds, stream_of
from openloger.benchmarking.child import OverLimitError
from openloger.cli import EXIT_BAD_INPUT, EXIT_INTERRUPTED, main
from openloger.datasets import open_dataset
from openloger.errors import InputError
from openloger.network import load_network
from openloger.worlds import World

SMALL = ("--network", "pocket", "--families", "rooms", "--size", "32", "40", "--fps", "5", "--device", "cpu")


def typed(*words: object) -> int | str | None:
    """The exit code."""
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", "ablations", *map(str, words)])
    return caught.value.code


class Here:
    """In the place of `in_child`: the same call in this process, counted; at the n-th something happens."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.at: dict[int, BaseException] = {}

    def __call__(
        self,
        function: Callable[..., Mapping[str, Any]],
        arguments: Mapping[str, Any],
        *,
        on_progress: Callable[..., None],
    ) -> dict[str, Any]:
        if error := self.at.get(len(self.ran)):
            raise error
        self.ran.append(f"{arguments['variant']} {arguments['frames']} {arguments['world']}")
        return json.loads(json.dumps(function(**json.loads(json.dumps(arguments)), on_progress=on_progress)))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    found = Here()
    monkeypatch.setattr(room, "in_child", found)
    return found


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the world that all tests here look at."""
    folder = tmp_path_factory.mktemp("worlds")
    RenderedWorlds(folder, (32, 40), 5.0, 20).written("rooms:0")
    return folder


def out(tmp_path: Path, rendered: Path) -> Path:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "worlds").symlink_to(rendered)
    return tmp_path / "out"


def test_every_variant(tmp_path: Path, rendered: Path, here: Here, capsys: pytest.CaptureFixture) -> None:
    folder = out(tmp_path, rendered)
    assert typed("--out", folder, "--frames", 12, 20, "--full-limit", 15, *SMALL) == 0
    said = capsys.readouterr()
    made = json.loads((folder / "results.json").read_text())
    results = made["results"]
    assert list(results) == here.ran
    assert len(results) == 9 + 8
    assert made["ended"] is not None
    assert made["settings"]["size"] == [32, 40]
    assert len(made["settings"]["weights_hash"]) == 64
    for one in results.values():
        assert one["seconds"] > 0
        assert one["peak_bytes"] > 10**8
        assert np.isfinite([one["ate_rmse"], one["depth_abs_rel"], one["path_length"]]).all()
    assert results["full 12 rooms:0"]["window"] == 12
    assert results["full 12 rooms:0"]["overlap_depth"] is None
    assert results["both 20 rooms:0"]["overlap_depth"] > 0
    different = [results[f"{name} 20 rooms:0"]["ate_rmse"] for name in ("windows", "fresh", "swa", "ttt", "both")]
    assert len(set(different)) == 5
    note = "full attention is not run over 20 frames: its limit here is 15 (--full-limit)"
    assert made["summary"]["note"] == note
    assert note in " ".join(said.out.split())
    assert said.err.count("\n") == 17
    assert "17/17 both+sim3, 20 frames of rooms:0: ATE " in said.err
    page = (folder / "ablations.md").read_text()
    assert "| both+reset5 | 20 |" in page
    assert "![Errors, seconds and memory against length](ablations.png)" in page
    assert (folder / "ablations.png").stat().st_size > 10_000


def test_a_cut_run_keeps_what_is_done_and_goes_on(
    tmp_path: Path, rendered: Path, here: Here, capsys: pytest.CaptureFixture
) -> None:
    folder = out(tmp_path, rendered)
    words = ("--out", folder, "--frames", 20, "--variants", "windows", "both", *SMALL)
    here.at[1] = KeyboardInterrupt()
    assert typed(*words) == EXIT_INTERRUPTED
    assert "1 runs are kept" in capsys.readouterr().err
    made = json.loads((folder / "results.json").read_text())
    assert (list(made["results"]), made["ended"]) == (["windows 20 rooms:0"], None)
    assert (folder / "ablations.png").is_file()
    here.at.clear()
    assert typed(*words) == EXIT_BAD_INPUT
    assert "--resume" in capsys.readouterr().err
    assert typed(*words[:4], "--variants", "windows", "swa", "both", *SMALL, "--resume", "--json") == 0
    assert here.ran == ["windows 20 rooms:0", "swa 20 rooms:0", "both 20 rooms:0"]
    told = json.loads(capsys.readouterr().out)
    assert [row["variant"] for row in told["summary"]["rows"]] == ["windows", "swa", "both", "a guess"]


def test_results_of_other_settings_are_not_mixed(tmp_path: Path, rendered: Path, here: Here) -> None:
    folder = out(tmp_path, rendered)
    words = ("--out", folder, "--frames", 20, "--variants", "windows", *SMALL)
    assert typed(*words) == 0
    assert typed(*words, "--resume") == 0
    assert typed(*words, "--resume", "--dtype", "float16") == EXIT_BAD_INPUT
    assert here.ran == ["windows 20 rooms:0"]


def test_a_run_without_numbers_does_not_stop_the_others(
    tmp_path: Path, rendered: Path, here: Here, capsys: pytest.CaptureFixture
) -> None:
    folder = out(tmp_path, rendered)
    here.at[0] = OverLimitError("memory")
    words = ("--out", folder, "--frames", 20, "--variants", "full", *SMALL)
    assert typed(*words) == EXIT_BAD_INPUT
    assert "full, 20 frames of rooms:0: not enough memory" in capsys.readouterr().err
    made = json.loads((folder / "results.json").read_text())
    assert made["summary"]["faults"] == {"full 20 rooms:0": "not enough memory"}
    here.at.clear()
    assert typed(*words, "--resume") == 0
    assert here.ran == ["full 20 rooms:0"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--variants", "bth"), "variant 'bth' is not known"),
        (("--variants", "both+sim3:mean"), "placement 'sim3:mean' is none of"),
        (("--families", "castle"), "unknown family of worlds 'castle'"),
        (("--frames", "2"), "videos have at least 3 frames"),
        (("--seeds", "-1"), "seeds and limits are not negative"),
        (("--network", "pocet"), "there is no network 'pocet'"),
        (("--fps", "0"), "a positive frame rate"),
    ],
)
def test_wrong_input_is_one_line_before_anything_runs(
    tmp_path: Path, here: Here, capsys: pytest.CaptureFixture, words: tuple[str, ...], complaint: str
) -> None:
    assert typed("--out", tmp_path / "out", *words) == EXIT_BAD_INPUT
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert here.ran == []


def test_rendered_worlds_are_the_worlds(rendered: Path) -> None:
    worlds = RenderedWorlds(rendered, (32, 40), 5.0, 20)
    sequence = open_dataset("folder", rendered, sequences=(worlds.name("rooms:0"),))[worlds.name("rooms:0")]
    truth = World("rooms", seed=0, size=(32, 40), fps=5.0, frames=20)
    assert sequence.length == 20
    for index, frame in enumerate(sequence.frames()):
        assert np.array_equal(frame.rgb, truth[index].rgb)
    depth = sequence[17].depth
    assert depth is not None
    assert np.allclose(depth, truth[17].depth, rtol=1e-3)
    assert np.allclose(sequence.world_from_cam(17), truth.world_from_cam(17))
    assert worlds.written("rooms:0") == worlds.name("rooms:0")  # and it is not rendered again


def test_full_is_one_window_and_the_others_are_as_named() -> None:
    network = load_network("pocket", device="cpu")
    full = stream_of(network, Variant.parse("full"), frames=40)
    assert (full.window, full.overlap, full.memory) == (40, 0, "all")
    other = stream_of(network, Variant.parse("ttt+sim3+reset3"), frames=40)
    assert (other.window, other.overlap, other.memory) == (8, 2, "ttt")
    assert (str(other.placement), other.reset_every) == ("sim3", 3)
    with pytest.raises(InputError, match="placement 'sim3:x'"):
        stream_of(network, Variant.parse("both+sim3:x"), frames=40)


@pytest.mark.slow
def test_in_processes_of_their_own(tmp_path: Path, rendered: Path) -> None:
    """Peaks are each run's own: this process's is not in them, and one window takes more than many."""
    folder = out(tmp_path, rendered)
    held = b"x" * (1 << 30)
    assert typed("--out", folder, "--frames", 20, "--variants", "windows", "both", *SMALL) == 0
    results = json.loads((folder / "results.json").read_text())["results"]
    assert all(10**8 < one["peak_bytes"] < len(held) for one in results.values())
