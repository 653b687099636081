"""`openloger info` on a recording that is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from viewing import scenes

from openloger.cli import EXIT_BAD_INPUT, main


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
