"""The outputs of dense heads through the geometric camera: cameras, depth and lens as flow measures them.

The regressed cameras are its start and fallback. With a refinement, depth is corrected after the adjustment by
triangulation, and a shorter adjustment of cameras, focal length and depth follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from openloger.geometry import SE3, centred_intrinsics, unproject
from openloger.network.fusion import Pyramid
from openloger.network.heads import HeadOutputs
from openloger.network.motion import (
    CameraSettings,
    GeometricCameras,
    WindowSettings,
    flow_features,
    geometric_camera,
    readjusted,
    triangulate,
)
from openloger.network.refinement import DepthRefinement
from openloger.network.window import Window
from openloger.shapes import Bool, Float, Tensor

KNOWN_FOCAL_SIGMA = 1e-4  # of a given focal length's logarithm, which adjustment leaves as it is


def measured_heads(
    heads: HeadOutputs, pyramid: Pyramid, window: Window, refinement: DepthRefinement | None
) -> HeadOutputs:
    """Heads with measured cameras, and depth, confidence and focal length corrected by them.

    Raises InputError as `flow_features`.
    """
    used = None if window.used is None else window.used.flatten(0, 1)
    features = flow_features(window.images, pyramid[2].flatten(0, 1), pyramid[3].flatten(0, 1), used)
    settings, regressed = _settings(window), heads.world_from_cam
    state = _State(heads, heads.points_cam[..., 2], lens_of(heads, window), _measurable(heads, window))
    cameras = geometric_camera(features, state.known_depth, state.lens, regressed, settings=settings)
    state = state.moved(cameras)
    if refinement is None:
        return state.heads
    state = state.refined(refinement, cameras, pyramid)
    return state.moved(readjusted(cameras, state.known_depth, state.lens, regressed, settings=settings)).heads


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
        return _State(seen_through(heads, depth, lens), depth, lens, self.measurable)

    def refined(self, refinement: DepthRefinement, cameras: GeometricCameras, pyramid: Pyramid) -> _State:
        """With depth and confidence corrected by what triangulation finds between these cameras."""
        world_from_cam = SE3.from_matrix(cameras.world_from_cam)
        found = triangulate(cameras.flow, cameras.edges, world_from_cam, self.known_depth, self.lens)
        log_depth, confidence = refinement(self.heads, found, pyramid)
        heads = self.heads._replace(confidence_logit=self.heads.confidence_logit + confidence)
        depth = self.depth * log_depth.exp()
        return _State(seen_through(heads, depth, self.lens), depth, self.lens, self.measurable)


def _measurable(heads: HeadOutputs, window: Window) -> Bool[Tensor, "batch frame height width"]:
    """Pixels to measure by: neither sky nor masked, nor moving where the window excludes what moves."""
    assert heads.sky_logit is not None
    assert heads.moving_logit is not None
    known = heads.sky_logit <= 0
    if window.still_only:
        known = known & (heads.moving_logit <= 0)
    return known if window.used is None else known & window.used


def _settings(window: Window) -> CameraSettings:
    known = window.intrinsics is not None
    return CameraSettings(window=WindowSettings(focal_sigma=KNOWN_FOCAL_SIGMA) if known else WindowSettings())
