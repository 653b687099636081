"""The folder of a run: what may be begun in it, and the files in it that are written again and again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from openloger.errors import InputError
from openloger.network import Network
from openloger.network.checkpoint import save_network
from openloger.outputs import check_place, one_at_a_time, replace_file
from openloger.training.checkpoint import MADE_BY, latest_checkpoint
from openloger.training.config import TrainConfig, as_dict
from openloger.training.distribute import Ranks, gather
from openloger.training.metrics import METRICS_FILE, is_metrics_file

CONFIG_FILE, WEIGHTS_FILE, CHECKPOINTS_FOLDER = "config.json", "weights.safetensors", "checkpoints"
LOCK_FILE = "run.lock"


def check_run_folder(out: Path) -> None:
    """Check that a run may write into `out`: it holds a run's checkpoints, or nothing that a run would replace.

    Raises:
        InputError: a file there is not a run's, or is the weights of a run whose checkpoints are gone.
    """
    if latest_checkpoint(out / CHECKPOINTS_FOLDER) is not None:
        return
    if (out / WEIGHTS_FILE).exists():
        raise InputError(
            f"{out / WEIGHTS_FILE} exists, and there is no checkpoint to go on from: train into another folder"
        )
    check_place(out / CONFIG_FILE, made_by=MADE_BY, overwrite=True)
    metrics = out / METRICS_FILE
    if metrics.exists() and not is_metrics_file(metrics):
        raise InputError(f"{metrics} is not the metrics of a run, so it is not replaced: train into another folder")


@contextmanager
def alone_in(out: Path, among: Ranks) -> Iterator[None]:
    """One run at a time in a folder, of however many processes: the first of them holds the lock.

    Raises:
        InputError: in all processes, where another run is writing there.
    """
    with ExitStack() as stack:
        fault = ""
        if among.first:
            try:
                stack.enter_context(one_at_a_time(out / LOCK_FILE, at=str(out), other="another run is training there"))
            except InputError as error:
                fault = str(error)
        if fault := gather(fault, among)[0]:
            raise InputError(fault)
        yield


def write_config(out: Path, config: TrainConfig) -> None:
    """Write `config.json`, where it does not hold the same already."""
    text, path = json.dumps(as_dict(config), indent=1), out / CONFIG_FILE
    if not (path.is_file() and path.read_bytes() == text.encode()):
        with replace_file(path, made_by=MADE_BY) as draft:
            draft.write_text(text, encoding="utf-8")


def write_weights(out: Path, network: Network) -> None:
    """Write `weights.safetensors`; readers find the old file or the new one."""
    with replace_file(out / WEIGHTS_FILE, made_by=MADE_BY) as draft:
        save_network(network, draft)
