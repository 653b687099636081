"""`openloger info`: what a recording holds, or what networks run on here."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote

import numpy as np
import tyro

from openloger.cli import EXIT_BAD_INPUT
from openloger.cli.advice import about_network
from openloger.cli.device import show_device
from openloger.cli.terminal import print_table, printable
from openloger.errors import InputError, RecordingError
from openloger.frames.live import is_captured
from openloger.recording import open_recording
from openloger.recording.check import find_damage
from openloger.viewing.report.summary import RecordingSummary, RunCost, summarise


def info(
    recording: tyro.conf.Positional[Path | None] = None,
    /,
    *,
    check: bool = False,
    device: bool = False,
    again: bool = False,
    json: bool = False,
) -> int:
    """Show the contents of a recording, and how to continue it where it is not complete; or this machine's device.

    Args:
        recording: The recording's folder.
        check: Read all of it instead, and list the files that are damaged and the frames that they cost; 2 if any.
        device: Show the device that networks run on instead, and the kernels that were measured and chosen for it.
        again: With --device: measure them anew.
        json: Print it for programs.
    """
    if device != (recording is None) or (again and not device) or (check and device):
        raise InputError("give either a recording's folder, with --check if you like, or --device, with --again")
    if recording is None:
        show_device(again=again, json=json)
        return 0
    if check:
        return _check(recording)
    opened = open_recording(recording)
    try:
        summary = summarise(opened)
    except RecordingError as error:
        every = f"openloger info {quote(str(recording))} --check"
        raise RecordingError(f"{error}; {every} lists all that is damaged") from error
    if summary.resume is not None and is_captured(summary.source):
        summary = replace(summary, resume=summary.resume.replace(" reconstruct ", " live ", 1))
    if json:
        print(json_module.dumps(asdict(summary) | {"findings": [one._asdict() for one in opened.findings]}))
        return 0
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for row in _rows(summary).items():
        table.add_row(*map(printable, row))
    print_table(table)
    if (note := about_network(opened.meta)) is not None:
        print(f"\n{note}")
    for finding in opened.findings:
        print(printable(f"\nWarning: {finding.text}"))
    if summary.resume is not None:
        print(printable(f"\nThis goes on with it, given the options that it began with:\n{summary.resume}"))
    return 0


def _check(recording: Path) -> int:
    damaged = 0
    for line in find_damage(recording):
        print(printable(line), flush=True)
        damaged += 1
    if not damaged:
        print(printable(f"{recording}: every file is whole"))
    return EXIT_BAD_INPUT if damaged else 0


def _rows(summary: RecordingSummary) -> dict[str, str]:
    unit = summary.unit
    low, median, high = summary.focal_px or (np.nan,) * 3
    instants = f" ({summary.frames // summary.views} instants of {summary.views} views)" if summary.views > 1 else ""
    size = f"{summary.height}×{summary.width} pixels"
    left_out = f"; {summary.left_out} that the source gave between them are left out" if summary.left_out else ""
    return {
        "recording": f"{summary.path} ({summary.bytes / 1e6:.1f} MB)",
        "state": "complete" if summary.complete else "not complete",
        "frames": f"{summary.frames}{instants} of {size}, {summary.duration_s:.1f} s{left_out}",
        "source": summary.source,
        "network": f"{summary.network}, weights {summary.weights_hash or 'random'}",
        "settings": ", ".join(f"{name} {value}" for name, value in summary.settings.items()),
        "masks": ", ".join(summary.masks) or "none",
        "path": f"{summary.path_length:.3g} {unit} long, in a box of {summary.path_box or 'nothing'} {unit}",
        "scene": f"98 % in a box of {summary.scene_box} {unit}" if summary.scene_box else "no pixel can be trusted",
        "corrected": "; ".join(summary.corrections) or "no: as recorded",
        "focal length": f"{median:.1f} pixels ({low:.1f} to {high:.1f}), {summary.lens} lens",
        "fit": "none" if summary.residual_px is None else f"{summary.residual_px:.2f} pixels off in the median",
        "run": _cost(summary.cost),
        "openloger": summary.openloger_version,
    }


def _cost(cost: RunCost | None) -> str:
    if cost is None:
        return "time and memory were not recorded"
    memory = f"{cost.peak_memory_bytes / 1e9:.2f} GB at most"
    return f"{cost.seconds:.1f} s on {', '.join(cost.devices)}, {cost.frames_per_s:.1f} frames/s, {memory}"
