"""A window of images for a network, and the prediction for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from openloger.errors import InputError
from openloger.geometry import SE3
from openloger.shapes import Bool, Float, Int, Tensor
from openloger.transformer.share import WindowShare


@dataclass(frozen=True)
class Window:
    """Consecutive frames of a video; in a chain the first `overlap` of them are the previous window's last."""

    images: Float[Tensor, "batch frame 3 height width"]  # sRGB in [0, 1]
    size: int  # the run's nominal window, which a last window may fall short of
    overlap: int
    intrinsics: Float[Tensor, "batch 3 3"] | None = None  # where they are known, for networks that predict a lens
    log_scale: Float[Tensor, " batch"] | None = None  # an error added in training, for the memory of scale to correct
    last: bool = False  # none follows, so the fast weights learn nothing from it
    rigid: bool = True  # False: regressed rotations stay nine numbers, for whoever projects them on the host
    used: Bool[Tensor, "batch frame height width"] | None = None  # False: a mask hides the pixel; one window alone
    still_only: bool = False  # what is predicted to move by itself has no say in a geometric camera
    judges_lens: bool = False  # compare a fisheye with a pinhole by the geometric camera's matches
    measured: bool = False  # run the geometric camera in training, too, so that the refinement behind it can be trained
    padding: int = 0  # frames at the end that only bring a last window to its usual length; they change no output
    share: WindowShare | None = None  # the frames that this process computes, where several share the window

    @property
    def roles(self) -> Int[Tensor, " frame"]:
        """0 for frames shared with the previous window, 1 for this one's own, 2 for those shared with the next.

        Counted from the nominal size for every window of a run, the first and a short last one too.
        """
        frames = self.images.shape[1]
        previous = min(self.overlap, frames)
        own = min(max(self.size - 2 * self.overlap, 0), frames - previous)
        following = frames - previous - own
        if following > self.overlap:
            raise InputError(f"a window of {frames} frames is longer than its nominal size {self.size}")
        number = torch.arange(frames, device=self.images.device)  # a list of them would make the host wait for a card
        return (number >= previous).long() + (number >= previous + own).long()


@dataclass(frozen=True)
class WindowPrediction:
    """The prediction for one window, in the window's own world, whose scale and frame the memory determines."""

    world_from_cam: Float[Tensor, "batch frame 4 4"]  # rigid, where the window is to be
    points_cam: Float[Tensor, "batch frame height width 3"]  # in each frame's camera, z forward
    confidence_logit: Float[Tensor, "batch frame height width"]
    metric_scale: Float[Tensor, " batch"] | None  # metres per unit, already applied; None without a metric head
    sky_logit: Float[Tensor, "batch frame height width"] | None = None  # of dense heads alone, as what follows
    moving_logit: Float[Tensor, "batch frame height width"] | None = None  # of what moves by itself
    focal_px: Float[Tensor, "batch frame"] | None = None  # equal throughout a window; principal point centred
    flow_px: Float[Tensor, "batch frame 4 row8 column8"] | None = None  # (x, y) to the previous, then the next frame
    predicted_focal_px: Float[Tensor, "batch frame"] | None = None  # the head's own, whatever is known or adjusted
    fisheye_error: Float[Tensor, " batch"] | None = None  # as of `motion.lens_shape`, where the window asks for it

    @property
    def confidence(self) -> Float[Tensor, "batch frame height width"]:
        """0..1"""
        return self.confidence_logit.sigmoid()

    @property
    def points_world(self) -> Float[Tensor, "batch frame height width 3"]:
        return SE3.from_matrix(self.world_from_cam).apply(self.points_cam)
