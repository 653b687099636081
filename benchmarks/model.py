"""Accuracy of a model on worlds that are never trained on, and on real clips where given, beside trivial baselines.

Windows: depth after one scale a window beside the mean-depth image, and rotation between all pairs of a window's frames
beside no rotation at all; of other shapes too, as videos are wide or upright. Streams: path error of long videos in per
cent of the path, with and without memory, beside the best straight line, and the spread of log scale along the path
(standard deviation over windows). Lens and masks: the median error of the focal length and the intersection over union
of the sky and of what moves by itself, in the same windows, where the network predicts them.
Clips: folders with video.mp4 and world_from_cam.txt or depth_mm.npz or both, end to end through the main job; beside
them, with OpenCV installed, dense inverse search flow (T. Kroeger et al., ECCV 2016) and PnP with RANSAC between every
third frame, on the same depth and lens.

`r_plane` is the correlation of estimated and true log depth after a smooth surface (1, x, y, x², y²) is taken off both:
whether the scene is seen rather than a room's average ramp. A ramp is the mean true depth of each row.

    python benchmarks/model.py [--network compact] [--other-size 128 224] [--clip kitchen=DIR street=DIR lab=DIR]
        [--focal-px kitchen=585/640 street=479.6/828] [--out model.json]
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch

import openloger
from openloger.benchmarking import BenchmarkNetwork, Ledger
from openloger.benchmarking.tables import machine_line
from openloger.cli.results import show
from openloger.errors import InputError, OpenlogerError
from openloger.evaluation import (
    GatherSettings,
    MeasureSettings,
    absolute_error,
    align,
    depth_errors,
    evaluate_recording,
    gather_placed,
    match_depth,
    measure,
    relative_error,
    sample_depth,
)
from openloger.evaluation.report import TableRows
from openloger.network import Network, Window, weights_hash
from openloger.training.clips import ClipBatch
from openloger.training.config import ValidationConfig, recipe
from openloger.training.render import render_clips
from openloger.training.validate import held_out, validate
from openloger.values import PlacedWindow
from openloger.worlds import FAMILIES, World

WITHOUT_DEPTH = MeasureSettings(gather=GatherSettings(depth=False))
MEMORIES = ("all", "none")
TURN = 10  # frames over which a clip's rotation is judged
DIS_STEP = 3  # frames from one to the next that optical flow is taken between
Size = tuple[int, int]  # height, width


def windows(network: Network, given: argparse.Namespace, size: Size) -> dict[str, dict[str, float]]:
    """Scores of single windows of a size, by family and of all, and of lens and masks where they are predicted."""
    first = recipe("pocket").stages[0]  # its families and how its frames are chosen
    fps = float(given.fps)
    clips = replace(first.clips, size=size, rendered=given.window, fps=(fps, fps))
    plan = ValidationConfig(clips=given.worlds, frames=given.window, paths=0, pictures=0)
    worlds = held_out(replace(first, clips=clips), plan, render_clips)
    scores = {family: asdict(score) for family, score in validate(network, worlds).items()}
    if network.config.predicts_lens:
        scores["all"] |= lens_and_masks(network, [batch for batches in worlds.batches.values() for batch in batches])
    return scores


@torch.inference_mode()
def lens_and_masks(network: Network, batches: list[ClipBatch]) -> dict[str, float]:
    """The median error of the focal length, and intersection over union of sky and moving things over all pixels."""
    off, both, either = [], torch.zeros(2), torch.zeros(2)
    for batch in batches:
        seen, _ = network(Window(batch.images, batch.images.shape[1], 0))
        true = batch.intrinsics[..., [0, 1], [0, 1]].mean(-1)
        off.append((seen.focal_px / true - 1).abs()[:, 0])
        for number, (logit, mask) in enumerate(((seen.sky_logit, ~batch.valid), (seen.moving_logit, batch.moving))):
            both[number] += ((logit > 0) & mask).sum()
            either[number] += ((logit > 0) | mask).sum()
    sky, moving = (both / either).tolist()
    return {"focal_error": torch.cat(off).median().item(), "sky_iou": sky, "moving_iou": moving}


def stream(network: Network, shown: World, memory: str) -> dict[str, Any]:
    """One long world, streamed and held against its cameras, and the spread of its windows' log scales."""
    scales: list[float] = []

    def noted(placed: Iterator[PlacedWindow]) -> Iterator[PlacedWindow]:
        for window in placed:
            scales.append(log_scale(window, shown))
            yield window

    placed = noted(openloger.Stream(network, memory=memory).run(shown))
    found = measure(gather_placed(placed, shown, WITHOUT_DEPTH.gather), WITHOUT_DEPTH).numbers()
    return {**found, "log_scale_spread": float(np.std(scales))}


def log_scale(window: PlacedWindow, shown: World) -> float:
    """The median of log true depth over estimated depth in the first, the middle and the last frame of a window."""
    ratios = []
    for place in {0, len(window.frames) // 2, len(window.frames) - 1}:
        truth = shown[window.frames[place].index]
        estimated = window.points_cam[place, ..., 2].numpy()
        pair = match_depth(estimated, np.where(truth.valid, truth.depth, 0.0))
        ratios.append(np.log(pair.truth / pair.estimated))
    return float(np.median(np.concatenate(ratios)))


def clip(network: Network, folder: Path, focal: float | None) -> dict[str, Any]:
    """A real clip, from its file to the recording, and its error; `focal` is the true one as a share of the width."""
    with tempfile.TemporaryDirectory() as name:
        began = time.perf_counter()
        recording = openloger.reconstruct(folder / "video.mp4", Path(name) / "recording", network=network)
        found: dict[str, Any] = {"frames_per_s": len(recording) / (time.perf_counter() - began)}
        if (folder / "world_from_cam.txt").exists():
            found |= cameras(recording, folder / "world_from_cam.txt")
            if importlib.util.find_spec("cv2"):
                found |= {f"dis_pnp_{key}": value for key, value in dis_pnp(recording, folder).items()}
        if (folder / "depth_mm.npz").exists():
            found |= depths(recording, folder / "depth_mm.npz")
        if focal is not None:
            own = recording.intrinsics[:, 0, 0] / recording.meta.width
            found["focal_error"] = float(np.median(np.abs(own / focal - 1)))
    return found


def cameras(recording: openloger.Recording, truth: Path) -> dict[str, float]:
    """Errors of the path, and of rotation over TURN frames beside that of a camera that stands still."""
    found = evaluate_recording(recording, truth).numbers()
    true = np.loadtxt(truth).reshape(-1, 4, 4)
    aligned = align(recording.world_from_cam, true, how="sim3")
    still = align(np.broadcast_to(np.eye(4), true.shape), true, how="none")
    return {
        **{key: float(value) for key, value in found.items() if isinstance(value, int | float)},
        f"rotation_deg_{TURN}_frames": relative_error(aligned, true, step=TURN).rotation_deg.median,
        f"guess_rotation_deg_{TURN}_frames": relative_error(still, true, step=TURN).rotation_deg.median,
    }


def dis_pnp(recording: openloger.Recording, folder: Path) -> dict[str, float]:
    """Errors of cameras by DIS flow and PnP between every third frame, from the recording's depth and lens."""
    import cv2

    true = np.loadtxt(folder / "world_from_cam.txt").reshape(-1, 4, 4)[::DIS_STEP]
    size = (recording.meta.width, recording.meta.height)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    poses, before = [np.eye(4)], None
    for frame in islice(openloger.open_frames(folder / "video.mp4").frames(0), 0, None, DIS_STEP):
        grey = cv2.resize(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        if before is not None:
            number, earlier = before
            moved = flow.calc(earlier, grey, None)  # pyright: ignore[reportCallIssue, reportArgumentType]
            step = pnp(recording, number, moved)
            poses.append(poses[-1] @ np.linalg.inv(step))
        before = frame.index, grey
    aligned = align(np.stack(poses), true, how="sim3")
    turn = relative_error(aligned, true, step=max(1, round(TURN / DIS_STEP)))
    return {"rotation_deg": turn.rotation_deg.median, "ate_rmse": absolute_error(aligned, true).translation.rmse}


def pnp(recording: openloger.Recording, number: int, flow: np.ndarray) -> np.ndarray:
    """later_from_earlier (4, 4) of a frame's points and where the flow takes its pixels; no motion where PnP fails."""
    import cv2

    points = np.asarray(recording.points_cam(number), dtype=np.float32)
    row, column = np.mgrid[2 : points.shape[0] : 4, 2 : points.shape[1] : 4].reshape(2, -1)
    pixels = np.stack([column + 0.5, row + 0.5], axis=1) + flow[row, column]
    lens = np.asarray(recording.intrinsics[number], dtype=np.float64)
    found, turn, shift, _ = cv2.solvePnPRansac(
        points[row, column].astype(np.float64), pixels.astype(np.float64), lens, None, reprojectionError=2.0
    )
    step = np.eye(4)
    if found:
        step[:3, :3], step[:3, 3] = cv2.Rodrigues(turn)[0], shift[:, 0]
    return step


def depths(recording: openloger.Recording, truth: Path) -> dict[str, float]:
    """Errors of depth after one scale and after one a frame, beside a constant and a ramp; r_plane; confidence."""
    with np.load(truth) as given:
        frames, true = given["frame"], given["depth_mm"].astype(np.float32) / 1000
    ramp = row_means(true)
    pairs, flat, ramps, seen, sure, off = [], [], [], [], [], []
    for number, depth in zip(frames, true, strict=True):
        estimated = np.asarray(recording.depth(int(number)), dtype=np.float32)
        pair = match_depth(estimated, depth, confidence=np.asarray(recording.confidence(int(number)), dtype=np.float32))
        pairs.append(pair)
        flat.append(replace(pair, estimated=np.ones_like(pair.estimated)))
        ramps.append(match_depth(np.broadcast_to(ramp[:, None], depth.shape), depth))
        seen.append(r_plane(estimated, depth))
        scaled = pair.estimated * np.median(pair.truth / pair.estimated)
        off.append(np.abs(scaled / pair.truth - 1))
        sure.append(pair.confidence)
    return {
        "depth_abs_rel": depth_errors(pairs).abs_rel,
        "depth_abs_rel_frame": depth_errors(pairs, alignment="frame").abs_rel,
        "guess_depth_abs_rel": depth_errors(flat).abs_rel,
        "guess_depth_abs_rel_frame": depth_errors(flat, alignment="frame").abs_rel,
        "ramp_depth_abs_rel": depth_errors(ramps).abs_rel,
        "r_plane": float(np.mean(seen)),
        "confidence_rank_correlation": rank_correlation(np.concatenate(sure), np.concatenate(off)),
    }


def row_means(depth: np.ndarray) -> np.ndarray:
    """The mean known depth of every row, over all frames; rows without any take the nearest row that has some."""
    known = (depth > 0).sum(axis=(0, 2))
    mean = depth.sum(axis=(0, 2)) / np.maximum(known, 1)
    return np.interp(np.arange(len(mean)), np.flatnonzero(known), mean[known > 0])


def r_plane(estimated: np.ndarray, depth: np.ndarray) -> float:
    """Correlation of log depths after the best (1, x, y, x², y²) is taken off each."""
    row, column = np.nonzero(depth > 0)
    y, x = (row + 0.5) / depth.shape[0], (column + 0.5) / depth.shape[1]
    smooth = np.stack([np.ones_like(x), x, y, x * x, y * y], axis=1)
    left = []
    for values in (np.log(sample_depth(estimated, x, y)), np.log(depth[row, column])):
        left.append(values - smooth @ np.linalg.lstsq(smooth, values, rcond=None)[0])
    return float(np.corrcoef(*left)[0, 1])


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's."""
    every = max(1, len(a) // 200_000)
    first, second = (np.argsort(np.argsort(values[::every])) for values in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


def table(content: dict[str, Any]) -> TableRows:
    """Quantity, result, trivial baseline."""
    results, rows = content["results"], []
    for name, one in results.items():
        if name.startswith("windows"):
            families = one if name == "windows" else {"all": one["all"]}
            for family, score in families.items():
                found, guess = score["abs_rel"], score["guess_abs_rel"]
                rows.append((f"{name}, {family}: depth AbsRel", f"{found:.3f}", f"{guess:.3f}"))
                found, guess = score["rotation_median_deg"], score["guess_rotation_median_deg"]
                rows.append((f"{name}, {family}: rotation, median", f"{found:.2f}°", f"{guess:.2f}°"))
            if "focal_error" in one["all"]:
                rows.append((f"{name}: focal length, median error", f"{100 * one['all']['focal_error']:.1f} %", ""))
                rows.append((f"{name}: sky, IoU", f"{one['all']['sky_iou']:.2f}", ""))
                rows.append((f"{name}: what moves, IoU", f"{one['all']['moving_iou']:.2f}", ""))
        if name.startswith("stream "):
            line = 100 * one["ate_rmse_of_straight_line"] / one["path_length"]
            rows.append((f"{name}: ATE", f"{one['ate_percent']:.1f} %", f"{line:.1f} %"))
            rows.append((f"{name}: spread of log scale", f"{one['log_scale_spread']:.3f}", ""))
        if name.startswith("clip "):
            rows += clip_rows(name, one)
    return TableRows(("what", "found", "guess"), tuple(rows), note=machine_line(content))


def clip_rows(name: str, one: dict[str, float]) -> list[tuple[str, str, str]]:
    rows = []
    if "ate_rmse" in one:
        rows.append((f"{name}: ATE", f"{one['ate_rmse']:.3f} m", f"{one['ate_rmse_of_straight_line']:.3f} m"))
        found, guess = one[f"rotation_deg_{TURN}_frames"], one[f"guess_rotation_deg_{TURN}_frames"]
        rows.append((f"{name}: rotation over {TURN} frames, median", f"{found:.2f}°", f"{guess:.2f}°"))
        if "dis_pnp_ate_rmse" in one:
            rows.append((f"{name}: ATE, DIS and PnP", f"{one['dis_pnp_ate_rmse']:.3f} m", ""))
            turn = round(TURN / DIS_STEP) * DIS_STEP
            rows.append(
                (f"{name}: rotation over {turn} frames, DIS and PnP", f"{one['dis_pnp_rotation_deg']:.2f}°", "")
            )
        rows.append((f"{name}: cameras, median", f"{one['rotation_deg_median']:.1f}°", ""))
    if "depth_abs_rel" in one:
        guesses = f"{one['guess_depth_abs_rel']:.3f} constant, {one['ramp_depth_abs_rel']:.3f} ramp"
        rows.append((f"{name}: depth AbsRel, one scale", f"{one['depth_abs_rel']:.3f}", guesses))
        guess = f"{one['guess_depth_abs_rel_frame']:.3f} constant"
        rows.append((f"{name}: depth AbsRel, a scale a frame", f"{one['depth_abs_rel_frame']:.3f}", guess))
        rows.append((f"{name}: r_plane", f"{one['r_plane']:.2f}", "0"))
        rows.append((f"{name}: confidence against error", f"{one['confidence_rank_correlation']:.2f}", "0"))
    if "focal_error" in one:
        rows.append((f"{name}: focal length, median error", f"{100 * one['focal_error']:.1f} %", ""))
    return [*rows, (f"{name}: end to end", f"{one['frames_per_s']:.1f} frames/s", "")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="compact")
    parser.add_argument("--weights")
    parser.add_argument("--size", type=int, nargs=2, default=(144, 192), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument(
        "--other-size",
        type=int,
        nargs=2,
        action="append",
        default=[],
        metavar=("HEIGHT", "WIDTH"),
        help="windows of this size too; as often as wanted",
    )
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--window", type=int, default=16, help="frames of a window")
    parser.add_argument("--worlds", type=int, default=24, help="held-out worlds a family, for the windows")
    parser.add_argument("--frames", type=int, default=1000, help="of a stream")
    parser.add_argument("--families", nargs="+", default=sorted(FAMILIES), choices=sorted(FAMILIES), help="of streams")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="held-out worlds a family, for the streams")
    parser.add_argument("--clip", nargs="+", default=[], metavar="NAME=DIR")
    parser.add_argument("--focal-px", nargs="+", default=[], metavar="NAME=FOCAL/WIDTH", help="true focal lengths")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    try:
        run(given)
    except OpenlogerError as error:
        sys.exit(f"{Path(__file__).name}: {error}")


def focal_of(text: str) -> tuple[str, float]:
    """A clip's name and its focal length as a share of the width, of NAME=FOCAL/WIDTH."""
    name, _, ratio = text.partition("=")
    try:
        focal, width = map(float, ratio.split("/"))
    except ValueError:
        raise InputError(f"--focal-px {text!r}: give NAME=FOCAL/WIDTH, as kitchen=585/640") from None
    return name, focal / width


def run(given: argparse.Namespace) -> None:
    network = BenchmarkNetwork(given.network, given.weights).load()
    settings = {key: value for key, value in vars(given).items() if key not in ("out", "weights", "clip")}
    settings["weights_hash"] = None if network.weights is None else weights_hash(network.weights)
    ledger = Ledger("model", settings, path=given.out, resume=given.out is not None)
    ledger.measure("windows", lambda: windows(network, given, tuple(given.size)))
    for height, width in given.other_size:
        size = (height, width)
        ledger.measure(f"windows of {height}×{width}", lambda size=size: windows(network, given, size))
    for family, seed, memory in product(given.families, given.seeds, MEMORIES):
        shown = World(family, seed=seed, size=tuple(given.size), fps=given.fps, frames=given.frames)
        name = f"stream {shown.name}, memory {memory}"
        ledger.measure(name, lambda shown=shown, memory=memory: stream(network, shown, memory))
    focals = dict(map(focal_of, given.focal_px))
    for one in given.clip:
        name, equals, folder = one.partition("=")
        if not equals or not (Path(folder) / "video.mp4").is_file():
            raise InputError(f"--clip {one!r}: give NAME=DIR of a folder with video.mp4 and world_from_cam.txt")
        ledger.measure(f"clip {name}", lambda name=name, folder=folder: clip(network, Path(folder), focals.get(name)))
    ledger.conclude()
    show(table(ledger.content()), f"{given.network}, windows of {given.window} frames, streams of {given.frames}")


if __name__ == "__main__":
    main()
