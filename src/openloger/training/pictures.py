"""What the network sees of clips that it never learns from: picture, true depth, predicted depth, side by side."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import torch

from openloger.geometry import weighted_median
from openloger.network import Network
from openloger.outputs import replace_file
from openloger.shapes import Float, Float32, Tensor, UInt8
from openloger.training.chaining import run_chain
from openloger.training.clips import ClipBatch
from openloger.training.validate import HeldOut

_RAMP = ((48, 18, 59), (70, 107, 227), (41, 187, 236), (83, 250, 121), (253, 231, 37), (239, 90, 17), (122, 4, 3))


@torch.no_grad()
def draw_held_out(network: Network, clips: HeldOut, count: int, path: Path) -> None:
    """Write a PNG of `count` clips, the families in turn: a row a frame, near is red and both depths on one scale.

    Nothing is written where pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        return
    was_training = network.training
    network.eval()
    families = [batches[0] for batches in clips.batches.values()]
    turns = (batch.take_clip(turn) for turn in range(count) for batch in families if turn < len(batch.names))
    rows = [row for clip in islice(turns, count) for row in _rows(network, clip.to(network.device))]
    network.train(was_training)
    with replace_file(path, made_by="train") as draft:
        Image.fromarray(np.concatenate(rows)).save(draft)


def _rows(network: Network, clip: ClipBatch) -> list[np.ndarray]:
    prediction = run_chain(network, clip.images, size=0, overlap=0).prediction
    truth, valid, found = clip.depth[0].cpu(), clip.valid[0].cpu(), prediction.points_cam[0, ..., 2].float().cpu()
    found = found * _scale(found, truth, valid)
    near = truth[valid].quantile(0.02).item() if bool(valid.any()) else 1.0
    pictures = (clip.images[0].permute(0, 2, 3, 1).cpu().numpy() * 255 + 0.5).astype(np.uint8)
    rows = []
    for picture, true_depth, known, depth in zip(pictures, truth.numpy(), valid.numpy(), found.numpy(), strict=True):
        true_colours = np.where(known[..., None], colour(true_depth, near), 0).astype(np.uint8)
        rows.append(np.concatenate([picture, true_colours, colour(depth, near)], axis=1))
    return rows


def _scale(
    found: Float[Tensor, "frame height width"], truth: Float[Tensor, "frame height width"], valid: Tensor
) -> Float[Tensor, ""]:
    inverse = torch.where(valid, 1 / truth.clamp(min=1e-9), 0.0)
    return weighted_median((truth / found).flatten()[None], (found * inverse).flatten()[None])[0]


def colour(depth: Float32[np.ndarray, "height width"], near: float) -> UInt8[np.ndarray, "height width 3"]:
    """Depth as a colour by near / z: red at `near` or closer, violet far away."""
    place = np.clip(near / np.maximum(depth, 1e-9), 0, 1) * (len(_RAMP) - 1)
    ramp = np.array(_RAMP, dtype=np.float64)
    return np.stack(
        [np.interp(place, np.arange(len(_RAMP)), ramp[:, channel]) for channel in range(3)], axis=-1
    ).astype(np.uint8)
