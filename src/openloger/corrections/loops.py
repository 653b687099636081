"""Closing loops: where the camera comes back to a place, the drift since is measured and spread over the path.

Places that look alike (`places.py`) are verified by the network and by geometry (`revisits.py`). A revisit is a closure
where it is within what the path may have drifted, and where another revisit nearby shows the same drift: one look-alike
is not enough. Then a robust pose graph over the places (`geometry/pose_graph.py`) weighs closures against the path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from openloger.corrections.places import Places, likely_pairs, recorded_places
from openloger.corrections.result import Alignment, check_frames, middle_depth
from openloger.corrections.revisits import Revisit, Revisits
from openloger.corrections.tracks import chain_edges
from openloger.corrections.verified import VerifiedPairs
from openloger.errors import InputError
from openloger.geometry import RelativeEdges, Sim3, rotation_angle, solve_pose_graph
from openloger.network import Network, load_network, weights_hash
from openloger.network.cores import cores_for
from openloger.network.presets import PRESETS
from openloger.recording import CorrectionStep, Recording
from openloger.runtime.progress import Progress, Stopwatch
from openloger.shapes import Bool, Float64

LEAST_PATH = 3.0  # middle depths between two visits: less is the same visit
REACH, REACH_DEG = 1.5, 50.0  # middle depths, and degrees, between cameras that have surfaces in common
APART = 3  # places, within which pairs are of the same revisit
LEAST_LIKENESS = 0.25  # of descriptors
PASSES, SHARE_OF_WINDOWS = 40, 0.03  # of the network, at most the greater of the two
NEARBY = 30.0  # middle depths of path, both visits together, within which another revisit confirms one
TRIES_NEARBY = 4  # passes for that
MOST_DRIFT, MOST_TURN_DEG, MOST_GROWTH = 0.2, 0.5, 0.01  # of the path between; a place; of log scale, a place
AGREEING_SHARE = 0.05  # of the path between two revisits, by which their drifts may differ
SIGMA_TURN_DEG, SIGMA_GROWTH = 1.0, 0.03  # of a closure
LEAST_WEIGHT = 0.5  # that the pose graph leaves an accepted closure


def close_loops(
    recording: Recording,
    *,
    network: Network | str | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Alignment:
    """A smooth correction that closes the path's loops; `apply` writes it.

    `network` is the one that verifies: loaded, or a preset's name; by default the recording's own. Pictures are taken
    from the recording, so that its source is not needed. Memory is bounded by `MOST_PLACES` squared, passes of the
    network by the greater of `PASSES` and `SHARE_OF_WINDOWS`; progress counts them, and pictures that are described.
    What is verified is kept beside the recording until the search is over: one that was cut goes on from there.

    Raises InputError where there is nothing to close, where the network is another one than the recording's, and where
    scipy is not installed.
    """
    check_frames(recording)
    if recording.views > 1:
        raise InputError(
            f"{recording.path} is of a rig of {recording.views} views, whose loops are not closed; reconstruct one "
            "direction (--camera equirect:YAW,PITCH) to close them"
        )
    own = _own_network(recording) if network is None else network
    loaded = load_network(own) if isinstance(own, str) else own
    is_own = _is_own(recording, loaded)
    if network is None and not is_own:
        raise InputError(
            f"{recording.path} was made with other weights of {recording.meta.network} than these: give them "
            "(--weights), or name a network to verify by (--network)"
        )
    with cores_for(loaded, (recording.meta.height, recording.meta.width)):
        places = recorded_places(recording, loaded, kept=is_own, on_progress=on_progress)
        search = _Search(recording, loaded, places)
        found = search.revisits(on_progress)
    path = _Path(recording, places)
    plausible = [one for one in found if path.may_drift(one)]
    confirmed = [one for one in plausible if any(path.confirms(one, other) for other in plausible)]
    refused = search.refused + Counter(
        {"more than the path can drift": len(found) - len(plausible), "alone": len(plausible) - len(confirmed)}
    )
    if not confirmed:
        raise InputError(f"{recording.path}: nothing to close: {_why_none(search.passes, refused)}")
    return _solved(recording, places, confirmed, passes=search.passes, refused=refused)


def _own_network(recording: Recording) -> str:
    name = recording.meta.network
    if name not in PRESETS:
        raise InputError(f"{recording.path} was made with {name!r}, which is no preset; name one (--network)")
    return name


def _is_own(recording: Recording, network: Network) -> bool:
    meta = recording.meta
    own = None if network.weights is None else weights_hash(network.weights)
    return (meta.network, meta.weights_hash) == (network.config.name, own)


def _why_none(passes: int, refused: Counter[str]) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in refused.most_common() if count)
    if not passes:
        return "no place looks like one that the camera left"
    return f"{passes} pairs of places were seen together, and none is accepted ({reasons})"


class _Search:
    """Revisits of a recording, and the count of pairs that were none, by reason."""

    def __init__(self, recording: Recording, network: Network, places: Places) -> None:
        self._places, self._revisits = places, Revisits(recording, network)
        self._world_from_place = recording.world_from_cam[places.frames]
        self._middle_depth = middle_depth(recording)
        self._verified = VerifiedPairs(recording, network, places)
        along = along_path(recording)[places.frames]
        self._may_meet = may_meet(self._world_from_place, along, self._middle_depth)
        self._most = max(PASSES, round(SHARE_OF_WINDOWS * len(recording.windows)))
        self.refused: Counter[str] = Counter()

    @property
    def passes(self) -> int:
        """Windows that the network was given, those before the search was cut included."""
        return len(self._verified)

    def revisits(self, on_progress: Callable[[Progress], None]) -> list[Revisit]:
        """The most alike first, and around each that is one those that may confirm it."""
        watch = Stopwatch(total=self._most)
        pairs = likely_pairs(
            self._places,
            self._may_meet,
            least_likeness=LEAST_LIKENESS,
            apart=APART,
        )
        for pair in pairs:
            before = self.passes
            if (found := self._try(pair.first, pair.second)) is not None:
                self._confirm(pair.first, pair.second, found.drift)
            on_progress(watch.advance(self.passes - before))
            if self.passes >= self._most:
                break
        self._verified.finish()
        return self._verified.revisits

    def _try(self, first: int, second: int) -> Revisit | None:
        pair = (first, second)
        if pair in self._verified:
            found = self._verified[pair]
        else:
            spans = [range(int(self._places.frames[at]), int(self._places.stops[at])) for at in pair]
            found = self._verified.verify(pair, lambda: self._revisits.verify(*spans))
            if isinstance(found, str):
                self.refused[found] += 1
        return None if isinstance(found, str) else found

    def _confirm(self, first: int, second: int, drift: Sim3) -> None:
        """Other places of both visits, the nearest to each other by this drift first, until one is a revisit too."""
        steps = [step for step in range(-APART + 1, APART) if step]
        count = len(self._places.frames)
        around = [(first + a, second + b) for a in steps for b in steps]
        around = [(a, b) for a, b in around if 0 <= a < count and 0 <= b < count]
        apart = {pair: self._apart(*pair, drift) for pair in around if self._may_meet[pair]}
        for pair in sorted(apart, key=lambda pair: apart[pair])[:TRIES_NEARBY]:
            if apart[pair] <= 1 and self._try(*pair) is not None:
                return

    def _apart(self, first: int, second: int, drift: Sim3) -> float:
        """How far two places are from each other after that drift, over `REACH` and `REACH_DEG`."""
        one, other = self._world_from_place[first], self._world_from_place[second]
        off = drift.apply(torch.from_numpy(other[:3, 3].copy())).numpy() - one[:3, 3]
        turn = np.arccos((one[:3, 2] @ (drift.rotation.numpy() @ other[:3, 2])).clip(-1, 1))
        return max(float(np.linalg.norm(off)) / (REACH * self._middle_depth), float(np.rad2deg(turn)) / REACH_DEG)


def may_meet(
    world_from_cam: Float64[np.ndarray, "place 4 4"], along: Float64[np.ndarray, " place"], middle_depth: float
) -> Bool[np.ndarray, "place place"]:
    """Whether two places, the first before the second, can have surfaces in common after what the path may have
    drifted in between, and are not one visit."""
    centres, ahead = world_from_cam[:, :3, 3].astype(np.float32), world_from_cam[:, :3, 2].astype(np.float32)
    between = (along[None] - along[:, None]).astype(np.float32)
    places = np.arange(len(along), dtype=np.float32)
    squared = np.square(centres).sum(1)
    distance = np.sqrt((squared[:, None] + squared[None] - 2 * centres @ centres.T).clip(0))
    turn_deg = np.rad2deg(np.arccos((ahead @ ahead.T).clip(-1, 1)))
    is_near = distance <= MOST_DRIFT * between + REACH * middle_depth
    is_alike = turn_deg <= MOST_TURN_DEG * (places[None] - places[:, None]) + REACH_DEG
    return (between >= LEAST_PATH * middle_depth) & is_near & is_alike


def along_path(recording: Recording) -> Float64[np.ndarray, " frame"]:
    """Length of the path up to each frame, in the recording's unit."""
    steps = np.linalg.norm(np.diff(recording.world_from_cam[:, :3, 3], axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


class _Path:
    """The limits that the path sets to revisits."""

    def __init__(self, recording: Recording, places: Places) -> None:
        self._along = along_path(recording)
        self._centres = torch.from_numpy(recording.world_from_cam[:, :3, 3].copy())
        self._places, self._middle_depth = places, middle_depth(recording)

    def may_drift(self, one: Revisit) -> bool:
        """Whether the drift is no more than the path in between may have."""
        between = self._between(one.first, one.second)
        steps = self._steps(one.first, one.second)
        centre = self._centres[one.second]
        off = float((one.drift.apply(centre) - centre).norm())
        turn = float(rotation_angle(one.drift.rotation).rad2deg())
        return (
            off <= MOST_DRIFT * between + 3 * one.sigma
            and turn <= MOST_TURN_DEG * steps + 3 * SIGMA_TURN_DEG
            and abs(float(one.drift.scale.log())) <= MOST_GROWTH * steps + 3 * SIGMA_GROWTH
        )

    def confirms(self, one: Revisit, other: Revisit) -> bool:
        """Whether another revisit nearby, of other frames, shows the same drift."""
        if one.first == other.first or one.second == other.second:
            return False
        between = self._between(one.first, other.first) + self._between(one.second, other.second)
        if between > NEARBY * self._middle_depth:
            return False
        steps = max(self._steps(one.first, other.first), self._steps(one.second, other.second))
        centre = self._centres[one.second]
        off = float((one.drift.apply(centre) - other.drift.apply(centre)).norm())
        apart = one.drift.inverse() @ other.drift
        return (
            off <= AGREEING_SHARE * between + 2 * (one.sigma + other.sigma)
            and float(rotation_angle(apart.rotation).rad2deg()) <= 4 * SIGMA_TURN_DEG + MOST_TURN_DEG * steps
            and abs(float(apart.scale.log())) <= 4 * SIGMA_GROWTH + MOST_GROWTH * steps
        )

    def _between(self, first: int, second: int) -> float:
        return abs(float(self._along[second] - self._along[first]))

    def _steps(self, first: int, second: int) -> int:
        low, high = np.searchsorted(self._places.frames, sorted((first, second)))
        return int(high - low)


def solve_loops(
    world_from_cam: Float64[np.ndarray, "frame 4 4"], frames: Sequence[int], revisits: Sequence[Revisit]
) -> tuple[Sim3, Float64[torch.Tensor, " revisit"], Float64[torch.Tensor, " revisit"]]:
    """`after_from_before` at some `frames` (their numbers, increasing, with those of all revisits) of a path, the
    weight that each revisit kept, and how far its two visits still disagree, in the path's unit."""
    cameras = world_from_cam[np.array(frames)]
    rotation, centres = torch.from_numpy(cameras[:, :3, :3].copy()), torch.from_numpy(cameras[:, :3, 3].copy())
    nodes = Sim3(torch.ones(len(frames), dtype=torch.float64), rotation, centres)
    number = {frame: row for row, frame in enumerate(frames)}
    first = torch.tensor([number[one.first] for one in revisits])
    second = torch.tensor([number[one.second] for one in revisits])
    drift = _stacked([one.drift for one in revisits])
    chain = chain_edges(nodes)
    sigma = torch.empty(len(revisits), 7, dtype=torch.float64)
    sigma[:, :3] = torch.tensor([one.sigma for one in revisits], dtype=torch.float64)[:, None]
    sigma[:, 3:6], sigma[:, 6] = float(np.deg2rad(SIGMA_TURN_DEG)), SIGMA_GROWTH
    measured = nodes[first].inverse() @ drift @ nodes[second]
    edges = RelativeEdges(
        torch.cat([chain.first, first]),
        torch.cat([chain.second, second]),
        _stacked([chain.first_from_second, measured]),
        torch.cat([chain.sigma, sigma]),
        torch.arange(len(chain.first) + len(revisits)) >= len(chain.first),
    )
    solved = solve_pose_graph(nodes, edges)
    left = (solved.world_from_node[first] @ measured).translation - solved.world_from_node[second].translation
    return (
        solved.world_from_node @ nodes.inverse(),
        solved.edge_weight[len(chain.first) :],
        left.norm(dim=-1),
    )


def _stacked(parts: Sequence[Sim3]) -> Sim3:
    return Sim3(
        torch.cat([one.scale.reshape(-1) for one in parts]),
        torch.cat([one.rotation.reshape(-1, 3, 3) for one in parts]),
        torch.cat([one.translation.reshape(-1, 3) for one in parts]),
    )


def _solved(
    recording: Recording, places: Places, confirmed: list[Revisit], *, passes: int, refused: Counter[str]
) -> Alignment:
    frames = sorted({*places.frames.tolist(), len(recording) - 1})
    moved, weights, left = solve_loops(recording.world_from_cam, frames, confirmed)
    kept = weights >= LEAST_WEIGHT
    if int(kept.sum()) < 2:
        raise InputError(
            f"{recording.path}: nothing to close: {len(confirmed)} places look like one that the camera left, but no "
            "two agree with the path and each other"
        )
    before = _gap(recording, confirmed, kept)
    residual = float(left[kept].square().mean().sqrt())
    details: dict[str, Any] = {
        "closures": [[one.first, one.second] for one, is_kept in zip(confirmed, kept.tolist(), strict=True) if is_kept],
        "gap_before": before,
        "gap_after": residual,
        "passes": passes,
        "refused": {reason: count for reason, count in refused.items() if count},
    }
    step = CorrectionStep(
        "loops", tuple(frames), moved, recording.is_metric, recording.is_upright, recording.origin, details
    )
    scale = float(moved.scale.median())
    unit = recording.unit
    note = f"the gap where the camera comes back was {before:.3g} {unit}, and is {residual:.3g} {unit}"
    return Alignment(step, scale, int(kept.sum()), passes, residual, unit, (note,))


def _gap(recording: Recording, revisits: Sequence[Revisit], kept: torch.Tensor) -> float:
    """Root mean square of the drift at the second visits."""
    centres = torch.from_numpy(recording.world_from_cam[:, :3, 3].copy())
    off = [one.drift.apply(centres[one.second]) - centres[one.second] for one in revisits]
    return float(torch.stack(off)[kept].square().sum(-1).mean().sqrt())
