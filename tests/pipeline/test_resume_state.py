"""Going on where the run's state is damaged, missing or another run's, and from another source of the same name."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save

import openloger
from openloger import InputError, RecordingError, RunOptions
from openloger.network import Network
from openloger.pipeline.resume import StateSaver
from openloger.recording import Recording
from openloger.streaming import StreamState
from openloger.streaming.keyframes import KeyedFrame
from openloger.streaming.windows import SizedFrame

LENGTH, WINDOW, OVERLAP = 30, 9, 2
STEP = WINDOW - OVERLAP
SIZE = (40, 48)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.set_num_threads(1)
    return openloger.load_network("pocket", weights="random", device="cpu")


def noise(count: int = LENGTH, *, seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.integers(0, 256, (*SIZE, 3), dtype=np.uint8) for _ in range(count)]


def run(source, out: Path, network: Network, *, overlap: int = OVERLAP, **options) -> Recording:
    chosen = RunOptions(depth_dtype="float32", **options)
    placement = {} if overlap else {"placement": "none"}
    return openloger.reconstruct(
        source, out, network=network, window=WINDOW, overlap=overlap, size=SIZE, options=chosen, **placement
    )


def cut(source, out: Path, network: Network, *, windows: int = 3, **options) -> Recording:
    """A run that was stopped after some windows."""
    seen: list = []
    return run(source, out, network, on_progress=seen.append, should_stop=lambda: len(seen) == windows, **options)


@pytest.fixture(scope="module")
def whole(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return run(noise(), tmp_path_factory.mktemp("whole") / "out", network)


@pytest.fixture(scope="module")
def stopped(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cut(noise(), tmp_path_factory.mktemp("stopped") / "out", network).path


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGE = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "a bit of the header": lambda content: flipped(content, 40),
    "a bit of its length": lambda content: flipped(content, 0),
    "a bit of the data": lambda content: flipped(content, len(content) - 1000),
    "other tensors": lambda content: save({"a": torch.ones(3)}),
    "text": lambda content: b"state",
}


@pytest.mark.parametrize("kind", [*DAMAGE, "missing", "a device", "another run's"])
def test_a_lost_state_costs_no_committed_frame(
    kind: str,
    stopped: Path,
    whole: Recording,
    network: Network,
    tmp_path: Path,
    openloger_log: pytest.LogCaptureFixture,
) -> None:
    out = Path(shutil.copytree(stopped, tmp_path / "out"))
    state = out / "state.safetensors"
    if kind in ("missing", "a device"):
        state.unlink()
        if kind == "a device":
            state.symlink_to("/dev/zero")
    elif kind == "another run's":
        other = cut(noise(seed=1), tmp_path / "other", network)
        meta = (other.path / "meta.json").read_text().replace("frames in memory", "other frames")
        (other.path / "meta.json").write_text(meta)
        content = load((other.path / "state.safetensors").read_bytes())
        numbers = content["numbers"].numpy().tobytes().replace(b'"made_for": "', b'"made_for": "x')
        content["numbers"] = torch.frombuffer(bytearray(numbers), dtype=torch.uint8)
        state.write_bytes(StreamStateFile.sealed(content))
    else:
        state.write_bytes(DAMAGE[kind](state.read_bytes()))
    recording = run(noise(), out, network, existing="resume")
    assert "state.safetensors cannot be used" in openloger_log.text
    assert "the run goes on from the last recorded window" in openloger_log.text
    assert (len(recording), recording.complete) == (LENGTH, True)
    assert recording.source_index.tolist() == list(range(LENGTH))
    assert [window.number for window in recording.windows] == [0, 1, 2, 3]
    kept = 2 * STEP  # frames before the last recorded window
    np.testing.assert_array_equal(recording.world_from_cam[:kept], whole.world_from_cam[:kept])
    np.testing.assert_allclose(recording.world_from_cam[kept], whole.world_from_cam[kept], atol=1e-5)  # anchored there
    for frame in range(LENGTH):
        np.testing.assert_array_equal(recording.rgb(frame), whole.rgb(frame))
    for frame in range(kept):
        np.testing.assert_array_equal(recording.depth(frame), whole.depth(frame))


def test_a_folder_in_the_place_of_the_state_is_refused_before_the_run(
    stopped: Path, network: Network, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(stopped, tmp_path / "out"))
    before = len(openloger.open_recording(out))
    (out / "state.safetensors").unlink()
    (out / "state.safetensors").mkdir()
    with pytest.raises(RecordingError, match=r"state\.safetensors: a folder, not a regular file; move it away"):
        run(noise(), out, network, existing="resume")
    assert len(openloger.open_recording(out)) == before
    (out / "state.safetensors").rmdir()
    assert run(noise(), out, network, existing="resume").complete


class StreamStateFile:
    """A state's file with a checksum that is right."""

    @staticmethod
    def sealed(tensors: dict[str, torch.Tensor]) -> bytes:
        from openloger.streaming import state

        rest = {name: tensor for name, tensor in tensors.items() if name != "crc32"}
        return save({**rest, "crc32": torch.tensor([state._checksum(rest)])})


def test_a_state_that_is_lost_in_the_first_window_begins_again(
    network: Network, whole: Recording, tmp_path: Path
) -> None:
    out = cut(noise(), tmp_path / "out", network, windows=1).path
    (out / "state.safetensors").unlink()
    recording = run(noise(), out, network, existing="resume")
    np.testing.assert_array_equal(recording.world_from_cam, whole.world_from_cam)


def test_windows_that_share_nothing_cannot_go_on_without_their_state(network: Network, tmp_path: Path) -> None:
    out = cut(noise(), tmp_path / "out", network, overlap=0).path
    (out / "state.safetensors").write_bytes(b"")
    with pytest.raises(
        RecordingError,
        match=rf"windows that share no frame cannot be continued without it.*--overwrite.*--start {3 * WINDOW}\)",
    ):
        run(noise(), out, network, overlap=0, existing="resume")
    assert len(openloger.open_recording(out)) == 3 * WINDOW


def test_windows_that_share_nothing_go_on_where_there_is_no_memory(network: Network, tmp_path: Path) -> None:
    """As those of pi3: each window is by itself."""
    by_itself = Network(replace(network.config, memory=None)).eval().requires_grad_(False)
    whole = run(noise(), tmp_path / "whole", by_itself, overlap=0)
    out = cut(noise(), tmp_path / "out", by_itself, overlap=0).path
    (out / "state.safetensors").write_bytes(b"")
    recording = run(noise(), out, by_itself, overlap=0, existing="resume")
    np.testing.assert_array_equal(recording.world_from_cam, whole.world_from_cam)
    np.testing.assert_array_equal(recording.depth(LENGTH - 1), whole.depth(LENGTH - 1))
    assert [window.number for window in recording.windows] == [0, 1, 2, 3]


def test_a_state_of_the_version_before_is_taken(
    stopped: Path, whole: Recording, network: Network, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(stopped, tmp_path / "out"))
    state = out / "state.safetensors"
    tensors = {name: tensor for name, tensor in load(state.read_bytes()).items() if name != "crc32"}
    state.write_bytes(save(tensors))
    recording = run(noise(), out, network, existing="resume")
    np.testing.assert_array_equal(recording.world_from_cam, whole.world_from_cam)


def test_a_frame_that_is_repeated_is_saved_twice(network: Network, tmp_path: Path) -> None:
    """`--on-bad-frame repeat` gives one array for two frames, at the network's size even to the tensors."""
    frames = noise(WINDOW + STEP)
    frames[STEP + 1] = frames[STEP]  # the two that the first windows share
    whole = run(frames, tmp_path / "whole", network)
    out = cut(frames, tmp_path / "out", network, windows=1).path
    recording = run(frames, out, network, existing="resume")
    np.testing.assert_array_equal(recording.world_from_cam, whole.world_from_cam)


def test_tensors_that_share_memory_come_back_each_its_own() -> None:
    shared = torch.rand(3, 4, 4)
    frame = openloger.Frame(np.zeros((4, 4, 3), np.uint8), 0, 0.0, "a")
    state = StreamState(
        number=1, pending=(KeyedFrame(SizedFrame(frame, shared)), KeyedFrame(SizedFrame(frame, shared)))
    )
    back = StreamState.from_bytes(state.to_bytes())
    assert all(torch.equal(keyed.key.image, shared) for keyed in back.pending)


@pytest.mark.parametrize("seed", range(12))
def test_a_mutated_state_is_the_same_or_one_line(stopped: Path, seed: int) -> None:
    content = bytearray((stopped / "state.safetensors").read_bytes())
    sound = StreamState.from_bytes(bytes(content)).to_bytes()
    draw = np.random.default_rng(seed)
    place = int(draw.integers(len(content) if seed % 2 else 3000))
    content[place] = int(draw.integers(256))
    said = ""
    try:
        assert StreamState.from_bytes(bytes(content)).to_bytes() == sound
    except InputError as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "raised"),
    [
        ("openloger.pipeline.resume.write_atomically", OSError(28, "No space left on device")),
        ("openloger.streaming.StreamState.to_bytes", RuntimeError("Some tensors share memory")),
    ],
)
def test_a_state_that_cannot_be_saved_is_one_line(
    name: str, raised: Exception, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise raised

    saver = StateSaver(stopped / "state.safetensors")
    monkeypatch.setattr(name, fail)
    with pytest.raises(RecordingError, match=r"state\.safetensors") as told:
        saver.save(StreamState(number=1))
    assert "\n" not in str(told.value)


def test_of_large_states_one_at_most_waits_to_be_written(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saver, state = StateSaver(stopped / "state.safetensors"), StreamState(number=1)
    saver.share_of_time, saver.pause_s = 1e9, 0.0  # so that one is always due
    assert saver.after_commit(state) is not None
    assert saver.after_commit(state) is not None  # a small one costs nothing to hold
    monkeypatch.setattr("openloger.pipeline.resume.LARGE_STATE", -1)
    assert saver.after_commit(state) is None
    saver.save(state)
    save = saver.after_commit(state)
    assert save is not None
    save(0)
    assert StreamState.from_bytes(saver.path.read_bytes()).number == 1


# Another source of the same name


def picture_folder(path: Path, count: int = LENGTH, *, seed: int = 0) -> Path:
    path.mkdir()
    for number, rgb in enumerate(noise(count, seed=seed)):
        Image.fromarray(rgb).save(path / f"{number:04d}.png")
    return path


def video(path: Path, *, seed: int = 0, count: int = LENGTH) -> Path:
    from openloger.datasets.writing import VideoWriter

    with VideoWriter(path, fps=10.0) as writer:
        for rgb in noise(count, seed=seed):
            writer.write(rgb)
    return path


def test_another_video_of_the_same_name_is_refused(network: Network, tmp_path: Path) -> None:
    clip = video(tmp_path / "clip.mp4")
    size = clip.stat().st_size
    out = cut(str(clip), tmp_path / "out", network).path
    before = len(openloger.open_recording(out))
    video(clip, seed=1)
    with pytest.raises(RecordingError, match=r"'.*clip\.mp4'; it (began|had).*--overwrite"):
        run(str(clip), out, network, existing="resume")
    video(clip, count=12)
    with pytest.raises(RecordingError, match=rf"{size:,} bytes"):
        run(str(clip), out, network, existing="resume")
    assert len(openloger.open_recording(out)) == before


def test_a_complete_recording_of_another_source_is_refused(network: Network, tmp_path: Path) -> None:
    clip = video(tmp_path / "clip.mp4", count=12)
    out = run(str(clip), tmp_path / "out", network).path
    assert len(run(str(clip), out, network, existing="resume")) == 12
    video(clip, seed=1, count=12)
    with pytest.raises(RecordingError, match=r"was made from another"):
        run(str(clip), out, network, existing="resume")
    other = video(tmp_path / "other.mp4", seed=1, count=12)
    with pytest.raises(RecordingError, match=r"'.*clip\.mp4', not from '.*other\.mp4'"):
        run(str(other), out, network, existing="resume")


def test_the_same_video_under_another_path_goes_on(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = video(tmp_path / "clip.mp4")
    out = cut(str(clip), tmp_path / "out", network).path
    monkeypatch.chdir(tmp_path)
    assert run("clip.mp4", out, network, existing="resume").complete
    clip.rename(tmp_path / "walk.mp4")
    assert len(run("walk.mp4", out, network, existing="resume")) == LENGTH


def test_a_folder_of_other_pictures_is_refused_and_one_that_has_grown_goes_on(network: Network, tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "frames", LENGTH - 5)
    out = cut(str(folder), tmp_path / "out", network, windows=2).path
    shutil.rmtree(folder)
    picture_folder(folder, LENGTH - 5, seed=1)
    with pytest.raises(RecordingError, match=r"it had (other files|.* bytes)"):
        run(str(folder), out, network, existing="resume")
    shutil.rmtree(folder)
    picture_folder(folder, 10)
    with pytest.raises(RecordingError, match=r"\b25 files.*\b10\b"):
        run(str(folder), out, network, existing="resume")
    shutil.rmtree(folder)
    picture_folder(folder, LENGTH)
    assert len(run(str(folder), out, network, existing="resume")) == LENGTH


def test_frames_chosen_otherwise_are_refused(network: Network, tmp_path: Path) -> None:
    clip = video(tmp_path / "clip.mp4")
    out = cut(openloger.open_frames(clip, stop=25), tmp_path / "out", network, windows=2).path
    with pytest.raises(RecordingError, match=r"all.*start 0, stride 2"):
        run(openloger.open_frames(clip, stride=2), out, network, existing="resume")
    assert len(run(openloger.open_frames(clip), out, network, existing="resume")) == LENGTH


def test_fewer_frames_than_before_are_refused(network: Network, tmp_path: Path) -> None:
    out = cut(noise(), tmp_path / "out", network).path
    with pytest.raises(RecordingError, match=r"'frames in memory'.*\b30\b.*\b25\b"):
        run(noise()[:25], out, network, existing="resume")
