"""A short measurement at first use: which kernels, and on a CPU which precision, are fastest for a network here.

What is fast differs between processors of the same instructions: MKL or oneDNN, bfloat16 or float32, one layout of
convolutions or the other, one thread or several. So a small network of the same kind computes a window in each way, by
turns, and the default is left for what is clearly faster. On a card it is attention alone, at a window's real size. The
result is kept (`kept.py`).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from openloger.errors import InputError
from openloger.network.efficientnet import EfficientNetConfig
from openloger.network.footprint import multiplications_per_frame
from openloger.network.kernels import kept
from openloger.network.kernels.attention import compared_attention
from openloger.network.kernels.choice import Kernels
from openloger.network.kernels.sample import WindowSample
from openloger.network.kernels.turns import Clock, Comparison, Way, compare
from openloger.network.network import Network, NetworkConfig
from openloger.network.precision import DEFAULT_NAMES, resolve_dtype
from openloger.runtime.platform import WINDOWS, load_per_core
from openloger.runtime.threads import beside_neighbour, free_threads, threads_beside_pipeline, threads_set
from openloger.transformer.layers import has_onednn

VARIABLE = "OPENLOGER_CALIBRATION"
MODES = ("on", "off", "again")
BUDGET_S = 2.0  # of all comparisons of a network; the last may begin a turn then
PATIENT_S = 10.0  # of the processor, where they are asked for
MOST_LOAD = 1.5  # tasks a core that run or wait: beyond it the defaults are taken, and nothing is measured or kept
_PIPELINE_S = 4e-3  # of a processor, that decoding, resizing and writing a frame of 640×480 take (docs/benchmarks.md)
_LAYOUTS = {"channels last": True, "rows": False}
_TEXTS = {
    "linear": "float32 products by {}",
    "channels_last": "convolutions {}",
    "threads": "threads of torch {}",
    "attention": "attention by {}",
}
_log = logging.getLogger("openloger")


@dataclass(frozen=True)
class KernelCalibration:
    """What is chosen for a network on a device, and what was measured for it."""

    kernels: Kernels = field(default_factory=Kernels)
    precision: str = "float32"  # what "auto" stands for
    comparisons: tuple[Comparison, ...] = ()  # none: these are the defaults
    seconds: float = 0.0  # that measuring took, when it was done

    def after(self, *compared: Comparison) -> KernelCalibration:
        """The same with what these comparisons of one choice find best."""
        with_all = replace(self, comparisons=(*self.comparisons, *compared))
        better = [one for one in compared if one.leaves_default]
        if not better:
            return with_all
        best = min(better, key=lambda one: one.ratio)
        if best.choice == "precision":
            return replace(with_all, precision=best.other)
        if best.choice == "attention":
            return with_all.choosing(attention=tuple(one.other for one in sorted(compared, key=lambda one: one.ratio)))
        value = {"threads": int, "channels_last": _LAYOUTS.get}.get(best.choice, str)(best.other)
        return with_all.choosing(**{best.choice: value})

    def choosing(self, **kernels: Any) -> KernelCalibration:
        """The same with these of the kernels."""
        return replace(self, kernels=replace(self.kernels, **kernels))

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.precision)

    def value_of(self, choice: str) -> str:
        """What is chosen, as comparisons name it."""
        if choice == "precision":
            return self.precision
        value = getattr(self.kernels, choice)
        if choice == "attention":
            return value[0] if value else "torch"
        return next(name for name, of in _LAYOUTS.items() if of == value) if choice == "channels_last" else str(value)

    def describe(self) -> str:
        """What is chosen, in a line."""
        compared = [choice for choice in _TEXTS if any(one.choice == choice for one in self.comparisons)]
        if self.kernels.threads is None:  # as without a measurement
            compared = [choice for choice in compared if choice != "threads"]
        return ", ".join([self.precision, *(_TEXTS[choice].format(self.value_of(choice)) for choice in compared)])

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> KernelCalibration:
        """The inverse of `dataclasses.asdict`; raises KeyError, TypeError or ValueError for what is none."""
        compared = tuple(Comparison(**one | {"ratios": tuple(one["ratios"])}) for one in value["comparisons"])
        if value["precision"] not in DEFAULT_NAMES:
            raise ValueError(value["precision"])
        kernels = Kernels.of_recording(value["kernels"])
        return KernelCalibration(kernels, value["precision"], compared, float(value["seconds"]))


def calibrated(config: NetworkConfig, device: torch.device, *, mode: str | None = None) -> KernelCalibration:
    """The kernels for networks of `config` on `device`: as they are kept, or measured now, in about three seconds.

    `mode` "off" gives the defaults, "again" measures what is kept already, however long a busy machine takes for it,
    "on" neither; None takes it from the environment's OPENLOGER_CALIBRATION, by default "on". What is measured is
    logged in a line. On devices that are neither a CPU nor CUDA nothing is measured.

    Raises InputError where the environment's is another.
    """
    mode = calibration_mode() if mode is None else mode
    default = KernelCalibration(precision=str(resolve_dtype("auto", device)).removeprefix("torch."))
    if mode == "off" or device.type not in ("cpu", "cuda"):
        return default
    identity = kept.identity(config, device)
    if mode == "on" and (found := _kept(identity)) is not None:
        return found
    if mode == "on" and load_per_core() > MOST_LOAD:
        _log.info("%s runs in %s: this machine is too busy to measure that now", config.name, default.describe())
        return default
    began_s = time.perf_counter()
    sample = WindowSample(config) if device.type == "cpu" else None
    budget = _Budget(time.process_time, PATIENT_S) if mode == "again" else _Budget(time.perf_counter, BUDGET_S)
    if sample is not None:
        measured = _on_a_cpu(config, sample, default, budget)
    else:
        measured = default.after(*compared_attention(config, device, default.dtype, budget.compare))
    measured = replace(measured, seconds=time.perf_counter() - began_s)
    problem = kept.write(identity, asdict(measured))
    how = "once for this machine" if problem is None else f"now, and at every start, as it cannot be kept ({problem})"
    _log.info("%s runs in %s: measured %s, in %.1f s", config.name, measured.describe(), how, measured.seconds)
    return measured


def calibration_mode() -> str:
    """ "on", "off" or "again", as the environment has it; raises InputError for anything else."""
    mode = os.environ.get(VARIABLE, "on")
    if mode not in MODES:
        raise InputError(f"{VARIABLE} is {mode!r}; it is one of {', '.join(MODES)}")
    return mode


def _kept(identity: Mapping[str, Any]) -> KernelCalibration | None:
    value = kept.read(identity)
    try:
        return None if value is None else KernelCalibration.from_json(value)
    except (KeyError, TypeError, ValueError):  # damaged: measured anew
        return None


class _Budget:
    """The time that is left for comparisons, by a clock."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self.clock, self._until_s = clock, clock() + seconds

    def compare(self, choice: str, default: Way, other: Way, *, timed_by: Clock, left: int) -> Comparison:
        """It has its share of the time, and the `left` comparisons after it an equal one."""
        until_s = self.clock() + (self._until_s - self.clock()) / (left + 1)
        return compare(choice, default, other, timed_by=timed_by, until_s=until_s, now=self.clock)

    @property
    def is_spent(self) -> bool:
        return self.clock() >= self._until_s


def _on_a_cpu(
    config: NetworkConfig, sample: WindowSample, default: KernelCalibration, budget: _Budget
) -> KernelCalibration:
    """Choice after choice, each with what those before it chose; threads at last."""
    measured = default

    def by_turns(choice: str, one: KernelCalibration, other: KernelCalibration, *, left: int) -> KernelCalibration:
        ways = ((way.value_of(choice), sample.way(way.kernels, way.dtype)) for way in (one, other))
        return measured.after(budget.compare(choice, *ways, timed_by=processor_s, left=left))

    with threads_set(1):
        if default.precision != "float32":
            measured = by_turns("precision", default, replace(default, precision="float32"), left=3)
        if has_onednn():
            exact = replace(measured, precision="float32")
            measured = by_turns("linear", exact, exact.choosing(linear="torch"), left=2)
        if isinstance(config.encoder, EfficientNetConfig):
            measured = by_turns("channels_last", measured, measured.choosing(channels_last=False), left=1)
    free = free_threads()
    if free is None or free == 1 or not sample.has_whole_frames:  # of smaller frames, fewer threads would seem faster
        return measured
    way = sample.way(measured.kernels, measured.dtype)
    return measured.after(*_threads(way, config, budget, free=free, frames=sample.frames))


def _threads(
    run: Callable[[], object], config: NetworkConfig, budget: _Budget, *, free: int, frames: int
) -> list[Comparison]:
    """Fewer threads, or more, than the policy gives this network, beside a thread as busy as decoding and writing."""
    with torch.device("meta"):
        parameters = Network(config).parameter_count()
    work = multiplications_per_frame(config, parameters=parameters, pixels=config.max_pixels)
    default = threads_beside_pipeline(free, work=work)

    def on(threads: int) -> Way:
        def with_them() -> None:
            with threads_set(threads):
                run()

        return str(threads), with_them

    others = sorted({1, 2, 4, 8, 16, 32, free} & set(range(1, free + 1)) - {default})
    share = 0.0 if budget.is_spent else _PIPELINE_S * frames / wall_s(on(default)[1])
    with beside_neighbour(share):
        return [
            budget.compare("threads", on(default), on(count), timed_by=wall_s, left=len(others) - 1 - place)
            for place, count in enumerate(others)
        ]


def wall_s(run: Callable[[], object]) -> float:
    """Seconds on the wall's clock."""
    began_s = time.perf_counter()
    run()
    return time.perf_counter() - began_s


def processor_s(run: Callable[[], object]) -> float:
    """Seconds of this thread on a processor, which other work hardly changes; Windows counts them too coarsely."""
    if WINDOWS:
        return wall_s(run)
    began_s = time.thread_time()
    run()
    return time.thread_time() - began_s
