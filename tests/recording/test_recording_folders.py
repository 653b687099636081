"""Which folders are taken, refused and deleted, and what is said of a recording that is not what it should be."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import recorded_values as values

from openloger.errors import InputError, RecordingError
from openloger.recording import Recording, create_recording, open_recording, resume_recording


def write(path: Path, frames: int = 20) -> Recording:
    with create_recording(path, values.meta()) as writer:
        for placed in values.placed_windows(frames):
            writer.append(placed)
        writer.finish()
    return open_recording(path)


def test_a_folder_is_made_with_its_parents_and_an_empty_one_is_taken(tmp_path: Path) -> None:
    create_recording(tmp_path / "a" / "b", values.meta()).close()
    (tmp_path / "empty").mkdir()
    create_recording(str(tmp_path / "empty"), values.meta()).close()
    (tmp_path / "killed early").mkdir()
    (tmp_path / "killed early" / "meta.json.partial").write_bytes(b"{")
    create_recording(tmp_path / "killed early", values.meta()).close()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX rights")
def test_a_recording_that_may_not_be_read_is_one_clear_line(tmp_path: Path) -> None:
    write(tmp_path / "out")
    (tmp_path / "out").chmod(0)
    with without_rights(), pytest.raises(RecordingError, match="Permission denied"):
        open_recording(tmp_path / "out")
    (tmp_path / "out").chmod(0o755)


def test_resuming_a_damaged_recording_does_not_paper_over_it(tmp_path: Path) -> None:
    write(tmp_path / "out", 40)
    (tmp_path / "out" / "arrays.zarr" / "depth" / "c.1.0.0").unlink()
    with pytest.raises(RecordingError, match=r"depth/c\.1\.0\.0"):
        resume_recording(tmp_path / "out", values.meta(), frames=20)
    resume_recording(tmp_path / "out", values.meta(), frames=15).close()


def test_a_recording_with_nothing_in_it_yet_is_one(tmp_path: Path) -> None:
    writer = create_recording(tmp_path / "out", values.meta())
    (tmp_path / "out" / "committed.json").unlink()  # as after a kill in between
    recording = open_recording(tmp_path / "out")
    assert (len(recording), recording.complete, recording.names, recording.windows) == (0, False, (), ())
    assert recording.world_from_cam.shape == (0, 4, 4)
    assert recording.intrinsics.shape == (0, 3, 3)
    assert list(recording) == []
    with pytest.raises(IndexError, match=r"frame 0 .*0 frames"):
        recording.depth(0)
    writer.close()
    for entry in (tmp_path / "out" / "arrays.zarr").iterdir():
        if entry.name == "rgb":
            (entry / "zarr.json").unlink()
    with resume_recording(tmp_path / "out", values.meta(), frames=0) as writer:
        writer.append(values.placed_windows(9)[0])
    assert not recording.complete
    assert recording.refresh()
    assert not recording.refresh()
    assert len(recording) == 5


def test_a_recording_that_exists_is_refused_and_the_ways_out_are_named(tmp_path: Path) -> None:
    write(tmp_path / "out")
    with pytest.raises(RecordingError, match=r"--resume.*--overwrite"):
        create_recording(tmp_path / "out", values.meta())
    assert len(open_recording(tmp_path / "out")) == 20


def test_overwrite_deletes_the_recording_and_nothing_else(tmp_path: Path) -> None:
    old = write(tmp_path / "out")
    (tmp_path / "out" / "cloud.ply").write_text("mine")
    (tmp_path / "out" / "state.safetensors").write_bytes(b"stale")
    with create_recording(tmp_path / "out", values.meta(source="other.mp4"), overwrite=True) as writer:
        assert not writer.state_path.exists()
        writer.append(values.placed_windows(9)[0])
    assert old.refresh()
    for recording in (old, open_recording(tmp_path / "out")):
        assert (recording.meta.source, len(recording)) == ("other.mp4", 5)
    assert (tmp_path / "out" / "cloud.ply").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="Windows reports a refused permission")
@pytest.mark.parametrize("name", ["state.safetensors", "committed.json", "names.jsonl", "meta.json", "meta.copy.json"])
def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path / "out")
    (tmp_path / "out" / name).unlink(missing_ok=True)
    (tmp_path / "out" / name).mkdir()
    with pytest.raises(RecordingError, match=rf"/{name}: a folder, not a regular file; move it away$"):
        create_recording(tmp_path / "out", values.meta(), overwrite=True)
    (tmp_path / "out" / name).rmdir()
    create_recording(tmp_path / "out", values.meta(), overwrite=True).close()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("text", ["", "{}", '{"format": "something else"}', "[1]"])
def test_a_folder_that_is_no_recording_is_never_touched(tmp_path: Path, overwrite: bool, text: str) -> None:
    (tmp_path / "meta.json").write_text(text)
    (tmp_path / "names.jsonl").write_text("mine")
    with pytest.raises(RecordingError, match="left alone"):
        create_recording(tmp_path, values.meta(), overwrite=overwrite)
    assert (tmp_path / "names.jsonl").read_text() == "mine"
    assert (tmp_path / "meta.json").read_text() == text


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RecordingError, match="file"):
        create_recording(tmp_path / "out", values.meta(), overwrite=True)
    with pytest.raises(RecordingError, match=r"out.*give a folder"):
        create_recording(tmp_path / "out" / "deeper", values.meta())


@contextmanager
def without_rights() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX rights")
def test_an_unwritable_folder_is_one_clear_line() -> None:
    with tempfile.TemporaryDirectory() as name:
        locked = Path(name)
        locked.chmod(0o555)
        with without_rights(), pytest.raises(RecordingError) as told:
            create_recording(locked / "out", values.meta())
        locked.chmod(0o755)
    assert str(told.value) == f"{locked / 'out'}: Permission denied; choose a folder that can be written to"


def test_two_runs_do_not_write_to_one_recording(tmp_path: Path) -> None:
    with create_recording(tmp_path / "out", values.meta()):
        with pytest.raises(RecordingError, match="another run"):
            resume_recording(tmp_path / "out", values.meta(), frames=0)
        with pytest.raises(RecordingError, match="another run"):
            create_recording(tmp_path / "out", values.meta(), overwrite=True)
    resume_recording(tmp_path / "out", values.meta(), frames=0).close()


def test_resuming_needs_a_recording_made_alike_with_that_many_frames(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such folder"):
        resume_recording(tmp_path / "out", values.meta(), frames=0)
    write(tmp_path / "out")
    other = values.meta(source="b.mp4", settings={**values.meta().settings, "window": 16})
    with pytest.raises(RecordingError, match=r"source 'clip.mp4', not 'b.mp4'; window 8, not 16.*--overwrite"):
        resume_recording(tmp_path / "out", other, frames=5)
    with pytest.raises(RecordingError, match=r"\b21\b.*\b20\b"):
        resume_recording(tmp_path / "out", values.meta(), frames=21)
    assert open_recording(tmp_path / "out").complete
    with resume_recording(tmp_path / "out", values.meta(package_version="0.0.0"), frames=20) as writer:
        assert writer.meta == values.meta()


def test_what_is_no_recording_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such folder"):
        open_recording(tmp_path / "nothing")
    with pytest.raises(RecordingError, match="not a recording"):
        open_recording(tmp_path)


def test_a_recording_from_before_costs_and_versions_were_kept_is_read_and_continued(tmp_path: Path) -> None:
    with create_recording(tmp_path / "out", values.meta(format_version=1)) as writer:
        for placed in values.placed_windows(20):
            writer.append(placed)
        writer.finish()
    meta, windows = tmp_path / "out" / "meta.json", tmp_path / "out" / "windows.jsonl"
    old = json.loads(meta.read_text())
    assert set(old.pop("versions")) == {"openloger", "torch", "numpy", "python"}
    meta.write_text(json.dumps(old))
    rows = [json.loads(line) for line in windows.read_text().splitlines()]
    assert [row.pop("cost") for row in rows] == [None] * len(rows)
    windows.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recording = open_recording(tmp_path / "out")
    assert recording.meta.versions == {}
    assert [window.cost for window in recording.windows] == [None] * len(rows)
    resume_recording(tmp_path / "out", values.meta(), frames=15).close()


def test_another_format_version_is_named(tmp_path: Path) -> None:
    write(tmp_path / "out")
    (tmp_path / "out" / "meta.copy.json").unlink()
    file = tmp_path / "out" / "meta.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format_version": 7, "package_version": "9.1"}))
    with pytest.raises(RecordingError, match=r"format 7\b.*9\.1\b.*\b2:"):
        open_recording(tmp_path / "out")
    create_recording(tmp_path / "out", values.meta(), overwrite=True).close()


@pytest.mark.parametrize(
    ("change", "told"),
    [({"height": 0}, "must be positive"), ({"surprise": 1}, "surprise"), ({"lens": "wide"}, "wide")],
)
def test_a_damaged_meta_is_named(tmp_path: Path, change: dict[str, object], told: str) -> None:
    write(tmp_path / "out")
    (tmp_path / "out" / "meta.copy.json").unlink()
    file = tmp_path / "out" / "meta.json"
    value = json.loads(file.read_text()) | change
    file.write_text(json.dumps(value))
    with pytest.raises(RecordingError, match=r"meta\.json.*checksum"):
        open_recording(tmp_path / "out")
    del value["crc32c"]
    file.write_text(json.dumps(value))
    with pytest.raises(RecordingError, match=rf"meta\.json[\s\S]*{told}"):
        open_recording(tmp_path / "out")


def test_missing_and_torn_files_are_errors_not_zeros(tmp_path: Path) -> None:
    recording = write(tmp_path / "out", 40)
    arrays = tmp_path / "out" / "arrays.zarr"
    (arrays / "depth" / "c.1.0.0").unlink()
    torn = arrays / "rgb" / "c.2.0.0.0"
    torn.write_bytes(torn.read_bytes()[:100])
    (arrays / "residual_px" / "c.0").unlink()
    assert recording.depth(15).min() > 0
    with pytest.raises(RecordingError, match=r"depth/c\.1\.0\.0"):
        recording.depth(16)
    with pytest.raises(RecordingError, match=r"rgb/c\.2\.0\.0\.0"):
        recording.rgb(32)
    with pytest.raises(RecordingError, match=r"residual_px/c\.0"):
        _ = recording.residual_px
    (arrays / "confidence" / "zarr.json").unlink()
    with pytest.raises(RecordingError, match="confidence"):
        recording.confidence(0)
    (tmp_path / "out" / "committed.json").write_text("{")
    with pytest.raises(RecordingError, match=r"committed\.json"):
        open_recording(tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"width": 0}, "12×0"),
        ({"lens": "zoom"}, "'zoom'"),
        ({"depth_dtype": "float8"}, "'float8'"),
        ({"known_intrinsics_px": (0.0, 1.0, 2.0, 3.0)}, "focal lengths must be positive"),
    ],
)
def test_a_meta_that_cannot_be_is_refused(change: dict[str, object], told: str) -> None:
    with pytest.raises((InputError, TypeError), match=told):  # the shape checker may come first
        values.meta(**change)


def test_reading_in_order_decodes_each_chunk_once_and_holds_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openloger.recording import reader, store

    write(tmp_path / "out", 200)
    decoded: list[tuple[str, int]] = []
    original = store.ChunkReader.chunk

    def counted(self: store.ChunkReader, number: int) -> object:
        decoded.append((self._folder.name, number))
        return original(self, number)

    monkeypatch.setattr(store.ChunkReader, "chunk", counted)
    recording = open_recording(tmp_path / "out")
    for number, frame in zip(range(1, 200, 3), recording.frames(1, stride=3), strict=True):
        assert frame.number == number
        assert len(recording._view._chunks) <= reader.CACHED_CHUNKS
    assert len(decoded) == len(set(decoded))
    assert {number for name, number in decoded if name == "depth"} == set(range(13))


def test_a_new_recording_is_on_the_disk_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder's entry in the folder above, and that one's, too."""
    flushed: list[str] = []
    fsync = os.fsync

    def seen(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    create_recording(tmp_path / "walks" / "monday", values.meta()).close()
    assert {str(tmp_path), str(tmp_path / "walks"), str(tmp_path / "walks" / "monday")} <= set(flushed)
