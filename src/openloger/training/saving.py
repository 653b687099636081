"""Saves the state of a run: at once where it is whole, in the background where it is sharded over processes."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn

from openloger.errors import InputError, OpenlogerError
from openloger.outputs import replace_folder
from openloger.training.checkpoint import MADE_BY, checkpoint_path, make_latest, save_checkpoint, write_state
from openloger.training.config import TrainConfig
from openloger.training.distribute import Ranks, gather
from openloger.training.optimiser import RunningMean
from openloger.training.run_state import TermsByRank, TrainingProgress
from openloger.training.sharded import begin_saving


@dataclass
class _Pending:
    """A checkpoint that is being written."""

    written: Future[Any]  # this process' part and, on the first, all parts
    finishing: threading.Thread | None = None  # the first process' alone
    error: BaseException | None = None


class Saver:
    """Writes checkpoints, one at a time. A context manager; leaving it waits for the last one."""

    def __init__(self, config: TrainConfig, among: Ranks) -> None:
        """All processes have to make one, and to call its methods alike."""
        self._config, self._among = config, among
        sharded = among.many and config.parallel == "fsdp" and not config.small_state
        self._group = cast("dist.ProcessGroup", dist.new_group(backend="gloo")) if sharded else None
        self._pending: _Pending | None = None

    def save(
        self,
        folder: Path,
        progress: TrainingProgress,
        *,
        network: nn.Module,
        mean: RunningMean,
        optimisers: list[torch.optim.Optimizer],
        terms: TermsByRank,
    ) -> None:
        """Write a checkpoint of this step, or begin to, once the one before is whole.

        Raises:
            InputError: this one, or the one before, cannot be written.
        """
        state = {"network": network, "mean": mean, "optimisers": optimisers}
        if self._group is None:
            save_checkpoint(
                folder,
                progress,
                **state,
                terms=terms,
                small=self._config.small_state,
                write=self._among.first,
                keep_every=self._config.keep_every,
            )
            return
        self.wait()
        path, stack = checkpoint_path(folder, progress), ExitStack()
        draft = self._draft(path, stack)
        pending = self._pending = _Pending(begin_saving(draft, **state, group=self._group))
        if self._among.first:
            pending.finishing = threading.Thread(
                target=self._finish, args=(pending, path, draft, stack, progress, terms), name="checkpoint"
            )
            pending.finishing.start()

    def wait(self) -> None:
        """Until the last checkpoint is whole, and the latest, for all processes.

        Raises:
            InputError: it cannot be written.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            return
        error = pending.written.exception()
        if pending.finishing is not None:
            pending.finishing.join()
            error = error or pending.error
        faults = [fault for fault in gather(None if error is None else str(error), self._among) if fault is not None]
        if faults:
            raise InputError(f"a checkpoint cannot be written: {faults[0]}") from error

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.wait()
        elif self._pending is not None:  # without the others, of which one may be gone
            self._pending.written.exception()
            if self._pending.finishing is not None:
                self._pending.finishing.join()

    def _draft(self, path: Path, stack: ExitStack) -> Path:
        """The first process' folder for the parts of all. Raises InputError on all where it cannot be made."""
        made: tuple[str, str] | None = None
        if self._among.first:
            try:
                made = str(stack.enter_context(replace_folder(path, made_by=MADE_BY))), ""
            except OpenlogerError as error:
                made = "", str(error)
        shared = gather(made, self._among)[0]
        assert shared is not None
        draft, fault = shared
        if fault:
            raise InputError(f"a checkpoint cannot be written: {fault}")
        return Path(draft)

    def _finish(
        self,
        pending: _Pending,
        path: Path,
        draft: Path,
        stack: ExitStack,
        progress: TrainingProgress,
        terms: TermsByRank,
    ) -> None:
        """Once all parts are written: the rest of the checkpoint, and its name."""
        try:
            with stack:
                pending.written.result()
                write_state(draft, progress, terms)
            make_latest(path, keep_every=self._config.keep_every)
        except BaseException as error:  # noqa: BLE001 - raised by `wait`, on the main thread
            pending.error = error
