"""`openloger close-loops`: the path corrected where the camera comes back to a place."""

from __future__ import annotations

from pathlib import Path

import tyro

from openloger.cli.align import report_alignment, report_undone
from openloger.cli.terminal import print_status, progress_bar
from openloger.corrections import close_loops as find_loops
from openloger.errors import InputError
from openloger.network import load_network
from openloger.recording import check_correctable, open_recording


def close_loops(
    recording: tyro.conf.Positional[Path],
    /,
    *,
    network: str | None = None,
    weights: str | None = None,
    device: str = "auto",
    undo: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Correct the path where the camera comes back to a place.

    Places that look alike are seen by the network together; what geometry confirms, more than once, is closed. What was
    recorded stays as it is: the correction lies beside it, and --undo takes it away. One that is cut goes
    on, when it is run again, from the pairs that it had verified.

    Args:
        recording: The recording's folder.
        network: The network to verify by; by default the recording's own.
        weights: Its weights: a file, a folder or a Hugging Face id. By default what the box or the hub has.
        device: cpu, cuda, mps, or auto.
        undo: Take the last correction away.
        dry_run: Print the result and write nothing.
        json: Print the result for programs.
    """
    opened = open_recording(recording)
    if undo:
        if network is not None or weights is not None or dry_run:
            raise InputError("--undo goes alone: it takes the last correction away")
        report_undone(opened, json=json)
        return
    if not dry_run:
        check_correctable(opened.path)  # what follows takes minutes
    loaded = None
    if network is not None or weights is not None or device != "auto":
        loaded = load_network(network or opened.meta.network, weights=weights, device=device)
    with progress_bar(str(recording)) as show:
        found = find_loops(opened, network=loaded, on_progress=show)
    report_alignment(found, opened, dry_run=dry_run, json=json)
    if not (dry_run or json):
        print_status(f"openloger: openloger close-loops {recording} --undo takes it away")
