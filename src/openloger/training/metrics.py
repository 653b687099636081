"""Metrics of a run: numbers as JSONL, and in TensorBoard where it is installed, and pictures of held-out clips."""

from __future__ import annotations

import importlib
import json
import math
import os
import socket
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from openloger.geometry import weighted_median
from openloger.network import Network
from openloger.outputs import replace_file, set_aside, write_atomically
from openloger.shapes import Float, Float32, Tensor, UInt8
from openloger.training.chaining import run_chain
from openloger.training.clips import ClipBatch
from openloger.training.validate import HeldOut

METRICS_FILE = "metrics.jsonl"
_BEGINS = b'{"kind": '
_RAMP = ((48, 18, 59), (70, 107, 227), (41, 187, 236), (83, 250, 121), (253, 231, 37), (239, 90, 17), (122, 4, 3))


class MetricsLog:
    """Appends to `metrics.jsonl` in a folder; every line has a `kind`, a `step` and flat numbers."""

    def __init__(self, folder: Path, *, from_step: int = 0) -> None:
        """Steps after `from_step`, which a resumed run repeats, are taken out. A file that holds something else, or
        another run's numbers, is kept under another name.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / METRICS_FILE
        _drop_after(self._path, from_step)
        self._board = _open_board(folder)
        self._file = self._path.open("a", encoding="utf-8")

    def write(self, kind: str, step: int, numbers: Mapping[str, float | int | str]) -> None:
        """One line, on disk at once; numbers that are not finite are written as null, so that it stays JSON."""
        line: dict[str, Any] = {"kind": kind, "step": step}
        for name, value in numbers.items():
            line[name] = _round(value) if isinstance(value, float) else value
        with _named(self._path):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        if self._board is not None:
            for name, value in numbers.items():
                if not isinstance(value, str):
                    self._board.add(f"{kind}/{name}", float(value), step)

    def close(self) -> None:
        try:
            with _named(self._path):
                self._file.close()
        finally:
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


def _drop_after(path: Path, step: int) -> None:
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


@contextmanager
def _named(path: Path) -> Generator[None, None, None]:
    """Errors of the system while an open file is written name the file, which they do not by themselves."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


class _Board:
    """An event file of TensorBoard's, written at once: its own writer has a thread, whose errors are tracebacks."""

    def __init__(self, folder: Path) -> None:
        """Raises ImportError where TensorBoard is not installed."""
        from tensorboard.summary.writer.record_writer import RecordWriter

        messages = "tensorboard.compat.proto."  # made at run time, so that no type is known
        self._event: Any = importlib.import_module(f"{messages}event_pb2").Event
        self._summary: Any = importlib.import_module(f"{messages}summary_pb2").Summary
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._file = self._path.open("wb")
        self._records = RecordWriter(self._file)
        try:
            self._write(file_version="brain.Event:2")
        except OSError:
            self.close()
            raise

    def add(self, tag: str, value: float, step: int) -> None:
        value_of_tag = self._summary.Value(tag=tag, simple_value=value)
        self._write(step=step, summary=self._summary(value=[value_of_tag]))

    def close(self) -> None:
        with _named(self._path):
            self._file.close()

    def _write(self, **fields: Any) -> None:
        with _named(self._path):
            self._records.write(self._event(wall_time=time.time(), **fields).SerializeToString())
            self._file.flush()


def _open_board(folder: Path) -> _Board | None:
    try:
        return _Board(folder / "tensorboard")
    except ImportError:
        return None


@torch.no_grad()
def draw_held_out(network: Network, clips: HeldOut, count: int, path: Path) -> None:
    """Write a PNG of `count` clips, the families in turn: a row a frame, near is red and both depths on one scale.

    Nothing is written where pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        return
    was_training = network.training
    network.eval()
    families = [batches[0] for batches in clips.batches.values()]
    turns = (batch.take_clip(turn) for turn in range(count) for batch in families if turn < len(batch.names))
    rows = [row for clip in islice(turns, count) for row in _rows(network, clip.to(network.device))]
    network.train(was_training)
    with replace_file(path, made_by="train") as draft:
        Image.fromarray(np.concatenate(rows)).save(draft)


def _rows(network: Network, clip: ClipBatch) -> list[np.ndarray]:
    prediction = run_chain(network, clip.images, size=0, overlap=0).prediction
    truth, valid, found = clip.depth[0].cpu(), clip.valid[0].cpu(), prediction.points_cam[0, ..., 2].float().cpu()
    found = found * _scale(found, truth, valid)
    near = truth[valid].quantile(0.02).item() if bool(valid.any()) else 1.0
    pictures = (clip.images[0].permute(0, 2, 3, 1).cpu().numpy() * 255 + 0.5).astype(np.uint8)
    rows = []
    for picture, true_depth, known, depth in zip(pictures, truth.numpy(), valid.numpy(), found.numpy(), strict=True):
        true_colours = np.where(known[..., None], colour(true_depth, near), 0).astype(np.uint8)
        rows.append(np.concatenate([picture, true_colours, colour(depth, near)], axis=1))
    return rows


def _scale(
    found: Float[Tensor, "frame height width"], truth: Float[Tensor, "frame height width"], valid: Tensor
) -> Float[Tensor, ""]:
    inverse = torch.where(valid, 1 / truth.clamp(min=1e-9), 0.0)
    return weighted_median((truth / found).flatten()[None], (found * inverse).flatten()[None])[0]


def colour(depth: Float32[np.ndarray, "height width"], near: float) -> UInt8[np.ndarray, "height width 3"]:
    """Depth as a colour by near / z: red at `near` or closer, violet far away."""
    place = np.clip(near / np.maximum(depth, 1e-9), 0, 1) * (len(_RAMP) - 1)
    ramp = np.array(_RAMP, dtype=np.float64)
    return np.stack(
        [np.interp(place, np.arange(len(_RAMP)), ramp[:, channel]) for channel in range(3)], axis=-1
    ).astype(np.uint8)
