"""Ablations: names that mean one thing, means over the same worlds, tables and curves of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openloger.benchmarking.ablations.plan import GUESS, Cell, Variant, default_variants, plan, rows
from openloger.benchmarking.ablations.report import ablation_table, draw_ablations
from openloger.errors import InputError


def result(variant: str, frames: int, world: str, **numbers: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"ate_percent": 10.0, "ate_rmse": 1.0, "depth_abs_rel": 0.2, "seconds": 2.0}
    made |= {"peak_bytes": 4 * 10**8, "overlap_translation_percent": None if variant == "full" else 5.0}
    made |= {"path_length": 10.0, "ate_rmse_of_straight_line": 3.0, "depth_abs_rel_of_constant": 0.4}
    return {"variant": variant, "frames": frames, "world": world, **made, **numbers}


def test_names() -> None:
    assert Variant.parse("both") == Variant("both", memory="all", whole=False, placement="auto", reset_every=0)
    assert Variant.parse("full") == Variant("full", memory="all", whole=True, placement="auto", reset_every=0)
    assert Variant.parse("windows").memory == "none"
    assert Variant.parse("fresh").memory == "fresh"
    found = Variant.parse("swa+reset4+sim3:median_all")
    assert (found.memory, found.reset_every, found.placement) == ("swa", 4, "sim3:median_all")
    assert Variant.parse("swa+sim3:median_all+reset4") == Variant(
        "swa+sim3:median_all+reset4", memory="swa", whole=False, placement="sim3:median_all", reset_every=4
    )


@pytest.mark.parametrize("name", ["", "bth", "both+", "both+sim4", "both+reset0", "both+reset", "both+se3+none"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InputError) as caught:
        Variant.parse(name)
    assert str(caught.value) == (
        f"variant {name!r} is not known; write one of full, windows, fresh, swa, ttt, both, and behind it what else "
        "differs: +resetN, +none, +se3, +sim3"
    )


def test_one_window_has_nothing_to_place() -> None:
    with pytest.raises(InputError, match="'full'"):
        Variant.parse("full+sim3")


def test_the_variants_of_a_network_do_not_repeat_its_own_placement() -> None:
    star = default_variants(has_memory=True, placement="se3")
    assert star == ("full", "windows", "fresh", "swa", "ttt", "both", "both+reset5", "both+none", "both+sim3")
    assert default_variants(has_memory=True, placement="none")[-2:] == ("both+se3", "both+sim3")
    assert default_variants(has_memory=False, placement="sim3") == ("full", "windows", "windows+none", "windows+se3")
    for names in (star, default_variants(has_memory=False, placement="sim3")):
        assert [Variant.parse(name).name for name in names] == list(names)


def test_a_plan_says_what_it_leaves_out() -> None:
    variants = [Variant.parse(name) for name in ("full", "both")]
    planned = plan(variants, [1000, 100, 100], ["street:0", "street:1"], full_limit=500)
    assert planned.cells == (
        Cell("full", 100, "street:0"),
        Cell("full", 100, "street:1"),
        Cell("both", 100, "street:0"),
        Cell("both", 100, "street:1"),
        Cell("both", 1000, "street:0"),
        Cell("both", 1000, "street:1"),
    )
    assert planned.note == "full attention is not run over 1,000 frames: its limit here is 500 (--full-limit)"
    assert plan(variants[1:], [1000], ["street:0"], full_limit=500).note == ""
    assert len({cell.key for cell in planned.cells}) == len(planned.cells)


@pytest.mark.parametrize(("lengths", "worlds"), [([], ["street:0"]), ([100], [])])
def test_a_plan_of_nothing(lengths: list[int], worlds: list[str]) -> None:
    with pytest.raises(InputError, match="nothing to run"):
        plan([Variant.parse("both")], lengths, worlds, full_limit=500)


def test_means_and_ratios() -> None:
    found = rows(
        [
            result("swa", 100, "a", ate_percent=12.0, seconds=1.0),
            result("swa", 100, "b", ate_percent=18.0, seconds=3.0),
            result("both", 100, "a", ate_percent=4.0),
            result("both", 100, "b", ate_percent=6.0),
            result("both", 30, "a"),
        ]
    )
    named = {(row.variant, row.frames): row for row in found}
    assert [(row.variant, row.frames) for row in found] == [
        ("both", 30), (GUESS, 30), ("swa", 100), ("both", 100), (GUESS, 100),
    ]  # fmt: skip
    swa = named["swa", 100]
    assert (swa.worlds, swa.values["ate_percent"], swa.values["seconds"]) == (2, 15.0, 2.0)
    assert swa.ate_over_both == 3.0
    assert named["both", 100].ate_over_both == 1.0
    assert named[GUESS, 100].values["ate_percent"] == 30.0
    assert named[GUESS, 100].values["depth_abs_rel"] == 0.4
    assert named[GUESS, 100].values["seconds"] is None


def test_a_ratio_is_of_the_same_worlds_or_none() -> None:
    found = rows([result("swa", 100, "a"), result("swa", 100, "b"), result("both", 100, "b", ate_percent=5.0)])
    named = {row.variant: row for row in found}
    assert named["swa"].ate_over_both is None
    one = rows([result("swa", 100, "b"), result("both", 100, "a"), result("both", 100, "b", ate_percent=5.0)])
    assert {row.variant: row for row in one}["swa"].ate_over_both == 2.0


def test_a_mean_is_over_all_worlds_or_none() -> None:
    (row, _) = rows([result("both", 100, "a", depth_abs_rel=None), result("both", 100, "b")])
    assert row.values["depth_abs_rel"] is None
    assert row.values["ate_percent"] == 10.0


def test_the_table() -> None:
    found = rows([result("full", 1000, "a"), result("both", 1000, "a"), result("both", 1000, "b")])
    table = ablation_table(found, note="how")
    assert table.rows[0] == ("full (1 of 2 worlds)", "1,000", "10.00", "1.00", "0.200", "–", "2.00", "400")
    assert table.rows[1][0] == "both"
    assert table.rows[1][5] == "5.00"
    assert table.ours == {1}
    assert {len(line) for line in table.rows} == {len(table.header)}


def test_the_curves(tmp_path: Path) -> None:
    from PIL import Image

    draw_ablations(rows([result("both", 100, "a"), result("both", 900, "a")]), tmp_path / "a" / "one.png", title="one")
    more = [result(name, frames, "a") for name in ("both", "swa", "full") for frames in (100, 900)]
    draw_ablations(rows(more), tmp_path / "two.png", title="one")
    one, two = (np.asarray(Image.open(tmp_path / name)) for name in ("a/one.png", "two.png"))
    assert one.std() > 5
    assert one.shape != two.shape or not np.array_equal(one, two)
