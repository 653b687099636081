"""`openloger train` as a person would use it wrongly."""

import subprocess
import sys

import pytest

from openloger.cli import EXIT_INTERRUPTED, main
from openloger.network import Network, preset
from openloger.network.checkpoint import save_network


def refused(capsys, *arguments: str) -> str:
    """The one line on standard error of a call that fails for what was asked."""
    with pytest.raises(SystemExit) as ended:
        main(["train", *arguments])
    assert ended.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def written(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text("preset = 'pocket'\n" + text)
    return str(path)


STAGE = "[[stages]]\nname = 'a'\nsteps = 1\n[stages.clips]\nsize = [32, 40]\nrendered = 3\nframes = [2]\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("sed = 1", "unknown key `sed`"),
        (STAGE + "families = ['caves']\nfamily_odds = [1]", "unknown family of worlds 'caves'; there are rooms"),
        (STAGE + "[[stages.clips.datasets]]\nname = 'tartanair'\nfolder = '/nowhere'", "/nowhere is not a folder"),
        (STAGE + "[[stages.clips.datasets]]\nname = 'moon'\nfolder = '/'", "dataset 'moon' is not known"),
        (STAGE + "[[stages.clips.datasets]]\nname = 'kitti'", "folder is missing"),
    ],
)
def test_a_wrong_file_is_one_line(capsys, tmp_path, text, line):
    assert line in refused(capsys, written(tmp_path, text), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", [b"\xff\xfeseed = 1", b"seed = 1 # caf\xe9", b"\0" * 20, b"a = " + b"[" * 100_000])
def test_a_file_that_is_no_text_is_one_line(capsys, tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_bytes(text)
    line = refused(capsys, str(path), "--out", str(tmp_path / "out"))
    assert "run.toml is not" in line


def test_wrong_names_and_weights_are_one_line(capsys, tmp_path):
    out = ("--out", str(tmp_path / "out"))
    assert "no training recipe for 'huge'" in refused(capsys, "huge", *out)
    assert "no stage 'first' in this run" in refused(capsys, "pocket", *out, "--stage", "first")
    assert "there are no weights at" in refused(capsys, "pocket", *out, "--weights", str(tmp_path / "absent.pt"))
    assert "has memory layers, and the stage" in refused(capsys, "pocket", *out, "--weights", "compact")
    assert "begin with a later stage" in refused(capsys, "pocket", *out, "--weights", "pocket")
    save_network(Network(preset("compact")), tmp_path / "other.safetensors")
    line = refused(capsys, "pocket", *out, "--stage", "chained", "--weights", str(tmp_path / "other.safetensors"))
    assert "other.safetensors does not hold the network" in line


def test_ctrl_c_says_how_to_go_on(tmp_path):
    """The signal comes while worlds are drawn for the first step; the step is finished and kept."""
    code = (
        "import os, signal, sys\n"
        "from openloger.cli import main\n"
        "from openloger.training import train\n"
        "step = train.StageLoop.step\n"
        "def stepping(self, *given):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    step(self, *given)\n"
        "train.StageLoop.step = stepping\n"
        "main(sys.argv[1:])\n"
    )
    toml = written(tmp_path, "render_workers = 0\n" + STAGE.replace("steps = 1", "steps = 9") + "batch = 2\npool = 2")
    command = [sys.executable, "-c", code, "train", toml, "--out", str(tmp_path / "out"), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == EXIT_INTERRUPTED, done.stderr[-2000:]
    assert "stopped at step 1" in done.stderr
    assert "--resume goes on from there" in done.stderr
    assert (tmp_path / "out" / "checkpoints" / "latest").read_text() == "step-00000001"
