"""Flow from a keyframe to the frames after it, one by one: each starts from the flow to the frame before.

Between neighbouring frames the picture moves little, so that Lucas–Kanade at half size needs no matches to start from,
and no network. Where it is lost, as after a cut, the pictures do not agree.

Legend: P pair of a keyframe and the frame that it is tracked to.
"""

from __future__ import annotations

import torch

from openloger.network.motion import lucas_kanade
from openloger.network.motion.flow import EdgeFlow, Edges, agreement, edge_flow, textured
from openloger.network.motion.lucas_kanade import STRIDE, Flow, Level
from openloger.shapes import Bool, Float, Tensor

STEPS = 4  # at half size, a frame
MOST = 0.8  # share of the picture that moves less than the length measured
_LEAST_SHARED = 0.5  # of a cell's window, for its length to count
LOST = (
    0.53  # mean agreement of what has texture, under which the flow is not found; at 0.5 a camera over grass got away
)


class FlowTracker:
    """Tracks P keyframes through as many videos, at half size."""

    def __init__(self, keys: Level) -> None:
        rows, columns = (length * 2 // STRIDE for length in keys.grey.shape[-2:])
        self._keys = keys
        self._shift = keys.grey.new_zeros(len(keys.grey), 2, rows, columns)

    def step(self, frames: Level) -> Flow:
        """The flow, in pixels of the half size, from every keyframe to the next frame of its video."""
        flow = lucas_kanade.descend(self._keys, frames, self._shift, steps=STEPS, smooth_last=True)
        self._shift = flow.shift_px
        return flow


class MotionMeter:
    """Measures the motion of the picture since a keyframe."""

    def __init__(self, key: Float[Tensor, "3 height width"], used: Bool[Tensor, "height width"] | None = None) -> None:
        """Pixels that are not `used` have no say; the frames then have masks, too."""
        self._tracker = FlowTracker(lucas_kanade.prepare_half(key[None], None if used is None else used[None]))

    @torch.inference_mode()
    def measure(
        self, image: Float[Tensor, "3 height width"], used: Bool[Tensor, "height width"] | None = None
    ) -> float:
        """Length of the flow to the next frame, pixels, that the share MOST of the picture stays under; infinite where
        the flow is lost.

        The median would miss a camera that moves ahead, in whose pictures only what is near moves much.
        """
        flow = self._tracker.step(lucas_kanade.prepare_half(image[None], None if used is None else used[None]))
        texture = textured(flow) if flow.shared is None else textured(flow) * flow.shared
        if float((texture * agreement(flow)).sum()) < LOST * float(texture.sum()):
            return float("inf")
        length = torch.linalg.vector_norm(flow.shift_px, dim=1).flatten()
        if flow.shared is not None:
            length = length[flow.shared.flatten() > _LEAST_SHARED]
        return 2 * length.quantile(MOST).item() if len(length) else float("inf")


def flow_from_ends(
    images: Float[Tensor, "frame 3 height width"], used: Bool[Tensor, "frame height width"] | None = None
) -> EdgeFlow:
    """Flow of the edges `Edges.from_ends`; pixels that are not `used` have no weight."""
    half, full = lucas_kanade.prepare(images, used)
    last = len(images) - 1
    tracker = FlowTracker(half[torch.tensor([0, last])])
    forth, back = [], []
    for number in range(1, last):
        flow = tracker.step(half[torch.tensor([number, last - number])])
        forth.append(flow.shift_px[0])
        back.append(flow.shift_px[1])
    start, edges = 2 * torch.stack(forth + back[::-1]), Edges.from_ends(len(images))
    flow = lucas_kanade.descend(full[edges.source], full[edges.target], start, steps=lucas_kanade.STEPS_FULL)
    return edge_flow(flow, shape=(1, len(edges)))
