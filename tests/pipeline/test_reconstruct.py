"""The main job as a whole: in Python, resumed, killed, and with bad input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import openloger
from openloger import BadFrameError, InputError, RecordingError, RunOptions
from openloger.frames.lenses import read_camera
from openloger.geometry.views import view_intrinsics
from openloger.network import NetworkSpec, load
from openloger.network.kernels.calibration import KernelCalibration
from openloger.network.kernels.choice import Kernels
from openloger.network.kernels.use import use_kernels
from openloger.recording import Recording, open_recording

LENGTH = 30  # frames; 4 windows of 9 that share 2


@pytest.fixture(scope="module")
def network():
    return openloger.load_network("pocket", weights="random", device="cpu")


def noise(count=LENGTH, *, height=40, width=48, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def run(frames, out, network, **options):
    options = RunOptions(depth_dtype="float32", **options)
    return openloger.reconstruct(frames, out, network=network, window=9, overlap=2, size=(40, 48), options=options)


def assert_equal(a: Recording, b: Recording):
    assert len(a) == len(b)
    assert np.array_equal(a.world_from_cam, b.world_from_cam)
    assert np.array_equal(a.intrinsics, b.intrinsics)
    assert a.names == b.names
    for i in range(len(a)):
        assert np.array_equal(a.depth(i), b.depth(i))
        assert np.array_equal(a.confidence(i), b.confidence(i))
        assert np.array_equal(a.rgb(i), b.rgb(i))


def test_recording_holds_what_the_stream_says(network, one_thread, tmp_path):
    frames = noise()
    recording = run(frames, tmp_path / "out", network)
    windows = list(openloger.Stream(network, window=9, overlap=2, size=(40, 48)).run(frames))
    assert recording.complete
    assert len(recording) == LENGTH
    cameras = np.concatenate([w.world_from_cam[: w.final_count].numpy() for w in windows])
    depth = np.concatenate([w.depth[: w.final_count].numpy() for w in windows])
    assert np.array_equal(recording.world_from_cam, cameras)
    assert np.array_equal(np.stack([recording.depth(i) for i in range(LENGTH)]), depth)
    assert np.array_equal(recording.rgb(3), frames[3])
    assert recording.meta.network == "pocket"
    assert recording.meta.settings["window"] == 9


def test_each_window_says_what_it_cost(network, tmp_path):
    began_s = time.perf_counter()
    recording = run(noise(), tmp_path / "out", network)
    took_s = time.perf_counter() - began_s
    costs = [window.cost for window in recording.windows]
    assert all(0 <= cost.waiting_s <= cost.seconds for cost in costs)
    assert 0 < sum(cost.seconds for cost in costs) < took_s
    peaks = [cost.peak_memory_bytes for cost in costs]
    assert peaks == sorted(peaks)
    assert peaks[0] > 1e7
    assert {cost.device for cost in costs} == {"cpu"}
    assert recording.meta.versions["openloger"] == openloger.__version__


@pytest.mark.parametrize("windows_done", [1, 2, 3])
def test_stopped_and_resumed_equals_uncut(windows_done, network, tmp_path):
    whole = run(noise(), tmp_path / "whole", network)
    seen = []
    first = run(
        noise(), tmp_path / "cut", network, on_progress=seen.append, should_stop=lambda: len(seen) == windows_done
    )
    assert not first.complete
    assert len(first) == windows_done * 7
    assert_equal(run(noise(), tmp_path / "cut", network, existing="resume"), whole)


def test_a_run_goes_on_with_the_kernels_that_it_began_with(one_thread, tmp_path, monkeypatch):
    """Products of another library end in other bits, as do those of another precision."""

    def own(**options):
        return use_kernels(openloger.load_network("pocket", weights="random", device="cpu", dtype="float32"), **options)

    def stopped(out, network):
        seen = []
        return run(noise(), out, network, on_progress=seen.append, should_stop=lambda: len(seen) == 2)

    whole = run(noise(), tmp_path / "whole", own(kernels=Kernels("torch")))
    assert whole.meta.settings["linear"] == "torch"
    stopped(tmp_path / "cut", own(kernels=Kernels("torch")))
    later = own(kernels=Kernels())
    assert_equal(run(noise(), tmp_path / "cut", later, existing="resume"), whole)
    assert later.kernels == Kernels("torch")
    stopped(tmp_path / "named", own(kernels=Kernels("torch")))
    spec = NetworkSpec("pocket", "random", "cpu")  # as a measurement would now choose otherwise
    monkeypatch.setattr(load, "calibrated", lambda *given: KernelCalibration(Kernels(), "bfloat16"))
    assert spec.load().precision == torch.bfloat16
    named = spec.continuing(open_recording(tmp_path / "named").meta.settings).load()
    assert_equal(run(noise(), tmp_path / "named", named, existing="resume"), whole)


@pytest.mark.parametrize(
    "refusal",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] can't allocate memory"),
        MemoryError(),
    ],
)
def test_too_little_memory_is_one_line_and_costs_no_frame(refusal, network, tmp_path, monkeypatch):
    forward, windows = type(network).forward, []

    def full(self, window, memory=None, **options):
        windows.append(window)
        if len(windows) == 3:
            raise refusal
        return forward(self, window, memory, **options)

    with monkeypatch.context() as patched:
        patched.setattr(type(network), "forward", full)
        with pytest.raises(
            InputError, match=r"not enough memory; .* keeps what was done before \(14 frames\): .* --resume"
        ):
            run(noise(), tmp_path / "cut", network)
    whole = run(noise(), tmp_path / "whole", network)
    assert_equal(run(noise(), tmp_path / "cut", network, existing="resume"), whole)


def test_killed_and_resumed_equals_uncut(network, tmp_path):
    out = tmp_path / "cut"
    child = subprocess.Popen([sys.executable, __file__, str(out)], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not _committed(out):
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert 0 < len(openloger.open_recording(out)) < LENGTH
    assert_equal(run(noise(), out, network, existing="resume"), run(noise(), tmp_path / "whole", network))


def _committed(out: Path) -> int:
    return len(openloger.open_recording(out)) if (out / "committed.json").is_file() else 0


def test_resuming_what_is_complete_returns_it(network, tmp_path):
    whole = run(noise(), tmp_path / "out", network)
    assert_equal(run(noise(), tmp_path / "out", network, existing="resume"), whole)


def test_resume_begins_where_there_is_nothing(network, tmp_path):
    assert len(run(noise(), tmp_path / "new", network, existing="resume")) == LENGTH


def test_resume_with_other_settings_is_refused(network, tmp_path):
    seen = []
    run(noise(), tmp_path / "cut", network, on_progress=seen.append, should_stop=lambda: bool(seen))
    with pytest.raises(RecordingError, match="window"):
        openloger.reconstruct(
            noise(), tmp_path / "cut", network=network, window=8, overlap=2, options=RunOptions(existing="resume")
        )


def test_existing_recording_is_refused_then_overwritten(network, tmp_path):
    run(noise(), tmp_path / "out", network)
    with pytest.raises(RecordingError, match="--resume"):
        run(noise(), tmp_path / "out", network)
    assert len(run(noise(12), tmp_path / "out", network, existing="overwrite")) == 12


@pytest.mark.parametrize("count", [1, 2, 9, 10, 16])
def test_short_videos(count, network, tmp_path):
    recording = run(noise(count), tmp_path / "out", network)
    assert recording.complete
    assert len(recording) == count
    assert np.isfinite(recording.depth(count - 1)).all()


def test_no_frames(network, tmp_path):
    with pytest.raises(InputError, match="frame"):
        run([], tmp_path / "out", network)
    assert not (tmp_path / "out").exists()


def test_frames_of_differing_sizes_keep_what_came_before(network, tmp_path):
    frames = noise(20)
    frames[15] = frames[15][:20]
    with pytest.raises(BadFrameError, match="15") as caught:
        run(frames, tmp_path / "out", network)
    assert caught.value.index == 15
    assert "\n" not in str(caught.value)
    kept = openloger.open_recording(tmp_path / "out")
    assert len(kept) == 15
    assert not kept.complete


def test_known_intrinsics_scale_with_the_picture(network, tmp_path):
    recording = openloger.reconstruct(
        noise(5, height=80, width=96),
        tmp_path / "out",
        network=network,
        size=(40, 48),
        options=RunOptions(camera="pinhole:100,90,48,40"),
    )
    assert recording.intrinsics[0] == pytest.approx(np.array([[50, 0, 24], [0, 45, 20], [0, 0, 1]]))


def test_a_known_lens_is_undistorted_kept_and_asked_for_again(network, one_thread, tmp_path):
    lens = "opencv:100,100,48,40,-0.2,0.01,0,0"
    options = RunOptions(camera=lens, existing="resume", should_stop=lambda: True)
    frames = noise(25, height=80, width=96)
    reconstructed = {"network": network, "window": 8, "overlap": 2, "size": (40, 48)}
    cut = openloger.reconstruct(frames, tmp_path / "cut", options=options, **reconstructed)
    assert not cut.complete
    with pytest.raises(RecordingError, match="camera 'opencv"):
        openloger.reconstruct(frames, tmp_path / "cut", options=RunOptions(existing="resume"), **reconstructed)
    resumed = RunOptions(camera=lens, existing="resume")
    recording = openloger.reconstruct(frames, tmp_path / "cut", options=resumed, **reconstructed)
    whole = openloger.reconstruct(frames, tmp_path / "whole", options=RunOptions(camera=lens), **reconstructed)
    assert read_camera(whole.meta.camera).params == read_camera(lens).params
    view = view_intrinsics(read_camera(lens), (80, 96)).numpy()
    assert whole.intrinsics[0][:2] == pytest.approx(view[:2] / 2)
    assert np.array_equal(recording.rgb(20), whole.rgb(20))
    assert np.array_equal(recording.world_from_cam, whole.world_from_cam)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"window": 3, "overlap": 3}, "overlap 3"),
        ({"window": 0}, "window of 0"),
        ({"placement": "sim4"}, "sim4"),
        ({"size": (41, 48)}, "41"),
        ({"size": (80000, 48)}, "80000"),
        ({"size": (1600, 1600)}, "1600"),
        ({"reset_every": -1}, "-1"),
        ({"options": RunOptions(camera="pinhole:1,2,3")}, "3 values"),
        ({"options": RunOptions(camera="pinhole:9,9,99,9")}, "principal point"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(wrong, named, network, tmp_path):
    with pytest.raises(InputError, match=named):
        openloger.reconstruct(noise(4), tmp_path / "out", network=network, **wrong)
    assert not (tmp_path / "out").exists()


def test_a_doubtful_principal_point_is_said_before_the_first_window(network, tmp_path, openloger_log):
    said_by_then = []
    options = RunOptions(
        camera="pinhole:90,90,36,30", on_window=lambda _: said_by_then.append(list(openloger_log.messages))
    )
    openloger.reconstruct(noise(4), tmp_path / "out", network=network, options=options)
    assert any("the principal point given lies 25 % of the diagonal" in line for line in said_by_then[0])


if __name__ == "__main__":  # the run that is killed: slowed, so that it is killed in its middle
    untrained = openloger.load_network("pocket", weights="random", device="cpu")
    run(noise(), sys.argv[1], untrained, on_progress=lambda progress: time.sleep(0.7))
