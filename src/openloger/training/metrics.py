"""A line of numbers now and then: JSONL always, TensorBoard where it is installed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from openloger.outputs import set_aside, write_atomically

METRICS_FILE = "metrics.jsonl"
_BEGINS = b'{"kind": '


class MetricsLog:
    """Appends to `metrics.jsonl` in a folder; every line has a `kind`, a `step` and flat numbers."""

    def __init__(self, folder: Path, *, from_step: int = 0) -> None:
        """Steps after `from_step`, which a resumed run repeats, are taken out. A file that holds something else, or
        another run's numbers, is kept under another name.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / METRICS_FILE
        _forget_after(self._path, from_step)
        self._file = self._path.open("a", encoding="utf-8")
        self._board = _open_board(folder)

    def write(self, kind: str, step: int, numbers: Mapping[str, float | int | str]) -> None:
        """One line, on disk at once; numbers that are not finite are written as null, so that it stays JSON."""
        line: dict[str, Any] = {"kind": kind, "step": step}
        for name, value in numbers.items():
            line[name] = _round(value) if isinstance(value, float) else value
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in numbers.items():
                if not isinstance(value, str):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_metrics(path: Path, kind: str) -> list[dict[str, Any]]:
    """All lines of one kind, in order."""
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["kind"] == kind]


def is_metrics_file(path: Path) -> bool:
    """Whether every line of a file is one that a `MetricsLog` wrote; the last one may be cut off."""
    *lines, rest = path.read_bytes().split(b"\n")
    return all(_step(line) is not None for line in lines) and (not rest or rest.startswith(_BEGINS))


def _forget_after(path: Path, step: int) -> None:
    if not path.is_file():
        return
    lines = path.read_bytes().split(b"\n")[:-1]
    steps = [_step(line) for line in lines]
    kept = [line + b"\n" for line, at in zip(lines, steps, strict=True) if at is not None and at <= step]
    if not is_metrics_file(path) or (lines and step == 0):
        set_aside(path)
    write_atomically(path, b"".join(kept))


def _step(line: bytes) -> int | None:
    """The step of a line; None where it is not one of ours."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return step if isinstance(step, int) and line.startswith(_BEGINS) else None


def _round(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _open_board(folder: Path):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
