"""COLMAP, the traditional peer, and openloger on the same frames: path error, cameras found, points, seconds.

SOURCE is a world (world:street:7) or a folder with a video or pictures and world_from_cam.txt (docs/datasets.md).
Neither is told the lens; both paths are aligned to the truth by a similarity. COLMAP's error is over the cameras that
it found, and ours is given over those too. COLMAP runs on the CPU: pip install '.[colmap]'.

    python benchmarks/colmap.py world:street:7 --frames 60
    python benchmarks/colmap.py CLIP --frames 60 --stride 5 --out clip.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import openloger
from openloger.benchmarking import BenchmarkNetwork, Ledger
from openloger.benchmarking.tables import machine_line
from openloger.cli.results import show
from openloger.datasets import Sequence, open_dataset
from openloger.errors import InputError, OpenlogerError
from openloger.evaluation import absolute_error, align, evaluate_recording
from openloger.evaluation.report import TableRows
from openloger.shapes import Float64, Int

CAMERAS_FILE = "world_from_cam.txt"
CONFIDENT = 0.5  # the confidence from which a pixel of ours is called a point
LEAST = 3  # cameras, to align a path


@dataclass(frozen=True)
class Found:
    """The result of one of the two programs."""

    frames: int
    registered: int  # cameras found
    ate_rmse: float | None  # over them, in the truth's unit; None where they are too few
    rotation_deg_median: float | None
    points: int
    seconds: float
    cpu_s: float  # of the processor, all threads together


def open_sequence(source: str, *, size: tuple[int, int], fps: float) -> Sequence:
    """A world by its name, or the one plain folder."""
    if not source.startswith("world:"):
        return open_dataset("folder", source, sequences=["."])["."]
    _, family, seed = [*source.split(":"), "", ""][:3]
    if not seed.isdigit():
        raise InputError(f"{source!r} names no world; write world:FAMILY:SEED, as world:street:7")
    return openloger.worlds.World(family, seed=int(seed), size=size, fps=fps)


def write_frames(sequence: Sequence, folder: Path, *, frames: int, stride: int) -> int:
    """The chosen frames as pictures without loss, and their cameras, both numbered from 0; returns how many."""
    from PIL import Image

    if frames < LEAST or stride < 1:
        raise InputError(f"frames {frames}, stride {stride}: at least {LEAST} frames and a stride of 1 are needed")
    (folder / "images").mkdir(parents=True)
    cameras = []
    for frame in openloger.open_frames(sequence, stop=frames * stride, stride=stride):
        camera = sequence.world_from_cam(frame.index)
        if camera is None:
            raise InputError(f"{sequence.name}: frame {frame.index} has no true camera; choose frames that have one")
        Image.fromarray(frame.rgb).save(folder / "images" / f"{len(cameras):06d}.png")
        cameras.append(camera.reshape(16))
    np.savetxt(folder / CAMERAS_FILE, np.array(cameras), fmt="%.17g")
    return len(cameras)


def run_colmap(folder: Path, *, matching: str, threads: int) -> tuple[Found, Int[np.ndarray, " camera"]]:
    """Features, matches, incremental mapping with COLMAP's own defaults; its largest model, and the frames in it."""
    try:
        import pycolmap
    except ImportError as error:
        raise InputError("COLMAP is not here: pip install '.[colmap]'") from error
    pycolmap.set_random_seed(0)
    pycolmap.logging.minloglevel = pycolmap.logging.ERROR.value
    database, images, models = folder / "colmap.db", folder / "images", folder / "colmap"
    models.mkdir()
    extraction, matches = pycolmap.FeatureExtractionOptions(), pycolmap.FeatureMatchingOptions()
    mapping = pycolmap.IncrementalPipelineOptions()
    extraction.num_threads = matches.num_threads = mapping.num_threads = threads
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    pycolmap.extract_features(database, images, camera_mode=pycolmap.CameraMode.SINGLE, extraction_options=extraction)
    match = pycolmap.match_sequential if matching == "sequential" else pycolmap.match_exhaustive
    match(database, matching_options=matches)
    found = pycolmap.incremental_mapping(database, images, models, options=mapping)
    seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    largest = max(found.values(), key=lambda model: model.num_reg_images(), default=None)
    posed = (
        {} if largest is None else {int(Path(one.name).stem): one for one in largest.images.values() if one.has_pose}
    )
    numbers = np.array(sorted(posed), dtype=np.int64)
    world_from_cam = np.array([_matrix(posed[number].cam_from_world().inverse().matrix()) for number in numbers])
    rmse, rotation = path_error(world_from_cam.reshape(-1, 4, 4), read_cameras(folder)[numbers])
    points = 0 if largest is None else largest.num_points3D()
    return Found(len(read_cameras(folder)), len(numbers), rmse, rotation, points, seconds, cpu_s), numbers


def run_ours(
    folder: Path, choice: BenchmarkNetwork, common: Int[np.ndarray, " camera"]
) -> tuple[Found, dict[str, float | None]]:
    """The main job on the same pictures, and our error over the frames that COLMAP found."""
    network = choice.load()
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    recording = openloger.reconstruct(folder / "images", folder / "recording", network=network)
    seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    numbers = evaluate_recording(recording, folder / CAMERAS_FILE).numbers()
    points = sum(int((recording.confidence(i) >= CONFIDENT).sum()) for i in range(len(recording)))
    rmse, _ = path_error(recording.world_from_cam[common], read_cameras(folder)[common])
    beside = {
        "ours_ate_rmse_where_colmap_is": rmse,
        "straight_line_ate_rmse": numbers["ate_rmse_of_straight_line"],
        "path_length": numbers["path_length"],
    }
    error, angle = numbers["ate_rmse"], numbers["rotation_deg_median"]
    found = Found(len(recording), len(recording), error, angle, points, seconds, cpu_s)
    return found, beside


def path_error(
    estimated: Float64[np.ndarray, "camera 4 4"], truth: Float64[np.ndarray, "camera 4 4"]
) -> tuple[float | None, float | None]:
    """RMSE of centres and median angle after Sim(3); None for too few cameras."""
    if len(estimated) < LEAST:
        return None, None
    error = absolute_error(align(estimated, truth, how="sim3"), truth)
    return error.translation.rmse, error.rotation_deg.median


def read_cameras(folder: Path) -> Float64[np.ndarray, "frame 4 4"]:
    return np.loadtxt(folder / CAMERAS_FILE).reshape(-1, 4, 4)


def table(content: dict[str, Any]) -> TableRows:
    """Both side by side."""
    found, beside = content["results"], content["results"]["beside"]
    rows = [
        (
            name,
            f"{one['registered']} of {one['frames']}",
            _metres(one["ate_rmse"]),
            "–" if one["rotation_deg_median"] is None else f"{one['rotation_deg_median']:.2f}",
            f"{one['points']:,}",
            f"{one['seconds']:.1f}",
            f"{one['cpu_s']:.1f}",
        )
        for name, one in (("COLMAP", found["colmap"]), ("openloger", found["openloger"]))
    ]
    note = (
        f"path {beside['path_length']:.2f} m, a straight line is {_metres(beside['straight_line_ate_rmse'])} m off; "
        f"ours over COLMAP's cameras: {_metres(beside['ours_ate_rmse_where_colmap_is'])} m; "
        f"COLMAP's points are sparse, ours are pixels of confidence {CONFIDENT:g} or more; {machine_line(content)}"
    )
    return TableRows(("", "cameras", "ATE m", "rotation °", "points", "seconds", "processor s"), tuple(rows), note=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), help="of a world's frames: height width")
    parser.add_argument("--fps", type=float, default=10.0, help="of a world")
    parser.add_argument("--matching", choices=("sequential", "exhaustive"), default="sequential")
    parser.add_argument("--network", default="pocket")
    parser.add_argument("--threads", type=int, default=2, help="for both")
    parser.add_argument("--out", type=Path, help="a JSON file")
    given = parser.parse_args()
    try:
        compare(given)
    except OpenlogerError as error:
        sys.exit(f"colmap.py: {error}")


def compare(given: argparse.Namespace) -> None:
    settings = {name: value for name, value in vars(given).items() if name != "out"}
    ledger = Ledger("colmap", settings, path=given.out)
    choice = BenchmarkNetwork(given.network, threads=given.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "frames"
        sequence = open_sequence(given.source, size=tuple(given.size), fps=given.fps)
        write_frames(sequence, folder, frames=given.frames, stride=given.stride)
        colmap, common = run_colmap(folder, matching=given.matching, threads=given.threads)
        ours, beside = run_ours(folder, choice, common)
    ledger.measure("colmap", lambda: asdict(colmap))
    ledger.measure("openloger", lambda: asdict(ours))
    ledger.measure("beside", lambda: beside)
    ledger.conclude()
    show(table(ledger.content()), f"{given.source}, {colmap.frames} frames")
    print(json.dumps(ledger.results))


def _matrix(rows: Float64[np.ndarray, "3 4"]) -> Float64[np.ndarray, "4 4"]:
    return np.vstack([rows, [0.0, 0.0, 0.0, 1.0]])


def _metres(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
