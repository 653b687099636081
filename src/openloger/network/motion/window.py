"""A window's cameras, depth and focal length together: bundle adjustment over all edges, in a few dense steps.

Unknown are the cameras, a factor of the focal length, and log depth: every point of a source frame has a correction
e that its edges share, with the prior e ~ N(φ a, σ_e²) around a smooth field (a frame's scale and a coarse grid,
interpolated by φ) that has a Gaussian process prior of its own. A step eliminates first the
points, then the fields (Schur complements; Triggs et al., "Bundle adjustment: a modern synthesis", 1999) and solves for
cameras and focal length. Flow that disagrees loses its weight step by step. The first camera is held; the scale is the
mean of the frames' depth, by their priors.

Legend: B batch, F frame, S = B · F source, K slots of edges that leave a source, N point, G knots of the field,
y = (ξ of every slot, log focal).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from openloger.geometry import SE3
from openloger.network.motion.elimination import Eliminated, Slots, Tracks, WindowState, adjoints
from openloger.network.motion.flow import STRIDE, EdgeFlow, Edges, cell_centres
from openloger.network.motion.matches import seen_pixels
from openloger.network.motion.pose import factorised, solve_step
from openloger.shapes import Bool, Float, Tensor

STEP = 2  # every second cell of stride 4, down and across
OVERLAP_STEP = 4  # the same, for overlap


@dataclass(frozen=True)
class WindowSettings:
    """Edges and priors of a window, and how long it is adjusted."""

    gaps: tuple[int, ...] = (2, 5)  # edges, both ways, from every frame to the one so many later, beside neighbours
    least_overlap: float = 0.4  # of such an edge either way, by cameras and depth
    cutoffs: tuple[float, ...] = (10.0, 6.0, 4.0, 3.0, 3.0)  # σ_f, one a step
    cutoffs_again: tuple[float, ...] = (4.0, 3.0, 3.0)  # after depth was corrected by other means
    field: tuple[int, int] = (3, 4)  # knots down and across
    scale_sigma: float = 0.01  # of a frame's log depth: the network's frames agree, and noise would tilt their scales
    field_sigma: float = 0.05  # of the knots; 0.1 bends the floors of real rooms
    field_reach: float = 0.2  # picture widths over which the knots agree
    point_sigma: float = 0.1  # of a point around the field
    focal_sigma: float = 0.05  # of the log focal length
    rotation_sigma: float = 0.1  # rad, of the regressed motion between neighbours
    translation_sigma: float = 0.3  # of the same, in median depths


@dataclass(frozen=True, eq=False)
class FocalPrior:
    """The factor that the given focal length is expected to take: its logarithm has this mean and deviation."""

    log_factor: Float[Tensor, " batch"]
    sigma: Float[Tensor, " batch"]


@dataclass(frozen=True, eq=False)
class Adjusted:
    """A window after adjustment."""

    world_from_cam: SE3  # (batch, frame)
    log_focal: Float[Tensor, " batch"]  # log of the factor that the given focal length takes
    log_depth: Float[Tensor, "batch frame down across"]  # the knots of the field: log of the factor that depth takes
    focal_information: Float[Tensor, " batch"]  # inverse variance of log_focal by all but its prior


def adjust_window(
    flow: EdgeFlow,
    edges: Edges,
    depth: tuple[Float[Tensor, "batch frame rows columns"], Bool[Tensor, "batch frame rows columns"]],
    intrinsics: Float[Tensor, "batch frame 3 3"],
    cameras: tuple[SE3, SE3],
    *,
    flow_sigma_px: float,
    settings: WindowSettings,
    focal: FocalPrior | None = None,
) -> Adjusted:
    """Of the flow of all edges, the depth of the cells and where it is known, and (start, regressed) cameras.

    Without `focal` the given focal length is expected, within `settings.focal_sigma`.
    """
    start, regressed = cameras
    batch, frames = start.batch_shape
    slots = Slots.of(edges, frames)
    tracks = window_tracks(flow, slots, depth, intrinsics, settings)
    down, across = settings.field
    state = WindowState(
        start,
        torch.zeros_like(tracks.depth),
        tracks.depth.new_zeros(batch * frames, down * across),
        tracks.depth.new_zeros(batch),
    )
    if focal is None:
        focal = FocalPrior(state.log_focal, torch.full_like(state.log_focal, settings.focal_sigma))
    state, information = descend(
        state, tracks, slots, (regressed, focal), flow_sigma_px=flow_sigma_px, settings=settings
    )
    return Adjusted(
        state.world_from_cam, state.log_focal, state.field.reshape(batch, frames, down, across), information
    )


def descend(
    start: WindowState,
    tracks: Tracks,
    slots: Slots,
    expected: tuple[SE3, FocalPrior],
    *,
    flow_sigma_px: float,
    settings: WindowSettings,
) -> tuple[WindowState, Float[Tensor, " batch"]]:
    """One step for each cutoff, and the `focal_information` at the last; differentiable in everything.

    Expected are the regressed cameras' motions and a focal length.
    """
    state, information = start, torch.zeros_like(start.log_focal)
    prior = field_precision(settings, like=tracks.depth)
    for cutoff in settings.cutoffs:
        system = Eliminated.of(state, tracks, slots, prior, sigma=(flow_sigma_px, settings.point_sigma), cutoff=cutoff)
        cameras, log_focal, information = _solve(system, state, tracks, slots, expected=expected, settings=settings)
        state = system.back_substitute(state, slots, cameras, log_focal)
    return state, information


def predicted_overlap(
    world_from_cam: SE3,
    edges: Edges,
    depth: tuple[Float[Tensor, "batch frame rows columns"], Bool[Tensor, "batch frame rows columns"]],
    intrinsics: Float[Tensor, "batch frame 3 3"],
) -> Float[Tensor, "batch edge"]:
    """The share of a source's known cells that the target's picture holds, by cameras and depth; no gradient."""
    some = slice(OVERLAP_STEP // 2, None, OVERLAP_STEP)
    z, known = (part[..., some, some].flatten(2)[:, edges.source].detach() for part in depth)
    height, width = (STRIDE * cells for cells in depth[0].shape[-2:])
    place = cell_centres(height, width, like=z)[some, some].flatten(0, 1)
    focal, principal = (
        intrinsics.detach().diagonal(dim1=-2, dim2=-1)[..., None, :2],
        intrinsics.detach()[..., None, :2, 2],
    )
    ray = (place - principal[:, edges.source]) / focal[:, edges.source]
    target, source = (
        SE3(world_from_cam.rotation[:, side].detach(), world_from_cam.translation[:, side].detach())
        for side in (edges.target, edges.source)
    )
    moved = (target.inverse() @ source).apply(torch.cat([ray, torch.ones_like(ray[..., :1])], -1) * z[..., None])
    _, inside = seen_pixels(moved, focal[:, edges.target], principal[:, edges.target], size=(height, width))
    return (inside & known).sum(-1) / known.sum(-1).clamp_min(1)


def window_tracks(
    flow: EdgeFlow,
    slots: Slots,
    depth: tuple[Float[Tensor, "batch frame rows columns"], Bool[Tensor, "batch frame rows columns"]],
    intrinsics: Float[Tensor, "batch frame 3 3"],
    settings: WindowSettings,
) -> Tracks:
    """Of the cells' depth and where it is known."""
    some = (..., slice(None, None, STEP), slice(None, None, STEP))
    z, known = (part[some].flatten(2) for part in depth)
    height, width = (STRIDE * cells for cells in flow.weight.shape[-2:])
    centres = cell_centres(height, width, like=z)
    place = centres[::STEP, ::STEP].flatten(0, 1)  # (N, 2)
    focal, principal = intrinsics.diagonal(dim1=-2, dim2=-1)[..., :2], intrinsics[..., :2, 2]
    pixel = (centres + flow.shift_px).movedim(-1, 2)[some].flatten(3)[:, slots.edge]  # (B, F, K, 2, N)
    matched = (pixel - principal[:, slots.target][..., None]) / focal[:, slots.target][..., None]
    usable = (flow.weight * flow.inside)[some].flatten(2)[:, slots.edge] * slots.used[..., None]
    return Tracks(
        ray=((place.mT - principal[..., None]) / focal[..., None]).flatten(0, 1),
        depth=z.flatten(0, 1),
        matched=matched.flatten(0, 1),
        weight=(usable * known[:, :, None]).flatten(0, 1),
        focal_px=focal[:, slots.target].flatten(0, 1),
        basis=field_basis(place, settings, size=(height, width)),
    )


def field_basis(cells: Float[Tensor, "point 2"], settings: WindowSettings, *, size: tuple[int, int]) -> Tensor:
    """Bilinear weights (point, knot) of the field's knots, which lie at the middles of a coarse grid's cells."""
    down, across = settings.field
    knots = torch.eye(down * across, dtype=cells.dtype, device=cells.device).unflatten(1, (down, across))[:, None]
    grid = cells * (2 / cells.new_tensor([size[1], size[0]])) - 1
    value = F.grid_sample(
        knots, grid.expand(down * across, 1, -1, 2), mode="bilinear", padding_mode="border", align_corners=False
    )
    return value[:, 0, 0].mT


def field_precision(settings: WindowSettings, *, like: Tensor) -> Float[Tensor, "knot knot"]:
    """Inverse covariance of the knots: a common scale and a smooth rest."""
    down, across = settings.field
    y, x = torch.meshgrid(torch.arange(down) / across, torch.arange(across) / across, indexing="ij")
    place = torch.stack([x, y], -1).flatten(0, 1).double()
    square = (place[:, None] - place).square().sum(-1)
    covariance = settings.scale_sigma**2 + settings.field_sigma**2 * (-square / (2 * settings.field_reach**2)).exp()
    covariance = covariance + 1e-4 * settings.field_sigma**2 * torch.eye(down * across)
    return torch.linalg.inv(covariance).to(like)


def _jacobian(state: WindowState, slots: Slots) -> Float[Tensor, "batch frame y unknown"]:
    """y by (η of every frame, log focal)."""
    batch, frames = state.world_from_cam.batch_shape
    count, like = slots.target.shape[1], state.log_focal
    own = torch.eye(frames, dtype=like.dtype, device=like.device)
    six = torch.eye(6, dtype=like.dtype, device=like.device)
    source = adjoints(state, slots)[..., None, :] * own[:, None, None, :, None]  # (B, F, K, 6, F, 6)
    target = own[slots.target][:, :, None, :, None] * six[:, None, :]
    xi = F.pad((source - target).reshape(batch, frames, 6 * count, 6 * frames), (0, 1))
    return torch.cat([xi, F.pad(like.new_ones(batch, frames, 1, 1), (6 * frames, 0))], 2)


def _solve(
    system: Eliminated,
    state: WindowState,
    tracks: Tracks,
    slots: Slots,
    *,
    expected: tuple[SE3, FocalPrior],
    settings: WindowSettings,
) -> tuple[Float[Tensor, "batch frame 6"], Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Steps of all cameras but the first, and of the focal length; what is known of it beside its prior."""
    regressed, focal = expected
    batch, frames = state.world_from_cam.batch_shape
    jacobian = _jacobian(state, slots)
    data = (jacobian.mT @ system.information.unflatten(0, (batch, frames)) @ jacobian).sum(1)
    slope = (jacobian.mT @ system.gradient.reshape(batch, frames, -1, 1)).sum(1)[..., 0]
    springs, pull = _regressed_prior(state, tracks, regressed, settings)
    precision = focal.sigma**-2
    information = data + F.pad(springs, (0, 1, 0, 1))
    known = _last_information(information[:, 6:, 6:])
    information = information + torch.diag_embed(F.pad(precision[:, None], (6 * frames, 0)))
    gradient = slope + torch.cat([pull, (precision * (state.log_focal - focal.log_factor))[:, None]], 1)
    step = solve_step(information[:, 6:, 6:], gradient[:, 6:])
    return F.pad(step[:, :-1], (6, 0)).unflatten(1, (frames, 6)), step[:, -1], known


def _last_information(information: Float[Tensor, "batch n n"]) -> Float[Tensor, " batch"]:
    """Inverse variance of the last unknown, whatever the others are; 0 where nothing supports them, as of a camera that
    hardly moves."""
    scale = information.diagonal(dim1=-2, dim2=-1).clamp_min(1e-12).rsqrt()
    factor, failed = factorised(information * scale[:, :, None] * scale[:, None], needed=False)
    return torch.where(failed, 0.0, (factor[:, -1, -1] / scale[:, -1]).square())


def _regressed_prior(
    state: WindowState, tracks: Tracks, regressed: SE3, settings: WindowSettings
) -> tuple[Float[Tensor, "batch n n"], Float[Tensor, "batch n"]]:
    """Weak springs between neighbours that hold what flow does not: the regressed motion."""
    world = state.world_from_cam
    batch, frames = world.batch_shape
    like = state.log_focal
    following = [SE3(t.rotation[:, 1:], t.translation[:, 1:]) for t in (world, regressed)]
    before = [SE3(t.rotation[:, :-1], t.translation[:, :-1]) for t in (world, regressed)]
    now, wanted = (f.inverse() @ b for f, b in zip(following, before, strict=True))
    off = (now @ wanted.inverse()).log()  # (B, F − 1, 6)
    depth = tracks.depth.unflatten(0, (batch, frames)).flatten(1).median(1).values
    sigma = torch.cat(
        [
            (settings.translation_sigma * depth)[:, None].expand(-1, 3),
            like.new_full((batch, 3), settings.rotation_sigma),
        ],
        1,
    )
    precision = (1 / sigma.square())[:, None, :, None]
    own = torch.eye(frames, dtype=like.dtype, device=like.device)
    six = torch.eye(6, dtype=like.dtype, device=like.device)
    by_camera = now.adjoint()[..., None, :] * own[:-1, None, :, None] - own[1:, None, :, None] * six[:, None, :]
    by_camera = by_camera.flatten(3).flatten(1, 2)  # (B, 6 (F − 1), 6 F)
    weighted = by_camera * precision.expand(batch, frames - 1, 6, 1).reshape(batch, -1, 1)
    return weighted.mT @ by_camera, (weighted.mT @ off.flatten(1)[..., None])[..., 0]
