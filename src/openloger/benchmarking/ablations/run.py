"""The runs of an ablation: worlds rendered beforehand, and every run in a process of its own, measured and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openloger import worlds
from openloger.benchmarking.ablations.plan import AblationPlan, Cell, Variant, default_variants, plan
from openloger.benchmarking.child import OnProgress, OverLimitError, in_child
from openloger.benchmarking.inputs import BenchmarkNetwork, synchronize
from openloger.benchmarking.ledger import Ledger
from openloger.datasets import open_dataset, write_folder
from openloger.errors import InputError
from openloger.evaluation import GatherSettings, MeasureSettings, gather_placed, measure
from openloger.frames import open_frames
from openloger.network import Network
from openloger.outputs import staged_folder
from openloger.runtime.prefetch import prefetch
from openloger.runtime.progress import Stopwatch
from openloger.runtime.resources import peak_memory_bytes
from openloger.streaming import Stream, network_size
from openloger.values import PlacedWindow

PICTURE = (128, 160)  # height and width of a world, before the network sizes it as it likes
# A few pixels of every tenth frame: what is kept to be measured must not show in the memory that is reported
MEASURED = MeasureSettings(gather=GatherSettings(depth_every=10, depth_pixels=512))
KEPT = (
    "path_length",
    "ate_rmse",
    "ate_percent",
    "ate_rmse_of_straight_line",
    "rotation_deg_median",
    "scale_drift_spread",
    "depth_abs_rel",
    "depth_abs_rel_of_constant",
    "overlap_depth",
    "overlap_rotation_deg",
    "overlap_translation_percent",
)
START_FRAMES = 200  # a process takes about as long to begin as so many frames; only the time left is guessed by it


@dataclass(frozen=True)
class AblationSettings:
    """Settings of the ablations. Every run is a process of its own, so that its peak memory is its own."""

    variants: tuple[str, ...] = ()
    """full, windows, fresh, swa, ttt, both; behind it +none, +se3 or +sim3, +resetN. By default all that make sense."""
    frames: tuple[int, ...] = (100, 300, 1000)
    """Lengths of the videos."""
    families: tuple[str, ...] = ("rooms", "street")
    """Of worlds: rooms, halls, street, terrain, clutter."""
    seeds: tuple[int, ...] = (0,)
    """The worlds' seeds; those below a million are never trained on."""
    size: tuple[int, int] | None = None
    """Height and width of the pictures; by default what the network is made for."""
    fps: float = 10.0
    """Frames a second of the worlds."""
    full_limit: int = 500
    """The longest video that full attention runs over: its time grows with the square of the length."""


@dataclass(frozen=True)
class RenderedWorlds:
    """Worlds on disk, each rendered once, so that neither time nor memory of the renderer counts."""

    folder: Path
    size: tuple[int, int]  # (height, width)
    fps: float
    frames: int

    def name(self, world: str) -> str:
        """Of the folder of a world like street:0; it names all that the pictures depend on."""
        height, width = self.size
        return f"{world.replace(':', '-')}-{height}x{width}-{self.fps:g}fps-{self.frames}"

    def written(self, world: str, *, on_progress: OnProgress = lambda progress: None) -> str:
        """The name, once the folder is there; lossless pictures, cameras, depth."""
        name = self.name(world)
        if (self.folder / name).is_dir():
            return name
        family, _, seed = world.partition(":")
        shown = worlds.World(family, seed=int(seed), size=self.size, fps=self.fps, frames=self.frames)
        watch = Stopwatch(total=self.frames)
        with staged_folder(self.folder / name, made_by="evaluate ablations") as draft:
            write_folder(
                shown, draft, fps=self.fps, pictures="png", on_frame=lambda count: on_progress(watch.advance(1))
            )
        return name


def plan_ablations(settings: AblationSettings, network: Network) -> AblationPlan:
    """All runs; raises InputError for a variant that this network cannot run, and for values that make no sense."""
    own = network.config
    names = settings.variants or default_variants(has_memory=own.memory is not None, placement=own.placement)
    variants = [Variant.parse(name) for name in names]
    for variant in variants:
        stream_of(network, variant, frames=2)
    if min(settings.frames, default=0) < 3 or settings.full_limit < 0 or min(settings.seeds, default=0) < 0:
        raise InputError(
            f"frames {_listed(settings.frames)}, seeds {_listed(settings.seeds)}, full-limit {settings.full_limit}: "
            "videos have at least 3 frames, and seeds and limits are not negative"
        )
    for family in settings.families:
        worlds.World(family, seed=0, size=size_of(settings, network), fps=settings.fps)
    named = [f"{family}:{seed}" for family in settings.families for seed in settings.seeds]
    return plan(variants, settings.frames, named, full_limit=settings.full_limit)


def size_of(settings: AblationSettings, network: Network) -> tuple[int, int]:
    """Height and width of the pictures."""
    return settings.size or network_size(*PICTURE, network.config)


def stream_of(network: Network, variant: Variant, *, frames: int) -> Stream:
    """A fresh stream of a variant over a video of so many frames."""
    if variant.whole:
        return Stream(network, window=frames, overlap=0, placement="none", reset_every=0, keyframes="all")
    return Stream(network, memory=variant.memory, placement=variant.placement, reset_every=variant.reset_every)


def measure_ablations(
    choice: BenchmarkNetwork,
    planned: AblationPlan,
    rendered: RenderedWorlds,
    ledger: Ledger,
    *,
    log: Callable[[str], None],
    on_progress: OnProgress,
) -> dict[str, str]:
    """Every run that the ledger does not have yet; returns why some have no numbers, by their keys."""
    faults: dict[str, str] = {}
    left = [cell for cell in planned.cells if cell.key not in ledger.results]
    work, done, began_s = sum(_work(cell) for cell in left), 0.0, time.perf_counter()
    for number, cell in enumerate(left, start=1):
        arguments = {"choice": asdict(choice), "folder": str(rendered.folder), **asdict(cell)}
        try:
            arguments["sequence"] = _render(cell.world, rendered, log, on_progress)
            result = ledger.measure(
                cell.key, lambda arguments=arguments: in_child(run_cell, arguments, on_progress=on_progress)
            )
            line = _result_line(result)
        except (InputError, OverLimitError) as error:
            faults[cell.key] = "not enough memory" if isinstance(error, OverLimitError) else str(error)
            line = faults[cell.key]
        done += _work(cell)
        seconds_left = (time.perf_counter() - began_s) / done * (work - done)
        time_left = f"; about {_minutes(seconds_left)} left" if number < len(left) else ""
        log(f"{number}/{len(left)} {cell.variant}, {cell.frames:,} frames of {cell.world}: {line}{time_left}")
    return faults


def run_cell(
    *,
    choice: dict[str, Any],
    folder: str,
    sequence: str,
    variant: str,
    frames: int,
    world: str,
    on_progress: OnProgress,
) -> dict[str, Any]:
    """One run in this process. A few windows go before it and are not counted."""
    network = BenchmarkNetwork(**choice).load()
    chosen = Variant.parse(variant)
    stream = stream_of(network, chosen, frames=frames)
    truth = open_dataset("folder", Path(folder), sequences=(sequence,))[sequence]
    for _ in Stream(network).run(open_frames(truth, stop=min(frames, 3 * network.config.window))):
        pass
    watch = Stopwatch(total=frames)
    source = prefetch(open_frames(truth, stop=frames).frames())
    gathered = gather_placed(_watched(stream.run(source), watch, on_progress), truth, MEASURED.gather)
    synchronize(network.device)
    seconds, peak_bytes = watch.now().waiting_s, peak_memory_bytes()
    numbers = measure(gathered, MEASURED).numbers()
    return {
        "variant": variant,
        "frames": frames,
        "world": world,
        "seconds": seconds,
        "frames_per_s": frames / seconds,
        "peak_bytes": peak_bytes,
        **{name: numbers[name] for name in KEPT},
        "window": stream.window,
        "overlap": stream.overlap,
        "placement": str(stream.placement),
        "memory": stream.memory,
        "reset_every": stream.reset_every,
    }


def _watched(placed: Iterable[PlacedWindow], watch: Stopwatch, on_progress: OnProgress) -> Iterator[PlacedWindow]:
    """The time that the windows take to come is counted as waiting, and what is done with them is not."""
    for window in watch.timed(placed):
        on_progress(watch.advance(window.final_count))
        yield window


def _render(world: str, rendered: RenderedWorlds, log: Callable[[str], None], on_progress: OnProgress) -> str:
    if not (rendered.folder / rendered.name(world)).is_dir():
        log(f"rendering {rendered.frames:,} frames of {world} into {rendered.folder}")
    return rendered.written(world, on_progress=on_progress)


def _work(cell: Cell) -> float:
    whole = Variant.parse(cell.variant).whole
    return START_FRAMES + cell.frames * (1 + cell.frames / 1000 if whole else 1.0)


def _result_line(result: Mapping[str, Any]) -> str:
    depth, error = result["depth_abs_rel"], result["ate_percent"]
    line = f"ATE {result['ate_rmse']:.3f} m" if error is None else f"ATE {error:.2f} %"
    line += "" if depth is None else f", depth AbsRel {depth:.3f}"
    return f"{line}, {result['seconds']:.1f} s, {result['peak_bytes'] / 1e6:.0f} MB"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _listed(values: Iterable[object]) -> str:
    return " ".join(map(str, values)) or "(none)"
