"""Whether two places of a recording are one: the network gets frames of both in one window, and geometry decides.

The window has the frames of both visits by turns, so that flow, where the network has it, joins them everywhere. Where
the same frames stand in the recording gives a similarity from the window's world to the recording's by each visit, by
those of its frames that stand to each other as they are recorded: where flow fails between the visits, some do not.
What lies between the two similarities is the drift D of the path in between. It is accepted where the recorded surfaces
agree under it, both ways: points of one visit, moved by D, meet the depth and the picture of the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F

from openloger.geometry import SE3, Sim3, nearest_rotation, rotation_angle, unproject
from openloger.network import Network
from openloger.recording import Recording
from openloger.shapes import Float, Float32, Float64, Int, Tensor
from openloger.streaming import Stream, StreamState

DEPTH_TOLERANCE = 0.1  # of log depth: a point that meets a surface
LEAST_OVERLAP = 0.35  # of the points, that fall into the other picture
LEAST_INLIERS = 0.6  # of these, that meet its surface
LEAST_LIKENESS = 0.6  # correlation of the two pictures where they do
FEW_INLIERS, HIGH_LIKENESS = 0.35, 0.9  # or so many, where the pictures agree so well: depth of one visit may be soft
MOST_TURN_DEG, MOST_SHIFT, MOST_GROWTH = 4.0, 0.1, 0.35  # of one visit's frames, between recording and window
LEAST_FRAMES = 2  # of a visit, that are within these
SIGMA_SHIFT = 0.03  # of the middle depth: a drift is no more exact
LEAST_CONFIDENCE = 0.5  # of a frame's median
_STRIDE = 2  # pixels, of the points that are tried


@dataclass(frozen=True, eq=False)
class Visit:
    """Some frames of one place, as they are recorded and corrected."""

    frames: Int[np.ndarray, " frame"]  # numbers of the recording
    world_from_cam: SE3  # (frame,), float64
    intrinsics: Float64[Tensor, "frame 3 3"]
    depth: Float32[Tensor, "frame height width"]
    detail: Float32[Tensor, "frame height width"]  # of the picture's grey, at medium scale; mean 0

    def only(self, rows: Tensor) -> Visit:
        """Some of its frames."""
        parts = (self.world_from_cam[rows], self.intrinsics[rows], self.depth[rows], self.detail[rows])
        return Visit(self.frames[rows.numpy()], *parts)

    @property
    def middle_depth(self) -> float:
        return float(self.depth[self.depth > 0].median()) if bool((self.depth > 0).any()) else 1.0


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far the recorded surfaces of two visits agree; each the lower of both ways."""

    overlap: float  # share of the points that fall into the other picture
    inliers: float  # of these, the share that meets its surface
    likeness: float  # correlation of the pictures there

    @property
    def strength(self) -> float:
        """1 where it is just accepted."""
        by_surfaces = min(self.inliers / LEAST_INLIERS, self.likeness / LEAST_LIKENESS)
        by_pictures = min(self.inliers / FEW_INLIERS, self.likeness / HIGH_LIKENESS)
        return min(self.overlap / LEAST_OVERLAP, max(by_surfaces, by_pictures))

    @property
    def refusal(self) -> str | None:
        """The reason not to accept it; None: there is none."""
        if self.overlap < LEAST_OVERLAP:
            return "little in common"
        if self.strength >= 1:
            return None
        return "surfaces do not agree" if self.inliers < LEAST_INLIERS else "pictures do not agree"


@dataclass(frozen=True, eq=False)
class Revisit:
    """Two visits of one place."""

    first: int  # frames of the recording, with which the visits begin
    second: int  # the later one
    drift: Sim3  # (), the first visit's world from the second's: the identity where the path has none
    agreement: Agreement
    sigma: float  # of the drift's translation, in the recording's unit


class Revisits:
    """Verifies pairs of places of one recording."""

    def __init__(self, recording: Recording, network: Network) -> None:
        self._recording = recording
        self._cameras, self._intrinsics = recording.world_from_cam, recording.intrinsics
        self._network = network
        self._most = max(2, network.config.window // 2)

    def verify(self, first: range, second: range) -> Revisit | str:
        """The drift between two visits, each some frames in a row, or the reason why they are not one place's."""
        count = min(self._most, len(first), len(second))
        if count < 2:
            return "fewer than two frames"
        one, other = self._visit(first, count), self._visit(second, count)
        window_from_cam, depth = self._seen_together(one, other)
        placed = [
            placements(visit, window_from_cam[rows], depth[rows])
            for visit, rows in ((one, slice(count)), (other, slice(count, None)))
        ]
        tried: list[Revisit] = []
        for by_one, by_other in product(*placed):
            drift = by_one.world_from_window @ by_other.world_from_window.inverse()
            shift = max(SIGMA_SHIFT, by_one.shift, by_other.shift) * one.middle_depth
            tried.append(Revisit(first[0], second[0], drift, agreement_of(one, other, drift), shift))
        if not tried:
            return "the network places them otherwise together"
        found = max(tried, key=lambda revisit: revisit.agreement.strength)
        return found.agreement.refusal or found

    def _visit(self, numbers: range, count: int) -> Visit:
        """`count` of these frames, evenly."""
        frames = np.linspace(numbers[0], numbers[-1], count).round().astype(int)
        rgb = np.stack([self._recording.rgb(int(frame)) for frame in frames])
        depth = np.stack([self._trusted_depth(int(frame)) for frame in frames])
        return Visit(
            frames,
            SE3.from_matrix(torch.from_numpy(self._cameras[frames])),
            torch.from_numpy(self._intrinsics[frames]),
            torch.from_numpy(depth),
            medium_detail(torch.from_numpy(rgb).float().mean(-1)),
        )

    def _trusted_depth(self, frame: int) -> Float32[np.ndarray, "height width"]:
        """0 where confidence is far below the frame's own: the sky, mostly."""
        depth, confidence = self._recording.depth(frame), self._recording.confidence(frame)
        return np.where(confidence >= LEAST_CONFIDENCE * np.median(confidence), depth, 0)

    def _seen_together(self, one: Visit, other: Visit) -> tuple[SE3, Float32[Tensor, "frame height width"]]:
        """Cameras and depth of both visits in one window without memory: the frames of one, then those of the other."""
        meta, count = self._recording.meta, len(one.frames)
        by_turns = np.stack([one.frames, other.frames], 1).flatten()
        given = [self._recording.frame(int(frame)).as_given(meta) for frame in by_turns]
        frames = [replace(frame, index=number, source_size=None) for number, frame in enumerate(given)]
        lens = torch.cat([one.intrinsics, other.intrinsics]).median(0).values
        stream = Stream(
            self._network,
            window=2 * count,
            overlap=min(self._network.config.overlap, 2 * count - 1),
            placement="none",
            reset_every=0,
            size=(meta.height, meta.width),
            memory="fresh",
            keyframes="all",
        )
        stream.state = StreamState(reset_every=0)  # settled, so that it is not announced each time
        known_px = (float(lens[0, 0]), float(lens[1, 1]), float(lens[0, 2]), float(lens[1, 2]))
        placed = next(iter(stream.run(frames, known_intrinsics_px=known_px, ahead=0)))
        order = torch.arange(2 * count).reshape(count, 2).mT.flatten()
        return SE3.from_matrix(placed.world_from_cam[order]), placed.depth[order]


@dataclass(frozen=True, eq=False)
class PlacedVisit:
    """Where a visit's frames, as a window has them, stand in the recording."""

    world_from_window: Sim3
    turn_deg: float  # how far the frames are off after that, at most
    shift: float  # in middle depths
    growth: float  # spread of log depth, recorded over the window's

    @property
    def agrees(self) -> bool:
        return self.turn_deg <= MOST_TURN_DEG and self.shift <= MOST_SHIFT and self.growth <= MOST_GROWTH


def placements(visit: Visit, window_from_cam: SE3, depth: Float32[Tensor, "frame height width"]) -> list[PlacedVisit]:
    """By each set of at least `LEAST_FRAMES` frames that a window has to each other as they are recorded."""
    sets: set[tuple[int, ...]] = set()
    for row in range(len(visit.frames)):
        alone = torch.tensor([row])
        by_one = place_visit(visit.only(alone), window_from_cam[alone], depth[alone])
        turn_deg, shift = _left(visit, window_from_cam, by_one.world_from_window)
        if by_one.agrees:
            sets.add(tuple(((turn_deg <= MOST_TURN_DEG) & (shift <= MOST_SHIFT)).nonzero().flatten().tolist()))
    chosen = [torch.tensor(rows) for rows in sorted(sets) if len(rows) >= LEAST_FRAMES]
    placed = [place_visit(visit.only(rows), window_from_cam[rows], depth[rows]) for rows in chosen]
    return [one for one in placed if one.agrees]


def place_visit(visit: Visit, window_from_cam: SE3, depth: Float32[Tensor, "frame height width"]) -> PlacedVisit:
    """The similarity by the median ratio of depths, the mean rotation and the mean place of the frames."""
    known = (visit.depth > 0) & (depth > 0)
    if not bool(known.any()):
        return PlacedVisit(Sim3.identity(dtype=torch.float64), 180.0, float("inf"), float("inf"))
    ratio = (visit.depth[known].double() / depth[known].double()).log()
    scale = ratio.median().exp()
    world, window = visit.world_from_cam, window_from_cam
    rotation = nearest_rotation((world.rotation @ window.rotation.mT).sum(0))
    moved = scale * (rotation @ window.translation[..., None])[..., 0]
    translation = (world.translation - moved).mean(0)
    world_from_window = Sim3(scale, rotation, translation)
    turn_deg, shift = _left(visit, window, world_from_window)
    growth = float(1.4826 * (ratio - ratio.median()).abs().median())
    return PlacedVisit(world_from_window, float(turn_deg.max()), float(shift.max()), growth)


def _left(
    visit: Visit, window_from_cam: SE3, world_from_window: Sim3
) -> tuple[Float64[Tensor, " frame"], Float64[Tensor, " frame"]]:
    """How far each frame is off where it is placed so: degrees, and middle depths."""
    world = visit.world_from_cam
    turn = rotation_angle(world.rotation.mT @ world_from_window.rotation @ window_from_cam.rotation)
    off = world.translation - world_from_window.apply(window_from_cam.translation)
    return turn.rad2deg(), off.norm(dim=-1) / visit.middle_depth


def agreement_of(one: Visit, other: Visit, one_from_other: Sim3) -> Agreement:
    """Of the two frames, one of each visit, that have most in common."""
    forth = _agreements(other, one, one_from_other)
    back = _agreements(one, other, one_from_other.inverse()).mT
    both = torch.minimum(forth, back)
    best = both[0].argmax()
    return Agreement(*(float(values.flatten()[best]) for values in both))


def _agreements(source: Visit, target: Visit, moved: Sim3) -> Float[Tensor, "3 source target"]:
    """Overlap, inliers and likeness of every frame of one visit, moved by a similarity, in every one of the other."""
    found = torch.zeros(3, len(source.frames), len(target.frames))
    thinned = (slice(_STRIDE // 2, None, _STRIDE),) * 2
    for row in range(len(source.frames)):
        known = source.depth[row][thinned] > 0
        points = unproject(source.depth[row].double(), source.intrinsics[row])[thinned][known]
        world = moved.apply(source.world_from_cam[row].apply(points))
        grey = source.detail[row][thinned][known]
        for column in range(len(target.frames)):
            found[:, row, column] = _agreement(world, grey, target, column)
    return found


def _agreement(
    world: Float64[Tensor, "point 3"], grey: Float32[Tensor, " point"], target: Visit, frame: int
) -> Float[Tensor, " 3"]:
    point = target.world_from_cam[frame].inverse().apply(world)
    ahead = point[:, 2] > 1e-6
    pixel = (point @ target.intrinsics[frame].mT)[:, :2] / point[:, 2:].clamp_min(1e-6)
    height, width = target.depth.shape[-2:]
    at = 2 * pixel / pixel.new_tensor([width, height]) - 1
    inside = ahead & (at.abs() < 1).all(-1)
    if not len(world) or int(inside.sum()) < 10:
        return torch.zeros(3)
    maps = torch.stack([target.depth[frame], target.detail[frame]])[None]
    depth, seen = F.grid_sample(maps, at[inside][None, None].float(), align_corners=False)[0, :, 0]
    meets = (depth > 0) & ((depth.clamp_min(1e-6).log() - point[inside, 2].log()).abs() < DEPTH_TOLERANCE)
    pair = torch.stack([grey[inside][meets], seen[meets]])
    likeness = torch.corrcoef(pair)[0, 1].nan_to_num(0.0) if pair.shape[1] >= 10 else pair.new_zeros(())
    return torch.stack([inside.float().mean(), meets.float().mean(), likeness])


def medium_detail(grey: Float32[Tensor, "frame height width"]) -> Float32[Tensor, "frame height width"]:
    """Without what is smaller than a 32nd of the width, or larger than a fifth."""
    width = grey.shape[-1]
    return _blurred(grey, width // 32) - _blurred(grey, width // 5)


def _blurred(grey: Tensor, across: int) -> Tensor:
    across = max(1, across | 1)
    return F.avg_pool2d(grey[:, None], across, stride=1, padding=across // 2, count_include_pad=False)[:, 0]
