"""The real command: what it prints, its exit codes, and one clear line for whatever a user can get wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from cli.small import SMALL
from safetensors.torch import load_file, save_file

import openloger
from openloger.cli import main
from openloger.network import save_network


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def write_video(path: Path, count: int = 14, *, seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        for _ in range(count):
            rgb = np.kron(generator.integers(0, 256, (10, 12, 3), dtype=np.uint8), np.ones((8, 8, 1), dtype=np.uint8))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4")


def refusal(capsys) -> str:
    """The one line that a refused command ends with."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("openloger: ")]
    assert lines
    return lines[-1]


def test_summary_for_programs(video, tmp_path, capsys):
    assert run("reconstruct", video, "-o", tmp_path / "out", "--json", *SMALL) == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert summary["frames"] == 14
    assert summary["complete"] is True
    assert summary["trained"] is False
    assert summary["size"] == [40, 48]
    assert summary["peak_memory_bytes"] > 0
    assert "untrained" in printed.err
    assert len(openloger.open_recording(tmp_path / "out")) == 14


def test_selection_of_frames(video, tmp_path):
    assert (
        run("reconstruct", video, "-o", tmp_path / "out", "--start", "2", "--stop", "12", "--stride", "3", *SMALL) == 0
    )
    assert openloger.open_recording(tmp_path / "out").source_index.tolist() == [2, 5, 8, 11]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda folder: folder / "nope.mp4", "nope.mp4"),
        (lambda folder: (folder / "empty").mkdir() or folder / "empty", "empty"),
        (lambda folder: (folder / "letter.mp4").write_text("dear reader") and folder / "letter.mp4", "letter.mp4"),
        (lambda folder: (folder / "nothing.mp4").touch() or folder / "nothing.mp4", "nothing.mp4"),
        (lambda folder: "world:jungle:3?frames=5", "jungle"),
    ],
    ids=["missing", "empty folder", "not a video", "0 bytes", "unknown world"],
)
def test_sources_that_are_none(make, named, tmp_path, capsys):
    assert run("reconstruct", make(tmp_path), "-o", tmp_path / "out", *SMALL) == 2
    assert named in refusal(capsys)
    assert not (tmp_path / "out").exists()


def test_truncated_video_keeps_what_was_decoded_and_says_so(tmp_path, capsys):
    whole = write_video(tmp_path / "whole.mkv", 20).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 6 // 10])
    assert run("reconstruct", tmp_path / "cut.mkv", "-o", tmp_path / "out", *SMALL) == 2
    kept = openloger.open_recording(tmp_path / "out")
    assert 6 <= len(kept) <= 14
    assert not kept.complete
    said = refusal(capsys)
    assert f"({len(kept)} frames)" in said
    assert str(tmp_path / "out") in said


@pytest.mark.parametrize("count", [1, 2])
def test_one_frame_and_fewer_than_the_overlap(count, tmp_path):
    clip = write_video(tmp_path / "short.mp4", count)
    assert run("reconstruct", clip, "-o", tmp_path / "out", *SMALL) == 0
    assert len(openloger.open_recording(tmp_path / "out")) == count


def test_existing_recording(video, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("reconstruct", video, "-o", out, *SMALL) == 0
    assert run("reconstruct", video, "-o", out, *SMALL) == 2
    assert "--overwrite" in refusal(capsys)
    assert run("reconstruct", video, "-o", out, "--resume", "--overwrite", *SMALL) == 2
    assert run("reconstruct", video, "-o", out, "--overwrite", *SMALL) == 0


def test_folder_with_something_else_in_it(video, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    assert run("reconstruct", video, "-o", tmp_path / "out", "--overwrite", *SMALL) == 2
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"


def test_out_where_nothing_can_be_written(video, capsys):
    assert run("reconstruct", video, "-o", "/proc/openloger", *SMALL) == 2
    assert "/proc/openloger" in refusal(capsys)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--window", "3", "--overlap", "3"), "overlap 3"),
        (("--size", "41", "48"), "41"),
        (("--size", "90000", "48"), "90000"),
        (("--placement", "sim4"), "sim4"),
        (("--network", "gigantic"), "gigantic"),
        (("--weights", "nowhere.pt"), "nowhere.pt"),
        (("--device", "abacus"), "abacus"),
        (("--dtype", "float4"), "float4"),
        (("--start", "9", "--stop", "3"), "stop=3"),
        (("--stride", "0"), "stride=0"),
        (("--topic", "/camera"), "--topic goes with ROS bags"),
    ],
)
def test_values_that_cannot_be(arguments, named, video, tmp_path, capsys):
    assert run("reconstruct", video, "-o", tmp_path / "out", *SMALL, *arguments) == 2
    assert named in refusal(capsys)
    assert not (tmp_path / "out").exists()


def test_nan_in_weights_names_the_layer(video, tmp_path, capsys):
    path = tmp_path / "pocket.safetensors"
    network = openloger.load_network("pocket", weights="random", device="cpu")
    network.decoder.blocks[1].mlp.fc1.weight[0, 0] = torch.nan
    save_network(network, path)
    assert run("reconstruct", video, "-o", tmp_path / "out", *SMALL, "--weights", path) == 2
    assert "decoder.blocks.1.mlp.fc1.weight" in refusal(capsys)


def test_weights_of_something_else(video, tmp_path, capsys):
    path = tmp_path / "other.safetensors"
    save_file({"embedding": torch.zeros(3)}, path)
    assert load_file(path)
    assert run("reconstruct", video, "-o", tmp_path / "out", *SMALL, "--weights", path) == 2
    said = refusal(capsys)
    assert "missing" in said
    assert "embedding" in said


def test_ctrl_c_keeps_the_window_in_hand_and_says_how_to_go_on(tmp_path):
    """The signal comes while the second window is handed to the writer; that window is finished and kept."""
    code = (
        "import os, signal, sys\n"
        "from openloger.cli import main\n"
        "from openloger.recording import BackgroundWriter\n"
        "append, numbers = BackgroundWriter.append, []\n"
        "def appending(self, placed, **others):\n"
        "    numbers.append(placed.number)\n"
        "    if len(numbers) == 2:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    append(self, placed, **others)\n"
        "BackgroundWriter.append = appending\n"
        "main(sys.argv[1:])\n"
    )
    clip = write_video(tmp_path / "clip.mkv", 30)
    out = tmp_path / "out"
    command = [sys.executable, "-c", code, "reconstruct", str(clip), "-o", str(out), *SMALL]
    child = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True, timeout=240, check=False
    )
    kept = openloger.open_recording(out)
    assert child.returncode == 130, child.stderr
    assert len(kept) == 8  # two windows of six, the last two frames of each left to the next
    assert not kept.complete
    assert "--resume" in child.stderr
    assert run("reconstruct", clip, "-o", out, "--resume", *SMALL) == 0
    assert len(openloger.open_recording(out)) == 30
