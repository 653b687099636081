"""`openloger info` on a recording that is damaged, and on this machine's device."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from viewing import scenes

from openloger.cli import EXIT_BAD_INPUT, device, main
from openloger.network.kernels.calibration import KernelCalibration
from openloger.network.kernels.choice import Kernels
from openloger.network.kernels.turns import Comparison


@pytest.mark.parametrize("array", ["depth", "world_from_cam"])
def test_a_damaged_chunk_is_named_with_the_frames_that_it_costs(
    array: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = scenes.write_recording(tmp_path / "walk", scenes.room(3, size=(24, 32)))
    chunk = next((recording.path / "arrays.zarr" / array).glob("c.0*"))
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    for options in ([], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main(["info", str(recording.path), *options])
        assert ended.value.code == EXIT_BAD_INPUT
        said = capsys.readouterr().err
        assert f"{array}/{chunk.name}" in said
        assert "frames 0 to " in said
        assert "--check lists all that is damaged" in said
        assert "Traceback" not in said


def test_the_device_and_its_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    main_ends(0, "info", "--device", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["calibration"]) == ("cpu", "off")
    assert set(told["networks"]) == {"compact", "pocket"}
    assert told["networks"]["pocket"]["kernels"] == json.loads(json.dumps(asdict(Kernels())))
    main_ends(0, "info", "--device")
    shown = capsys.readouterr().out
    assert "nothing was measured" in shown
    assert torch.__version__ in shown


def test_what_was_measured_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    faster = Comparison("linear", "onednn", "torch", (0.8,) * 5, 1.0)
    slower = Comparison("precision", "bfloat16", "float32", (1.5,) * 5, 1.0)
    found = KernelCalibration(precision="bfloat16").after(slower).after(faster)
    modes = []
    monkeypatch.setattr(device, "calibrated", lambda *_, mode: modes.append(mode) or found)
    main_ends(0, "info", "--device", "--again")
    rows = [" ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()]
    assert set(modes) == {"again"}
    assert "pocket linear torch onednn: ×1.25 the time 5" in rows
    assert "pocket precision bfloat16 float32: ×1.50 the time 5" in rows


@pytest.mark.parametrize(
    "given", [(), ("--again",), ("walk", "--device"), ("walk", "--again"), ("--device", "--check")]
)
def test_a_recording_or_the_device(given: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    main_ends(EXIT_BAD_INPUT, "info", *given)
    assert "give either a recording's folder" in capsys.readouterr().err


def main_ends(code: int, *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code
