"""The outputs of dense heads through the geometric camera: cameras, depth and lens as flow measures them.

The regressed cameras are its start and fallback. The focal length begins as what the windows before have measured
(`lens.py`). With a refinement, depth is corrected after the adjustment by triangulation, and a shorter adjustment of
cameras, focal length and depth follows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from openloger.geometry import SE3, centred_intrinsics, unproject
from openloger.network.fusion import Pyramid
from openloger.network.heads import HeadOutputs
from openloger.network.lens import LensBelief
from openloger.network.motion import (
    FocalPrior,
    GeometricCameras,
    fisheye_error,
    flow_features,
    geometric_camera,
    neighbouring_depth,
    plane_sweep,
    readjusted,
    triangulate,
)
from openloger.network.refinement import DepthRefinement
from openloger.network.window import Window
from openloger.shapes import Bool, Float, Tensor

KNOWN_FOCAL_SIGMA = 1e-4  # of a given focal length's logarithm, which adjustment leaves as it is


def measured_heads(
    heads: HeadOutputs,
    pyramid: Pyramid,
    window: Window,
    refinement: DepthRefinement | None,
    carried_lens: Float[Tensor, "batch 2"] | None = None,
) -> tuple[HeadOutputs, Float[Tensor, "batch 2"] | None]:
    """Heads with measured cameras, depth, confidence and focal length corrected by them, and the lens to carry on.

    `carried_lens` is that of the window before. None is carried where the window's intrinsics are known.
    Raises InputError as `flow_features`.
    """
    used = None if window.used is None else window.used.flatten(0, 1)
    features = flow_features(window.images, pyramid[2].flatten(0, 1), pyramid[3].flatten(0, 1), used)
    believed = _believed_lens(heads, window, carried_lens)
    state, regressed = _State.of(heads, window, believed), heads.world_from_cam
    cameras = geometric_camera(features, state.known_depth, state.lens, regressed, focal=state.prior)
    state = state.moved(cameras)
    if refinement is not None:
        state = state.refined(refinement, cameras, pyramid)
        cameras = readjusted(cameras, state.known_depth, state.lens, regressed, focal=state.prior)
        state = state.moved(cameras)
    found = state.heads
    if window.judges_lens:
        found = found._replace(fisheye_error=fisheye_error(cameras.flow, cameras.edges, cameras.world_from_cam))
    if believed is None:
        return found, None
    return found, believed.measured(state.log_factor, cameras.focal_information).carry().detach()


def _believed_lens(heads: HeadOutputs, window: Window, carried: Tensor | None) -> LensBelief | None:
    if window.intrinsics is not None:
        return None
    assert heads.focal_px is not None, "this network predicts no lens, and none is given"
    return LensBelief.of_window(heads.focal_px[:, 0], carried)


def lens_of(heads: HeadOutputs, window: Window) -> Float[Tensor, "batch frame 3 3"]:
    """The intrinsics that are known, else those of the predicted focal length; a copy."""
    assert heads.focal_px is not None, "this network predicts no lens, so that none can be given"
    if window.intrinsics is None:
        height, width = window.images.shape[-2:]
        return centred_intrinsics(heads.focal_px, size=(height, width))
    return window.intrinsics[:, None].repeat(1, window.images.shape[1], 1, 1)


def seen_through(
    heads: HeadOutputs, depth: Float[Tensor, "batch frame height width"], lens: Float[Tensor, "batch frame 3 3"]
) -> HeadOutputs:
    """Points at this depth on the rays of this lens."""
    return heads._replace(points_cam=unproject(depth, lens), focal_px=lens.diagonal(dim1=-2, dim2=-1)[..., :2].mean(-1))


@dataclass(frozen=True, eq=False)
class _State:
    """Heads between the steps of the measurement."""

    heads: HeadOutputs
    depth: Float[Tensor, "batch frame height width"]
    lens: Float[Tensor, "batch frame 3 3"]
    measurable: Bool[Tensor, "batch frame height width"]
    log_factor: Float[Tensor, " batch"]  # that its focal length has taken
    focal_sigma: Float[Tensor, " batch"]  # of the factor's logarithm, which is expected to be 0

    @staticmethod
    def of(heads: HeadOutputs, window: Window, believed: LensBelief | None) -> _State:
        """As regressed, with the lens that is believed or, where there is no belief, known."""
        sigma = heads.points_cam.new_full(heads.points_cam.shape[:1], KNOWN_FOCAL_SIGMA)
        if believed is not None:
            assert heads.focal_px is not None
            heads = heads._replace(focal_px=believed.mean.exp()[:, None].expand_as(heads.focal_px))
            sigma = believed.variance.sqrt()
        depth, lens = heads.points_cam[..., 2], lens_of(heads, window)
        return _State(heads, depth, lens, _measurable(heads, window), torch.zeros_like(sigma), sigma)

    @property
    def prior(self) -> FocalPrior:
        """Of what factor is left to take."""
        return FocalPrior(-self.log_factor, self.focal_sigma)

    @property
    def known_depth(self) -> Float[Tensor, "batch frame height width"]:
        """Depth to measure by; NaN where nothing is measured."""
        return torch.where(self.measurable, self.depth, torch.nan)

    def moved(self, cameras: GeometricCameras) -> _State:
        """With these cameras, and depth and focal length times their factors."""
        lens = self.lens.clone()
        lens.diagonal(dim1=-2, dim2=-1)[..., :2] *= cameras.log_focal.exp()[:, None, None]
        heads = self.heads._replace(world_from_cam=cameras.world_from_cam)
        depth = cameras.corrected_depth(self.depth)
        return replace(
            self,
            heads=seen_through(heads, depth, lens),
            depth=depth,
            lens=lens,
            log_factor=self.log_factor + cameras.log_focal,
        )

    def refined(self, refinement: DepthRefinement, cameras: GeometricCameras, pyramid: Pyramid) -> _State:
        """With depth and confidence corrected by what triangulation and a plane sweep find between these cameras.

        A window keeps its scale, which cannot be measured between its frames, and which the losses leave free.
        """
        scene = cameras.edges, SE3.from_matrix(cameras.world_from_cam), self.known_depth, self.lens
        found = triangulate(cameras.flow, *scene)
        neighbours = neighbouring_depth(cameras.flow, *scene, found)
        log_depth, confidence = refinement(self.heads, found, neighbours, plane_sweep(pyramid[1], *scene), pyramid)
        heads = self.heads._replace(confidence_logit=self.heads.confidence_logit + confidence)
        depth = self.depth * (log_depth - _mean(log_depth, self.measurable)).exp()
        return replace(self, heads=seen_through(heads, depth, self.lens), depth=depth)


def _mean(
    values: Float[Tensor, "batch frame height width"], where: Bool[Tensor, "batch frame height width"]
) -> Float[Tensor, "batch 1 1 1"]:
    """Over a window's pixels; 0 where there are none."""
    count = where.sum((1, 2, 3), keepdim=True).clamp_min(1)
    return torch.where(where, values, 0.0).sum((1, 2, 3), keepdim=True) / count


def _measurable(heads: HeadOutputs, window: Window) -> Bool[Tensor, "batch frame height width"]:
    """Pixels to measure by: neither sky nor masked, nor moving where the window excludes what moves."""
    assert heads.sky_logit is not None
    assert heads.moving_logit is not None
    known = heads.sky_logit <= 0
    if window.still_only:
        known = known & (heads.moving_logit <= 0)
    return known if window.used is None else known & window.used
