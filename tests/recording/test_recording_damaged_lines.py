"""A damaged line file or count gives one line that names the file, whatever it holds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import recorded_values as values

from openloger.errors import RecordingError
from openloger.recording import create_recording, open_recording, resume_recording

OLD = values.meta(format_version=1)  # without checksums, which find each of these before it is looked at
DEEP = "[" * 100_000


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    with create_recording(tmp_path / "walk", OLD) as writer:
        for placed in values.placed_windows(20):
            writer.append(placed)
        writer.finish()
    return tmp_path / "walk"


def refused(walk: Path, file: str) -> None:
    """Both reading and going on are refused, in a line."""
    for use in (lambda: open_recording(walk).windows, lambda: resume_recording(walk, OLD, frames=5)):
        with pytest.raises(RecordingError) as told:
            use()
        assert file in str(told.value)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "change",
    [
        {"first_frame": -5},
        {"first_frame": "0"},
        {"frame_count": 1e300},
        {"number": True},
        {"world_from_window": [[1, 0], [0, 1]]},
        {"world_from_window": 7},
        {"world_from_window_scale": None},
        {"metric_scale": 10**400},
        {"disagreement": {"depth": 1}},
        {"disagreement": []},
        {"cost": {"seconds": 1}},
        {"lens_statistics": [[1, 2]]},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_field_that_no_window_has(change: dict[str, Any], walk: Path) -> None:
    lines = (walk / "windows.jsonl").read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | change)
    (walk / "windows.jsonl").write_text("\n".join(lines) + "\n")
    refused(walk, "windows.jsonl")


@pytest.mark.parametrize("line", ["null", "[]", "7", DEEP, "{"], ids=["null", "list", "number", "deep", "cut off"])
def test_a_line_that_is_no_window(line: str, walk: Path) -> None:
    lines = (walk / "windows.jsonl").read_text().splitlines()
    (walk / "windows.jsonl").write_text("\n".join([line, *lines[1:]]) + "\n")
    refused(walk, "windows.jsonl")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        DEEP,
        '{"frames": -1, "windows": 4, "complete": true}',
        '{"frames": 1e300, "windows": 4, "complete": true}',
        '{"frames": 20, "windows": true, "complete": true}',
        '{"frames": 20, "windows": 4, "complete": "no"}',
        '{"frames": 20, "windows": 4}',
        '{"frames": 99999999999999999999999, "windows": 4, "complete": true}',
    ],
    ids=lambda text: text[:40] or "empty",
)
def test_a_count_that_cannot_be(text: str, walk: Path) -> None:
    (walk / "committed.json").write_text(text)
    refused(walk, "committed.json")


def test_a_name_that_is_none(walk: Path) -> None:
    lines = (walk / "names.jsonl").read_text().splitlines()
    (walk / "names.jsonl").write_text("\n".join([*lines[:2], "7", *lines[3:]]) + "\n")
    with pytest.raises(RecordingError, match=r"names\.jsonl"):
        _ = open_recording(walk).names


@pytest.mark.parametrize(
    "change", [{"shape": 7}, {"chunk_key_encoding": None}, {"data_type": ["a"]}, {"chunk_grid": {"name": "x"}}], ids=str
)
def test_an_array_whose_metadata_are_damaged(change: dict[str, Any], walk: Path) -> None:
    file = walk / "arrays.zarr" / "depth" / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(RecordingError, match="depth"):
        open_recording(walk).depth(0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX")
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "name", ["meta.json", "committed.json", "names.jsonl", "windows.jsonl", "arrays.zarr/depth/zarr.json"]
)
@pytest.mark.parametrize("device", [True, False])
def test_a_pipe_or_a_device_in_a_recording_is_refused(walk: Path, name: str, device: bool) -> None:
    """Reading one would wait, or never end."""
    (walk / name).unlink()
    if device:
        (walk / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(walk / name)
    with pytest.raises(RecordingError):
        _read_all(walk)


def _read_all(walk: Path) -> None:
    recording = open_recording(walk)
    assert len(recording.names) == 20
    assert recording.windows
    recording.depth(0)
