"""A suite: a dataset, the protocol by which a number is made on it, and what others have published by that protocol.

Published tables are data, in `tables/`, each with its source.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from openloger.errors import InputError
from openloger.evaluation.gather import GatherSettings
from openloger.evaluation.measure import MeasureSettings


@dataclass(frozen=True)
class PublishedRow:
    """One method's numbers."""

    values: dict[str, float]  # by sequence, where they are known
    average: float | None


@dataclass(frozen=True)
class PublishedTable:
    """Published numbers, and their source."""

    title: str
    metric: str  # a name of `Measured.numbers()`
    unit: str
    source: str
    protocol: str
    sequences: tuple[str, ...]
    frames: dict[str, int]  # of each sequence, where that is known
    rows: dict[str, PublishedRow]
    ours: dict[str, str]  # preset -> the row that it should repeat
    cheap: str | None  # the sequence that is quickest to check


@dataclass(frozen=True)
class Suite:
    """The protocol of a dataset. None leaves a choice to the network's own defaults."""

    dataset: str | None  # a key of `DATASETS`; None: worlds
    metric: str = "ate_rmse"  # the number that stands for a sequence
    sequences: tuple[str, ...] | None = None  # None: all that are there
    window: int | None = None
    overlap: int | None = None
    reset_every: int | None = None
    stride: int = 1
    measure: MeasureSettings = field(default_factory=MeasureSettings)
    table: str | None = None  # a file in tables/, without its suffix


KITTI_SEQUENCES = tuple(f"{number:02d}" for number in range(11))
NO_DEPTH = MeasureSettings(gather=GatherSettings(depth=False))
SUITES: dict[str, Suite] = {
    "kitti": Suite(
        "kitti", sequences=KITTI_SEQUENCES, window=32, overlap=3, reset_every=5, measure=NO_DEPTH, table="kitti"
    ),
    "vbr": Suite("vbr", window=64, overlap=3, reset_every=5, measure=NO_DEPTH, table="vbr"),
    "tum": Suite("tum"),
    "7scenes": Suite("7scenes"),
    "scannet": Suite("scannet"),
    "bonn": Suite("bonn"),
    "sintel": Suite("sintel", measure=MeasureSettings(gather=GatherSettings(depth_range=(0.0, 70.0)))),
    "eth3d": Suite("eth3d"),
    "tartanair": Suite("tartanair"),
    "vkitti2": Suite("vkitti2", measure=MeasureSettings(gather=GatherSettings(depth_range=(0.0, 80.0)))),
    "euroc": Suite("euroc", measure=NO_DEPTH),
    "folder": Suite("folder"),
    "worlds": Suite(None, measure=MeasureSettings(gather=GatherSettings(depth_every=10))),
}


def find_suite(name: str) -> Suite:
    """Raises InputError for a name that is none of `SUITES`."""
    if name not in SUITES:
        raise InputError(f"suite {name!r} is not known; there are {', '.join(SUITES)}")
    return SUITES[name]


@cache
def published(table: str) -> PublishedTable:
    """A table of `tables/`."""
    text = resources.files("openloger.evaluation").joinpath("tables", f"{table}.json").read_text(encoding="utf-8")
    return _from_json(json.loads(text))


def _from_json(value: dict[str, Any]) -> PublishedTable:
    sequences = tuple(value["sequences"])
    rows = {
        name: PublishedRow(
            {one: number for one, number in zip(sequences, row["values"], strict=True) if number is not None},
            row["average"],
        )
        for name, row in value["rows"].items()
    }
    frames = dict(zip(sequences, value.get("frames", ()), strict=False))
    return PublishedTable(**{**value, "sequences": sequences, "frames": frames, "rows": rows})
