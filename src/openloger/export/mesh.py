"""A mesh with vertex colours: PLY, OBJ or GLB, by the path's ending.

The frames are fused into a distance field (`tsdf.py`), whose surface marching cubes give (scikit-image; Lewiner et al.
2003), block by block. Vertices on the border of two blocks are written twice, at the same place. Axes are the
recording's in PLY and OBJ, y up in GLB.
"""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from openloger.errors import InputError
from openloger.export.cameras import Y_UP
from openloger.export.colours import linear_from_srgb
from openloger.export.reconstruction import Progress, Reconstruction, no_progress
from openloger.export.selection import PointSelection, selected_frames, trusted_pixels
from openloger.export.tsdf import SIDE, Brick, DepthView, DistanceField
from openloger.shapes import Float, Int, UInt8
from openloger.version import install_command

SUFFIXES = (".ply", ".obj", ".glb")
_VOXEL_PIXELS = 2.0  # pixels across a voxel of automatic size, at the middle depth
_FRAMES_SAMPLED = 32
_VERTEX = np.dtype([("position", "<f4", 3), ("colour", "u1", 3)])
_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
_BATCH = 1 << 16
Surface: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]  # vertices, faces, and the vertices' colours, 0..255


def write_mesh(
    recording: Reconstruction, path: Path, *, selection: PointSelection, progress: Progress = no_progress
) -> int:
    """`selection.voxel` is the voxel's edge; None: two pixels at the median depth. Gives the number of vertices.

    Raises InputError where scikit-image is not installed, the path ends in none of `SUFFIXES`, or the voxel is too
    large for any surface.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path.name} is no name for a mesh: end it in {', '.join(SUFFIXES)}")
    voxel = selection.voxel or automatic_voxel(recording, selection)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, MeshFiles(Path(folder)) as mesh:
        for surface in surfaces(recording, Path(folder), selection=selection, voxel=voxel, progress=progress):
            mesh.add(*surface)
        if mesh.vertices == 0 and _has_points(recording, selection):
            usual = automatic_voxel(recording, selection)
            raise InputError(
                f"no surface is found with voxels of {voxel:.3g}: give a --voxel near {usual:.3g}, two pixels, or none"
            )
        {".ply": _write_ply, ".obj": _write_obj, ".glb": write_glb_mesh}[path.suffix](mesh, path)
    return mesh.vertices


def surfaces(
    recording: Reconstruction,
    folder: Path,
    *,
    selection: PointSelection,
    voxel: float,
    progress: Progress = no_progress,
) -> Iterator[Surface]:
    """The mesh in pieces: vertices, faces and colours, in the recording's axes and unit. The field lies in `folder`.

    Raises InputError where scikit-image is not installed.
    """
    marching_cubes = _marching_cubes()
    with DistanceField(folder, voxel=voxel) as distances:
        frames = selected_frames(recording, selection)
        world_from_cam, intrinsics = recording.world_from_cam, recording.intrinsics
        for done, frame in enumerate(frames, start=1):
            distances.add(_view(recording, frame, selection, intrinsics[frame], world_from_cam[frame]))
            progress(done, len(frames))
        for brick in distances.bricks():
            if (surface := surface_of(brick, marching_cubes)) is not None:
                vertices, faces, rgb = surface
                yield vertices * voxel, faces, rgb


def surface_of(brick: Brick, marching_cubes: Any) -> Surface | None:
    """Vertices (voxels of the field), faces and colours of a brick; None where no surface crosses it.

    A cube of eight voxels counts where all of them were seen. Faces turn counter-clockwise to those in front.
    """
    known = brick.known
    cubes = np.ones((SIDE,) * 3, bool)
    for corner in np.ndindex(2, 2, 2):
        cubes &= known[tuple(slice(at, at + SIDE) for at in corner)]
    values = np.where(known, brick.distance, 1.0)
    if not cubes.any() or values.min() >= 0 or values.max() <= 0:
        return None
    vertices, faces, _, _ = marching_cubes(values, 0.0)
    cube = np.floor(vertices[faces].mean(1)).astype(np.int64).clip(0, SIDE - 1)
    faces = faces[cubes[tuple(cube.T)]]
    if len(faces) == 0:
        return None
    used = np.zeros(len(vertices), bool)
    used[faces] = True
    vertices, faces = vertices[used], (np.cumsum(used) - 1)[faces]
    colours = brick.rgb[tuple(np.rint(vertices).astype(np.int64).T)]
    return brick.origin + vertices.astype(np.float64), faces, colours


def _view(
    recording: Reconstruction, frame: int, selection: PointSelection, intrinsics: np.ndarray, world_from_cam: np.ndarray
) -> DepthView:
    depth, confidence = recording.depth(frame), recording.confidence(frame)
    trusted = trusted_pixels(depth, confidence, selection)
    return DepthView(depth, trusted, confidence, recording.rgb(frame), intrinsics, world_from_cam)


def _has_points(recording: Reconstruction, selection: PointSelection) -> bool:
    frames = selected_frames(recording, selection)
    return any(trusted_pixels(recording.depth(frame), recording.confidence(frame), selection).any() for frame in frames)


def automatic_voxel(recording: Reconstruction, selection: PointSelection) -> float:
    """Of frames all over the recording: a pixel's footprint at the median depth, times `_VOXEL_PIXELS`."""
    frames = selected_frames(recording, selection)
    intrinsics, footprints = recording.intrinsics, []
    for frame in frames[:: max(1, len(frames) // _FRAMES_SAMPLED)]:
        depth = recording.depth(frame)
        known = depth[trusted_pixels(depth, recording.confidence(frame), selection)]
        if known.size:
            footprints.append(float(np.median(known)) / intrinsics[frame, 0, 0])
    return _VOXEL_PIXELS * float(np.median(footprints)) if footprints else 1.0


def _marching_cubes() -> Any:
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise InputError(f"meshes need the package scikit-image: {install_command('mesh')}") from error
    return marching_cubes


@dataclass
class MeshFiles:
    """Vertices and faces on disk while they come. A context manager."""

    folder: Path
    vertices: int = 0
    faces: int = 0
    low: np.ndarray = field(default_factory=lambda: np.full(3, np.inf))
    high: np.ndarray = field(default_factory=lambda: np.full(3, -np.inf))

    def __enter__(self) -> MeshFiles:
        self._vertices = (self.folder / "vertices").open("w+b")
        self._faces = (self.folder / "faces").open("w+b")
        return self

    def __exit__(self, *failure: object) -> None:
        self._vertices.close()
        self._faces.close()

    def add(
        self,
        vertices: Float[np.ndarray, "vertex 3"],
        faces: Int[np.ndarray, "face 3"],
        rgb: Float[np.ndarray, "vertex 3"] | UInt8[np.ndarray, "vertex 3"],
    ) -> None:
        """Append a piece."""
        rows = np.empty(len(vertices), _VERTEX)
        rows["position"], rows["colour"] = vertices, np.rint(rgb).clip(0, 255)
        self._vertices.write(rows.tobytes())
        self._faces.write((faces + self.vertices).astype("<i4").tobytes())
        self.vertices += len(vertices)
        self.faces += len(faces)
        self.low, self.high = (
            np.minimum(self.low, rows["position"].min(0)),
            np.maximum(self.high, rows["position"].max(0)),
        )

    def vertex_rows(self) -> Iterator[np.ndarray]:
        """In batches, with the fields `position` and `colour`."""
        yield from _batches(self._vertices, _VERTEX)

    def face_rows(self) -> Iterator[Int[np.ndarray, "face 3"]]:
        for rows in _batches(self._faces, np.dtype(("<i4", 3))):
            yield rows.reshape(-1, 3)


def _batches(file: BinaryIO, row: np.dtype) -> Iterator[np.ndarray]:
    file.seek(0)
    while content := file.read(_BATCH * row.itemsize):
        yield np.frombuffer(content, row.base if row.subdtype else row)


def _write_ply(mesh: MeshFiles, path: Path) -> None:
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        "comment openloger: x right, y down, z forward",
        f"element vertex {mesh.vertices}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {colour}" for colour in ("red", "green", "blue")),
        f"element face {mesh.faces}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    with path.open("wb") as file:
        file.write("\n".join(lines).encode("ascii"))
        for rows in mesh.vertex_rows():
            file.write(rows.tobytes())
        for corners in mesh.face_rows():
            faces = np.empty(len(corners), _FACE)
            faces["count"], faces["corners"] = 3, corners
            file.write(faces.tobytes())


def _write_obj(mesh: MeshFiles, path: Path) -> None:
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write("# openloger: x right, y down, z forward; colours follow the places\n")
        for rows in mesh.vertex_rows():
            table = np.concatenate([rows["position"], rows["colour"] / 255], 1)
            file.writelines(
                f"v {x:.7g} {y:.7g} {z:.7g} {r:.4f} {g:.4f} {b:.4f}\n" for x, y, z, r, g, b in table.tolist()
            )
        for corners in mesh.face_rows():
            file.writelines(f"f {a} {b} {c}\n" for a, b, c in (corners + 1).tolist())


def write_glb_mesh(mesh: MeshFiles, path: Path) -> None:
    """y up: positions, linear colours and indices, one after the other."""
    sizes = [12 * mesh.vertices, 12 * mesh.vertices, 12 * mesh.faces]
    if sum(sizes) > 2**32 - 2**16:
        raise InputError("a GLB holds at most 4 GB: give a larger --voxel, or a path that ends in .ply")
    text = json.dumps(_document(mesh, sizes)).encode("ascii")
    text += b" " * (-len(text) % 4)
    with path.open("wb") as file, tempfile.TemporaryFile(dir=mesh.folder) as colours:
        file.write(struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + sum(sizes)))
        file.write(struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", sum(sizes), b"BIN\0"))
        for rows in mesh.vertex_rows():
            file.write((rows["position"] * np.diag(Y_UP)[:3]).astype("<f4").tobytes())
            colours.write(linear_from_srgb(np.ascontiguousarray(rows["colour"])).astype("<f4").tobytes())
        colours.seek(0)
        shutil.copyfileobj(colours, file)
        for corners in mesh.face_rows():
            file.write(corners.tobytes())


def _document(mesh: MeshFiles, sizes: list[int]) -> dict[str, Any]:
    ends = np.cumsum([0, *sizes]).tolist()
    views = [
        {"buffer": 0, "byteOffset": start, "byteLength": size, "target": target}
        for start, size, target in zip(ends, sizes, (34962, 34962, 34963), strict=False)
    ]
    upright = sorted([(mesh.low * np.diag(Y_UP)[:3]).tolist(), (mesh.high * np.diag(Y_UP)[:3]).tolist()])
    low, high = np.min(upright, 0), np.max(upright, 0)
    vector = {"componentType": 5126, "count": mesh.vertices, "type": "VEC3"}
    accessors = [
        {"bufferView": 0, **vector, "min": low.tolist(), "max": high.tolist()},
        {"bufferView": 1, **vector},
        {"bufferView": 2, "componentType": 5125, "count": 3 * mesh.faces, "type": "SCALAR"},
    ]
    material = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0}, "doubleSided": True}
    primitive = {"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2, "material": 0}
    return {
        "asset": {"version": "2.0", "generator": "openloger"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "mesh", "mesh": 0}],
        "meshes": [{"name": "mesh", "primitives": [primitive]}],
        "materials": [{**material, "extensions": {"KHR_materials_unlit": {}}}],
        "extensionsUsed": ["KHR_materials_unlit"],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": sum(sizes)}],
    }
