"""`openloger bench`: speed and memory on this machine."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tyro

from openloger.benchmarking import BenchmarkNetwork, Ledger, WorldVideo
from openloger.benchmarking.length import LengthSettings, draw, measure_length
from openloger.benchmarking.presets import PresetsSettings, measure_presets
from openloger.benchmarking.soak import soak as run_soak
from openloger.benchmarking.soak import summary_line, world_video
from openloger.benchmarking.stages import StagesSettings, measure_stages
from openloger.benchmarking.tables import table
from openloger.benchmarking.twin import TwinSettings, measure_twin
from openloger.cli.results import show
from openloger.cli.terminal import progress_bar
from openloger.errors import InputError
from openloger.outputs import check_place

Network = tyro.conf.OmitArgPrefixes[BenchmarkNetwork]
_NETWORK, _WORLD = BenchmarkNetwork(), WorldVideo()
_LENGTH, _STAGES, _PRESETS, _TWIN = LengthSettings(), StagesSettings(), PresetsSettings(), TwinSettings()


def commands() -> dict[str, Callable[..., Any]]:
    """The `bench` commands."""
    return {"length": length, "stages": stages, "presets": presets, "twin": twin, "soak": soak}


def _ledger(name: str, settings: Mapping[str, Any], out: Path | None, *, resume: bool = False) -> Ledger:
    """Where the results go; from here on the many runs of a measurement do not each log their settings."""
    logging.getLogger("openloger").setLevel(logging.ERROR)
    return Ledger(name, settings, path=out, resume=resume)


def length(
    *,
    network: Network = _NETWORK,
    settings: tyro.conf.OmitArgPrefixes[LengthSettings] = _LENGTH,
    picture: Path | None = None,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    json: bool = False,
) -> None:
    """Frames/s and peak memory against length: the streaming engine, and attention over the whole video at once.

    Args:
        picture: Draw both into this PNG.
        out: Write the results into this JSON file, after every length.
        resume: Go on with the file that is there.
        overwrite: Replace a picture that this command drew.
        json: Print the results for programs.
    """
    if picture is not None:
        check_place(picture, made_by="bench", overwrite=overwrite)
    ledger = _ledger("length", {**asdict(network), **asdict(settings)}, out, resume=resume)
    with progress_bar("length") as on_progress:
        measure_length(network, settings, ledger, on_progress=on_progress)
    if picture is not None:
        made = ledger.made["machine"]
        title = f"{network.network}; {made['cpu']}, {made['cores']} cores"
        draw(ledger.results.values(), picture, title=title, overwrite=overwrite)
    _show(ledger, json=json)


def stages(
    *,
    network: Network = _NETWORK,
    settings: tyro.conf.OmitArgPrefixes[StagesSettings] = _STAGES,
    video: Path | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """The share of the time that each stage takes, the stages done one after the other.

    Args:
        video: Instead of a made-up video.
        out: Write the results into this JSON file.
        json: Print the results for programs.
    """
    _check_video(video)
    ledger = _ledger("stages", {**asdict(network), **asdict(settings), "video": _video_name(video)}, out)
    with progress_bar("stages") as on_progress:
        ledger.measure("stages", lambda: measure_stages(network, settings, video=video, on_progress=on_progress))
    ledger.conclude()
    _show(ledger, json=json)


def presets(
    *,
    settings: tyro.conf.OmitArgPrefixes[PresetsSettings] = _PRESETS,
    out: Path | None = None,
    resume: bool = False,
    json: bool = False,
) -> None:
    """Frames/s of the networks by themselves, in each precision, on each device of this machine.

    Args:
        out: Write the results into this JSON file, after every combination.
        resume: Go on with the file that is there.
        json: Print the results for programs.
    """
    ledger = _ledger("presets", asdict(settings), out, resume=resume)
    with progress_bar("presets") as on_progress:
        measure_presets(settings, ledger, on_progress=on_progress)
    _show(ledger, json=json)


def twin(
    *,
    network: Network = _NETWORK,
    settings: tyro.conf.OmitArgPrefixes[TwinSettings] = _TWIN,
    video: Path | None = None,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """The main job against its naive twin, by turns: no carried features, nothing at the same time; 1 if they differ.

    Args:
        video: Instead of a made-up video.
        out: Write the results into this JSON file.
        json: Print the results for programs.
    """
    _check_video(video)
    ledger = _ledger("twin", {**asdict(network), **asdict(settings), "video": _video_name(video)}, out)
    with progress_bar("twin") as on_progress:
        result = ledger.measure("twin", lambda: measure_twin(network, settings, video=video, on_progress=on_progress))
    ledger.conclude()
    _show(ledger, json=json)
    return 0 if result["agree"] else 1


def soak(
    *,
    frames: int = 19000,
    network: Network = _NETWORK,
    world: tyro.conf.OmitArgPrefixes[WorldVideo] = _WORLD,
    video: Path | None = None,
    folder: Path | None = None,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """A very long run in one process: time a frame at its end against its beginning, and the growth of memory.

    The world is rendered into a video first, so that the time measured is the system's. The run itself cannot be
    resumed: a new process would have a new memory.

    Args:
        frames: How long the world's video is; a video of your own is taken whole.
        video: Instead of a world.
        folder: Keep the world's video and the recording here, and take the video from here next time.
        out: Write the results into this JSON file.
        json: Print the results for programs.
    """
    _check_video(video)
    source = {"video": _video_name(video)} if video else {**asdict(world), "frames": frames}
    ledger = _ledger("soak", {**asdict(network), **source}, out)
    with ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if video is None:
            with progress_bar("render") as on_progress:
                video = world_video(world, place, frames, on_progress=on_progress)
        with progress_bar("soak") as on_progress:
            recording = place / f"{video.stem}-recording"
            result = ledger.measure("soak", lambda: run_soak(network, video, recording, on_progress=on_progress))
    ledger.conclude()
    _show(ledger, json=json)
    print(summary_line(result), file=sys.stderr)


def _show(ledger: Ledger, *, json: bool) -> None:
    content = ledger.content()
    show(content if json else table(content), f"openloger bench {content['benchmark']}")


def _check_video(video: Path | None) -> None:
    if video is not None and not video.is_file():
        raise InputError(f"there is no video {video}; leave it out for a made-up one")


def _video_name(video: Path | None) -> str | None:
    return None if video is None else str(video)
