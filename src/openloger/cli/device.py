"""`openloger info --device`: what networks run on here, what was measured, and what is chosen by it."""

from __future__ import annotations

import json as json_module
import os
from dataclasses import asdict
from typing import Any

import torch

from openloger.cli.terminal import print_table, printable
from openloger.network import PRESETS, preset
from openloger.network.kernels.calibration import KernelCalibration, calibrated, calibration_mode
from openloger.network.kernels.turns import Comparison
from openloger.network.load import boxed, resolve_device
from openloger.runtime.platform import cache_folder, processor_name, usable_cores
from openloger.runtime.resources import device_name
from openloger.version import versions


def show_device(*, again: bool, json: bool) -> None:
    """Print the device that "auto" stands for and the kernels of the networks in the box, measured where that is new.

    `again` measures what is kept already.
    """
    mode = "again" if again else calibration_mode()
    device = resolve_device("auto")
    found = {name: calibrated(preset(name), device, mode=mode) for name in PRESETS if boxed(name) is not None}
    about = {
        "device": processor_name() if device.type == "cpu" else device_name(device),
        "kind": device.type,
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "threads_set_by": "OMP_NUM_THREADS" if "OMP_NUM_THREADS" in os.environ else None,
        "versions": versions(),
        "calibration": mode,
        "kept_in": str(cache_folder() / "kernels"),
    }
    if json:
        print(json_module.dumps(about | {"networks": {name: asdict(one) for name, one in found.items()}}))
        return
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for row in _rows(about).items():
        table.add_row(*map(printable, row))
    print_table(table)
    print()
    table = Table("network", "choice", "chosen", "measured against it", "runs")
    for name, calibration in found.items():
        for row in _choices(calibration):
            table.add_row(name, *row)
    print_table(table)


def _rows(about: dict[str, Any]) -> dict[str, str]:
    chosen = f", set by {about['threads_set_by']}" if about["threads_set_by"] else ""
    return {
        "device": f"{about['device']} ({about['kind']})",
        "cores": f"{about['cores']}; torch's threads {about['threads']}{chosen}",
        "versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        "calibration": f"{about['calibration']} (OPENLOGER_CALIBRATION), kept in {about['kept_in']}",
    }


def _choices(calibration: KernelCalibration) -> list[tuple[str, str, str, str]]:
    """A row for each comparison; where none was made, what is chosen without."""
    if not calibration.comparisons:
        return [("all", calibration.describe(), "nothing was measured", "")]
    return [_row(one) for one in calibration.comparisons]


def _row(one: Comparison) -> tuple[str, str, str, str]:
    loser = one.default if one.leaves_default else one.other
    ratio = 1 / one.ratio if one.leaves_default else one.ratio
    measured = f"{loser}: ×{ratio:.2f} the time" if one.ratios else f"{loser}: there was no time"
    return (
        one.choice.replace("_", " "),
        one.other if one.leaves_default else one.default,
        measured,
        str(len(one.ratios)),
    )
