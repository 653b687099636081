"""Committed frames stay: through kill -9, errors of the disk at every step, resuming, and reading meanwhile."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import recorded_values as values
import torch

from openloger.errors import RecordingError
from openloger.recording import (
    BackgroundWriter,
    Recording,
    RecordingWriter,
    create_recording,
    open_recording,
    resume_recording,
    store,
)
from openloger.values import PlacedWindow

STEP = values.WINDOW - values.OVERLAP
SCRIPT = Path(__file__).with_name("write_until_killed.py")
ENVIRONMENT = os.environ | {  # of a process that runs the script: the tests' own modules are found as pytest finds them
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
}


def check_frames(recording: Recording, start: int = 0) -> None:
    """Every committed frame is what was written."""
    for frame in recording.frames(start):
        i = frame.number
        assert (frame.source_index, frame.name) == (i, values.picture(i).name)
        np.testing.assert_array_equal(frame.rgb, values.picture(i).rgb)
        np.testing.assert_array_equal(frame.world_from_cam, values.world_from_cam(i).numpy())
        np.testing.assert_allclose(frame.depth, values.depth(i).numpy(), rtol=2.0**-11)
        np.testing.assert_allclose(frame.confidence, values.confidence(i).numpy(), atol=0.5 / 255 + 1e-7)


def write(path: Path, frames: int) -> None:
    with create_recording(path, values.meta()) as writer:
        append_all(writer, values.placed_windows(frames))
        writer.finish()


def append_all(writer: RecordingWriter | BackgroundWriter, windows: Iterable[PlacedWindow]) -> None:
    for placed in windows:
        writer.append(placed)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_killed_at_any_moment_and_resumed_it_is_the_uncut_recording_to_the_byte(tmp_path: Path) -> None:
    endless, killed, done = 100_000, tmp_path / "killed", 0
    moments = random.Random(0)
    for attempt in range(3):
        command = [sys.executable, str(SCRIPT), str(killed), str(endless), *(["resume"] if attempt else [])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            watched = _read_along(killed, done, windows=moments.randrange(1, 5))
            time.sleep(moments.uniform(0, 0.05))  # somewhere inside an append
            process.kill()
        recording = open_recording(killed)
        done = len(recording)
        assert not recording.complete
        assert done >= watched
        check_frames(recording, watched - STEP)  # those before were read as they came, and are compared in the end
    frames = done + 45
    with resume_recording(killed, values.meta(), frames=done) as writer:
        append_all(writer, values.placed_windows(frames, first_window=done // STEP))
        writer.finish()
    write(tmp_path / "uncut", frames)
    assert contents(killed) == contents(tmp_path / "uncut")


def _read_along(folder: Path, start: int, *, windows: int) -> int:
    """Read what another process commits until so many windows came; how many frames are there then."""
    recording = open_recording(folder)
    seen = start
    while seen < start + windows * STEP:
        time.sleep(0.002)
        if recording.refresh():
            check_frames(recording, seen)
            seen = len(recording)
    return seen


@pytest.mark.parametrize("cut", [0, 5, 16, 32, 43])
def test_rolled_back_and_resumed_it_is_the_uncut_recording_to_the_byte(tmp_path: Path, cut: int) -> None:
    frames = 45
    write(tmp_path / "uncut", frames)
    write(tmp_path / "cut", frames)
    (tmp_path / "cut" / "arrays.zarr" / "depth" / "c.9.0.0.partial").write_bytes(b"half")
    first_window = cut // STEP
    with resume_recording(tmp_path / "cut", values.meta(), frames=first_window * STEP) as writer:
        recording = open_recording(tmp_path / "cut")
        assert (len(recording), recording.complete) == (first_window * STEP, False)
        assert len(recording.names) == len(recording.world_from_cam) == len(recording)
        assert [w.number for w in recording.windows] == list(range(first_window))
        check_frames(recording)
        append_all(writer, values.placed_windows(frames, first_window=first_window))
        writer.finish()
    assert contents(tmp_path / "cut") == contents(tmp_path / "uncut")


def test_resumed_and_ended_sooner_it_is_the_shorter_recording_to_the_byte(tmp_path: Path) -> None:
    write(tmp_path / "short", 25)
    write(tmp_path / "cut", 45)
    with resume_recording(tmp_path / "cut", values.meta(), frames=2 * STEP) as writer:
        append_all(writer, values.placed_windows(25, first_window=2))
        writer.finish()
    assert contents(tmp_path / "cut") == contents(tmp_path / "short")


def test_a_cut_inside_a_window_keeps_its_first_frames_and_drops_its_row(tmp_path: Path) -> None:
    write(tmp_path / "out", 45)
    resume_recording(tmp_path / "out", values.meta(), frames=18).close()
    recording = open_recording(tmp_path / "out")
    assert len(recording) == 18
    assert len(recording.windows) == 3
    check_frames(recording)


def test_zeros_are_stored_like_any_other_value(tmp_path: Path) -> None:
    placed = values.placed_windows(40)
    blank = [replace(p, confidence_logit=torch.full_like(p.confidence_logit, -torch.inf)) for p in placed]
    with create_recording(tmp_path / "out", values.meta()) as writer:
        append_all(writer, blank[:4])
    with resume_recording(tmp_path / "out", values.meta(), frames=20) as writer:
        append_all(writer, blank[4:])
    assert [frame.confidence.max() for frame in open_recording(tmp_path / "out")] == [0] * 40


class DiskFault:
    """Every way of the code to the disk, counted, and made to fail at one of them and ever after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.fails_at = 0, sys.maxsize
        self._one_by_one = threading.Lock()
        monkeypatch.setattr(os, "fsync", self._counted(lambda descriptor: None))  # here no power is cut
        monkeypatch.setattr(os, "replace", self._counted(os.replace))

    def _counted(self, function: Callable[..., None]) -> Callable[..., None]:
        def wrapper(*args: object) -> None:
            with self._one_by_one:  # chunks are written in threads
                self.calls += 1
                fails = self.calls > self.fails_at
            if fails:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            function(*args)

        return wrapper


@pytest.mark.parametrize(("before", "frames"), [(0, 8), (3, 19)])  # the arrays grow; a chunk is filled, the next begun
def test_a_disk_that_fills_at_any_step_leaves_what_was_committed_and_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, frames: int
) -> None:
    fault = DiskFault(monkeypatch)
    windows = values.placed_windows(frames)
    with create_recording(tmp_path / "whole", values.meta()) as writer:
        steps_until = [fault.calls]
        for placed in windows:
            writer.append(placed)
            steps_until.append(fault.calls)
    steps = steps_until[before + 1] - steps_until[before]
    assert steps > 20  # eight chunks and the commit are synced and replaced, two files of lines synced
    with create_recording(tmp_path / "before", values.meta()) as writer:
        append_all(writer, windows[:before])
    # The last step syncs the folder: the commit can be read then, only a power cut could take it back.
    for step in range(steps):
        folder = tmp_path / str(step)
        shutil.copytree(tmp_path / "before", folder)
        with resume_recording(folder, values.meta(), frames=before * STEP) as writer:
            fault.fails_at = fault.calls + step
            with pytest.raises(RecordingError, match=rf"No space left.*\b{before * STEP}\b") as told:
                writer.append(windows[before])
            assert "\n" not in str(told.value)
            assert not list(folder.rglob("*.partial"))
            recording = open_recording(folder)
            committed = windows[: before + 1] if step == steps - 1 else windows[:before]
            assert len(recording) == sum(placed.final_count for placed in committed)
            check_frames(recording, max(0, (before - 1) * STEP))  # `contents` compares those before
            fault.fails_at = sys.maxsize
        with resume_recording(folder, values.meta(), frames=before * STEP) as writer:
            append_all(writer, windows[before:])
        assert contents(folder) == contents(tmp_path / "whole")


@contextmanager
def tiny_disk(path: Path, kibibytes: int) -> Iterator[Path]:
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", path], capture_output=True)
    if made.returncode != 0:
        pytest.skip("mounting a small disk needs more rights")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk needs root on Linux")
def test_a_real_full_disk(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", 600) as disk:
        with pytest.raises(RecordingError, match="No space left"):
            write(disk / "out", 2000)
        recording = open_recording(disk / "out")
        assert len(recording) > 50
        check_frames(recording)


def test_in_the_background_it_writes_the_same_and_tells_when_each_window_is_committed(tmp_path: Path) -> None:
    write(tmp_path / "plain", 45)
    told: list[tuple[int, int]] = []
    with BackgroundWriter(create_recording(tmp_path / "behind", values.meta())) as writer:
        for placed in values.placed_windows(45):
            writer.append(
                placed, after_commit=lambda count: told.append((count, len(open_recording(tmp_path / "behind"))))
            )
        writer.finish()
        assert writer.frame_count == 45
    assert told == [(count, count) for count in [*range(STEP, 45, STEP), 45][: len(told)]]
    assert len(told) == len(values.placed_windows(45))
    assert contents(tmp_path / "plain") == contents(tmp_path / "behind")


def test_an_error_in_the_background_surfaces_once_it_happened_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = DiskFault(monkeypatch)
    windows = values.placed_windows(45)
    writer = BackgroundWriter(create_recording(tmp_path / "out", values.meta()), group_s=0.0)
    writer.append(windows[0])
    writer.flush()
    fault.fails_at = fault.calls
    with pytest.raises(RecordingError, match="No space left"):
        append_all(writer, windows[1:5])  # more than may wait
    with pytest.raises(RecordingError, match="No space left"):
        writer.append(windows[5])
    with pytest.raises(RecordingError, match="No space left"):
        writer.finish()
    with pytest.raises(RecordingError, match="No space left"):
        writer.close()
    fault.fails_at = sys.maxsize
    assert len(open_recording(tmp_path / "out")) == STEP
    resume_recording(tmp_path / "out", values.meta(), frames=STEP).close()


class SlowDisk:
    """A disk that takes a while for every file, and counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.files = 0

        def fsync(descriptor: int) -> None:
            self.files += 1
            time.sleep(seconds)

        monkeypatch.setattr(os, "fsync", fsync)


def test_on_a_slow_disk_windows_are_committed_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SlowDisk(monkeypatch, 0.01)
    files = {}
    for group_s in (0.0, 1e6):
        folder = tmp_path / str(group_s)
        with BackgroundWriter(create_recording(folder, values.meta()), group_s=group_s) as writer:
            before = disk.files
            append_all(writer, values.placed_windows(45))
            writer.flush()
            files[group_s] = disk.files - before
            check_frames(open_recording(folder))
            writer.finish()
    assert contents(tmp_path / "0.0") == contents(tmp_path / "1000000.0")
    each = 8 + 8 + 2 + 2  # chunks and their folders, lines, the count
    groups = len(values.placed_windows(45))
    assert files[0.0] > each * groups
    assert files[1e6] < files[0.0] - each * (groups - 4)


def test_a_group_is_committed_in_time_though_no_window_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SlowDisk(monkeypatch, 0.005)
    windows = values.placed_windows(45)
    with BackgroundWriter(create_recording(tmp_path / "out", values.meta()), group_s=0.5) as writer:
        append_all(writer, windows[:3])
        until_s = time.monotonic() + 60
        while len(open_recording(tmp_path / "out")) < 3 * STEP:
            assert time.monotonic() < until_s, "nothing more is committed"
            time.sleep(0.01)
        append_all(writer, windows[3:])
    check_frames(open_recording(tmp_path / "out"))


def test_of_a_group_that_the_disk_refuses_nothing_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = DiskFault(monkeypatch)
    windows = values.placed_windows(45)
    writer = create_recording(tmp_path / "out", values.meta())
    writer.append(windows[0])
    for placed in windows[1:5]:
        writer.append(placed, commit=False)
    assert len(open_recording(tmp_path / "out")) == writer.frame_count == STEP
    fault.fails_at = fault.calls
    with pytest.raises(RecordingError, match="No space left"):
        writer.commit()
    writer.close()
    fault.fails_at = sys.maxsize
    assert not list((tmp_path / "out").rglob("*.partial"))
    assert len(open_recording(tmp_path / "out")) == STEP
    with resume_recording(tmp_path / "out", values.meta(), frames=STEP) as writer:
        for placed in windows[1:]:
            writer.append(placed, commit=False)
        writer.finish()
    write(tmp_path / "whole", 45)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_chunk_that_the_disk_refuses_stops_the_writer_by_its_next_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, *data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    first, second = values.placed_windows(60, window=40)
    writer = create_recording(tmp_path / "out", values.meta())
    writer.append(first)
    with monkeypatch.context() as disk:
        disk.setattr(store, "prepare", refuse)
        writer.append(replace(first, number=1), commit=False)  # its chunks are compressed after it
        with pytest.raises(RecordingError, match=rf"No space left.*\b{first.final_count}\b"):
            writer.append(second, commit=False)
    with pytest.raises(RecordingError, match="stopped by an error"):
        writer.append(second)
    writer.close()
    assert not list((tmp_path / "out").rglob("*.partial"))
    assert len(open_recording(tmp_path / "out")) == first.final_count
    with resume_recording(tmp_path / "out", values.meta(), frames=first.final_count) as writer:
        writer.append(second)
        writer.finish()
    check_frames(open_recording(tmp_path / "out"))


@pytest.mark.parametrize("window", [19, 40])  # 16 and 37 frames: chunks that one window fills, and those it begins
def test_chunks_do_not_depend_on_the_length_of_windows(tmp_path: Path, window: int) -> None:
    write(tmp_path / "short", 100)
    with create_recording(tmp_path / "long", values.meta()) as writer:
        append_all(writer, values.placed_windows(100, window=window))
        writer.finish()
    short, long = contents(tmp_path / "short"), contents(tmp_path / "long")
    chunks = [name for name in short if re.search(r"(depth|confidence|rgb|world_from_cam|timestamp_s).c\.", name)]
    assert len(chunks) == 3 * 7 + 2
    assert [short[name] for name in chunks] == [long[name] for name in chunks]


def test_leaving_the_background_writer_writes_what_waits(tmp_path: Path) -> None:
    def interrupted() -> None:
        with BackgroundWriter(create_recording(tmp_path / "out", values.meta()), ahead=8) as writer:
            append_all(writer, values.placed_windows(25))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    recording = open_recording(tmp_path / "out")
    assert (len(recording), recording.complete) == (25, False)


def test_a_state_that_cannot_be_saved_is_one_clear_line(tmp_path: Path) -> None:
    def save(count: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = BackgroundWriter(create_recording(tmp_path / "out", values.meta()))
    writer.append(values.placed_windows(12)[0], after_commit=save)
    with pytest.raises(RecordingError, match="No space left"):
        writer.close()
    assert len(open_recording(tmp_path / "out")) == STEP
