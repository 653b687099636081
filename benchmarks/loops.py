"""Loop closure on worlds that come back to a place, and on worlds that do not.

python benchmarks/loops.py record FOLDER              # recordings of true windows; those that are there are kept
python benchmarks/loops.py record FOLDER --predicted  # of the worlds that come back, as the model in the box sees them
python benchmarks/loops.py graph [--seeds 3]          # drift and closures both simulated, of cameras alone
python benchmarks/loops.py close FOLDER [--seeds 1]   # `close_loops` on every recording of the folder, in their order
python benchmarks/loops.py picture RECORDING [--out docs/images/loops.png]   # the picture of docs/loops.md

True windows are given a drift first: a random walk of their similarities. Each line is one run; the last is the mean.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from openloger import RunOptions, reconstruct
from openloger.corrections import apply, close_loops, undo
from openloger.corrections.loops import solve_loops
from openloger.corrections.revisits import Agreement, Revisit
from openloger.errors import InputError
from openloger.evaluation.trajectory import absolute_error, align, loop_closure
from openloger.geometry import SE3, Sim3, unproject
from openloger.network import Network, load_network
from openloger.recording import (
    CorrectionStep,
    RecordingMeta,
    add_correction,
    create_recording,
    open_recording,
    undo_correction,
)
from openloger.recording.meta import is_recording
from openloger.values import Frame, PlacedWindow
from openloger.worlds import Sample, World

SIZE = (96, 128)
FPS = {"rooms": 5.0, "halls": 5.0, "clutter": 5.0, "street": 10.0, "terrain": 10.0}
WINDOW, EVERY = 4, 10  # true windows have so many frames, of every so many: what lies between is not rendered
TURN_DEG, GROWTH, SHIFT = 0.3, 0.01, 0.02  # of the drift from one window to the next: degrees, log scale, of the way
FAR_M = 100.0  # the sky's depth
RETURNING = (  # seeds that no training has drawn, which come back to a place and look along it again
    *(("halls", 7013), ("rooms", 7014), ("street", 7027), ("clutter", 7020)),
    *(("terrain", 7001), ("halls", 7022), ("rooms", 7006), ("street", 7014)),
)
RETURNING_FRAMES = 1000
ONWARD = (  # by their true paths none of these comes back within its frames; halls are rows of like desks
    *(("halls", seed) for seed in (7001, 7007, 7008, 7009, 7012, 7014, 7015, 7017)),
    *(("halls", seed) for seed in (7019, 7022, 7024, 7026, 7027, 7028, 7029)),
    *(("rooms", seed) for seed in (7002, 7003, 7005, 7008, 7010, 7011, 7013)),
    *(("clutter", seed) for seed in (7000, 7001, 7002, 7004, 7005, 7006)),
    *(("street", seed) for seed in range(7000, 7006)),
    *(("terrain", seed) for seed in range(7000, 7006)),
)
ONWARD_FRAMES = 240


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    record = steps.add_parser("record")
    record.add_argument("folder", type=Path)
    record.add_argument("--predicted", action="store_true")
    record.set_defaults(run=lambda given: record_all(given.folder, predicted=given.predicted))
    graph = steps.add_parser("graph")
    graph.add_argument("--seeds", type=int, default=3)
    graph.set_defaults(run=lambda given: graph_all(given.seeds))
    close = steps.add_parser("close")
    close.add_argument("folder", type=Path)
    close.add_argument("--seeds", type=int, default=1)
    close.set_defaults(run=lambda given: close_all(given.folder, given.seeds))
    picture = steps.add_parser("picture")
    picture.add_argument("recording", type=Path)
    picture.add_argument("--out", type=Path, default=Path("docs/images/loops.png"))
    picture.set_defaults(run=lambda given: draw(given.recording, given.out))
    given = parser.parse_args()
    given.run(given)


def record_all(folder: Path, *, predicted: bool) -> None:
    for name, frames in {RETURNING: RETURNING_FRAMES, ONWARD: ONWARD_FRAMES}.items():
        for family, seed in name:
            world = World(family, seed=seed, size=SIZE, fps=FPS[family], frames=frames)
            if predicted and frames == RETURNING_FRAMES:
                source = f"{world.name}?frames={frames}&size={SIZE[0]}x{SIZE[1]}&fps={FPS[family]}"
                reconstruct(source, folder / f"predicted-{family}-{seed}", options=RunOptions(existing="resume"))
            elif not predicted and not is_recording(folder / f"{family}-{seed}-{frames}"):
                record_truth(world, folder / f"{family}-{seed}-{frames}")


def record_truth(world: World, out: Path) -> None:
    """A recording of a world's true cameras and depth, in windows that share no frame."""
    fx, fy, cx, cy = (world.intrinsics[at] for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    meta = RecordingMeta(
        height=SIZE[0],
        width=SIZE[1],
        source=world.name,
        network="truth",
        weights_hash=None,
        settings={"window": WINDOW, "overlap": 0},
        known_intrinsics_px=(fx, fy, cx, cy),
    )
    with create_recording(out, meta, overwrite=True) as writer:
        for number, first in enumerate(range(0, len(world), EVERY)):
            writer.append(true_window([world[first + at] for at in range(WINDOW)], number))
        writer.finish()


def true_window(samples: list[Sample], number: int) -> PlacedWindow:
    known = np.stack([sample.valid & (sample.depth > 0) for sample in samples])
    depth = torch.from_numpy(np.where(known, np.stack([sample.depth for sample in samples]), FAR_M))
    intrinsics = torch.from_numpy(samples[0].intrinsics)
    return PlacedWindow(
        number=number,
        frames=tuple(Frame(sample.rgb, sample.index, sample.timestamp_s, sample.name) for sample in samples),
        world_from_cam=torch.from_numpy(np.stack([sample.world_from_cam for sample in samples])),
        points_cam=unproject(depth.double(), intrinsics).float(),
        confidence_logit=torch.where(torch.from_numpy(known), 3.0, -5.0),
        world_from_window=Sim3.identity(dtype=torch.float64),
        metric_scale=None,
        disagreement=None,
        final_count=len(samples),
        last=False,
        known_intrinsics=intrinsics,
    )


@dataclass(frozen=True)
class Run:
    """One path before and after its loops were closed."""

    name: str
    ate_before: float
    ate_after: float
    gap_before: float  # of loops, `evaluation.trajectory.loop_closure`; NaN where the path has none
    gap_after: float
    closures: int
    farthest: float  # true distance between the visits of a closure, at most
    cpu_s: float
    outcome: str

    @property
    def line(self) -> str:
        gaps = f"gap {self.gap_before:.3f} -> {self.gap_after:.3f}"
        ate = f"ATE {self.ate_before:.3f} -> {self.ate_after:.3f} m"
        closed = f"{self.closures} closures, visits at most {self.farthest:.2f} m apart, {self.cpu_s:.1f} s"
        return f"{self.name}: {ate}, {gaps}, {closed}; {self.outcome}"


def errors_of(cameras: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Absolute error and loop gap, metres."""
    aligned = align(cameras, truth)
    loops = loop_closure(aligned, truth)
    return absolute_error(aligned, truth).translation.rmse, float("nan") if loops is None else loops.gap


def drifting(cameras: np.ndarray, frames: np.ndarray, seed: int) -> CorrectionStep:
    """Each window's motion from the one before is off by a random similarity."""
    dice = np.random.default_rng(seed)
    nodes = Sim3.from_matrix(torch.from_numpy(cameras[frames]))
    steps = nodes[:-1].inverse() @ nodes[1:]
    sigma = np.array([0.0] * 3 + [np.deg2rad(TURN_DEG)] * 3 + [GROWTH])
    off = torch.from_numpy(dice.normal(size=(len(frames) - 1, 7)) * sigma)
    off[:, :3] = SHIFT * steps.translation.norm(dim=-1)[:, None] * torch.from_numpy(dice.normal(size=(len(off), 3)))
    moved = [nodes[:1]]
    for row in range(len(off)):
        moved.append(moved[-1] @ steps[row : row + 1] @ Sim3.exp(off[row : row + 1]))
    parts = (torch.cat([getattr(one, name) for one in moved]) for name in ("scale", "rotation", "translation"))
    return CorrectionStep("drift", tuple(frames.tolist()), Sim3(*parts) @ nodes.inverse(), True, False)


def close_all(folder: Path, seeds: int) -> None:
    network, runs = load_network("compact"), []
    for path in sorted(folder.iterdir(), key=lambda path: (not path.name.endswith(str(RETURNING_FRAMES)), path.name)):
        if not open_recording(path).complete:
            continue
        if path.name.startswith("predicted"):
            _, family, seed = path.name.split("-")
            world = World(family, seed=int(seed), size=SIZE, fps=FPS[family])
            truth = np.stack([world.world_from_cam(int(index)) for index in open_recording(path).source_index])
            runs.append(close_one(path, truth, network, path.name))
        else:
            truth = open_recording(path, corrected=False).world_from_cam
            for seed in range(seeds):
                with drifted(path, truth, seed):
                    runs.append(close_one(path, truth, network, f"{path.name} drift {seed}"))
    summarise(runs)


@contextmanager
def drifted(path: Path, truth: np.ndarray, seed: int) -> Iterator[None]:
    """A recording of true windows, with a drift while this lasts."""
    frames = np.array([window.first_frame for window in open_recording(path).windows] + [len(truth) - 1])
    add_correction(path, drifting(truth, frames, seed))
    try:
        yield
    finally:
        undo_correction(path)


def close_one(path: Path, truth: np.ndarray, network: Network, name: str) -> Run:
    recording = open_recording(path)
    ate, gap = errors_of(recording.world_from_cam, truth)
    began, closures, outcome = time.process_time(), [], ""
    try:
        found = close_loops(recording, network=network)
        closures, outcome = found.step.details["closures"], str(found.step.details["refused"])
        apply(recording, found)
    except InputError as error:
        outcome = str(error).partition("close: ")[2]
    seconds = time.process_time() - began
    after = errors_of(recording.world_from_cam, truth)
    if closures:
        undo(recording)
    apart = [float(np.linalg.norm(truth[a, :3, 3] - truth[b, :3, 3])) for a, b in closures]
    return printed(Run(name, ate, after[0], gap, after[1], len(closures), max(apart, default=0.0), seconds, outcome))


def graph_all(seeds: int) -> None:
    """Closures between true visits, as exact as the network's were found to be."""
    runs = []
    for family, seed in RETURNING:
        world = World(family, seed=seed, size=SIZE, fps=FPS[family])
        truth = np.stack([world.world_from_cam(frame) for frame in range(RETURNING_FRAMES)])
        frames = np.arange(0, RETURNING_FRAMES, EVERY)
        for drift in range(seeds):
            began = time.process_time()
            runs.append(graph_one(truth, frames, f"{family}-{seed} drift {drift}", drift, began))
    summarise(runs)


def graph_one(truth: np.ndarray, frames: np.ndarray, name: str, seed: int, began: float) -> Run:
    step, dice = drifting(truth, frames, seed), np.random.default_rng(1000 + seed)
    drifted = moved_cameras(truth, step)
    centres, heading = truth[frames, :3, 3], truth[frames, :3, 2]
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    length = float(np.median(np.linalg.norm(np.diff(centres, axis=0), axis=1)))
    alike = (apart < length) & (heading @ heading.T > np.cos(np.deg2rad(25))) & np.triu(np.ones_like(apart, bool), 10)
    revisits = []
    for a, b in np.argwhere(alike):
        off = Sim3.exp(torch.from_numpy(dice.normal(size=7) * np.array([0.02 * length] * 3 + [0.005] * 3 + [0.02])))
        true = step.after_from_before[int(a)] @ step.after_from_before[int(b)].inverse()
        first, second = int(frames[a]), int(frames[b])
        seen = Agreement(1.0, 1.0, 1.0)
        drift = conjugate(off, drifted[second])
        revisits.append(Revisit(first, second, true @ drift, seen, 0.05 * length))
    ate, gap = errors_of(drifted, truth)
    if not revisits:
        return printed(Run(name, ate, ate, gap, gap, 0, 0.0, 0.0, "the path has no such places"))
    nodes = [*frames.tolist(), len(truth) - 1]
    moved, weights, _ = solve_loops(drifted, nodes, revisits)
    closed = moved_cameras(drifted, replace(step, frames=tuple(nodes), after_from_before=moved))
    after = errors_of(closed, truth)
    kept, seconds = int((weights > 0.5).sum()), time.process_time() - began
    return printed(Run(name, ate, after[0], gap, after[1], kept, float(apart[alike].max()), seconds, ""))


def conjugate(off: Sim3, camera: np.ndarray) -> Sim3:
    """An error in the camera's frame, as it moves the world."""
    world_from_cam = Sim3.from_se3(SE3.from_matrix(torch.from_numpy(camera)))
    return world_from_cam @ off @ world_from_cam.inverse()


def moved_cameras(cameras: np.ndarray, step: CorrectionStep) -> np.ndarray:
    moved = step.at(np.arange(len(cameras))) @ Sim3.from_se3(SE3.from_matrix(torch.from_numpy(cameras)))
    return moved.rigid.matrix().numpy()


def draw(path: Path, out: Path) -> None:
    """From above: the true path, with drift, and closed, each aligned to the truth."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    truth = open_recording(path, corrected=False).world_from_cam
    with drifted(path, truth, 0):
        recording = open_recording(path)
        before = align(recording.world_from_cam, truth).world_from_cam
        found = close_loops(recording, network="compact")
        apply(recording, found)
        after = align(recording.world_from_cam, truth).world_from_cam
        undo(recording)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharex=True, sharey=True, layout="constrained")
    for axis, cameras, title in zip(axes, (before, after), ("with drift", "closed"), strict=True):
        ate, gap = errors_of(cameras, truth)
        axis.plot(truth[:, 0, 3], truth[:, 2, 3], color="0.7", linewidth=4, label="true")
        axis.plot(cameras[:, 0, 3], cameras[:, 2, 3], color="tab:blue", linewidth=1.2, label=title)
        for first, second in found.step.details["closures"]:
            ends = cameras[[first, second]]
            axis.plot(ends[:, 0, 3], ends[:, 2, 3], "o-", color="tab:red", markersize=3, linewidth=1)
        axis.set(title=f"{title}: ATE {ate:.2f} m, loop gap {gap:.2f} m", aspect="equal", xlabel="x, metres")
        axis.legend(loc="best", frameon=False)
    axes[0].set_ylabel("z, metres")
    figure.savefig(out, dpi=110)
    print(found.text)


def printed(run: Run) -> Run:
    print(run.line, flush=True)
    return run


def summarise(runs: list[Run]) -> None:
    """Of the paths that come back, and of the others."""
    for title, chosen in (("come back", [run for run in runs if run.gap_before == run.gap_before]), ("all", runs)):
        if not chosen:
            continue
        ate = np.array([run.ate_after / run.ate_before for run in chosen])
        gap = np.array([run.gap_before / run.gap_after for run in chosen if run.gap_after > 0])
        closed = sum(run.closures > 0 for run in chosen)
        gaps = f", gap / {np.exp(np.log(gap).mean()):.1f} in the geometric mean" if len(gap) else ""
        print(
            f"{title}: {len(chosen)} runs, {closed} closed, ATE x {ate.mean():.2f} in the mean (x {ate.min():.2f} to "
            f"x {ate.max():.2f}){gaps}"
        )


if __name__ == "__main__":
    main()
