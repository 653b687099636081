"""One video on a worker, with its source and output here, in memory, and on a server that speaks S3."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from batch_clips import SMALL, SPEC, contents, write_clip
from PIL import Image

import openloger
from openloger import RecordingError, RunOptions
from openloger.batch import Video, WorkerControl
from openloger.batch.index import Index
from openloger.batch.storage import Storage, download, local_path
from openloger.batch.video import VideoJob, VideoWorker
from openloger.network import load
from openloger.network.kernels.calibration import KernelCalibration
from openloger.network.kernels.choice import Kernels
from openloger.outputs import MANIFEST, FileLock


@pytest.fixture(scope="module")
def network():
    return SPEC.load()


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "a.mp4", seed=1)


@pytest.fixture
def memory_system():
    system = fsspec.filesystem("memory")
    system.store.clear()
    return system


@pytest.fixture(scope="module")
def s3():
    """A local server with one bucket; its endpoint is in the environment, as a user would set it."""
    server = pytest.importorskip("moto.server", reason="needs moto[server]")
    pytest.importorskip("s3fs")
    patch = pytest.MonkeyPatch()
    running = server.ThreadedMotoServer(port=0)
    running.start()
    host, port = running.get_host_and_port()
    patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    system = fsspec.filesystem("s3")
    system.mkdir("archive")
    yield system
    running.stop()
    patch.undo()


def worker(
    network, out: str, scratch: Path, *, exports=("tum",), least_free_bytes=0, max_memory_gb=None
) -> VideoWorker:
    return VideoWorker(VideoJob(SPEC, out, exports, str(scratch), least_free_bytes, max_memory_gb), network)


def one_by_one(clip: Path, out: Path, network) -> Path:
    openloger.reconstruct(
        clip,
        out,
        network=network,
        window=SMALL.window,
        overlap=SMALL.overlap,
        size=SMALL.size,
        options=RunOptions(),
    )
    return out


def test_addresses_and_paths():
    assert local_path("/a/b") == Path("/a/b")
    assert local_path("file:///a/b") == Path("/a/b")
    assert local_path("s3://a/b") is None
    assert local_path("simplecache::s3://a/b") is None


def test_here_it_is_what_reconstruct_makes(network, clip, tmp_path):
    result = worker(network, str(tmp_path / "out"), tmp_path / "scratch")(
        Video("day/a", str(clip), SMALL), WorkerControl()
    )
    assert (result.state, result.frames, result.error) == ("complete", 12, None)
    assert contents(tmp_path / "out/day/a") == contents(one_by_one(clip, tmp_path / "alone", network))
    assert result.exports == (f"{tmp_path}/out/day/a.tum.txt",)
    assert len(Path(result.exports[0]).read_text().splitlines()) >= 12
    assert not (tmp_path / "scratch").exists()


def test_a_worker_keeps_to_its_memory(network, clip, tmp_path):
    out, scratch, control = str(tmp_path / "out"), tmp_path / "scratch", WorkerControl()
    short = worker(network, out, scratch, max_memory_gb=0.01)(Video("short", str(clip), SMALL), control)
    assert short.state == "failed"
    assert "--max-memory 0.01: pocket needs" in short.error
    enough = worker(network, out, scratch, max_memory_gb=64.0)
    results = [enough(Video(name, str(clip), SMALL), control) for name in ("a", "b")]
    assert [(one.state, one.error) for one in results] == [("complete", None)] * 2
    settings = [openloger.open_recording(one.recording).meta.settings for one in results]
    assert settings[0] == settings[1]
    assert (settings[0]["max_memory_gb"], settings[0]["window"]) == (64.0, SMALL.window)
    assert json.loads(results[0].request)["max_memory_gb"] == 64.0


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_elsewhere_it_is_the_same(kind, network, clip, tmp_path, request):
    system = request.getfixturevalue("memory_system" if kind == "memory" else "s3")
    system.pipe_file("archive/in/a.mp4", clip.read_bytes())
    video = Video("a", f"{kind}://archive/in/a.mp4", SMALL)
    result = worker(network, f"{kind}://archive/out", tmp_path / "scratch")(video, WorkerControl())
    assert (result.state, result.error) == ("complete", None)
    assert result.recording == f"{kind}://archive/out/a"
    system.invalidate_cache()
    system.get("archive/out/a", str(tmp_path / "fetched"), recursive=True)
    fetched, alone = contents(tmp_path / "fetched"), contents(one_by_one(clip, tmp_path / "alone", network))
    differing = {name for name in fetched.keys() | alone.keys() if fetched.get(name) != alone.get(name)}
    metas = {"meta.json", "meta.copy.json"}  # the source's address; and no lock is needed there
    assert differing == metas | {"writer.lock"}
    recording = openloger.open_recording(tmp_path / "fetched")
    assert recording.meta.source == video.source
    assert recording.complete
    assert system.cat_file("archive/out/a.tum.txt").count(b"\n") >= 12
    kept_here = {path.name for path in (tmp_path / "scratch").rglob("*") if path.is_file()}
    assert kept_here <= {MANIFEST}  # what is stored there is not kept here
    assert Index(Storage(f"{kind}://archive/out")).get("a") == result


def test_a_folder_of_pictures_is_fetched_whole(memory_system, tmp_path):
    for name in ("in/1.png", "in/2.png", "in/deep/timestamps.txt"):
        memory_system.pipe_file(f"/archive/{name}", name.encode())
    folder = download("memory://archive/in", tmp_path)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        "1.png",
        "2.png",
        "deep/timestamps.txt",
    ]
    memory_system.pipe_file("/archive/in/2.png", b"longer than before")
    assert (download("memory://archive/in", tmp_path) / "2.png").read_bytes() == b"longer than before"


def test_something_else_at_the_address_is_kept(network, clip, memory_system, tmp_path):
    memory_system.pipe_file("/archive/out/a/meta.json", b"mine")
    result = worker(network, "memory://archive/out", tmp_path)(Video("a", str(clip), SMALL), WorkerControl())
    assert result.state == "failed"
    assert "something else than this recording is there" in str(result.error)
    assert memory_system.cat_file("/archive/out/a/meta.json") == b"mine"


def test_a_broken_video_is_a_result(network, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    result = worker(network, str(out), tmp_path)(Video("b", str(tmp_path / "broken.mp4"), SMALL), WorkerControl())
    assert result.state == "failed"
    assert "is not a video" in str(result.error)
    assert Index(Storage(str(out))).get("b") == result


@pytest.mark.parametrize("damage", ["", "{", "[" * 100_000, '{"name": "b"}'])
def test_a_damaged_result_is_passed_over_and_named(damage, network, tmp_path, caplog):
    out = Storage(str(tmp_path / "out"))
    result = worker(network, out.address, tmp_path)(Video("b", str(tmp_path / "none.mp4"), SMALL), WorkerControl())
    damaged = tmp_path / "out" / ".openloger-batch" / "damaged.json"
    damaged.write_text(damage)
    with caplog.at_level("WARNING", logger="openloger"):
        index = Index(out)
    assert index.get("b") == result
    assert f"{damaged} is no result of a video" in caplog.text
    index.write()
    assert [one.name for one in damaged.parent.iterdir()] == ["damaged.json"]


def test_frames_before_a_bad_one_are_kept_and_counted(network, tmp_path):
    shots = tmp_path / "shots"
    shots.mkdir()
    for number in range(12):
        Image.new("RGB", (48, 40), (20 * number, 99, 0)).save(shots / f"{number:02d}.png")
    (shots / "10.png").write_bytes(b"no picture")
    run = worker(network, str(tmp_path / "out"), tmp_path)
    result = run(Video("b", str(shots), SMALL), WorkerControl())
    assert (result.state, result.frames) == ("failed", 10)
    assert "frame 10 (10.png) cannot be decoded" in str(result.error)
    skipping = replace(SMALL, on_bad_frame="skip")
    result = run(Video("c", str(shots), skipping), WorkerControl())
    assert (result.state, result.frames) == ("complete", 11)
    assert any("it is left out" in warning for warning in result.warnings)


def test_a_recording_that_another_run_holds_is_tried_again(network, clip, tmp_path):
    """That is an error of the moment, which the pool repeats; a result would say that the video is broken."""
    video = Video("a", str(clip), SMALL)
    stopping = WorkerControl()
    stopping.stop()
    run = worker(network, str(tmp_path / "out"), tmp_path)
    assert run(video, stopping).state == "interrupted"
    lock = FileLock(tmp_path / "out/a/writer.lock")
    with pytest.raises(RecordingError, match="another run is writing"):
        run(video, WorkerControl())
    lock.release()
    assert run(video, WorkerControl()).state == "complete"
    assert contents(tmp_path / "out/a") == contents(one_by_one(clip, tmp_path / "alone", network))


def test_a_recording_goes_on_as_it_was_begun_whatever_was_measured_since(clip, tmp_path, one_thread, monkeypatch):
    """Precision and kernels may be chosen anew between two runs; the videos after it keep to what is chosen now."""
    spec, job = replace(SPEC, dtype="auto"), VideoJob(SPEC, str(tmp_path / "out"), (), str(tmp_path), 0)

    def chosen(kernels, precision):
        monkeypatch.setattr(load, "calibrated", lambda *given: KernelCalibration(kernels, precision))
        return spec.load()

    before = chosen(Kernels("torch"), "bfloat16")
    stopping = WorkerControl()
    stopping.stop()
    begun, fresh = Video("begun", str(clip), SMALL), Video("fresh", str(clip), SMALL)
    assert VideoWorker(replace(job, spec=spec), before)(begun, stopping).state == "interrupted"
    now = chosen(Kernels(), "float32")
    run = VideoWorker(replace(job, spec=spec), now)
    result = run(begun, WorkerControl())
    assert (result.state, result.error) == ("complete", None)
    assert run(fresh, WorkerControl()).state == "complete"
    assert contents(tmp_path / "out/begun") == contents(one_by_one(clip, tmp_path / "before", before))
    assert contents(tmp_path / "out/fresh") == contents(one_by_one(clip, tmp_path / "now", now))


def test_no_video_is_begun_on_a_full_disk(network, clip, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    free = iter([5, 5, 5, 50, 50])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 0, next(free)))
    monkeypatch.setattr("openloger.batch.video._ROOM_POLL_S", 0.0)

    notes: list[str] = []

    class Control(WorkerControl):
        def report(self, done: int, note: str = "") -> None:
            notes.append(note)

    result = worker(network, str(tmp_path / "out"), tmp_path, least_free_bytes=10)(
        Video("a", str(clip), SMALL), Control()
    )
    assert result.state == "complete"
    assert "GB free; a video begins from" in notes[0]
    assert notes[-1] == ""


def test_a_stop_begins_no_video_that_waits_for_room(network, clip, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 0, 5))
    control = WorkerControl()
    control.stop()
    result = worker(network, str(tmp_path / "out"), tmp_path, least_free_bytes=10)(
        Video("a", str(clip), SMALL), control
    )
    assert (result.state, result.frames) == ("interrupted", 0)
    assert not (tmp_path / "out" / "a").exists()
