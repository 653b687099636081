"""The F-score of `export --to mesh` on worlds as a network predicts them (with true depth: tests/export/test_mesh.py).

python benchmarks/mesh.py FOLDER [--worlds rooms:4 clutter:7020] [--frames 24] [--size 96x128] [--network compact]

Truth is the points of all frames' true depth. A reconstruction is brought to them by one similarity of its cameras. A
sample of either side counts where the other is within two voxels; voxels are two pixels at the true median depth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import trimesh
from scipy.spatial import KDTree

from openloger import RunOptions, reconstruct
from openloger.export import PointSelection, export_recording
from openloger.geometry import Sim3, umeyama, unproject
from openloger.worlds import Sample, World

SAMPLES = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--worlds", nargs="+", default=["rooms:4"])
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", default="96x128")
    parser.add_argument("--network", default="compact")
    given = parser.parse_args()
    for name in given.worlds:
        family, seed = name.split(":")
        height, width = map(int, given.size.split("x"))
        world = World(family, seed=int(seed), size=(height, width), fps=6.0, frames=given.frames)
        samples = [world[frame] for frame in range(given.frames)]
        truth = np.concatenate([true_points(sample) for sample in samples])
        depth = np.concatenate([sample.depth[sample.valid] for sample in samples])
        voxel = 2 * float(np.median(depth)) / float(samples[0].intrinsics[0, 0])
        source = f"world:{name}?frames={given.frames}&size={given.size}&fps=6"
        options = RunOptions(existing="overwrite")
        recording = reconstruct(source, given.folder / name.replace(":", "-"), network=given.network, options=options)
        true = torch.from_numpy(np.stack([sample.world_from_cam[:3, 3] for sample in samples]))
        moved: Sim3 = umeyama(torch.from_numpy(recording.world_from_cam[:, :3, 3].copy()), true)
        path = given.folder / f"{name.replace(':', '-')}.ply"
        export_recording(recording, "mesh", path, selection=PointSelection(voxel=voxel / float(moved.scale)))
        vertices = trimesh.sample.sample_surface(trimesh.load(path, process=False), SAMPLES, seed=1)[0]
        precision, recall = nearness(moved.apply(torch.from_numpy(np.asarray(vertices))).numpy(), truth, 2 * voxel)
        score = 2 * precision * recall / max(precision + recall, 1e-9)
        print(f"{name}: voxel {voxel:.3f} m, precision {precision:.3f}, recall {recall:.3f}, F {score:.3f}", flush=True)


def true_points(sample: Sample) -> np.ndarray:
    points = unproject(torch.from_numpy(sample.depth).double(), torch.from_numpy(sample.intrinsics)).numpy()
    known = sample.valid & (sample.depth > 0)
    return points[known] @ sample.world_from_cam[:3, :3].T + sample.world_from_cam[:3, 3]


def nearness(surface: np.ndarray, truth: np.ndarray, within: float) -> tuple[float, float]:
    """Precision and recall."""
    seen = truth[:: max(1, len(truth) // SAMPLES)]
    precision = (KDTree(truth).query(surface)[0] < within).mean()
    return float(precision), float((KDTree(surface).query(seen)[0] < within).mean())


if __name__ == "__main__":
    main()
