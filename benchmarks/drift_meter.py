"""Claim to be tested: where neighbouring windows disagree more, the path is further off; without looking at the truth.

Streams many short worlds and holds the drift meter against the errors that the truth tells: Spearman's rank
correlation over all runs, with a 95 % interval (bootstrap), and the mean of those within each family, which ranks
runs of one kind of scene alone. Every run is kept as it comes; the same command goes on with what is there.

    python benchmarks/drift_meter.py [--seeds 0 1 2 3 4] [--frames 80] [--network pocket] [--out drift-meter]
"""

from __future__ import annotations

import argparse
import logging
import statistics
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import openloger
from openloger.benchmarking import BenchmarkNetwork, Ledger
from openloger.benchmarking.tables import machine_line, markdown
from openloger.cli.results import show
from openloger.evaluation import GatherSettings, MeasureSettings, gather_placed, measure
from openloger.evaluation.depth import rank_correlation
from openloger.evaluation.report import TableRows
from openloger.network import Network, weights_hash
from openloger.worlds import FAMILIES, World

SETTINGS = MeasureSettings(gather=GatherSettings(depth=False))
METERS = {  # of windows that disagree
    "overlap_translation_percent": "translation, % of the path",
    "overlap_rotation_deg": "rotation, °",
    "overlap_depth": "depth, relative",
}
ERRORS = {"ate_percent": "ATE, % of the path", "rotation_deg_median": "rotation error, °, median"}
DRAWS = 2000  # of the bootstrap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--size", type=int, nargs=2, default=(64, 80), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--network", default="pocket")
    parser.add_argument("--weights")
    parser.add_argument("--out", type=Path, default=Path("drift-meter"))
    arguments = parser.parse_args()
    logging.getLogger("openloger").setLevel(logging.ERROR)
    network = BenchmarkNetwork(arguments.network, arguments.weights).load()
    fixed = {name: getattr(arguments, name) for name in ("network", "frames", "size", "fps")}
    fixed["weights_hash"] = None if network.weights is None else weights_hash(network.weights)
    ledger = Ledger("drift meter", fixed, path=arguments.out / "results.json", resume=True)
    for family, seed in product(arguments.families, arguments.seeds):
        shown = World(family, seed=seed, size=tuple(arguments.size), fps=arguments.fps, frames=arguments.frames)
        found = ledger.measure(f"{family}:{seed}", lambda shown=shown: run(shown, network))
        print(f"{shown.name}: " + ", ".join(f"{name} {found[name]:.3g}" for name in (*METERS, *ERRORS)), flush=True)
    runs = ledger.results
    table = correlations(
        runs, note=f"{len(runs)} worlds of {arguments.frames} frames; {machine_line(ledger.content())}"
    )
    ledger.conclude({"table": [list(row) for row in table.rows]})
    (arguments.out / "drift-meter.md").write_text(markdown(table) + "\n", encoding="utf-8")
    draw(runs, arguments.out / "drift-meter.png")
    show(table, f"the drift meter of {arguments.network}")


def run(shown: World, network: Network) -> dict[str, Any]:
    """One world, streamed and measured."""
    placed = openloger.Stream(network, reset_every=0).run(shown)
    return measure(gather_placed(placed, shown, SETTINGS.gather), SETTINGS).numbers()


def correlations(runs: Mapping[str, Mapping[str, Any]], *, note: str) -> TableRows:
    """Every meter against every error."""
    rows = []
    for (meter, said), (error, told) in product(METERS.items(), ERRORS.items()):
        x, y = (np.array([one[name] for one in runs.values()], dtype=np.float64) for name in (meter, error))
        low, high = interval(x, y)
        rows.append(
            (said, told, f"{rank_correlation(x, y):+.2f}", f"{low:+.2f} to {high:+.2f}", within(runs, meter, error))
        )
    header = ("windows disagree by", "against", "rank correlation", "95 % interval", "mean within families")
    return TableRows(header, tuple(rows), note=note)


def interval(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Of the rank correlation, by drawing the runs again with replacement."""
    draw_again = np.random.default_rng(0)
    drawn = [draw_again.integers(0, len(x), len(x)) for _ in range(DRAWS)]
    low, high = np.quantile([rank_correlation(x[of], y[of]) for of in drawn], (0.025, 0.975))
    return float(low), float(high)


def within(runs: Mapping[str, Mapping[str, Any]], meter: str, error: str) -> str:
    """The mean over families that have three runs or more."""
    families: dict[str, list[Mapping[str, Any]]] = {}
    for name, one in runs.items():
        families.setdefault(name.partition(":")[0], []).append(one)
    found = [
        rank_correlation(*(np.array([one[name] for one in members]) for name in (meter, error)))
        for members in families.values()
        if len(members) >= 3
    ]
    return f"{statistics.mean(found):+.2f}" if found else "–"


def draw(runs: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Every run as a point: meters across, errors up, both in powers of ten."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, axes = plt.subplots(
        len(ERRORS), len(METERS), figsize=(12, 7), sharex="col", sharey="row", layout="constrained"
    )
    families: Sequence[str] = list(dict.fromkeys(name.partition(":")[0] for name in runs))
    for (row, error), (column, meter) in product(enumerate(ERRORS), enumerate(METERS)):
        axis = axes[row, column]
        for number, family in enumerate(families):
            members = [one for name, one in runs.items() if name.startswith(f"{family}:")]
            points = ([one[meter] for one in members], [one[error] for one in members])
            axis.loglog(*points, "osD^vP"[number % 6], color=f"C{number}", label=family)
        x, y = (np.array([one[name] for one in runs.values()], dtype=np.float64) for name in (meter, error))
        axis.set_title(f"rank correlation {rank_correlation(x, y):+.2f}", fontsize=10)
        axis.grid(alpha=0.25)
        for scale in (axis.xaxis, axis.yaxis):
            scale.set_major_locator(LogLocator(subs=(1, 2, 5)))
            scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            scale.set_minor_formatter(NullFormatter())
    for axis, said in zip(axes[-1], METERS.values(), strict=True):
        axis.set_xlabel(f"windows disagree: {said}")
    for axis, said in zip(axes[:, 0], ERRORS.values(), strict=True):
        axis.set_ylabel(said)
    axes[0, 0].legend(fontsize=9)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
