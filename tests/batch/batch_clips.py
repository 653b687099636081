"""Tiny videos for batches, and how a recording is compared with another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from openloger.batch import BatchOptions, VideoOptions, WorkerResources
from openloger.datasets.writing import VideoWriter
from openloger.network import NetworkSpec

SPEC = NetworkSpec("pocket", "random", "cpu", "float32")
SMALL = VideoOptions(window=5, overlap=2, size=(40, 48))
TWO = WorkerResources(workers=2)


def options(**changes: Any) -> BatchOptions:
    return BatchOptions(**{"network": SPEC, "workers": TWO, "least_free_bytes": 0, **changes})


def write_clip(path: Path, *, seed: int, frames: int = 12) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    picture = generator.integers(0, 256, (12, 16 + frames, 3), dtype=np.uint8)
    with VideoWriter(path, fps=10.0) as video:
        for shift in range(frames):
            video.write(np.ascontiguousarray(picture[:, shift : shift + 16].repeat(4, 0).repeat(4, 1)))
    return path


def contents(folder: Path) -> dict[str, Any]:
    """Every file of a recording, byte for byte; of the windows' rows all but time and memory."""
    found: dict[str, Any] = {}
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        name = path.relative_to(folder).as_posix()
        found[name] = path.read_bytes()
        if name == "windows.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{key: row[key] for key in row if key not in ("cost", "crc32c")} for row in rows]
    return found
