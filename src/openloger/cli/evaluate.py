"""`openloger evaluate`: numbers against ground truth."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import tyro

from openloger import worlds
from openloger.batch.workers import WorkerControl, WorkerPool, WorkerResources, import_ray
from openloger.cli import EXIT_BAD_INPUT
from openloger.cli.ablations import evaluate_ablations
from openloger.cli.batch import PoolArguments
from openloger.cli.results import MADE_BY, show, write_page
from openloger.cli.terminal import print_status
from openloger.datasets import DatasetFolder, Sequence, open_dataset
from openloger.errors import InputError
from openloger.evaluation import GatherSettings, MeasureSettings
from openloger.evaluation import evaluate_recording as measure_recording
from openloger.evaluation.page import Section
from openloger.evaluation.recording import made_with, summary
from openloger.evaluation.report import TableRows, measured_table, suite_json, suite_table
from openloger.evaluation.suites import (
    SUITES,
    Outcome,
    Sequences,
    Suite,
    SuiteResult,
    evaluate_sequence,
    find_suite,
    run_suite,
)
from openloger.frames import open_frames
from openloger.frames.through import FramesThrough
from openloger.network import Network, NetworkSpec, weights_hash
from openloger.outputs import check_place, replace_file
from openloger.recording import open_recording
from openloger.runtime.prefetch import prefetch
from openloger.streaming import Stream
from openloger.values import PlacedWindow

RESULTS_FILE, REPORT_FILE = "results.json", "report.html"


def suite_commands() -> dict[str, Callable[..., int]]:
    """Every suite by its name."""
    on_disk = {name: _suite_command(name) for name, suite in SUITES.items() if suite.dataset is not None}
    return {**on_disk, "worlds": evaluate_worlds}


@dataclass(frozen=True)
class ProtocolArguments:
    """Deviations from the suite's protocol."""

    sequences: tuple[str, ...] = ()
    """Only these; by default all of the suite that are there."""
    stop: int | None = None
    """Only the frames before this one."""
    window: int | None = None
    """Frames in a window."""
    overlap: int | None = None
    """Frames that neighbouring windows share."""
    placement: str = "auto"
    """none, se3, sim3, sim3:MODE, or auto."""
    reset_every: int | None = None
    """Reset the fast weights every N windows; 0 for never."""


@dataclass(frozen=True)
class OutputArguments:
    """Where the numbers go."""

    out: Path | None = None
    """Write results.json and report.html into this folder."""
    json: bool = False
    """Print results.json instead of the table."""
    overwrite: bool = False
    """Replace the results that this command wrote into the folder before."""


@dataclass(frozen=True)
class RayArguments(PoolArguments):
    """Sequences on several workers at once (`pip install 'openloger[ray]'`), with the same numbers."""

    ray: bool = False
    """Run on Ray's workers, a sequence each at a time."""


@dataclass(frozen=True)
class WorldArguments:
    """Which worlds."""

    families: tuple[str, ...] = tuple(worlds.FAMILIES)
    """Of every family as many worlds."""
    seeds: tuple[int, ...] = (0,)
    """The worlds' seeds; those below a million are never trained on."""
    frames: int = 300
    """Frames of each."""
    size: tuple[int, int] = (160, 224)
    """Height and width of the pictures."""
    fps: float = 10.0
    """Frames a second."""


def evaluate_suite(
    name: str,
    *,
    data: Path,
    network: NetworkSpec,
    protocol: ProtocolArguments = ProtocolArguments(),
    output: OutputArguments = OutputArguments(),
    ray: RayArguments = RayArguments(),
) -> int:
    """Run a network over a dataset on disk and measure it; 2 where a sequence has no numbers, else 0."""
    sequences = _choose(find_suite(name), data, protocol.sequences)
    return _evaluate(name, sequences, network, protocol, output, ray)


def evaluate_worlds(
    *,
    network: tyro.conf.OmitArgPrefixes[NetworkSpec],
    worlds: tyro.conf.OmitArgPrefixes[WorldArguments] = WorldArguments(),
    protocol: tyro.conf.OmitArgPrefixes[ProtocolArguments] = ProtocolArguments(),
    output: tyro.conf.OmitArgPrefixes[OutputArguments] = OutputArguments(),
    ray: tyro.conf.OmitArgPrefixes[RayArguments] = RayArguments(),
) -> int:
    """Run a network over procedural worlds, whose truth is exact, and measure it."""
    return _evaluate("worlds", _Worlds(worlds, protocol.sequences), network, protocol, output, ray)


@dataclass(frozen=True)
class _Worlds:
    """Worlds as `street:7`; all, or those that are named."""

    arguments: WorldArguments
    named: tuple[str, ...]

    def __iter__(self) -> Iterator[str]:
        every = (f"{family}:{seed}" for family in self.arguments.families for seed in self.arguments.seeds)
        return iter(self.named or tuple(every))

    def __len__(self) -> int:
        return len(tuple(iter(self)))

    def __getitem__(self, name: str, /) -> Sequence:
        family, _, seed = name.partition(":")
        if not seed.isdigit():
            raise InputError(f"{name!r} names no world; write FAMILY:SEED, as street:7")
        made = self.arguments
        return worlds.World(family, seed=int(seed), size=made.size, fps=made.fps, frames=made.frames)


def _evaluate(
    name: str,
    sequences: Sequences,
    network: NetworkSpec,
    protocol: ProtocolArguments,
    output: OutputArguments,
    ray: RayArguments,
) -> int:
    if ray.ray:
        import_ray()
    if output.out is not None:
        for file in (RESULTS_FILE, REPORT_FILE):
            check_place(output.out / file, made_by=MADE_BY, overwrite=output.overwrite)
    loaded = network.load()
    suite = find_suite(name)
    suite = replace(
        suite,
        window=protocol.window or suite.window,
        overlap=suite.overlap if protocol.overlap is None else protocol.overlap,
        reset_every=suite.reset_every if protocol.reset_every is None else protocol.reset_every,
    )
    if ray.ray:
        job = SuiteJob(sequences, suite, network, protocol.placement, protocol.stop)
        result = run_suite_on_ray(name, job, ray.resources(), on_outcome=_print_outcome)
    else:
        reconstruct = partial(_stream, network=loaded, suite=suite, placement=protocol.placement, stop=protocol.stop)
        result = run_suite(name, sequences, suite=suite, reconstruct=reconstruct, on_outcome=_print_outcome)
    settings = _settings(_engine(loaded, suite, protocol.placement)) | {"stop": protocol.stop}
    digest = None if loaded.weights is None else weights_hash(loaded.weights)
    made = suite_json(result, network=network.network, weights_hash=digest, run_settings=settings)
    table = suite_table(result, network.network, settings)
    if output.out is not None:
        _write_suite(output.out, result, table, made)
    show(made if output.json else table, f"{name}, {network.network}")
    return 0 if result.complete else EXIT_BAD_INPUT


@dataclass(frozen=True)
class SuiteJob:
    """The settings with which a worker evaluates each sequence of a suite."""

    sequences: Sequences
    suite: Suite
    network: NetworkSpec
    placement: str
    stop: int | None

    def __call__(self) -> Callable[[str, WorkerControl], Outcome]:
        """Loads the network; gives the function that takes a sequence's name to its outcome."""
        network = self.network.load()
        reconstruct = partial(_stream, network=network, suite=self.suite, placement=self.placement, stop=self.stop)

        def evaluate(name: str, control: WorkerControl) -> Outcome:
            return evaluate_sequence(name, self.sequences, reconstruct=reconstruct, settings=self.suite.measure)

        return evaluate


def run_suite_on_ray(
    name: str, job: SuiteJob, resources: WorkerResources, *, on_outcome: Callable[[Outcome], None]
) -> SuiteResult:
    """`run_suite` on workers: the same outcomes in the same order. A sequence whose workers all died has a fault.

    Raises:
        InputError: there is no sequence, no network, or no Ray.
    """
    names = list(job.sequences)
    if not names:
        raise InputError(f"{name} has no sequence to run; choose at least one")
    if resources.workers is not None:
        resources = replace(resources, workers=min(resources.workers, len(names)))
    outcomes: dict[str, Outcome] = {}
    with WorkerPool(job, resources) as pool:
        for finished in pool.run(names):
            outcome = finished.result or Outcome(finished.item, None, finished.error, 0.0)
            if outcome.fault is not None:  # it was logged where it happened, on the worker
                print_status(f"openloger: {outcome.sequence}: {outcome.fault}")
            on_outcome(outcome)
            outcomes[finished.item] = outcome
    return SuiteResult(name, job.suite, tuple(outcomes[one] for one in names))


def _suite_command(name: str) -> Callable[..., int]:
    def evaluate(
        *,
        data: Path,
        network: tyro.conf.OmitArgPrefixes[NetworkSpec],
        protocol: tyro.conf.OmitArgPrefixes[ProtocolArguments] = ProtocolArguments(),
        output: tyro.conf.OmitArgPrefixes[OutputArguments] = OutputArguments(),
        ray: tyro.conf.OmitArgPrefixes[RayArguments] = RayArguments(),
    ) -> int:
        return evaluate_suite(name, data=data, network=network, protocol=protocol, output=output, ray=ray)

    beside = ", beside the published numbers" if SUITES[name].table else ""
    evaluate.__doc__ = (
        f"Run a network over {name} and measure it{beside}.\n\n"
        "Args:\n    data: The dataset's folder; docs/datasets.md has how to get it.\n"
    )
    return evaluate


def _choose(suite: Suite, data: Path, sequences: tuple[str, ...]) -> DatasetFolder:
    assert suite.dataset is not None, "worlds are not on disk"
    opened = open_dataset(suite.dataset, data, sequences=sequences or None)
    if sequences or suite.sequences is None:
        return opened
    there = tuple(one for one in suite.sequences if one in opened.names)
    missing = [one for one in suite.sequences if one not in opened.names]
    if not there:
        raise InputError(f"{data} has none of the sequences {', '.join(suite.sequences)}")
    if missing:
        print(f"openloger: {data} does not have {', '.join(missing)}; the average is over the others", file=sys.stderr)
    return replace(opened, names=there)


def _engine(network: Network, suite: Suite, placement: str) -> Stream:
    return Stream(
        network, window=suite.window, overlap=suite.overlap, placement=placement, reset_every=suite.reset_every
    )


def _stream(
    sequence: Sequence, *, network: Network, suite: Suite, placement: str, stop: int | None
) -> Iterable[PlacedWindow]:
    source = open_frames(sequence, stop=stop, stride=suite.stride)
    return _engine(network, suite, placement).run(FramesThrough(source, prefetch))


def _settings(stream: Stream) -> dict[str, Any]:
    return {
        "window": stream.window,
        "overlap": stream.overlap,
        "placement": str(stream.placement),
        "reset_every": stream.reset_every,
    }


def _print_outcome(outcome: Outcome) -> None:
    if outcome.measured is not None:  # a fault was logged where it happened
        rmse, seconds = outcome.measured.absolute.translation.rmse, outcome.seconds
        print(f"openloger: {outcome.sequence}: ATE {rmse:.3f} m, {seconds:.0f} s", file=sys.stderr)


def _write_suite(folder: Path, result: SuiteResult, table: TableRows, made: Any) -> None:
    with replace_file(folder / RESULTS_FILE, made_by=MADE_BY) as draft:
        draft.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    sections = [Section(one.sequence, one.measured, one.fault) for one in result.outcomes]
    write_page(folder / REPORT_FILE, f"{result.name}, {made['network']}", sections, [("Results", table)], made)


def commands() -> dict[str, Callable[..., Any]]:
    """The `evaluate` commands: a recording, a suite by its name, or ablations of a network."""
    return {"recording": evaluate_recording, **suite_commands(), "ablations": evaluate_ablations}


def evaluate_recording(
    recording: tyro.conf.Positional[Path],
    /,
    *,
    truth: Path,
    depth: Path | None = None,
    alignment: Literal["none", "se3", "sim3"] = "sim3",
    depth_alignment: Literal["none", "sequence", "frame"] = "sequence",
    cloud_points: int = 0,
    html: Path | None = None,
    json: bool = False,
    overwrite: bool = False,
) -> None:
    """Measure one recording against the truth of its video.

    Args:
        recording: The recording's folder.
        truth: Cameras: 16 numbers a frame of the video (or the first 12), or TUM's 8 by time; or a folder that holds
            world_from_cam.txt.
        depth: True depth: a folder of 000000.npy or .png, or an .npz like depth_mm.npz.
        alignment: What is aligned of the path before it is measured: nothing, the frame, or the frame and the scale.
        depth_alignment: How the depth's scale is found: not at all, once for the video, or for each frame.
        cloud_points: Points of each frame in the clouds that are compared; 0 for no clouds.
        html: Write a page with plots here.
        json: Print the numbers, and how they were made, for programs.
        overwrite: Replace a page that this command wrote.
    """
    if html is not None:
        check_place(html, made_by=MADE_BY, overwrite=overwrite)
    opened = open_recording(recording)
    settings = MeasureSettings(alignment, depth_alignment, GatherSettings(cloud_points=cloud_points))
    measured = measure_recording(opened, truth, depth=depth, settings=settings)
    if html is not None:
        made = made_with(opened, measured, truth=truth, depth=depth)
        write_page(html, str(recording), [Section(opened.meta.source, measured)], [], made)
    output = summary(opened, measured, truth=truth, depth=depth) if json else measured_table(measured)
    show(output, str(recording))
