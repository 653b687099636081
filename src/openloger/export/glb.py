"""GLB (binary glTF 2.0): the cloud, the cameras as frusta and their path as a line, for viewers and web pages.

glTF's y points up and its cameras look along -z, ours point down and forward: the world is turned by Y_UP, half a turn
about x, so that the first camera stands upright and looks along -z. glTF's vertex colours are linear light, for which
eight bits are too few in the dark: they are float32, so a point takes 24 bytes. Points are written as they stream,
after a head of fixed length that is filled in at the end.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from openloger.errors import InputError
from openloger.export.cameras import Y_UP
from openloger.export.clouds import depth_median
from openloger.export.colours import linear_from_srgb
from openloger.export.reconstruction import Progress, Reconstruction, no_progress
from openloger.export.selection import PointSelection, select_points, selected_frames
from openloger.shapes import Float, Int

MAX_POINTS = 2_000_000  # 48 MB, which a browser still turns fluently
MAX_FRUSTA = 500  # evenly spread over longer videos; the path has every frame
_FRUSTUM_LENGTH = 0.1  # of the median depth of the points
_FRUSTUM_EDGES = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1]])
_COLOURS = {"points": (1.0, 1.0, 1.0, 1.0), "frusta": (1.0, 0.26, 0.0, 1.0), "path": (0.0, 0.35, 1.0, 1.0)}  # linear

_JSON_BYTES = 4096  # the rest is blanks, which JSON does not mind
_BYTES_BEFORE_DATA = 12 + 8 + _JSON_BYTES + 8
_LONGEST = 2**32 - 1  # bytes, a limit of the format
_FLOAT, _ARRAY_BUFFER = 5126, 34962  # glTF's numbers for float32 and for vertices
_POINTS, _LINES = 0, 1  # glTF's modes
_POINT = np.dtype([("position", "<f4", 3), ("colour", "<f4", 3)])
_COLOUR_AT = 12  # bytes into a point


@dataclass(frozen=True)
class _Part:
    """The data of one node; its bytes follow those of the part before."""

    name: str
    mode: int
    vertex: np.dtype
    count: int
    low: list[float]  # the corners of its bounding box
    high: list[float]


def write_glb(
    recording: Reconstruction, path: Path, *, selection: PointSelection, progress: Progress = no_progress
) -> int:
    """Three nodes, `points`, `frusta` and `path`; gives the number of points.

    Raises InputError where a GLB cannot hold so many.
    """
    frames = list(selected_frames(recording, selection))
    shown = frames[:: -(-len(frames) // MAX_FRUSTA)]
    with path.open("wb") as file:
        file.write(bytes(_BYTES_BEFORE_DATA))
        points, depth = _write_points(file, recording, selection, progress)
        corners = frusta_corners(recording, shown, depth=_FRUSTUM_LENGTH * depth)
        parts = [part for part in (points, _write_lines(file, "frusta", corners, _FRUSTUM_EDGES)) if part.count]
        if len(frames) > 1:
            centres = recording.world_from_cam[frames, :3, 3]
            steps = np.stack([np.arange(len(frames) - 1), np.arange(1, len(frames))], -1)
            parts.append(_write_lines(file, "path", centres[None], steps))
        _fill_in_head(file, parts)
    return points.count


def frusta_corners(recording: Reconstruction, frames: list[int], *, depth: float) -> Float[np.ndarray, "frame 5 3"]:
    """World points: each camera's centre, then its picture's corners (0, 0), (w, 0), (w, h), (0, h) at `depth`."""
    height, width = recording.depth(0).shape
    pixels = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], np.float64)
    rays = pixels @ np.linalg.inv(recording.intrinsics[frames]).swapaxes(1, 2)
    corners_cam = np.concatenate([np.zeros((len(frames), 1, 3)), depth * rays], 1)
    world_from_cam = recording.world_from_cam[frames]
    return corners_cam @ world_from_cam[:, :3, :3].swapaxes(1, 2) + world_from_cam[:, None, :3, 3]


def _write_points(
    file: BinaryIO, recording: Reconstruction, selection: PointSelection, progress: Progress
) -> tuple[_Part, float]:
    """The part, and the median over frames of the points' median depth; 1 where there are none."""
    world_from_cam = recording.world_from_cam
    count, low, high, depths = 0, np.full(3, np.inf), np.full(3, -np.inf), []
    for chunk in select_points(recording, selection, progress=progress):
        if len(chunk) == 0:
            continue
        vertices = np.empty(len(chunk), _POINT)
        vertices["position"], vertices["colour"] = _upright(chunk.points_world), linear_from_srgb(chunk.rgb)
        file.write(vertices.tobytes())
        if file.tell() > _LONGEST:
            raise InputError(f"a GLB holds at most {_LONGEST // _POINT.itemsize} points: give max_points")
        count += len(chunk)
        low = np.minimum(low, vertices["position"].min(0))
        high = np.maximum(high, vertices["position"].max(0))
        depths.append(depth_median(chunk, world_from_cam[chunk.frame]))
    return _Part("points", _POINTS, _POINT, count, low.tolist(), high.tolist()), float(np.median(depths or [1.0]))


def _write_lines(
    file: BinaryIO, name: str, corners: Float[np.ndarray, "group corner 3"], edges: Int[np.ndarray, "edge 2"]
) -> _Part:
    """The same edges between the corners of each group."""
    vertex = np.dtype([("position", "<f4", 3)])
    positions = _upright(corners[:, edges]).reshape(-1, 3).astype("<f4")
    file.write(positions.tobytes())
    return _Part(name, _LINES, vertex, len(positions), positions.min(0).tolist(), positions.max(0).tolist())


def _upright(points: Float[np.ndarray, "*axes 3"]) -> Float[np.ndarray, "*axes 3"]:
    return points * np.diag(Y_UP)[:3]


def _fill_in_head(file: BinaryIO, parts: list[_Part]) -> None:
    end = file.tell()
    text = json.dumps(_document(parts), separators=(",", ":")).encode("ascii")
    assert len(text) <= _JSON_BYTES, "three nodes fit"
    file.seek(0)
    file.write(struct.pack("<4sII", b"glTF", 2, end))
    file.write(struct.pack("<I4s", _JSON_BYTES, b"JSON") + text.ljust(_JSON_BYTES))
    file.write(struct.pack("<I4s", end - _BYTES_BEFORE_DATA, b"BIN\0"))


def _document(parts: list[_Part]) -> dict[str, Any]:
    accessors, views, meshes, materials = [], [], [], []
    start = 0
    for number, part in enumerate(parts):
        size = part.count * part.vertex.itemsize
        view = {"buffer": 0, "byteOffset": start, "byteLength": size, "target": _ARRAY_BUFFER}
        views.append({**view, "byteStride": part.vertex.itemsize})
        vector = {"bufferView": number, "componentType": _FLOAT, "count": part.count, "type": "VEC3"}
        attributes = {"POSITION": len(accessors)}
        accessors.append({**vector, "min": part.low, "max": part.high})
        if part.vertex == _POINT:
            attributes["COLOR_0"] = len(accessors)
            accessors.append({**vector, "byteOffset": _COLOUR_AT})
        primitive = {"attributes": attributes, "mode": part.mode, "material": number}
        meshes.append({"name": part.name, "primitives": [primitive]})
        unlit = {"extensions": {"KHR_materials_unlit": {}}}
        materials.append({"pbrMetallicRoughness": {"baseColorFactor": _COLOURS[part.name]}, **unlit})
        start += size
    return {
        "asset": {"version": "2.0", "generator": "openloger"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": list(range(len(parts)))}],
        "nodes": [{"name": part.name, "mesh": number} for number, part in enumerate(parts)],
        "meshes": meshes,
        "materials": materials,
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": start}],
    }
