"""Harmed inputs of every kind: each gives a result or one clear line; none crashes, hangs or takes all memory."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign.faults import SEED, counted
from campaign.inputs import KINDS, Kind
from campaign.mutations import mutate
from campaign.zygote import Case, Outcome, Zygote

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]
CASES = 5000 // len(KINDS) + 1  # a kind
LIMIT_S = 60.0
LIMIT_BYTES = 3 << 30


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with Zygote() as started:
        yield started


@pytest.mark.parametrize("name", KINDS)
def test_a_harmed_input_is_used_or_refused_in_a_line(name: str, zygote: Zygote, tmp_path: Path) -> None:
    kind = KINDS[name]
    whole = tmp_path / "whole"
    whole.mkdir()
    files = [path.relative_to(whole) for path in kind.make(whole)]
    assert zygote.run(Case(use=name, path=str(_copied(whole, tmp_path))))[0].said.startswith("used")
    seen: Counter[str] = Counter()
    faults: list[str] = []
    for number in range(counted(CASES)):
        outcome = _harmed(kind, name, number, (whole, files), zygote)
        seen[_verdict(outcome)] += 1
        if _verdict(outcome) not in ("used", "refused"):
            faults.append(
                f"OPENLOGER_CAMPAIGN_SEED={SEED} {name} {number}: {_verdict(outcome)}\n{outcome.said[-1500:]}"
            )
    print(f"{name}: seed {SEED}, {dict(seen)}", flush=True)
    assert not faults, f"{len(faults)} faults\n" + "\n".join(faults[:5])


def _harmed(kind: Kind, name: str, number: int, whole: tuple[Path, list[Path]], zygote: Zygote) -> Outcome:
    draw = random.Random(f"{SEED} {name} {number}")
    folder = _copied(whole[0], whole[0].parent)
    file = folder / draw.choice(whole[1])
    file.write_bytes(mutate(file.read_bytes(), draw, kind.mutations))
    return zygote.run(Case(use=name, path=str(folder), limit_s=LIMIT_S, limit_bytes=LIMIT_BYTES))[0]


def _copied(whole: Path, beside: Path) -> Path:
    folder = beside / "harmed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    return folder


def _verdict(outcome: Outcome) -> str:
    if outcome.hung:
        return "hung"
    if outcome.code < 0:
        return f"ended by signal {-outcome.code}"
    if outcome.code != 0:
        return "an error of another kind"
    return "refused" if "refused: " in outcome.said else "used"
