"""A mesh of the whole recording, small enough for a browser, and the part of it that the settings leave."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from openloger.errors import InputError
from openloger.export import PointSelection
from openloger.export.mesh import MeshFiles, automatic_voxel, surfaces, write_glb_mesh
from openloger.export.selection import fitting_stride
from openloger.recording import Recording
from openloger.shapes import Float32, Float64, Int, UInt8
from openloger.viewing.scene.display import SceneLayout, Settings, ramp, spread

MOST_VERTICES = 400_000  # some 25 MB in the browser
_FRAMES = 128  # an even choice of these is fused
_VOXEL = 1.5  # times the exporter's, for a third of its time
_COARSER = 1.6
_EYES = 128  # cameras that a vertex's headroom is measured from, the nearest of them
_BATCH = 1 << 16


class MeshKey(NamedTuple):
    """What a mesh is made with: those of the settings that decide which pixels take part."""

    confidence_min: float
    edge_max: float | None

    @staticmethod
    def of(settings: Settings) -> MeshKey:
        return MeshKey(settings.confidence_min, settings.edge_max)


class MeshInterruptedError(Exception):
    """It is no longer wanted."""


class _TooLargeError(Exception):
    """More vertices than the browser is to get."""


@dataclass(frozen=True, eq=False)
class SceneMesh:
    """Vertices in the recording's world and unit, triangles that turn counter-clockwise to those in front."""

    vertices: Float32[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]
    rgb: UInt8[np.ndarray, "vertex 3"]
    voxel: float
    frame_count: int  # of the recording, when it was made


def build_mesh(
    recording: Recording, key: MeshKey, *, progress: Callable[[float], None], is_wanted: Callable[[], bool]
) -> SceneMesh:
    """Fused from an even choice of frames, at voxels of three pixels, larger ones until it is small enough.

    `progress` gets the share that is done, 0..1, of each trial.
    Raises InputError where scikit-image is missing, or no surface is left; MeshInterruptedError where `is_wanted` turns
    False; and RecordingError where the disk does not hold it.
    """
    stride = fitting_stride(recording, max(1, -(-len(recording) // _FRAMES)))
    selection = PointSelection(confidence_min=key.confidence_min, depth_edge=key.edge_max, frame_stride=stride)
    if key.edge_max == 0:
        raise InputError("at edges 0 no pixel takes part: move the slider")
    voxel = _VOXEL * automatic_voxel(recording, selection)

    def show(done: int, total: int) -> None:
        if not is_wanted():
            raise MeshInterruptedError
        progress(done / total)

    while True:
        try:
            return _fused(recording, selection, voxel, show)
        except _TooLargeError:
            voxel *= _COARSER


def _fused(
    recording: Recording, selection: PointSelection, voxel: float, show: Callable[[int, int], None]
) -> SceneMesh:
    vertices, faces, rgb, count = [], [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        for piece in surfaces(recording, Path(folder), selection=selection, voxel=voxel, progress=show):
            vertices.append(piece[0].astype(np.float32))
            faces.append(piece[1] + count)
            rgb.append(np.rint(piece[2]).clip(0, 255).astype(np.uint8))
            count += len(piece[0])
            if count > MOST_VERTICES:
                raise _TooLargeError
    if not faces:
        raise InputError("no surface is left: lower confidence, or raise edges")
    return SceneMesh(
        np.concatenate(vertices), np.concatenate(faces).astype(np.int64), np.concatenate(rgb), voxel, len(recording)
    )


def visible_mesh(
    mesh: SceneMesh, settings: Settings, place: SceneLayout, centres: Float64[np.ndarray, "frame 3"]
) -> SceneMesh:
    """The faces within the range of heights and, where it is not shown, without what is overhead; coloured by height
    where that is set. Of a mesh neither time nor confidence is known: it keeps its own colours then. `centres` are the
    cameras'.
    """
    heights = mesh.vertices.astype(np.float64) @ place.up
    shares = spread(heights, place.low, place.high)
    low, high = settings.height_range
    kept = (shares >= (low if low > 0 else -np.inf)) & (shares <= (high if high < 1 else np.inf))
    if not settings.overhead and len(centres):
        kept &= heights - _nearest_eye(mesh.vertices, centres, place.up) <= place.headroom
    faces = mesh.faces[kept[mesh.faces].all(1)]
    used, faces = np.unique(faces, return_inverse=True)
    rgb = ramp(shares[used]) if settings.colouring == "height" else mesh.rgb[used]
    return SceneMesh(mesh.vertices[used], faces.reshape(-1, 3), rgb, mesh.voxel, mesh.frame_count)


def _nearest_eye(
    vertices: Float32[np.ndarray, "vertex 3"], centres: Float64[np.ndarray, "frame 3"], up: Float64[np.ndarray, " 3"]
) -> Float64[np.ndarray, " vertex"]:
    """The height of the camera next to each vertex."""
    some = centres[np.unique(np.linspace(0, len(centres) - 1, _EYES).round().astype(int))]
    eyes, squares = some @ up, (some * some).sum(1)
    nearest = [
        (squares - 2 * (vertices[start : start + _BATCH] @ some.T)).argmin(1)
        for start in range(0, len(vertices), _BATCH)
    ]
    return eyes[np.concatenate([np.zeros(0, np.int64), *nearest])]


def glb_bytes(mesh: SceneMesh) -> bytes:
    """The mesh as GLB, y up, as `export --to mesh` writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mesh.glb"
        with MeshFiles(Path(folder)) as files:
            files.add(mesh.vertices, mesh.faces, mesh.rgb)
            write_glb_mesh(files, path)
        return path.read_bytes()
