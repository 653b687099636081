"""A run's folder: checkpoints that are flushed, checked and fallen back on, and files of the user that stay."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from openloger.errors import InputError
from openloger.network import checkpoint
from openloger.outputs import MANIFEST
from openloger.training.checkpoint import (
    latest_checkpoint,
    read_progress,
    restore_checkpoint,
    save_checkpoint,
)
from openloger.training.config import OptimiserConfig
from openloger.training.folder import check_run_folder
from openloger.training.metrics import MetricsLog, read_metrics
from openloger.training.optimiser import RunningMean
from openloger.training.run_state import TrainingProgress


class State:
    """The least that a checkpoint holds; its weights are the number of the step."""

    def __init__(self) -> None:
        self.network = nn.Linear(2, 2)
        self.mean = RunningMean(dict(self.network.named_parameters()), OptimiserConfig().ema)
        self.optimisers = [torch.optim.AdamW(self.network.parameters())]

    def save(self, folder: Path, step: int) -> None:
        with torch.no_grad():
            self.network.weight.fill_(step)
        save_checkpoint(folder, TrainingProgress("pairs", step, step, 1.0, step), **vars(self))

    def taken_up(self, folder: Path) -> int:
        """The step that a run would go on from, as its weights say."""
        path = latest_checkpoint(folder)
        assert path is not None
        other = State()
        restore_checkpoint(path, **vars(other))
        assert float(other.network.weight.detach()[0, 0]) == read_progress(path).step
        return read_progress(path).step


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for step in (1, 2, 3):
        State().save(tmp_path, step)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_the_newest_and_the_one_before_are_kept(run: Path) -> None:
    assert names(run) == ["latest", "step-00000002", "step-00000003"]
    assert State().taken_up(run) == 3


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "gone", "state", "nothing"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    run: Path, damage: str, openloger_log: pytest.LogCaptureFixture
) -> None:
    newest = run / "step-00000003"
    shard = newest / "state-000.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    match damage:
        case "flipped":
            shard.write_bytes(data)
        case "cut":
            shard.write_bytes(data[:-8])
        case "empty":
            shard.write_bytes(b"")
        case "gone":
            shard.unlink()
        case "state":
            (newest / "state.json").write_bytes(b"\0" * 90)
        case _:
            shutil.rmtree(newest)
    assert State().taken_up(run) == 2
    assert ("step-00000003 is damaged" in openloger_log.text) == (damage != "nothing")


@pytest.mark.parametrize("pointer", [b"", b"\0" * 13, b"step-00000009", b"../../etc", b"\xff"])
def test_a_damaged_pointer_leads_to_the_newest(run: Path, pointer: bytes) -> None:
    (run / "latest").write_bytes(pointer)
    assert State().taken_up(run) == 3
    (run / "latest").unlink()
    assert State().taken_up(run) == 3


def test_where_all_are_damaged_the_message_says_what_to_do(run: Path) -> None:
    for shard in run.glob("step-*/state-000.safetensors"):
        shard.write_bytes(b"")
    with pytest.raises(InputError, match=r"no checkpoint in .*copy"):
        latest_checkpoint(run)


def test_a_checkpoint_of_an_earlier_version_has_no_list_and_is_taken(run: Path) -> None:
    (run / "step-00000003" / MANIFEST).unlink()
    assert State().taken_up(run) == 3
    State().save(run, 4)
    State().save(run, 5)
    assert (run / "step-00000003" / "state.json").is_file()  # nothing proves whose it is


def test_copies_and_files_of_the_user_stay(run: Path) -> None:
    shutil.copytree(run / "step-00000002", run / "step-00000002-good")
    (run / "step-00000003" / "notes.txt").write_text("the best one")
    for step in (4, 5, 6):
        State().save(run, step)
    kept = ["latest", "step-00000002-good", "step-00000003", "step-00000005", "step-00000006"]
    assert names(run) == kept
    assert (run / "step-00000003" / "notes.txt").read_text() == "the best one"
    assert State().taken_up(run) == 6


def test_a_folder_in_the_way_of_a_checkpoint_is_kept(run: Path) -> None:
    (run / "step-00000004").mkdir()
    (run / "step-00000004" / "notes.txt").write_text("mine")
    State().save(run, 4)
    assert State().taken_up(run) == 4
    assert (run / "step-00000004.kept-1" / "notes.txt").read_text() == "mine"


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of it, its folder and the folder above are flushed, in this order around the renames."""
    events: list[tuple[str, str]] = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def seen_fsync(descriptor: int) -> None:
        events.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        fsync(descriptor)

    def seen(move):
        def moved(source: Path, target: Path) -> None:
            events.append(("name", Path(target).name))
            move(source, target)

        return moved

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "rename", seen(rename))
    monkeypatch.setattr(os, "replace", seen(replace))
    State().save(tmp_path / "checkpoints", 1)
    named = events.index(("name", "step-00000001"))
    before = [name for what, name in events[:named] if what == "sync"]
    assert {"state-000.safetensors", "state.json", MANIFEST, "new"} <= set(before)
    pointed = events.index(("name", "latest"))
    assert ("sync", "checkpoints") in events[named:pointed]
    assert ("sync", "checkpoints") in events[pointed:]


def write_metrics(folder: Path, steps: range, *, from_step: int = 0) -> None:
    with MetricsLog(folder, from_step=from_step) as log:
        for step in steps:
            log.write("train", step, {"loss": 1.0 / step})


def steps_of(folder: Path) -> list[int]:
    return [line["step"] for line in read_metrics(folder / "metrics.jsonl", "train")]


def test_metrics_of_repeated_steps_are_written_once(tmp_path: Path) -> None:
    write_metrics(tmp_path, range(1, 6))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "tra')  # as a kill leaves it
    write_metrics(tmp_path, range(4, 7), from_step=3)
    assert steps_of(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert not (tmp_path / "metrics.jsonl.kept-1").exists()


def test_tensorboard_reads_the_metrics_which_no_thread_writes(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    before = threading.active_count()
    with MetricsLog(tmp_path) as log:
        log.write("train", 3, {"loss": 0.5, "stage": "a"})
        assert threading.active_count() == before
        (file,) = (tmp_path / "tensorboard").iterdir()
        events = list(loader.LegacyEventFileLoader(str(file)).Load())  # while it is open
    assert [(one.step, value.tag, value.simple_value) for one in events for value in one.summary.value] == [
        (3, "train/loss", 0.5)
    ]


def test_tensors_on_a_full_disk_are_an_error_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """safetensors raises an error of its own, which was a traceback where a checkpoint was written."""

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match="No space left on device"):
        State().save(tmp_path / "checkpoints", 1)
    monkeypatch.undo()
    State().save(tmp_path / "checkpoints", 1)
    assert latest_checkpoint(tmp_path / "checkpoints") is not None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
@pytest.mark.parametrize("name", ["metrics.jsonl", "tensorboard"])
def test_metrics_that_cannot_be_written_name_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name == "tensorboard":
        pytest.importorskip("tensorboard")
        monkeypatch.setattr(time, "time_ns", lambda: 7)
        (tmp_path / name).mkdir()
        name = f"tensorboard/events.out.tfevents.7.{socket.gethostname()}.{os.getpid()}"
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as raised, MetricsLog(tmp_path) as log:
        log.write("train", 1, {"loss": 1.0})
    assert raised.value.filename == str(tmp_path / name)


@pytest.mark.parametrize("damage", [b"my notes\n", b"\0" * 50 + b"\n", b"[1]\n", b'{"step": 1}\n', b"a note"])
def test_metrics_with_something_else_in_them_are_kept(tmp_path: Path, damage: bytes) -> None:
    write_metrics(tmp_path, range(1, 6))
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(damage)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    write_metrics(tmp_path, range(4, 7), from_step=3)
    assert steps_of(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "metrics.jsonl.kept-1").read_bytes() == before


def test_metrics_of_a_run_whose_checkpoints_are_gone_are_kept(tmp_path: Path) -> None:
    write_metrics(tmp_path, range(1, 4))
    check_run_folder(tmp_path)
    write_metrics(tmp_path, range(1, 3))
    assert steps_of(tmp_path) == [1, 2]
    assert len((tmp_path / "metrics.jsonl.kept-1").read_text().splitlines()) == 3


def test_weights_without_a_checkpoint_are_not_trained_over(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"weights\.safetensors.*another folder"):
        check_run_folder(tmp_path)


def test_a_run_in_hand_keeps_what_the_user_put_in_its_place(tmp_path: Path) -> None:
    from openloger.network import Network, preset
    from openloger.training.config import recipe
    from openloger.training.folder import write_config, write_weights

    network = Network(preset("pocket"))
    for _ in range(2):
        write_config(tmp_path, recipe("pocket"))
        write_weights(tmp_path, network)
    assert names(tmp_path) == [MANIFEST, "config.json", "weights.safetensors"]
    (tmp_path / "weights.safetensors").write_bytes(b"mine")
    (tmp_path / "config.json").write_text(json.dumps({"edited": True}))
    write_config(tmp_path, recipe("pocket"))
    write_weights(tmp_path, network)
    assert (tmp_path / "weights.safetensors.kept-1").read_bytes() == b"mine"
    assert json.loads((tmp_path / "config.json.kept-1").read_text()) == {"edited": True}
