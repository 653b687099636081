"""A clip through the network as `Stream` runs a video: the same windows, memory carried, the same placement.

Everything stays in the graph: gradients flow through the memory from window to window (cut every `truncate` of them
where configured), and for networks that are placed by `se3` through the chain of rigid motions too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch

from openloger.errors import InputError
from openloger.geometry import SE3
from openloger.network import Network, Window, WindowPrediction
from openloger.shapes import Float, Tensor
from openloger.streaming import rigid_from_overlap, windows
from openloger.transformer.share import WindowShare


def check_shares(network: Network, processes: int) -> None:
    """Raises InputError where several processes are to share the windows of a network that takes them whole."""
    if processes > 1 and not network.shares_windows:
        raise InputError(
            f"context_parallel = {processes}: {network.config.name} takes whole windows, since more than attention and "
            "memory reaches from frame to frame; leave it out"
        )


@dataclass(frozen=True)
class Chain:
    """All windows of a clip side by side on the frame axis; frames that two windows share are there twice."""

    prediction: WindowPrediction
    frames: tuple[tuple[int, ...], ...]  # which frames of the clip each window has
    metric_scale: tuple[Float[Tensor, " batch"], ...] = ()  # of each window, where the network has one

    @property
    def index(self) -> Tensor:
        """The clip's frame of every frame of the prediction."""
        return torch.tensor([frame for window in self.frames for frame in window])


def run_chain(
    network: Network,
    images: Float[Tensor, "batch frame 3 height width"],
    *,
    size: int,
    overlap: int,
    truncate: int = 0,
    log_scale: Float[Tensor, "window batch"] | None = None,
    measured: bool = False,
    share: Callable[[int], WindowShare] | None = None,
) -> Chain:
    """Run a batch of clips; `size` 0 takes each as one window. `log_scale` is what the windows' depth is off by before
    the memory of scale, taken in turn; `measured` is passed to every `Window`. Where processes share the windows,
    `share` gives this one's of a window of so many frames; each of them gets the whole chain.

    Raises:
        InputError: the network is placed by sim3, which is not trained through.
    """
    count = images.shape[1]
    if size == 0:
        size, overlap = count, 0
    rigid = network.config.placement == "se3"
    if network.config.placement == "sim3" and size < count:
        raise InputError("windows placed by sim3 cannot be trained as a chain; train single windows, or use se3")
    memory, placed, frames = network.fresh_memory(), [], []
    for number, now in enumerate(windows(iter(range(count)), size=size, overlap=overlap)):
        if truncate and number % truncate == 0:
            memory = memory.detach()
        wrong = None if log_scale is None else log_scale[number % len(log_scale)]
        window = Window(
            images[:, list(now.frames)],
            size=size,
            overlap=overlap,
            log_scale=wrong,
            measured=measured,
            share=None if share is None else share(len(now.frames)),
        )
        prediction, memory = network(window, memory)
        if rigid and placed:
            prediction = _attach(prediction, placed[-1].world_from_cam[:, -overlap])
        placed.append(prediction)
        frames.append(now.frames)
    return Chain(
        _join(placed), tuple(frames), tuple(one.metric_scale for one in placed if one.metric_scale is not None)
    )


def _attach(prediction: WindowPrediction, world_from_first: Float[Tensor, "batch 4 4"]) -> WindowPrediction:
    """Move a window so that its first camera stands where the previous window put it."""
    window_from_cam = SE3.from_matrix(prediction.world_from_cam)
    world_from_window = rigid_from_overlap(
        SE3.from_matrix(world_from_first), SE3(window_from_cam.rotation[:, 0], window_from_cam.translation[:, 0])
    )
    lifted = SE3(world_from_window.rotation[:, None], world_from_window.translation[:, None])
    return replace(prediction, world_from_cam=(lifted @ window_from_cam).matrix())


def _join(predictions: list[WindowPrediction]) -> WindowPrediction:
    """Side by side on the frame axis. The metric scale, if any, is in the points already."""
    given = [field.name for field in fields(WindowPrediction) if getattr(predictions[0], field.name) is not None]
    joined = {
        name: torch.cat([getattr(one, name) for one in predictions], dim=1) for name in given if name != "metric_scale"
    }
    return WindowPrediction(**joined, metric_scale=None)
