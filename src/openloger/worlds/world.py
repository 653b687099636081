"""A world: a labelled video without end, any frame of it at any time; and many of them at once for training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from openloger.errors import InputError
from openloger.runtime.threads import small_operations
from openloger.shapes import Bool, Float32, Float64, UInt8
from openloger.worlds import textures
from openloger.worlds.families.clutter import Clutter
from openloger.worlds.families.family import Family, View
from openloger.worlds.families.halls import Halls
from openloger.worlds.families.rooms import Rooms
from openloger.worlds.families.street import Street
from openloger.worlds.families.terrain import TerrainWorld
from openloger.worlds.kernels import PLAIN, RayKernels
from openloger.worlds.paths import Path
from openloger.worlds.photos import PROCEDURAL, SOURCES
from openloger.worlds.random import Dice
from openloger.worlds.raycast import ClusterTable, Ground, RenderedFrames, Shot
from openloger.worlds.raycast_fast import render_fast
from openloger.worlds.scene import Clusters, Column, cluster, ground_solid, relative_to
from openloger.worlds.shading import Tables
from openloger.worlds.terrain import KEPT, lattice_corners, relief_sizes

_CPU = torch.device("cpu")
_BLOCK_M = 64.0  # frames whose cameras are in one block of this size share the origin of their coordinates

_TOGETHER = 16  # frames that are rendered at once, as long as they are small
_PIXELS_TOGETHER = 600_000  # of them all: what bounds memory

FAMILIES: dict[str, type] = {
    "rooms": Rooms,
    "halls": Halls,
    "clutter": Clutter,
    "street": Street,
    "terrain": TerrainWorld,
}


@dataclass(frozen=True)
class Sample:
    """One frame with its ground truth."""

    rgb: UInt8[np.ndarray, "height width 3"]
    depth: Float32[np.ndarray, "height width"]  # metres along z; 0 where there is none (sky)
    normal: Float32[np.ndarray, "height width 3"]  # unit, camera axes, towards the camera; zero in the sky
    world_from_cam: Float64[np.ndarray, "4 4"]  # OpenCV axes, metres
    intrinsics: Float64[np.ndarray, "3 3"]  # pixels; pixel (row, column) has its centre at (column + 0.5, row + 0.5)
    valid: Bool[np.ndarray, "height width"]
    moving: Bool[np.ndarray, "height width"]
    timestamp_s: float
    index: int
    name: str


class World:
    """A deterministic endless sequence: `world[i]` for any i ≥ 0, and a source of frames.

    Args:
        family: one of FAMILIES.
        seed: any whole number; equal seeds give equal worlds.
        size: (height, width) in pixels.
        fps: frames per second of the video.
        frames: the number of frames, which `frames()` ends after; endless where None.
        textures: one of TEXTURES: "procedural", or "miniworld" for photographs on about half of the surfaces that
            have a pattern, from the pictures of that package (Apache-2.0; `pip install --no-deps miniworld`).

    Raises:
        InputError: for an unknown family, a size under 8 pixels, a frame rate that is not positive, unknown textures
            or textures whose package is not installed.
    """

    def __init__(
        self,
        family: str,
        *,
        seed: int,
        size: tuple[int, int] = (160, 224),
        fps: float | int = 10,
        frames: int | None = None,
        textures: str = PROCEDURAL,
    ) -> None:
        if textures not in SOURCES:
            raise InputError(f"unknown textures {textures!r}; there are {', '.join(SOURCES)}")
        if family not in FAMILIES:
            raise InputError(f"unknown family of worlds {family!r}; there are {', '.join(sorted(FAMILIES))}")
        if min(size) < 8 or fps <= 0:
            raise InputError(
                f"a world needs a size of at least 8×8 pixels and a positive frame rate, not {size} at {fps}"
            )
        self.family_name, self.seed, self.size, self.fps, self.length = family, seed, size, fps, frames
        self.textures = textures
        self._family: Family = FAMILIES[family](seed, textures)
        self._path = Path(self._family, seed)
        self.cell = lru_cache(maxsize=256)(lambda cell: cluster(self._family.cell(cell)))
        self.intrinsics = _intrinsics(self._family, seed, size)

    @property
    def name(self) -> str:
        source = "" if self.textures == PROCEDURAL else f":{self.textures}"
        return f"world:{self.family_name}:{self.seed}{source}"

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError(f"{self.name} has no end; give frames=… for one that has")
        return self.length

    def __getitem__(self, index: int) -> Sample:
        self._check(index)
        picture = render([(self, index)])
        return self._sample(picture, 0, index)

    def frames(self, first: int = 0) -> Iterator[Sample]:
        """The frames from `first` on, in order; rendered some at a time, which is faster than one by one."""
        together = max(1, min(_TOGETHER, _PIXELS_TOGETHER // (self.size[0] * self.size[1])))
        while self.length is None or first < self.length:
            end = first + together if self.length is None else min(first + together, self.length)
            picture = render([(self, index) for index in range(first, end)])
            yield from (self._sample(picture, row, index) for row, index in enumerate(range(first, end)))
            first = end

    def __iter__(self) -> Iterator[Sample]:
        return self.frames()

    def world_from_cam(self, index: int) -> Float64[np.ndarray, "4 4"]:
        """Camera pose of a frame, without rendering it."""
        return self._path.world_from_cam(index / self.fps)

    def _check(self, index: int) -> None:
        if index < 0 or (self.length is not None and index >= self.length):
            raise IndexError(f"{self.name} has no frame {index}")

    def _sample(self, picture: RenderedFrames, row: int, index: int) -> Sample:
        return Sample(
            rgb=picture.rgb[row].numpy(),
            depth=picture.depth[row].numpy(),
            normal=picture.normal[row].numpy(),
            world_from_cam=self.world_from_cam(index),
            intrinsics=self.intrinsics.copy(),
            valid=picture.valid[row].numpy(),
            moving=picture.moving[row].numpy(),
            timestamp_s=index / self.fps,
            index=index,
            name=f"{index:06d}",
        )


def _intrinsics(family: Family, seed: int, size: tuple[int, int]) -> np.ndarray:
    dice = Dice(seed, 700)
    height, width = size
    focal = 0.5 * max(size) / np.tan(np.radians(0.5 * dice.uniform(*family.fov_deg)))
    x, y = width * (0.5 + dice.uniform(-0.02, 0.02)), height * (0.5 + dice.uniform(-0.02, 0.02))
    return np.array([[focal, 0.0, x], [0.0, focal, y], [0.0, 0.0, 1.0]])


def render(
    requests: Sequence[tuple[World, int]], *, device: torch.device = _CPU, kernels: RayKernels = PLAIN
) -> RenderedFrames:
    """Many (world, frame number) pairs of one size at once, on a device, which keeps them."""
    with small_operations():
        return render_fast(make_shot(requests, device), kernels)


def make_shot(requests: Sequence[tuple[World, int]], device: torch.device = _CPU) -> Shot:
    """Gathers what the requested frames can show into one set of tables."""
    sizes = {world.size for world, _ in requests}
    if len(sizes) != 1:
        raise InputError(f"frames rendered together must have one size, not {sorted(sizes)}")
    gathered = _Gathered()
    grounds, skies, listed, starts, origins, turns, intrinsics = [], [], [], [0], [], [], []
    for world, index in requests:
        pose = world.world_from_cam(index)
        origin = np.array([_BLOCK_M * np.floor(pose[0, 3] / _BLOCK_M), 0.0, _BLOCK_M * np.floor(pose[2, 3] / _BLOCK_M)])
        cells = world._family.cells_seen(_view(pose, world))
        listed += [gathered.cell(world, cell, origin) for cell in cells]
        movers = world._family.movers(index / world.fps, world._path)
        if movers is not None:
            listed.append(gathered.add(world, cluster(movers), origin))
        starts.append(sum(len(part) for part in listed))
        skies.append(world._family.sky())
        grounds.append(gathered.ground(world, origin))
        origins.append(pose[:3, 3] - origin)
        turns.append(pose[:3, :3])
        intrinsics.append(world.intrinsics)
    shot = Shot(
        tables=gathered.tables(device),
        sky=torch.from_numpy(np.stack(skies).astype(np.float32)),
        origin=torch.from_numpy(np.stack(origins)),
        rotation=torch.from_numpy(np.stack(turns)),
        intrinsics=torch.from_numpy(np.stack(intrinsics)),
        clusters=gathered.clusters(),
        listed=torch.from_numpy(np.concatenate(listed)),
        starts=torch.tensor(starts),
        ground=Ground(
            row=torch.tensor([row for row, _, _ in grounds]),
            corners=gathered.relief_corners(),
            first=torch.tensor([first for _, first, _ in grounds], dtype=torch.int32),
            sizes=torch.tensor([sizes for _, _, sizes in grounds], dtype=torch.float32),
        ),
        size=requests[0][0].size,
    )
    return shot.to(device)


def _view(pose: np.ndarray, world: World) -> View:
    """A camera's view from above: all around where it points too steeply up or down for a sector to be certain."""
    (height, width), lens = world.size, world.intrinsics
    x = np.array([0.0, width, 0.0, width]) - lens[0, 2]
    y = np.array([0.0, 0.0, height, height]) - lens[1, 2]
    corners = np.stack([x / lens[0, 0], y / lens[1, 1], np.ones(4)], axis=1) @ pose[:3, :3].T
    heading = math.atan2(pose[0, 2], pose[2, 2])
    turns = (np.arctan2(corners[:, 0], corners[:, 2]) - heading + math.pi) % (2.0 * math.pi) - math.pi
    level = np.hypot(corners[:, 0], corners[:, 2]) > 0.25 * np.abs(corners[:, 1])
    half = float(np.abs(turns).max()) + 0.01 if level.all() and abs(pose[1, 2]) < 0.7 else math.pi
    return View(float(pose[0, 3]), float(pose[2, 3]), heading, min(half, math.pi))


class _Gathered:
    """The tables of a batch as they grow: each world's surfaces and each cell's solids once."""

    def __init__(self) -> None:
        self._rows: list[np.ndarray] = []
        self._zones: list[np.ndarray] = []
        self._surfaces: list[np.ndarray] = []
        self._clusters: list[tuple[np.ndarray, ...]] = []
        self._counts = dict.fromkeys(("rows", "zones", "surfaces", "clusters"), 0)
        self._cells: dict[tuple, np.ndarray] = {}
        self._worlds: dict[int, int] = {}
        self._photos = False
        self._reliefs: list[np.ndarray] = []

    def cell(self, world: World, cell: tuple[int, int], origin: np.ndarray) -> np.ndarray:
        """The clusters of a cell's solids, relative to an origin."""
        key = (id(world), cell, float(origin[0]), float(origin[2]))
        if key not in self._cells:
            self._cells[key] = self.add(world, world.cell(cell), origin)
        return self._cells[key]

    def add(self, world: World, clusters: Clusters, origin: np.ndarray) -> np.ndarray:
        """Numbers of the clusters in the batch's table."""
        counts = self._counts
        rows, zones = relative_to(clusters.solids, origin)
        rows[:, Column.ZONE] += counts["zones"]
        rows[:, Column.SURFACE] += self._surface_start(world)
        sphere = clusters.sphere - np.append(origin, 0.0)
        self._rows.append(rows)
        self._zones.append(zones)
        self._clusters.append((clusters.first + counts["rows"], clusters.count, sphere, clusters.casts))
        begin = counts["clusters"]
        counts["rows"] += len(rows)
        counts["zones"] += len(zones)
        counts["clusters"] += len(clusters.first)
        return np.arange(begin, counts["clusters"])

    def ground(self, world: World, origin: np.ndarray) -> tuple[int, int, list[float]]:
        """(table row of the terrain's material, begin of its relief's cells, its sizes); row −1 where it is flat."""
        if world._family.terrain is None:
            return -1, 0, [0.0] * 4
        terrain, material = world._family.terrain
        key = (id(world), None, float(origin[0]), float(origin[2]))
        if key not in self._cells:
            self._cells[key] = np.array([self._counts["rows"], KEPT * len(self._reliefs)])
            self._reliefs.append(lattice_corners(terrain, origin))
            self.add(world, cluster(ground_solid(material, origin, world._family.light_zone)), origin)
        row, first = self._cells[key]
        return int(row), int(first), relief_sizes(terrain)

    def relief_corners(self) -> torch.Tensor:
        return torch.from_numpy(np.concatenate([*self._reliefs, np.zeros((4, 0), np.float32)], axis=1))

    def _surface_start(self, world: World) -> int:
        if id(world) not in self._worlds:
            table = world._family.surfaces()
            self._photos |= world.textures != PROCEDURAL
            self._worlds[id(world)] = self._counts["surfaces"]
            self._surfaces.append(table)
            self._counts["surfaces"] += len(table)
        return self._worlds[id(world)]

    def clusters(self) -> ClusterTable:
        first, count, sphere, casts = (np.concatenate(part) for part in zip(*self._clusters, strict=True))
        return ClusterTable(
            first=torch.from_numpy(first),
            count=torch.from_numpy(count),
            sphere=torch.from_numpy(sphere.astype(np.float32)),
            casts=torch.from_numpy(casts),
        )

    def tables(self, device: torch.device) -> Tables:
        """Those of the batch, whose texels are on the device already."""
        parts = (self._rows, self._zones, self._surfaces)
        solids, zones, surfaces = (torch.from_numpy(np.concatenate(part)) for part in parts)
        texels = textures.atlas_on(device, with_photos=self._photos)
        return Tables(solids=solids, zones=zones, surfaces=surfaces, texels=texels)
