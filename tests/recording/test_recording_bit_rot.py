"""A byte that changes on the disk: it is found and named, it costs what it hits, and the rest can still be read."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recorded_values as values

from openloger.errors import RecordingError
from openloger.outputs import FileLock
from openloger.recording import Recording, create_recording, open_recording, resume_recording
from openloger.recording.check import find_damage
from openloger.recording.lines import LineFile
from openloger.recording.meta import read_meta

FRAMES = 40


def write(path: Path, frames: int = FRAMES, **changes: object) -> Recording:
    with create_recording(path, values.meta(**changes)) as writer:
        for placed in values.placed_windows(frames):
            writer.append(placed)
        writer.finish()
    return open_recording(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("rot") / "whole").path


def copy(whole: Path, path: Path) -> Path:
    for file in whole.rglob("*"):
        if file.is_file():
            (path / file.relative_to(whole)).parent.mkdir(parents=True, exist_ok=True)
            (path / file.relative_to(whole)).write_bytes(file.read_bytes())
    return path


def everything(recording: Recording) -> list[bytes]:
    """All that can be read, as bytes; each part by itself, b"lost" where it is."""
    parts = [lambda: json.dumps(recording.names).encode(), lambda: repr(recording.windows).encode()]
    for name in ("world_from_cam", "intrinsics", "residual_px", "timestamps_s", "source_index"):
        parts.append(lambda name=name: getattr(recording, name).tobytes())
    for frame in range(len(recording)):
        for name in ("depth", "confidence", "rgb"):
            parts.append(lambda name=name, frame=frame: getattr(recording, name)(frame).tobytes())
    return [read(part) for part in parts]


def read(part: Callable[[], Any]) -> Any:
    try:
        return part()
    except RecordingError as error:
        return b"lost" if "\n" not in str(error) else b"told in several lines"


FILES = ["/meta.json", "meta.copy.json", "committed.json", "names.jsonl", "windows.jsonl", "depth/c.1.0.0"]
FILES += ["rgb/c.0.0.0.0", "confidence/c.2.0.0", "world_from_cam/c.0.0.0", "intrinsics/c.0.0.0", "timestamp_s/c.0"]
FILES += ["source_index/c.0"]


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_never_read_as_other_data(whole: Path, name: str, tmp_path: Path) -> None:
    """Mutations of each file: flipped bits, other bytes, cut ends, doubled and lost bytes."""
    sound = everything(open_recording(whole))
    file = next(path for path in whole.rglob("*") if path.as_posix().endswith(name)).relative_to(whole)
    original = (whole / file).read_bytes()
    broken = copy(whole, tmp_path / "broken")
    moments = random.Random(name)
    for _ in range(15):
        (broken / file).write_bytes(mutated(original, moments))
        opened = read(lambda: open_recording(broken))
        if opened == b"lost":
            continue
        found = everything(opened)
        assert len(found) == len(sound)
        wrong = [
            place for place, (now, then) in enumerate(zip(found, sound, strict=True)) if now not in (then, b"lost")
        ]
        expected = {"names.jsonl": [0], "windows.jsonl": [1]}.get(name, [])  # there what is lost is left out, and said
        assert set(wrong) <= set(expected), wrong


def mutated(data: bytes, moments: random.Random) -> bytes:
    place = moments.randrange(len(data))
    match moments.randrange(5):
        case 0:
            return data[:place] + bytes([data[place] ^ (1 << moments.randrange(8))]) + data[place + 1 :]
        case 1:
            return data[:place] + bytes([(data[place] + 1 + moments.randrange(255)) % 256]) + data[place + 1 :]
        case 2:
            return data[:place]
        case 3:
            return data[:place] + data[place : place + 1] * 2 + data[place + 1 :]
        case _:
            return data[:place] + data[place + 1 :]


def flip(file: Path, place: int = -10) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 4
    file.write_bytes(data)


@pytest.mark.parametrize(("damaged", "other"), [("meta.json", "meta.copy.json"), ("meta.copy.json", "meta.json")])
@pytest.mark.parametrize("how", ["a bit of every byte", "empty", "missing"])
def test_of_two_files_of_the_meta_one_suffices(
    damaged: str, other: str, how: str, whole: Path, tmp_path: Path, openloger_log: pytest.LogCaptureFixture
) -> None:
    broken, sound = copy(whole, tmp_path / "broken"), open_recording(whole)
    file, original = broken / damaged, (broken / damaged).read_bytes()
    assert (broken / other).read_bytes() == original
    flips = (original[:at] + bytes([original[at] ^ (1 << at % 8)]) + original[at + 1 :] for at in range(len(original)))
    for content in {"a bit of every byte": flips, "empty": [b""], "missing": [None]}[how]:
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        assert read_meta(broken) == sound.meta
    told = [f"{file}: damaged or missing, but nothing is lost: {other} beside it is whole, copy that over it"]
    if (damaged, how) == ("meta.copy.json", "missing"):  # recordings once had none
        told = []
    assert everything(open_recording(broken)) == everything(sound)
    assert [text for text in openloger_log.messages if "nothing is lost" in text] == told
    assert list(find_damage(broken)) == told
    resume_recording(broken, values.meta(), frames=15).close()
    assert file.read_bytes() == original, "it is put back"


def test_a_recording_whose_meta_is_damaged_twice_is_refused_and_may_be_replaced(whole: Path, tmp_path: Path) -> None:
    broken = copy(whole, tmp_path / "broken")
    for name in ("meta.json", "meta.copy.json"):
        flip(broken / name)
    with pytest.raises(RecordingError, match=r"meta\.json.*checksum does not match"):
        open_recording(broken)
    create_recording(broken, values.meta(), overwrite=True).close()
    assert open_recording(broken).meta == open_recording(whole).meta


def test_a_recording_whose_meta_json_is_gone_may_be_replaced_and_leaves_nothing(whole: Path, tmp_path: Path) -> None:
    broken = copy(whole, tmp_path / "broken")
    (broken / "meta.json").unlink()
    with pytest.raises(RecordingError, match="already holds a recording"):
        create_recording(broken, values.meta())
    with create_recording(broken, values.meta(source="other.mp4"), overwrite=True) as writer:
        writer.append(values.placed_windows(9)[0])
    assert open_recording(broken).meta.source == "other.mp4"
    assert (broken / "meta.copy.json").read_bytes() == (broken / "meta.json").read_bytes()


def test_a_meta_json_that_its_owner_changed_is_believed(whole: Path, tmp_path: Path) -> None:
    """Without its checksum, as a person leaves it."""
    broken = copy(whole, tmp_path / "broken")
    value = json.loads((broken / "meta.json").read_bytes()) | {"package_version": "mine"}
    del value["crc32c"]
    (broken / "meta.json").write_text(json.dumps(value))
    assert open_recording(broken).meta.package_version == "mine"
    assert list(find_damage(broken)) == []


def test_a_damaged_chunk_names_its_frames_and_the_others_are_read(whole: Path, tmp_path: Path) -> None:
    broken = copy(whole, tmp_path / "broken")
    flip(broken / "arrays.zarr" / "depth" / "c.1.0.0")
    recording, sound = open_recording(broken), open_recording(whole)
    for frame in range(FRAMES):
        if 16 <= frame < 32:
            with pytest.raises(RecordingError, match=r"depth/c\.1\.0\.0.*frames 16 to 31"):
                recording.depth(frame)
        else:
            np.testing.assert_array_equal(recording.depth(frame), sound.depth(frame))
        np.testing.assert_array_equal(recording.rgb(frame), sound.rgb(frame))


def test_damaged_cameras_of_some_frames_leave_the_others(tmp_path: Path) -> None:
    recording = write(tmp_path / "long", 300)
    flip(tmp_path / "long" / "arrays.zarr" / "world_from_cam" / "c.1.0.0")
    recording = open_recording(tmp_path / "long")
    with pytest.raises(RecordingError, match=r"world_from_cam/c\.1.*: frames 256 to 299 have no camera; all else"):
        _ = recording.world_from_cam
    np.testing.assert_array_equal(recording.frame(255).world_from_cam, values.world_from_cam(255).numpy())
    with pytest.raises(RecordingError, match="frames 256 to 299"):
        recording.frame(256)


def test_the_damaged_chunk_of_one_frame_is_said_in_the_singular(tmp_path: Path) -> None:
    recording = write(tmp_path / "long", 257)
    flip(tmp_path / "long" / "arrays.zarr" / "rgb" / "c.16.0.0.0")
    with pytest.raises(RecordingError, match=r"rgb/c\.16.*: frame 256 has no picture; all else can be read"):
        open_recording(recording.path).rgb(256)


def test_a_damaged_name_is_said_and_the_others_are_read(
    whole: Path, tmp_path: Path, openloger_log: pytest.LogCaptureFixture
) -> None:
    broken = copy(whole, tmp_path / "broken")
    lines = (broken / "names.jsonl").read_bytes().split(b"\n")
    lines[3] = lines[3].replace(b"frame", b"grame")
    merged = lines[7] + b" " + lines[8]  # a line end that became a blank
    (broken / "names.jsonl").write_bytes(b"\n".join([*lines[:7], merged, *lines[9:]]))
    names, sound = open_recording(broken).names, open_recording(whole).names
    lost = [frame for frame in range(FRAMES) if names[frame] != sound[frame]]
    assert lost == [3, 7, 8]
    assert [names[frame] for frame in lost] == ["lost-000003", "lost-000007", "lost-000008"]
    told = f"{broken / 'names.jsonl'}: damaged: the names of frames 3 and 7 to 8 are lost; all else can be read"
    assert told in openloger_log.text
    assert list(find_damage(broken)) == [told]


def test_a_damaged_window_is_said_and_left_out(
    whole: Path, tmp_path: Path, openloger_log: pytest.LogCaptureFixture
) -> None:
    broken = copy(whole, tmp_path / "broken")
    flip(broken / "windows.jsonl", 200)
    windows, sound = open_recording(broken).windows, open_recording(whole).windows
    assert windows == sound[1:]
    told = "damaged: the record of window 0 (frames 0 to 4) is lost; the frames themselves can be read"
    assert told in openloger_log.text
    assert list(find_damage(broken)) == [f"{broken / 'windows.jsonl'}: {told}"]


@pytest.mark.parametrize(
    ("damaged", "told"),
    [
        ([2], "the record of window 2 (frames 10 to 14) is lost"),
        ([0, 1, 4], "the records of windows 0 to 1 and 4 (frames 0 to 9 and 20 to 24) are lost"),
        ([7], "the record of window 7 (frames 35 to 39) is lost"),
        (list(range(8)), "the records of windows 0 to 7 (frames 0 to 39) are lost"),
    ],
)
def test_damaged_windows_are_named_with_their_frames(
    damaged: list[int], told: str, whole: Path, tmp_path: Path
) -> None:
    broken = copy(whole, tmp_path / "broken")
    lines = (broken / "windows.jsonl").read_bytes().split(b"\n")
    for row in damaged:
        lines[row] = lines[row].replace(b"first_frame", b"first-frame")
    (broken / "windows.jsonl").write_bytes(b"\n".join(lines))
    (said,) = find_damage(broken)
    assert f"damaged: {told}; the frames themselves can be read" in said


def test_a_single_damaged_name_is_said_in_the_singular(whole: Path, tmp_path: Path) -> None:
    broken = copy(whole, tmp_path / "broken")
    lines = (broken / "names.jsonl").read_bytes().split(b"\n")
    lines[12] = b"gone"
    (broken / "names.jsonl").write_bytes(b"\n".join(lines))
    (said,) = find_damage(broken)
    assert said.endswith("damaged: the name of frame 12 is lost; all else can be read")


def test_a_damaged_commit_says_what_must_have_stood_there(whole: Path, tmp_path: Path) -> None:
    broken = copy(whole, tmp_path / "broken")
    text = (broken / "committed.json").read_text()
    for damage in ("", "{", "[1]", "null", '{"frames": -5, "windows": 1, "complete": true}', text.replace("40", "41")):
        (broken / "committed.json").write_text(damage)
        with pytest.raises(RecordingError, match=r"committed\.json.*\"frames\": 40") as told:
            open_recording(broken)
    said = str(told.value)
    (broken / "committed.json").write_text(said[said.index("{") : said.index("}") + 1])
    assert len(open_recording(broken)) == FRAMES


def test_a_recording_with_a_damaged_name_is_continued_with_it(whole: Path, tmp_path: Path) -> None:
    broken = copy(whole, tmp_path / "broken")
    flip(broken / "names.jsonl", 30)
    with resume_recording(broken, values.meta(), frames=15) as writer:
        for placed in values.placed_windows(FRAMES, first_window=3):
            writer.append(placed)
        writer.finish()
    assert open_recording(broken).names[1:] == open_recording(whole).names[1:]


def test_metadata_of_another_array_is_not_believed(whole: Path, tmp_path: Path) -> None:
    broken = copy(whole, tmp_path / "broken")
    file = broken / "arrays.zarr" / "depth" / "zarr.json"
    value = json.loads(file.read_text())
    value["chunk_grid"]["configuration"]["chunk_shape"][0] = 8
    file.write_text(json.dumps(value))
    with pytest.raises(RecordingError, match=r"depth/zarr\.json"):
        open_recording(broken).depth(0)
    for damage in ("", "[]", "{}", '{"zarr_format": 3}', file.read_text().replace("blosc", "glosc"), "[" * 100_000):
        file.write_text(damage)
        with pytest.raises(RecordingError, match="array depth"):
            open_recording(broken).depth(0)


# Recordings of the version before


def write_old(path: Path) -> Path:
    """20 frames in format 1: no checksums, names as JSON strings, nothing kept of the source's files."""
    write(path, 20, format_version=1)
    meta = json.loads((path / "meta.json").read_bytes())
    (path / "meta.json").write_text(json.dumps({name: meta[name] for name in meta if name != "source_identity"}))
    counts = json.loads((path / "committed.json").read_bytes())
    (path / "committed.json").write_text(json.dumps({name: counts[name] for name in counts if name != "crc32c"}))
    (path / "writer.lock").unlink()
    assert not [file for file in path.rglob("*.json*") if b"crc32c" in file.read_bytes()]
    assert json.loads((path / "names.jsonl").read_bytes().splitlines()[3]) == values.picture(3).name
    return path


def test_an_old_recording_opens(tmp_path: Path) -> None:
    old = open_recording(write_old(tmp_path / "old"))
    assert (len(old), old.complete, old.meta.format_version) == (20, True, 1)
    for frame in old:
        assert frame.name == values.picture(frame.number).name
        np.testing.assert_array_equal(frame.rgb, values.picture(frame.number).rgb)
        np.testing.assert_array_equal(frame.world_from_cam, values.world_from_cam(frame.number).numpy())
    assert [window.number for window in old.windows] == [0, 1, 2, 3]


def test_an_old_recording_is_continued_in_its_own_format(tmp_path: Path) -> None:
    old = write_old(tmp_path / "old")
    with resume_recording(old, values.meta(), frames=10) as writer:
        for placed in values.placed_windows(30, first_window=2):
            writer.append(placed)
        writer.finish()
    again = open_recording(old)
    assert (len(again), again.meta.format_version) == (30, 1)
    assert [frame.name for frame in again] == [values.picture(frame).name for frame in range(30)]
    assert json.loads((old / "names.jsonl").read_bytes().splitlines()[25]) == values.picture(25).name
    assert b"crc32c" not in (old / "arrays.zarr" / "depth" / "zarr.json").read_bytes()


def test_an_old_recording_with_damaged_lines_is_one_line(tmp_path: Path) -> None:
    old = write_old(tmp_path / "old")
    for name, damage in (
        ("names", b"{\n"),
        ("names", b"3\n" * 20),
        ("windows", b"{}\n" * 4),
        ("windows", b"[1]\n" * 4),
    ):
        (old / f"{name}.jsonl").write_bytes(damage)
        with pytest.raises(RecordingError, match=rf"{name}\.jsonl") as told:
            _ = getattr(open_recording(old), name)
        assert "\n" not in str(told.value)


# Line files


def test_lines_are_cut_where_asked(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "a.jsonl", key="n", checked=True)
    file.append({"n": number, "é": "\udcff"} for number in range(5))
    with (tmp_path / "a.jsonl").open("ab") as torn:
        torn.write(b'{"n": 5, "half')
    assert file.read(7)[5:] == [None, None]
    for count in (5, 3, 0):
        file.cut(count)
        assert [value and value["n"] for value in file.read(5)] == [*range(count), *[None] * (5 - count)]
    assert (tmp_path / "a.jsonl").read_bytes() == b""
    file.append([{"n": 0}])
    assert file.read(1) == [{"n": 0}]


def test_a_line_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "endless.jsonl").symlink_to("/dev/zero")
    for name in ("endless", "missing"):
        with pytest.raises(RecordingError, match="is missing, or no file"):
            LineFile(tmp_path / f"{name}.jsonl", key="n", checked=True).read(3)


# One writer


LOCKER = """
import sys
from pathlib import Path
from openloger.outputs import FileLock
try:
    lock = FileLock(Path(sys.argv[1]))
except BlockingIOError:
    print("held", flush=True)
else:
    print("free", flush=True)
    sys.stdin.read()
"""


def locker(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LOCKER, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_lock_is_held_between_processes_and_ends_with_them(tmp_path: Path) -> None:
    path = tmp_path / "writer.lock"
    with locker(path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "free\n"
        with pytest.raises(BlockingIOError):
            FileLock(path)
        other.kill()
    lock = FileLock(path)
    with locker(path) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
    lock.release()


def test_the_locked_file_stays_through_overwriting(tmp_path: Path) -> None:
    write(tmp_path / "out", 8)
    inode = (tmp_path / "out" / "writer.lock").stat().st_ino
    with create_recording(tmp_path / "out", values.meta(), overwrite=True):
        assert (tmp_path / "out" / "writer.lock").stat().st_ino == inode
        for refused in (
            lambda: create_recording(tmp_path / "out", values.meta(), overwrite=True),
            lambda: resume_recording(tmp_path / "out", values.meta(), frames=0),
        ):
            with pytest.raises(RecordingError, match="another run"):
                refused()


def test_a_folder_that_is_refused_is_left_without_a_lock(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(RecordingError, match="left alone"):
        create_recording(tmp_path, values.meta())
    with pytest.raises(RecordingError, match="not a recording"):
        resume_recording(tmp_path, values.meta(), frames=0)
    assert os.listdir(tmp_path) == ["photo.jpg"]


def test_without_locks_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, openloger_log: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("openloger.outputs.lock.try_lock", lambda descriptor: None)
    write(tmp_path / "out", 8)
    assert "writer.lock cannot be locked" in openloger_log.text
