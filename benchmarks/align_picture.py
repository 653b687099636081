"""The picture of docs/scale.md: a recording over its true path, aligned to noisy fixes, stiff and with drift.

python benchmarks/align_picture.py RECORDING TRUTH [--out docs/images/align.png]

TRUTH is a folder with world_from_cam.txt. The fixes are the true places with noise and outliers; the recording's
folder is left as it is.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

import openloger
from openloger.corrections import Alignment, align_by_gps

NOISE_M, OUTLIER_M, OUTLIER_EVERY = 0.5, 30.0, 10
PLACE = (48.98, 8.39)  # of the first fix
METRES_A_DEGREE = 111_320.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images/align.png"))
    arguments = parser.parse_args()
    recording = openloger.open_recording(arguments.recording, corrected=False)
    true = np.loadtxt(arguments.truth / "world_from_cam.txt").reshape(-1, 4, 4)[recording.source_index, :3, 3]
    fixes = noisy(true)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fixes.csv"
        file.write_text(as_csv(fixes, recording.timestamps_s))
        found = [align_by_gps(recording, file, drift=drift) for drift in (False, True)]
    for one in found:
        print(one.text, *one.notes, sep="\n  ")
    draw(recording, true, fixes, found, arguments.out)


def noisy(true: np.ndarray) -> np.ndarray:
    dice = np.random.default_rng(0)
    fixes = true + dice.normal(0, NOISE_M, true.shape)
    fixes[::OUTLIER_EVERY] += dice.normal(0, OUTLIER_M, fixes[::OUTLIER_EVERY].shape)
    return fixes


def as_csv(places: np.ndarray, times_s: np.ndarray) -> str:
    """On a plane that touches the earth: exact to centimetres over a few hundred metres."""
    rows = ["time,lat,lon,ele"]
    for (x, y, z), time_s in zip(places, times_s, strict=True):
        latitude = PLACE[0] + z / METRES_A_DEGREE
        longitude = PLACE[1] + x / METRES_A_DEGREE / np.cos(np.deg2rad(PLACE[0]))
        rows.append(f"{time_s},{latitude:.9f},{longitude:.9f},{-y:.4f}")
    return "\n".join(rows)


def draw(
    recording: openloger.Recording, true: np.ndarray, fixes: np.ndarray, found: list[Alignment], out: Path
) -> None:
    figure, (plan, along) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    plan.plot(fixes[:, 0], fixes[:, 2], ".", color="0.75", markersize=4, label="fixes")
    plan.plot(true[:, 0], true[:, 2], color="k", linewidth=3, alpha=0.35, label="truth")
    places = np.arange(len(true))
    for one, label in zip(found, ("one similarity", "--drift"), strict=True):
        moved = one.step.at(places).apply(torch.from_numpy(recording.world_from_cam[:, :3, 3].copy())).numpy()
        moved += np.median(true - moved, axis=0)  # the origin is the first fix, which is noisy
        off = np.linalg.norm(moved - true, axis=1)
        rms = float(np.sqrt(np.mean(off**2)))
        print(f"{label}: {rms:.2f} m from the truth")
        plan.plot(moved[:, 0], moved[:, 2], linewidth=1.6, label=f"{label}, {rms:.2f} m off")
        along.plot(recording.timestamps_s, off, label=label)
    margin = 0.1 * np.ptp(true[:, [0, 2]], axis=0).max()
    plan.set(xlim=(true[:, 0].min() - margin, true[:, 0].max() + margin), xlabel="east (m)", ylabel="north (m)")
    plan.set_ylim(true[:, 2].min() - margin, true[:, 2].max() + margin)
    plan.set_aspect("equal")
    along.set(xlabel="seconds", ylabel="distance from the truth (m)", ylim=(0, None))
    along.legend(*plan.get_legend_handles_labels())
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
