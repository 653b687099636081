"""Batches on two of Ray's workers: equal to one by one, resumed, and safe from killed workers and drivers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
from batch_clips import SMALL, SPEC, TWO, contents, options, write_clip

import openloger
from openloger import InputError, RunOptions
from openloger.batch import WorkerControl, WorkerPool, list_videos, run_batch
from openloger.batch.video import VideoJob
from openloger.cli import EXIT_BAD_INPUT
from openloger.cli.evaluate import OutputArguments, ProtocolArguments, RayArguments, WorldArguments, evaluate_worlds

ray = pytest.importorskip("ray", reason="needs the ray extra")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:ray")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As each worker has; with another number of threads a sum may end in other bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One small Ray for all tests of the module: to start one takes seconds."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80 * 2**20,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Three videos, and one that is none."""
    folder = tmp_path_factory.mktemp("archive")
    for seed, name in enumerate(("a.mp4", "b.mp4", "day/c.mp4")):
        write_clip(folder / name, seed=seed)
    (folder / "broken.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def alone(archive, tmp_path_factory) -> dict[str, dict]:
    """The same, reconstructed one by one."""
    folder, network = tmp_path_factory.mktemp("alone"), SPEC.load()
    for name in ("a.mp4", "b.mp4", "day/c.mp4"):
        openloger.reconstruct(
            archive / name,
            folder / name,
            network=network,
            window=SMALL.window,
            overlap=SMALL.overlap,
            size=SMALL.size,
            options=RunOptions(),
        )
    return {name: contents(folder / name) for name in ("a.mp4", "b.mp4", "day/c.mp4")}


def made(out: Path) -> dict[str, dict]:
    return {name: contents(out / name) for name in ("a.mp4", "b.mp4", "day/c.mp4")}


def test_a_batch_is_one_by_one_and_goes_on(archive, alone, tmp_path):
    seen = []
    chosen = options(exports=("tum",))
    videos = list_videos([str(archive)], SMALL)
    summary = run_batch(videos, str(tmp_path), chosen, on_progress=seen.append)
    assert made(tmp_path) == alone
    assert (summary.videos, summary.complete, summary.left, summary.workers) == (4, 3, 0, 2)
    assert [(one.name, one.attempts) for one in summary.failed] == [("broken.mp4", 1)]
    assert seen[-1].total == 4

    rows = {row["name"]: row for row in pyarrow.parquet.read_table(tmp_path / "index.parquet").to_pylist()}
    assert {name: row["state"] for name, row in rows.items()} == {
        **dict.fromkeys(alone, "complete"),
        "broken.mp4": "failed",
    }
    assert rows["a.mp4"]["frames"] == 12
    assert 0 < rows["a.mp4"]["confidence"] < 1
    assert rows["a.mp4"]["drift_rotation_deg"] > 0
    assert [Path(path).name for path in rows["day/c.mp4"]["exports"]] == ["c.mp4.tum.txt"]
    assert "is not a video" in rows["broken.mp4"]["error"]
    assert not list((tmp_path / ".openloger-batch").glob("*.json"))  # all is in the index

    begun = []
    again = run_batch(videos, str(tmp_path), replace(chosen, retry_failed=False), on_result=begun.append)
    assert (again.already_complete, again.workers, begun) == (3, 0, [])
    write_clip(archive / "broken.mp4", seed=9)
    mended = run_batch(videos, str(tmp_path), chosen, on_result=begun.append)
    (archive / "broken.mp4").write_bytes(b"no video")
    assert (mended.complete, mended.failed, [one.name for one in begun]) == (4, (), ["broken.mp4"])


class DyingJob(VideoJob):
    """A job whose first worker to come past a video's first window is killed, as by the system when memory is short."""

    def __call__(self):
        work, marker = super().__call__(), Path(self.scratch) / "died"

        def dies_once(video, control):
            class Deadly(WorkerControl):
                def report(self, done: int, note: str = "") -> None:
                    if done and not marker.exists():
                        marker.touch()
                        os.kill(os.getpid(), signal.SIGKILL)

            return work(video, Deadly())

        return dies_once


def test_a_killed_worker_loses_nothing(archive, alone, tmp_path):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    scratch.mkdir()
    job = DyingJob(SPEC, str(out), (), str(scratch), 0)
    with WorkerPool(job, TWO) as pool:
        finished = {one.item.name: one for one in pool.run(list_videos([str(archive)], SMALL))}
    assert (scratch / "died").exists()
    assert {name: one.result.state for name, one in finished.items()} == {
        **dict.fromkeys(alone, "complete"),
        "broken.mp4": "failed",
    }
    assert sorted(one.attempts for one in finished.values()) == [1, 1, 1, 2]
    assert made(out) == alone


@pytest.mark.slow
def test_a_killed_driver_loses_nothing(archive, alone, tmp_path):
    address = ray.get_runtime_context().gcs_address
    command = [
        *(sys.executable, "-m", "openloger", "batch", str(archive), "--out", str(tmp_path), "--ray-address", address),
        *("--network", "pocket", "--weights", "random", "--device", "cpu", "--dtype", "float32", "--workers", "2"),
        *("--window", "5", "--overlap", "2", "--size", "40", "48", "--min-free-gb", "0"),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as driver:
        until_s = time.monotonic() + 120
        while not list(tmp_path.rglob("committed.json")):
            assert time.monotonic() < until_s, "nothing was begun"
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.02)
        driver.kill()
    assert not (tmp_path / "index.parquet").exists()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob(".openloger-batch/*.json")}
    summary = run_batch(list_videos([str(archive)], SMALL), str(tmp_path), options())
    assert (summary.complete, len(summary.failed)) == (3, 1)
    assert summary.already_complete <= len(before)
    assert made(tmp_path) == alone


@pytest.mark.slow
def test_an_interrupted_batch_is_continued(archive, alone, tmp_path):
    videos = list_videos([str(archive)], SMALL)
    calls = iter(range(100))
    first = run_batch(videos, str(tmp_path), options(), should_stop=lambda: next(calls, 100) >= 3)
    assert first.left > 0
    second = run_batch(videos, str(tmp_path), options())
    assert (second.complete, second.left) == (3, 0)
    assert made(tmp_path) == alone


def prepare_flaky():
    import os as system

    def work(item, control):
        kind, counter = item
        with open(counter, "ab") as file:
            file.write(b".")
        if kind == "raises":
            raise ValueError("no luck")
        if kind == "dies":
            system._exit(1)
        return kind, system.environ.get("OMP_NUM_THREADS")

    return work


@pytest.mark.slow
def test_what_never_works_is_reported_after_its_attempts(tmp_path):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    items = [(kind, str(tmp_path / kind)) for kind in ("raises", "dies", "works")]
    with WorkerPool(prepare_flaky, replace(TWO, attempts=2)) as pool:
        finished = {one.item[0]: one for one in pool.run(items)}
    assert finished["works"].result[0] == "works"
    assert finished["raises"].error == "ValueError: no luck"
    assert finished["dies"].error.startswith("its worker died: ")
    assert {kind: (tmp_path / kind).stat().st_size for kind in finished} == {"raises": 2, "dies": 2, "works": 1}


def prepare_hanging():
    import threading as system_threading
    import time as system_time
    from pathlib import Path as SystemPath

    def work(item, control):
        kind, marker = item
        first = not SystemPath(marker).exists()
        SystemPath(marker).touch()
        if kind == "hangs" and first:
            system_threading.Event().wait()
        if kind == "never ends":
            system_threading.Event().wait()
        for done in range(5):  # longer than the limit in all, and never so long without a frame
            system_time.sleep(0.8)
            control.report(done + 1)
        return kind

    return work


def test_a_worker_that_hangs_is_replaced(tmp_path):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    items = [(kind, str(tmp_path / kind)) for kind in ("hangs", "works", "never ends")]
    with WorkerPool(prepare_hanging, replace(TWO, attempts=2, stall_s=3.0)) as pool:
        finished = {one.item[0]: one for one in pool.run(items)}
    assert (finished["hangs"].result, finished["hangs"].attempts) == ("hangs", 2)
    assert (finished["works"].result, finished["works"].attempts) == ("works", 1)
    assert (finished["never ends"].result, finished["never ends"].attempts) == (None, 2)
    assert finished["never ends"].error == "its worker made no progress for 3 s"


@pytest.mark.slow
def test_what_no_worker_can_do_ends_it(tmp_path, archive):
    missing = replace(SPEC, weights=str(tmp_path / "nothing.pt"))
    with pytest.raises(InputError, match=r"nothing\.pt"):
        run_batch(list_videos([str(archive)], SMALL), str(tmp_path / "out"), options(network=missing))
    with pytest.raises(InputError, match="there is room for 2 workers of 1 CPUs and 0 GPUs"):
        run_batch(list_videos([str(archive)], SMALL), str(tmp_path / "out"), options(workers=replace(TWO, workers=3)))


def test_an_index_of_somebody_else_is_kept(tmp_path, archive):
    pyarrow.parquet.write_table(pyarrow.table({"name": ["mine"]}), tmp_path / "index.parquet")
    before = (tmp_path / "index.parquet").read_bytes()
    with pytest.raises(InputError, match="was not written by `openloger batch`"):
        run_batch(list_videos([str(archive)], SMALL), str(tmp_path), options())
    assert (tmp_path / "index.parquet").read_bytes() == before


def test_without_ray_one_line_names_the_extra(tmp_path, archive, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"needs the package ray: pip install '.*\[ray\]'"):
        run_batch(list_videos([str(archive)], SMALL), str(tmp_path), options())
    assert not list(tmp_path.iterdir())


def test_a_suite_on_ray_has_the_same_numbers(capsys):
    def numbers(on_ray):
        code = evaluate_worlds(
            network=SPEC,
            worlds=WorldArguments(frames=12, size=(16, 24)),
            protocol=ProtocolArguments(sequences=("rooms:3", "sea:1", "street:3"), window=6, overlap=2),
            output=OutputArguments(json=True),
            ray=on_ray,
        )
        assert code == EXIT_BAD_INPUT  # there is no sea
        told = json.loads(capsys.readouterr().out)
        return {name: (one["numbers"], one["fault"]) for name, one in told["sequences"].items()}, told["run_settings"]

    on_ray = numbers(RayArguments(ray=True, workers=2))
    assert on_ray == numbers(RayArguments())
    assert list(on_ray[0]) == ["rooms:3", "sea:1", "street:3"]
    assert on_ray[0]["rooms:3"][0]["matched"] == 12
