"""The geometric camera: poses of a window from flow and depth, with the regressed cameras as start and fallback.

Flow between frames (`flow.py`) and the depth of the source frame give matches of points and pixels; the motion that
explains them is found by a robust start (`hypotheses.py`) and Gauss–Newton (`pose.py`). A layer of the network without
weights: it runs within the pass, and gradients reach depth, flow and intrinsics through the Gauss–Newton steps. Then
the whole window is adjusted (`window.py`): more edges, corrections of depth and focal length.

What cannot be measured is recognised: a camera that stands still gets the identity, and an edge with too little texture
or too few matches that agree keeps the regressed motion.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum

import torch
import torch.nn.functional as F

from openloger.geometry import SE3
from openloger.network.motion.flow import EdgeFlow, Edges, FlowFeatures, flow_between
from openloger.network.motion.hypotheses import best_hypothesis
from openloger.network.motion.matches import cell_depth, edge_matches, pick
from openloger.network.motion.pose import Matches, Noise, linearise, normal_equations, refine_motion, robust_weight
from openloger.network.motion.window import FocalPrior, WindowSettings, adjust_window, predicted_overlap
from openloger.shapes import Float, Int, Tensor


class EdgeStatus(IntEnum):
    """The source of an edge's motion."""

    MEASURED = 0
    STILL = 1  # nothing moved: the identity
    FALLBACK = 2  # the regressed cameras' motion


@dataclass(frozen=True)
class CameraSettings:
    """Settings of the geometric camera, and the limits beyond which it keeps the regressed motion."""

    noise: Noise = field(default_factory=Noise)
    hypotheses: int = 64
    steps: int = 6  # Gauss–Newton, with gradients
    least_matches: float = 40.0  # cells of stride 4, weighted
    least_inliers: float = 0.25  # of them
    still_px: float = 0.05  # median flow under which the camera stands still
    window: WindowSettings | None = field(default_factory=WindowSettings)  # None: neighbours alone, chained
    correlated: float = 16.0  # matches that err alike, as smoothing and windows overlap: information is divided by it


@dataclass(frozen=True, eq=False)
class EdgeMotion:
    """The motion of every edge and how it was found."""

    edges: Edges
    target_from_source: SE3  # (batch, edge)
    information: Float[Tensor, "batch edge 6 6"]  # inverse covariance of ξ = (ρ, φ), exp(ξ) on the left; 0: fallback
    inliers: Float[Tensor, "batch edge"]  # weighted share of matches within the cutoff
    status: Int[Tensor, "batch edge"]  # EdgeStatus
    flow: EdgeFlow


@dataclass(frozen=True, eq=False)
class GeometricCameras:
    """Cameras of a window in the regressed cameras' frame, in the unit of depth, and what depth and lens become."""

    world_from_cam: Float[Tensor, "batch frame 4 4"]  # the first one is the regressed one
    motion: EdgeMotion  # between neighbours
    log_focal: Float[Tensor, " batch"]  # log of the factor that the given focal length takes
    log_depth: Float[Tensor, "batch frame down across"]  # log of the factor that depth takes, on a coarse grid
    edges: Edges  # all that the window was adjusted by
    flow: EdgeFlow  # of these; edges of `motion` that fell back have no weight
    focal_information: Float[Tensor, " batch"]  # inverse variance of log_focal by flow, beside its prior

    def corrected_depth(
        self, depth: Float[Tensor, "batch frame height width"]
    ) -> Float[Tensor, "batch frame height width"]:
        """Depth times the correction, interpolated between the grid's middles."""
        size = (depth.shape[-2], depth.shape[-1])
        return depth * F.interpolate(self.log_depth, size=size, mode="bilinear", align_corners=False).exp()


def geometric_camera(
    features: FlowFeatures,
    depth: Float[Tensor, "batch frame height width"],
    intrinsics: Float[Tensor, "batch frame 3 3"],
    regressed: Float[Tensor, "batch frame 4 4"],
    *,
    settings: CameraSettings | None = None,
    focal: FocalPrior | None = None,
) -> GeometricCameras:
    """Cameras from the motions between neighbours, chained from the first regressed one, then adjusted together.

    `depth` is along z at the size of the pictures; pixels that are not finite and positive have no weight. `regressed`
    is `world_from_cam` as the network guesses it, in the unit of depth. A window of one frame keeps its camera. Without
    `settings.window` the corrections are zero. `focal` is what the factor of the focal length is expected to be;
    without it, 1 within the window's settings.
    """
    settings = settings or CameraSettings()
    guess, edges = SE3.from_matrix(regressed), Edges.chain(depth.shape[1], device=depth.device)
    both = edges + edges.reversed()
    there_and_back = flow_between(features, both).returning(both)
    flow, back = there_and_back[: len(edges)], there_and_back[len(edges) :]
    motion = measure_motion(flow, edges, depth, intrinsics, guess, settings=settings)
    cameras = _chain(guess, motion.target_from_source.inverse())
    trusted = flow.reweighted((motion.status != EdgeStatus.FALLBACK).to(depth.dtype))
    if settings.window is None or not len(edges):
        no_depth = depth.new_zeros(*depth.shape[:2], 1, 1)
        nothing = no_depth[:, 0, 0, 0]
        return GeometricCameras(cameras.matrix(), motion, nothing, no_depth, edges, trusted, focal_information=nothing)
    with torch.autocast(depth.device.type, enabled=False):
        cells = cell_depth(depth)
        pairs = Edges.gaps(depth.shape[1], settings.window.gaps, device=depth.device)
        shared = torch.minimum(
            predicted_overlap(cameras, pairs, cells, intrinsics),
            predicted_overlap(cameras, pairs.reversed(), cells, intrinsics),
        )
        pairs = pairs[(shared > settings.window.least_overlap).any(0)]
        more = pairs + pairs.reversed()
        flow = trusted + back + flow_between(features, more).returning(more)
        edges = both + more
        adjusted = adjust_window(
            flow,
            edges,
            cells,
            intrinsics,
            (cameras, guess),
            flow_sigma_px=settings.noise.flow_sigma_px,
            settings=settings.window,
            focal=_prior_among_matches(focal, settings),
        )
    return GeometricCameras(
        adjusted.world_from_cam.matrix(),
        motion,
        adjusted.log_focal,
        adjusted.log_depth,
        edges,
        flow,
        focal_information=adjusted.focal_information / settings.correlated,
    )


def readjusted(
    cameras: GeometricCameras,
    depth: Float[Tensor, "batch frame height width"],
    intrinsics: Float[Tensor, "batch frame 3 3"],
    regressed: Float[Tensor, "batch frame 4 4"],
    *,
    settings: CameraSettings | None = None,
    focal: FocalPrior | None = None,
) -> GeometricCameras:
    """The same cameras after a shorter adjustment, by the same flow, to depth and intrinsics that were corrected.

    `log_focal` and `log_depth` are relative to the given intrinsics and depth; zero without `settings.window` or edges.
    """
    settings = settings or CameraSettings()
    none = torch.zeros_like(cameras.log_depth)
    if settings.window is None or not len(cameras.edges):
        return replace(cameras, log_focal=torch.zeros_like(cameras.log_focal), log_depth=none)
    with torch.autocast(depth.device.type, enabled=False):
        adjusted = adjust_window(
            cameras.flow,
            cameras.edges,
            cell_depth(depth),
            intrinsics,
            (SE3.from_matrix(cameras.world_from_cam), SE3.from_matrix(regressed)),
            flow_sigma_px=settings.noise.flow_sigma_px,
            settings=replace(settings.window, cutoffs=settings.window.cutoffs_again),
            focal=_prior_among_matches(focal, settings),
        )
    return replace(
        cameras,
        focal_information=adjusted.focal_information / settings.correlated,
        world_from_cam=adjusted.world_from_cam.matrix(),
        log_focal=adjusted.log_focal,
        log_depth=adjusted.log_depth,
    )


def _prior_among_matches(focal: FocalPrior | None, settings: CameraSettings) -> FocalPrior | None:
    """As sure as it has to be beside matches that count as if they erred one by one (`CameraSettings.correlated`)."""
    return focal and FocalPrior(focal.log_factor, focal.sigma / settings.correlated**0.5)


def _chain(guess: SE3, source_from_target: SE3) -> SE3:
    """Cameras (batch, frame) from the motions between neighbours, after the first one."""
    cameras = [SE3(guess.rotation[:, 0], guess.translation[:, 0])]
    for edge in range(source_from_target.batch_shape[1]):
        step = SE3(source_from_target.rotation[:, edge], source_from_target.translation[:, edge])
        cameras.append(cameras[-1] @ step)
    return SE3(
        torch.stack([camera.rotation for camera in cameras], 1),
        torch.stack([camera.translation for camera in cameras], 1),
    )


def measure_motion(
    flow: EdgeFlow,
    edges: Edges,
    depth: Float[Tensor, "batch frame height width"],
    intrinsics: Float[Tensor, "batch frame 3 3"],
    regressed: SE3,
    *,
    settings: CameraSettings | None = None,
) -> EdgeMotion:
    """The motion of every edge from its flow and the depth of its source frame."""
    settings = settings or CameraSettings()
    batch, count = flow.weight.shape[:2]
    with torch.autocast(depth.device.type, enabled=False):
        start = pick(regressed, edges.target).inverse() @ pick(regressed, edges.source)  # target from source
        start = SE3(start.rotation.flatten(0, 1), start.translation.flatten(0, 1))
        matches = edge_matches(flow, edges, depth, intrinsics)
        fit = _fit(start, matches, settings)
        status = _status(flow.motion_px.flatten(), matches.weight.sum(1), fit.inliers, settings)
        motion = _choose(status, fit.motion, start)
    information = torch.where((status == EdgeStatus.FALLBACK)[:, None, None], 0.0, fit.information)
    return EdgeMotion(
        edges=edges,
        target_from_source=SE3(*(part.unflatten(0, (batch, count)) for part in (motion.rotation, motion.translation))),
        information=information.unflatten(0, (batch, count)),
        inliers=fit.inliers.unflatten(0, (batch, count)),
        status=status.unflatten(0, (batch, count)),
        flow=flow,
    )


@dataclass(frozen=True, eq=False)
class _Fit:
    motion: SE3  # (pair,)
    information: Float[Tensor, "pair 6 6"]
    inliers: Float[Tensor, " pair"]


def _fit(start: SE3, matches: Matches, settings: CameraSettings) -> _Fit:
    """Robust start, gate, Gauss–Newton."""
    noise = settings.noise
    robust = best_hypothesis(start, matches, noise, count=settings.hypotheses)
    with torch.no_grad():
        near = linearise(robust, matches, noise).square < noise.gate**2
    gated = matches.reweighted(near.to(matches.weight.dtype))
    motion, log_depth = refine_motion(robust, gated, noise, steps=settings.steps)
    linearised = linearise(motion, gated, noise, log_depth)
    agree = (linearised.square.detach() < noise.cutoff**2) * matches.weight.detach()
    information, _ = normal_equations(linearised, robust_weight(linearised, gated, noise.cutoff))
    return _Fit(
        motion, information / settings.correlated, agree.sum(1) / matches.weight.detach().sum(1).clamp_min(1e-6)
    )


def _status(
    motion_px: Float[Tensor, " edge"],
    total: Float[Tensor, " edge"],
    inliers: Float[Tensor, " edge"],
    settings: CameraSettings,
) -> Int[Tensor, " edge"]:
    lost = (total < settings.least_matches) | (inliers < settings.least_inliers)
    still = motion_px < settings.still_px
    status = torch.where(still, EdgeStatus.STILL, EdgeStatus.MEASURED)
    return torch.where(lost, EdgeStatus.FALLBACK, status)


def _choose(status: Int[Tensor, " edge"], measured: SE3, start: SE3) -> SE3:
    still, lost = status == EdgeStatus.STILL, status == EdgeStatus.FALLBACK
    identity = torch.eye(3, dtype=measured.rotation.dtype, device=measured.rotation.device)
    rotation = torch.where(still[:, None, None], identity, measured.rotation)
    translation = torch.where(still[:, None], 0.0, measured.translation)
    return SE3(
        torch.where(lost[:, None, None], start.rotation, rotation),
        torch.where(lost[:, None], start.translation, translation),
    )
