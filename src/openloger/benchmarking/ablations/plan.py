"""Ablations: the same worlds with a part of the network removed, against the length of the video.

A variant is named by what takes part, then by what else differs: `both`, `swa`, `both+sim3`, `both+reset5`.

full      attention over all frames in one window
windows   windows without memory layers, tied by placement alone
fresh     windows whose memory layers run, and find in every window what they find in the first
swa, ttt  one kind of memory layer
both      the network as it is
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from openloger.errors import InputError

MEMORY = {"full": "all", "windows": "none", "fresh": "fresh", "swa": "swa", "ttt": "ttt", "both": "all"}
PLACEMENTS = ("none", "se3", "sim3")
RESET_EVERY = 5  # windows, of the variant that resets its memory; the published networks' own
GUESS = "a guess"  # the best straight line at constant speed, and one depth everywhere
NUMBERS = ("ate_percent", "ate_rmse", "depth_abs_rel", "overlap_translation_percent", "seconds", "peak_bytes")


@dataclass(frozen=True)
class Variant:
    """One way of running a network."""

    name: str
    memory: str  # as `Stream` takes it
    whole: bool  # one window over everything
    placement: str  # "auto" is the network's own
    reset_every: int  # windows; 0 for never

    @staticmethod
    def parse(name: str) -> Variant:
        """Of "PART", "PART+PLACEMENT", "PART+resetN" or both; raises InputError. Placements are the run's to check."""
        part, *changes = name.split("+")
        resets = [change for change in changes if re.fullmatch(r"reset[1-9]\d*", change)]
        placements = [change for change in changes if change.partition(":")[0] in PLACEMENTS]
        if part not in MEMORY or len(resets) > 1 or len(placements) > 1 or len(resets) + len(placements) < len(changes):
            raise InputError(
                f"variant {name!r} is not known; write one of {', '.join(MEMORY)}, and behind it what else differs: "
                f"+resetN, +{', +'.join(PLACEMENTS)}"
            )
        if part == "full" and changes:
            raise InputError(f"variant {name!r}: one window has nothing to reset or to place; write 'full'")
        return Variant(
            name=name,
            memory=MEMORY[part],
            whole=part == "full",
            placement=placements[0] if placements else "auto",
            reset_every=int(resets[0].removeprefix("reset")) if resets else 0,
        )


def default_variants(*, has_memory: bool, placement: str) -> tuple[str, ...]:
    """All that make sense for a network that is placed by `placement` of its own."""
    others = [one for one in PLACEMENTS if one != placement]
    if not has_memory:
        return ("full", "windows", *(f"windows+{other}" for other in others))
    return (
        "full",
        "windows",
        "fresh",
        "swa",
        "ttt",
        "both",
        f"both+reset{RESET_EVERY}",
        *(f"both+{o}" for o in others),
    )


@dataclass(frozen=True)
class Cell:
    """One run."""

    variant: str
    frames: int
    world: str  # FAMILY:SEED

    @property
    def key(self) -> str:
        return f"{self.variant} {self.frames} {self.world}"


@dataclass(frozen=True)
class AblationPlan:
    """All runs, short ones first, and the lengths that are too long for one window."""

    cells: tuple[Cell, ...]
    left_out: tuple[int, ...]
    full_limit: int

    @property
    def note(self) -> str:
        """A note on the runs that are left out; "" where there are none."""
        if not self.left_out:
            return ""
        lengths = ", ".join(f"{frames:,}" for frames in self.left_out)
        return f"full attention is not run over {lengths} frames: its limit here is {self.full_limit:,} (--full-limit)"


def plan(
    variants: Iterable[Variant], lengths: Iterable[int], worlds: Iterable[str], *, full_limit: int
) -> AblationPlan:
    """Every variant over every length of every world; raises InputError where there is nothing to run."""
    chosen, counts, named = list(dict.fromkeys(variants)), sorted(set(lengths)), list(dict.fromkeys(worlds))
    if not (chosen and counts and named):
        raise InputError("there is nothing to run: give at least one variant, one length and one world")
    left_out = [count for count in counts if count > full_limit and any(variant.whole for variant in chosen)]
    cells = [
        Cell(variant.name, count, world)
        for count, variant, world in product(counts, chosen, named)
        if not (variant.whole and count > full_limit)
    ]
    return AblationPlan(tuple(cells), tuple(left_out), full_limit)


@dataclass(frozen=True)
class Row:
    """A variant at one length: means over the worlds. None where there is no such number."""

    variant: str
    frames: int
    worlds: int  # that were measured
    values: Mapping[str, float | None]  # by NUMBERS
    ate_over_both: float | None  # ATE by that of `both` on the same worlds


def rows(results: Sequence[Mapping[str, Any]]) -> list[Row]:
    """By length, then as the variants came; a guess ends each length."""
    found = []
    for frames in sorted({one["frames"] for one in results}):
        here = [one for one in results if one["frames"] == frames]
        variants = list(dict.fromkeys(one["variant"] for one in here))
        both = {one["world"]: one for one in here if one["variant"] == "both"}
        for variant in variants:
            found.append(_row(variant, frames, [one for one in here if one["variant"] == variant], both))
        by_world = {one["world"]: one for one in here}
        found.append(_row(GUESS, frames, [_guessed(one) for one in by_world.values()], both))
    return found


def _row(variant: str, frames: int, runs: Sequence[Mapping[str, Any]], both: Mapping[str, Mapping[str, Any]]) -> Row:
    paired = [(one["ate_percent"], both[one["world"]]["ate_percent"]) for one in runs if one["world"] in both]
    ours, theirs = (_mean(values) for values in zip(*paired, strict=True)) if len(paired) == len(runs) else (None, None)
    return Row(
        variant=variant,
        frames=frames,
        worlds=len(runs),
        values={name: _mean([one.get(name) for one in runs]) for name in NUMBERS},
        ate_over_both=ours / theirs if ours is not None and theirs else None,
    )


def _guessed(one: Mapping[str, Any]) -> dict[str, Any]:
    line, path = one["ate_rmse_of_straight_line"], one["path_length"]
    return {
        "world": one["world"],
        "ate_rmse": line,
        "ate_percent": 100 * line / path if path else None,
        "depth_abs_rel": one["depth_abs_rel_of_constant"],
    }


def _mean(values: Iterable[float | int | None]) -> float | None:
    """None where one of them is: a mean over fewer worlds would be another number."""
    known = list(values)
    return None if not known or None in known else float(np.mean(known))  # type: ignore[arg-type]
