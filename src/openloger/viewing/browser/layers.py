"""The scene's nodes in the browser. What is shown is compared with what is there, and only the difference is sent."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from openloger.export.colours import linear_from_srgb
from openloger.geometry import quaternion_wxyz_from_rotation
from openloger.recording import RecordedFrame
from openloger.shapes import Float, Float64
from openloger.viewing.scene.cameras import Cameras, Lines, frusta_lines, path_lines
from openloger.viewing.scene.display import (
    DisplayCloud,
    DisplaySplats,
    SceneLayout,
    Settings,
    sized_clouds,
    slab_stop,
    slab_width,
    splats,
)
from openloger.viewing.scene.mesh import SceneMesh, glb_bytes, visible_mesh
from openloger.viewing.scene.overview import Snapshot
from openloger.viewing.scene.points import Points
from openloger.viewing.scene.snapshot import SceneSnapshot, closures

if TYPE_CHECKING:
    from viser import SceneApi

_GRID_CELLS = 30  # across what is shown
_NOW_DEPTH = 0.12  # of the current camera, over the scene's median depth
_UP_CELLS = 2
_TRUTH_RGB = (255, 255, 255)
_NOW_RGB = (255, 190, 60)
_UP_RGB = (90, 200, 120)
_RECORDED_RGB = (196, 120, 255)
_LOOP_RGB = (255, 120, 90)
_UPRIGHT_FROM_GLB = (0.0, 1.0, 0.0, 0.0)  # half a turn about x
_SPLAT_BYTES = 32


@dataclass
class _Slab:
    """The nodes in the browser of one stretch of time."""

    key: object = None  # what it was made of
    nodes: dict[int, _Node] = field(default_factory=dict)  # points, by level
    splats: _Node | None = None
    visible: bool = True

    @property
    def all_nodes(self) -> list[_Node]:
        return [*self.nodes.values(), *filter(None, [self.splats])]


@dataclass
class _Node:
    handle: Any
    digest: int


class Layers:
    """Points, splats or mesh, path, frusta, truth and ground of one scene."""

    def __init__(self, scene: SceneApi) -> None:
        self.sent_bytes = 0  # so far, of points
        self._scene = scene
        self._slabs: dict[tuple[str, int], _Slab] = {}
        self._lines: dict[str, _Node] = {}
        self._camera: Any = None
        self._camera_frame: int | None = None  # whose picture it shows
        self._ground: tuple[float, float, str, Float64[np.ndarray, " 3"]] | None = None  # height, cell, unit, up
        self._mesh: tuple[Any, ...] | None = None  # it, and what it was drawn with

    def show_overview(self, snapshot: Snapshot, settings: Settings, place: SceneLayout) -> None:
        """The cloud, slab by slab."""
        width = slab_width(snapshot.frame_count)
        count = -(-snapshot.frame_count // width)
        for name, number in list(self._slabs):
            if name == "cloud" and number >= count:
                self._drop(name, number)
        for number in range(count):
            stop = slab_stop(number, settings, width=width)
            self._show_slab("cloud", number, snapshot, settings, place, start=number * width, stop=stop)

    def show_detail(self, snapshot: Snapshot | None, settings: Settings, place: SceneLayout) -> None:
        """The finer cloud around the viewer's target; None takes it away."""
        if snapshot is None or settings.extent == "this frame":
            self._drop("detail", 0)
            return
        stop = snapshot.frame_count if settings.extent == "everything" else settings.frame + 1
        self._show_slab("detail", 0, snapshot, settings, place, start=0, stop=stop)

    def show_now(
        self, points: Points, settings: Settings, place: SceneLayout, *, edge: float, frame_count: int
    ) -> None:
        """The current frame's own points."""
        slab = self._slabs.setdefault(("now", 0), _Slab())
        self._draw(slab, "now/0", points, settings, place, edge=edge, frame_count=frame_count)

    def show_mesh(
        self,
        mesh: SceneMesh | None,
        settings: Settings,
        place: SceneLayout,
        centres: Float64[np.ndarray, "frame 3"],
    ) -> None:
        """The mesh, as far as the settings leave it; None takes it away. `centres` are the cameras'."""
        if mesh is None:
            if self._mesh is not None:
                self._mesh = None
                self._scene.remove_by_name("/mesh")
            return
        key = (mesh, settings.height_range, settings.overhead, settings.colouring, place.unit)
        if self._mesh is not None and self._mesh[0] is mesh and self._mesh[1:] == key[1:]:
            return
        self._mesh = key
        shown = visible_mesh(mesh, settings, place, centres)
        self._scene.remove_by_name("/mesh")
        if len(shown.faces):
            data = glb_bytes(shown)
            self._scene.add_glb("/mesh", data, scale=place.unit, wxyz=_UPRIGHT_FROM_GLB)
            self.sent_bytes += len(data)

    def _show_slab(
        self,
        name: str,
        number: int,
        snapshot: Snapshot,
        settings: Settings,
        place: SceneLayout,
        *,
        start: int,
        stop: int,
    ) -> None:
        slab = self._slabs.setdefault((name, number), _Slab())
        if stop <= start:
            self._set_visible(slab, False)
            return
        key = (snapshot.version, replace(settings, frame=0, path_colouring="time"), place.unit, start, stop)
        if slab.key != key:
            slab.key = key
            first, last = np.searchsorted(snapshot.points.frame, [start, stop])
            points, count = snapshot.points[first:last], snapshot.frame_count
            self._draw(slab, f"{name}/{number}", points, settings, place, edge=snapshot.edge, frame_count=count)
        self._set_visible(slab, True)

    def _draw(
        self,
        slab: _Slab,
        name: str,
        points: Points,
        settings: Settings,
        place: SceneLayout,
        *,
        edge: float,
        frame_count: int,
    ) -> None:
        """As points or as splats; a mesh takes the place of both."""
        clouds, flat = (), None
        if settings.style == "points":
            clouds = sized_clouds(points, settings, place, edge=edge, frame_count=frame_count)
        elif settings.style == "splats":
            flat = splats(points, settings, place, edge=edge, frame_count=frame_count)
        self._send(slab, name, clouds)
        self._send_splats(slab, name, flat)

    def _send_splats(self, slab: _Slab, name: str, flat: DisplaySplats | None) -> None:
        digest = 0 if flat is None else _digest(flat.position, flat.covariance, flat.rgb, flat.opacity)
        if slab.splats is not None and (flat is None or slab.splats.digest != digest):
            slab.splats.handle.remove()
            slab.splats = None
        if flat is None or slab.splats is not None:
            return
        handle = self._scene.add_gaussian_splats(
            f"/{name}/splats",
            centers=flat.position,
            covariances=flat.covariance,
            rgbs=flat.rgb,
            opacities=flat.opacity[:, None],
        )
        slab.splats, slab.visible = _Node(handle, digest), True
        self.sent_bytes += _SPLAT_BYTES * len(flat.position)

    def _send(self, slab: _Slab, name: str, clouds: Iterable[DisplayCloud]) -> None:
        wanted = {cloud.level: cloud for cloud in clouds}
        for level in [level for level in slab.nodes if level not in wanted]:
            slab.nodes.pop(level).handle.remove()
        for level, cloud in wanted.items():
            digest = _digest(cloud.position, cloud.rgb, cloud.size)
            if level in slab.nodes and slab.nodes[level].digest == digest:
                continue
            handle = self._scene.add_point_cloud(
                f"/{name}/{level}",
                points=cloud.position,
                colors=cloud.rgb,
                point_size=cloud.size / 2,  # viser means the radius
                point_shape="circle",
                point_shading="flat",
                precision="float32",
            )
            slab.nodes[level] = _Node(handle, digest)
            slab.visible = True
            self.sent_bytes += cloud.position.nbytes + cloud.rgb.nbytes

    def _set_visible(self, slab: _Slab, visible: bool) -> None:
        for node in slab.all_nodes:
            if node.handle.visible != visible:
                node.handle.visible = visible
        slab.visible = visible

    def _drop(self, name: str, number: int) -> None:
        for node in self._slabs.pop((name, number), _Slab()).all_nodes:
            node.handle.remove()

    def show_path(self, cameras: Cameras | None, settings: Settings, place: SceneLayout) -> None:
        self._show_lines("path", None if cameras is None else path_lines(cameras, settings, place), thickness=3.0)

    def show_frusta(self, cameras: Cameras | None, settings: Settings, place: SceneLayout) -> None:
        self._show_lines("frusta", None if cameras is None else frusta_lines(cameras, settings, place), thickness=1.2)

    def show_truth(self, path: Float64[np.ndarray, "frame 3"] | None, place: SceneLayout) -> None:
        """The true path, aligned, in the recording's world; frames without truth (NaN) leave gaps."""
        self._show_lines("truth", None if path is None else _line(path, place, _TRUTH_RGB))

    def show_correction(self, scene: SceneSnapshot | None) -> None:
        """The path as it was recorded, from the same start, and the loops that were closed; None takes them away."""
        place = None if scene is None else scene.place
        path = None if scene is None else scene.recorded_path
        self._show_lines("recorded", None if path is None or place is None else _line(path, place, _RECORDED_RGB))
        loops = None if scene is None or place is None else closures(scene)
        ends = None if loops is None or place is None else (loops * place.unit).astype(np.float32)
        rgb = np.array(_LOOP_RGB, np.uint8)
        lines = None if ends is None else Lines(ends, np.broadcast_to(rgb, ends.shape).copy())
        self._show_lines("loops", lines, thickness=2.5)

    def _show_lines(self, name: str, lines: Lines | None, *, thickness: float = 2.0) -> None:
        if lines is None or len(lines.ends) == 0:
            if name in self._lines:
                self._lines.pop(name).handle.remove()
            return
        digest = _digest(lines.ends, lines.rgb, thickness)
        if name not in self._lines or self._lines[name].digest != digest:
            handle = self._scene.add_line_segments(
                f"/{name}",
                points=lines.ends,
                colors=np.rint(255 * linear_from_srgb(lines.rgb)).astype(np.uint8),  # viser takes them for light
                thickness=thickness,
                thickness_units="screen",
            )
            self._lines[name] = _Node(handle, digest)

    def show_ground(
        self, place: SceneLayout | None, cameras: Cameras, *, radius: float = 0.0, unit: str = "units"
    ) -> None:
        """A grid through the ground and an axis under the first camera that points up, as long as two
        cells, with its length in `unit`; `radius` is the scene's, in display units. None takes them away.
        """
        if place is None:
            self._ground = None
            self._scene.remove_by_name("/ground")
            self._scene.remove_by_name("/up")
            return
        height = place.ground * place.unit
        cell = nice(2 * radius / _GRID_CELLS / place.unit) * place.unit
        if self._ground is not None:
            old_height, old_cell, old_unit, old_up = self._ground
            is_same = abs(height - old_height) < 0.02 * radius and (cell, unit) == (old_cell, old_unit)
            if is_same and old_up @ place.up > 0.9999:
                return
        self._ground = (height, cell, unit, place.up)
        start = cameras.world_from_cam[0, :3, 3]
        foot = (start + (place.ground - start @ place.up) * place.up) * place.unit
        self._scene.add_grid(
            "/ground",
            infinite_grid=True,
            plane="xy",
            cell_size=cell,
            section_size=5 * cell,
            cell_color=(48, 51, 60),
            section_color=(72, 77, 90),
            fade_distance=4 * radius,
            fade_strength=1.5,
            wxyz=turn_z_to(place.up),
            position=foot,
        )
        tip = foot + _UP_CELLS * cell * place.up
        self._scene.add_line_segments(
            "/up",
            points=np.stack([foot, tip])[None].astype(np.float32),
            colors=_UP_RGB,
            thickness=3.0,
            thickness_units="screen",
        )
        self._scene.add_label(
            "/up/length", f"up {_UP_CELLS * cell / place.unit:g} {unit}", position=tip, anchor="bottom-center"
        )

    def show_camera(self, cameras: Cameras | None, frame: RecordedFrame, place: SceneLayout) -> None:
        """The current camera, with its picture; None takes it away."""
        if cameras is None:
            if self._camera is not None:
                self._camera.visible = False
            return
        if self._camera is None:
            self._camera = self._scene.add_camera_frustum(
                "/now/camera",
                fov=cameras.fov(frame.number),
                aspect=cameras.size[1] / cameras.size[0],
                scale=_NOW_DEPTH * place.scale.depth * place.unit,
                thickness=2.5,
                thickness_units="screen",
                color=_NOW_RGB,
                jpeg_quality=80,
                cast_shadow=False,
                receive_shadow=False,
            )
        rotation = torch.from_numpy(cameras.world_from_cam[frame.number, :3, :3].copy())
        self._camera.visible = True
        self._camera.fov = cameras.fov(frame.number)
        self._camera.wxyz = quaternion_wxyz_from_rotation(rotation).numpy()
        self._camera.position = cameras.world_from_cam[frame.number, :3, 3] * place.unit
        if frame.number != self._camera_frame:
            self._camera.image = frame.rgb
            self._camera_frame = frame.number


def _line(path: Float64[np.ndarray, "frame 3"], place: SceneLayout, colour: tuple[int, int, int]) -> Lines:
    """A path in the recording's world, thinned, with gaps where it is not known."""
    step = 1 + len(path) // 3000
    ends = np.stack([path[:-1:step], path[np.minimum(np.arange(0, len(path) - 1, step) + step, len(path) - 1)]], 1)
    ends = ends[np.isfinite(ends).all((1, 2))] * place.unit
    rgb = np.broadcast_to(np.array(colour, np.uint8), ends.shape)
    return Lines(ends.astype(np.float32), rgb.copy())


def _digest(*parts: object) -> int:
    digest = 0
    for part in parts:
        data = np.ascontiguousarray(part).data if isinstance(part, np.ndarray) else repr(part).encode()
        digest = zlib.crc32(data, digest)
    return digest


def nice(length: float) -> float:
    """The largest of 1, 2, 5, 10, ... (any power of ten) that is not over `length`."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(step * power for step in (1, 2, 5) if step * power <= length * (1 + 1e-9)))


def turn_z_to(up: Float[np.ndarray, " 3"]) -> tuple[float, float, float, float]:
    """The shortest rotation from z to a unit vector, as wxyz."""
    half = np.array([0.0, 0.0, 1.0]) + up
    if np.linalg.norm(half) < 1e-9:
        return (0.0, 1.0, 0.0, 0.0)
    half = half / np.linalg.norm(half)
    x, y, z = np.cross([0.0, 0.0, 1.0], half)
    return (float(half[2]), float(x), float(y), float(z))
