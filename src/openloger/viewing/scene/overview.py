"""A recording as one bounded cloud, read block by block, coarse to fine, and followed while it is written."""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from openloger.errors import InputError
from openloger.export import selection
from openloger.recording import RecordedFrame, Recording
from openloger.recording.layout import IMAGE_CHUNK_FRAMES
from openloger.shapes import Float, Float32
from openloger.viewing.scene.level_of_detail import LEAST_BUDGET, VoxelCloud, coarse_to_fine, nearest
from openloger.viewing.scene.points import EDGE_STEP, NO_POINTS, Points, frame_points

BLOCK = IMAGE_CHUNK_FRAMES  # frames that are decoded together anyway
_OFFERED = 12  # points offered to the cloud for each that the budget allows, once everything is read
_LEAST_OFFERED = 2_000  # of a block
MOST_EDGE = 0.3  # of depth: where the page's slider ends
_versions = itertools.count(1)
LEAST_POINTS = 2 * LEAST_BUDGET
_DOUBTFUL_SHARE = 0.2  # of the budget
DOUBTFUL_BELOW = round(255 * 0.1)  # confidence, as `Points.confidence`
_POINTS_FOR_CENTRE = 1_000
_DETAIL_FRAMES = 32
_DETAIL_NEIGHBOURS = 128  # of which they are an even choice


@dataclass(frozen=True)
class Scale:
    """The size of the scene, taken from the first frames once, so that nothing jumps while more come in."""

    depth: float  # median depth, in the recording's unit
    pixel: float  # width of the patch that a pixel covers at that depth
    edge_max: float  # the step of depth, over depth, from which a pixel counts as an edge: see `usual_edge`

    @staticmethod
    def of(frames: list[RecordedFrame]) -> Scale:
        depths = np.concatenate([frame.depth[np.isfinite(frame.depth) & (frame.depth > 0)] for frame in frames])
        depth = float(np.median(depths)) if len(depths) else 1.0
        focal_px = float(np.median([frame.intrinsics[0, 0] for frame in frames]))
        return Scale(depth, depth / focal_px, usual_edge(frames[0].depth.shape[0]))


def usual_edge(height: int) -> float:
    """The export's, in steps of the page's slider and no further than it goes."""
    return min(round(selection.usual_edge(height) / EDGE_STEP) * EDGE_STEP, MOST_EDGE)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The overview, or a finer cloud of a part, at a moment; never changed afterwards."""

    version: int  # no other snapshot has it
    points: Points  # ordered by frame
    edge: float  # of a voxel at the reference depth, in the recording's unit
    scale: Scale
    frame_confidence: Float32[np.ndarray, " frame"]  # the mean of each frame, 0..1; NaN where it was not read
    blocks_read: int
    blocks: int

    @property
    def frame_count(self) -> int:
        return len(self.frame_confidence)


class Overview:
    """Reads a recording into a cloud of bounded size, a block of frames at a time.

    Pixels that the page does not show until its sliders are moved have a small share of the budget to
    themselves, so that the sky takes nothing from the street.
    """

    def __init__(self, recording: Recording, *, budget: int) -> None:
        """Raises InputError where the budget is too small to show a scene."""
        if budget < LEAST_POINTS:
            raise InputError(f"{budget} points are too few to show a scene: give {LEAST_POINTS} or more")
        self.recording = recording
        self._budget = budget
        self._begin()

    def _begin(self) -> None:
        self._meta, self._correction = self.recording.meta, self.recording.correction
        self._scale = Scale(1.0, 1.0, usual_edge(self._meta.height))
        self._clouds: _Clouds | None = None  # until the first frame gives the scale
        self._taken: dict[int, int] = {}  # how many frames of each block are read
        self._confidence = np.zeros(0, np.float32)
        self._centres = np.zeros((0, 3), np.float32)
        self._waiting: deque[int] = deque()
        self._enlist(list(coarse_to_fine(self._block_count)))

    @property
    def _block_count(self) -> int:
        return -(-len(self.recording) // BLOCK)

    @property
    def blocks_read(self) -> int:
        return self._block_count - len(self._waiting)

    def refresh(self) -> bool:
        """Whether the recording has changed; what is new is read first. A recording begun anew is read anew."""
        before, corrected = len(self.recording), self._correction
        if not self.recording.refresh():
            return False
        is_moved = self.recording.correction is not corrected
        if self.recording.meta != self._meta or len(self.recording) < before or is_moved:
            self._begin()
        else:
            self._enlist(list(range(before // BLOCK, self._block_count)), first=True)
        return True

    @property
    def offered(self) -> int:
        """The number of points offered to the cloud so far."""
        return 0 if self._clouds is None else self._clouds.offered

    def _enlist(self, blocks: list[int], *, first: bool = False) -> None:
        waiting = [block for block in self._waiting if block not in set(blocks)]
        self._waiting = deque([*blocks, *waiting] if first else [*waiting, *blocks])
        more = len(self.recording) - len(self._confidence)
        self._confidence = np.append(self._confidence, np.full(more, np.nan, np.float32))
        self._centres = np.append(self._centres, np.full((more, 3), np.nan, np.float32), axis=0)

    def step(self) -> bool:
        """Read the next block; False: all is read.

        Raises RecordingError where the disk does not hold it; the next step reads on behind it.
        """
        if not self._waiting:
            return False
        block = self._waiting.popleft()
        start = block * BLOCK + self._taken.get(block, 0)
        stop = min((block + 1) * BLOCK, len(self.recording))
        self._taken[block] = stop - block * BLOCK
        frame_stride, pixel_stride = self._strides()
        first = -(-start // frame_stride) * frame_stride
        frames = list(self.recording.frames(first, stop, frame_stride))
        if frames and self._clouds is None:
            self._scale = Scale.of(frames)
            self._clouds = _Clouds(self._budget, self._scale)
        if self._clouds is not None:
            self._clouds.add(Points.joined([self._take(frame, pixel_stride) for frame in frames]))
        return True

    def _strides(self) -> tuple[int, int]:
        """Every how many frames and pixels are taken, so that the cloud is offered a bounded number of points."""
        offered = max(_LEAST_OFFERED, _OFFERED * self._budget // max(self._block_count, 1))
        excess = max(1.0, BLOCK * self._meta.height * self._meta.width / offered)
        frame_stride = min(BLOCK // 2, 2 ** int(math.log2(excess) / 2))
        return frame_stride, math.ceil(math.sqrt(excess / frame_stride))

    def _take(self, frame: RecordedFrame, pixel_stride: int) -> Points:
        """Its points, once its confidence and centre are noted."""
        points = frame_points(frame, pixel_stride=pixel_stride)
        self._confidence[frame.number] = frame.mean_confidence
        if len(points):
            some = points.position[:: 1 + len(points) // _POINTS_FOR_CENTRE]
            self._centres[frame.number] = np.median(some, axis=0)
        return points

    def snapshot(self) -> Snapshot:
        """The scene as read so far."""
        points, edge = (NO_POINTS, self._scale.pixel) if self._clouds is None else self._clouds.joined()
        return Snapshot(
            version=next(_versions),
            points=points,
            edge=edge,
            scale=self._scale,
            frame_confidence=self._confidence.copy(),
            blocks_read=self.blocks_read,
            blocks=self._block_count,
        )

    def detail(self, focus: Float[np.ndarray, " 3"], *, stop: int, budget: int) -> Snapshot:
        """A finer cloud of what lies around a point of the world, from frames before `stop` that look there.

        Raises RecordingError where the disk does not hold them.
        """
        around = nearest(self._centres[:stop], focus, count=_DETAIL_NEIGHBOURS)
        chosen = around[:: max(1, -(-len(around) // _DETAIL_FRAMES))]
        pixels = self._meta.height * self._meta.width * max(len(chosen), 1)
        stride = max(1, round(math.sqrt(pixels / (_OFFERED * budget))))
        clouds = _Clouds(budget, self._scale)
        for number in chosen.tolist():
            clouds.add(frame_points(self.recording.frame(number), pixel_stride=stride))
        return Snapshot(next(_versions), *clouds.joined(), self._scale, self._confidence.copy(), 1, 1)


class _Clouds:
    """A cloud of what is shown, and a smaller one of what is doubtful."""

    def __init__(self, budget: int, scale: Scale) -> None:
        self._scale = scale
        few = max(int(_DOUBTFUL_SHARE * budget), LEAST_BUDGET)
        self._trusted = VoxelCloud(budget - few, reference_depth=scale.depth, edge=scale.pixel)
        self._doubtful = VoxelCloud(few, reference_depth=scale.depth, edge=scale.pixel)

    def add(self, points: Points) -> None:
        doubtful = (points.confidence < DOUBTFUL_BELOW) | (points.edge > self._scale.edge_max / EDGE_STEP + 1e-6)
        self._trusted.add(points[~doubtful])
        self._doubtful.add(points[doubtful])

    @property
    def offered(self) -> int:
        return self._trusted.seen + self._doubtful.seen

    def joined(self) -> tuple[Points, float]:
        """All points ordered by frame, and the edge of the trusted ones' voxels."""
        points = Points.joined([self._trusted.points, self._doubtful.points])
        edge = self._trusted.edge if len(self._trusted) else self._doubtful.edge
        return points[np.argsort(points.frame, kind="stable")], edge
