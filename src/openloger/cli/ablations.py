"""`openloger evaluate ablations`: what each part of a network is worth, against the length of the video."""

from __future__ import annotations

import json as json_module
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tyro

from openloger.benchmarking import BenchmarkNetwork, Ledger
from openloger.benchmarking.ablations.plan import AblationPlan, rows
from openloger.benchmarking.ablations.report import ablation_table, draw_ablations, need_matplotlib
from openloger.benchmarking.ablations.run import (
    AblationSettings,
    RenderedWorlds,
    measure_ablations,
    plan_ablations,
    size_of,
)
from openloger.benchmarking.tables import machine_line, markdown
from openloger.cli import EXIT_BAD_INPUT
from openloger.cli.results import show
from openloger.cli.terminal import progress_bar
from openloger.evaluation.provenance import machine
from openloger.evaluation.report import TableRows
from openloger.network import Network, weights_hash
from openloger.outputs import check_place, replace_file

_MADE_BY = "evaluate ablations"
_NETWORK, _SETTINGS = BenchmarkNetwork(), AblationSettings()


def evaluate_ablations(
    *,
    out: Path,
    network: tyro.conf.OmitArgPrefixes[BenchmarkNetwork] = _NETWORK,
    settings: tyro.conf.OmitArgPrefixes[AblationSettings] = _SETTINGS,
    resume: bool = False,
    json: bool = False,
) -> int:
    """Run a network with parts taken away over worlds of several lengths: error, seconds and peak memory.

    Full attention, windows without memory, each memory alone, both, resets, placements. Leaves results.json (after
    every run), ablations.md and ablations.png, and the rendered worlds, which may be deleted. Ctrl-C keeps what is
    done, and --resume continues from it, also with more lengths, worlds or variants; 2 where a run has no numbers.

    Args:
        out: The folder for all this.
        resume: Go on with the results that are there.
        json: Print the results for programs.
    """
    need_matplotlib()
    for name in ("ablations.md", "ablations.png"):  # they follow from results.json, which --resume refers to
        check_place(out / name, made_by=_MADE_BY, overwrite=True)
    loaded = network.load()
    planned, size = plan_ablations(settings, loaded), size_of(settings, loaded)
    logging.getLogger("openloger").setLevel(logging.ERROR)  # the many runs do not each log their settings
    same = _must_agree(loaded, network, size, settings.fps)
    ledger = Ledger("ablations", same, path=out / "results.json", resume=resume)
    rendered = RenderedWorlds(out / "worlds", size, settings.fps, max(settings.frames))
    del loaded
    faults: dict[str, str] = {}
    try:
        with progress_bar("ablations") as on_progress:
            faults = measure_ablations(network, planned, rendered, ledger, log=_log, on_progress=on_progress)
    except KeyboardInterrupt:
        _write(out, ledger, planned, faults)
        _log(f"{len(ledger.results)} runs are kept in {out}; --resume continues")
        raise
    found = [asdict(row) for row in rows(_in_order(ledger, planned))]
    ledger.conclude({"rows": found, "note": planned.note, "faults": faults})
    table = _write(out, ledger, planned, faults)
    show(ledger.content() if json else table, f"ablations of {network.network}")
    return EXIT_BAD_INPUT if faults else 0


def _must_agree(loaded: Network, choice: BenchmarkNetwork, size: tuple[int, int], fps: float) -> dict[str, Any]:
    """The settings that results must have in common to be compared."""
    made = machine()
    return {
        "network": loaded.config.name,
        "weights_hash": None if loaded.weights is None else weights_hash(loaded.weights),
        "window": loaded.config.window,
        "overlap": loaded.config.overlap,
        "placement": loaded.config.placement,
        "device": str(loaded.device),
        "precision": str(loaded.precision).removeprefix("torch."),
        "threads": choice.threads or made["threads"],
        "cpu": made["cpu"],
        "accelerator": made["accelerator"] if loaded.device.type == "cuda" else None,
        "size": list(size),
        "fps": fps,
        "alignment": "sim3",
    }


def _write(out: Path, ledger: Ledger, planned: AblationPlan, faults: Mapping[str, str]) -> TableRows:
    """The page and the curves of the results that are there; returns the table."""
    found = rows(_in_order(ledger, planned))
    notes = [_how(ledger), planned.note, *(f"no numbers of {key}: {fault}" for key, fault in faults.items())]
    table = ablation_table(found, note="; ".join(filter(None, [*notes, machine_line(ledger.content())])))
    if found:
        draw_ablations(found, out / "ablations.png", title=f"{ledger.made['settings']['network']}: {_how(ledger)}")
        with replace_file(out / "ablations.md", made_by=_MADE_BY) as draft:
            draft.write_text(_page(ledger, table), encoding="utf-8")
    return table


def _in_order(ledger: Ledger, planned: AblationPlan) -> list[dict[str, Any]]:
    """As planned, and then what earlier runs left besides."""
    planned_keys = [cell.key for cell in planned.cells if cell.key in ledger.results]
    others = [key for key in ledger.results if key not in set(planned_keys)]
    return [ledger.results[key] for key in [*planned_keys, *others]]


def _how(ledger: Ledger) -> str:
    made = ledger.made["settings"]
    worlds = list(dict.fromkeys(one["world"] for one in ledger.results.values()))
    height, width = made["size"]
    return (
        f"means over {', '.join(worlds)}; {height}×{width} pixels, {made['fps']:g} frames/s, "
        f"windows of {made['window']} frames sharing {made['overlap']}, placement {made['placement']} unless noted; "
        "path aligned by sim3, depth by one scale"
    )


def _page(ledger: Ledger, table: TableRows) -> str:
    made = {key: value for key, value in ledger.content().items() if key not in {"results", "summary"}}
    name = ledger.made["settings"]["network"]
    return (
        f"# Ablations of `{name}`\n\n{markdown(table)}\n\n"
        "![Errors, seconds and memory against length](ablations.png)\n\n"
        f"Made with:\n\n```json\n{json_module.dumps(made, indent=2)}\n```\n"
    )


def _log(line: str) -> None:
    print(f"openloger: {line}", file=sys.stderr, flush=True)
