"""The last lines of a run: the network's purpose, and the next commands."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from openloger.pipeline.options import DEFAULT_NETWORK
from openloger.recording import Recording
from openloger.recording.meta import RecordingMeta

FULL_NETWORK = "loger"


def about_network(meta: RecordingMeta) -> str | None:
    """The purpose of the model in the box; None where another network was used, or random weights."""
    if meta.weights_hash is None:
        return None
    return about(meta.network, size=(meta.height, meta.width))


def about(network: str, *, size: tuple[int, int]) -> str | None:
    """The same of a trained network's name and the (height, width) in pixels that it saw."""
    if network != DEFAULT_NETWORK:
        return None
    return (
        f"{network} is the small model in the box, trained on procedural worlds: it saw {size[0]}×{size[1]} pixels of "
        f"each frame, and is for trying things out, not for measuring; the full model is --network {FULL_NETWORK} "
        "(docs/compact.md)"
    )


def warnings(recording: Recording) -> list[str]:
    """The findings about the input and the result, a line each."""
    return [f"warning: {finding.text}" for finding in recording.findings]


def next_step(path: Path, *, complete: bool) -> str:
    """The commands that show a recording, or continue it."""
    if not complete:
        return "interrupted; the same command with --resume goes on from there"
    return f"look at it: openloger view {quote(str(path))}"
