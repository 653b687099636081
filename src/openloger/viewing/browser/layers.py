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
from openloger.viewing.scene.display import DisplayCloud, SceneLayout, Settings, slab_clouds, slab_stop, slab_width
from openloger.viewing.scene.overview import Snapshot

if TYPE_CHECKING:
    from viser import SceneApi

_GRID_CELLS = 30  # across what is shown
_NOW_DEPTH = 0.12  # of the current camera, over the scene's median depth
_UP_CELLS = 2
_TRUTH_RGB = (255, 255, 255)
_NOW_RGB = (255, 190, 60)
_UP_RGB = (90, 200, 120)


@dataclass
class _Slab:
    """The nodes in the browser of one stretch of time."""

    key: object = None  # what it was made of
    nodes: dict[int, _Node] = field(default_factory=dict)
    visible: bool = True


@dataclass
class _Node:
    handle: Any
    digest: int


class Layers:
    """Points, path, frusta, truth and ground of one scene."""

    def __init__(self, scene: SceneApi) -> None:
        self.sent_bytes = 0  # so far, of points
        self._scene = scene
        self._slabs: dict[tuple[str, int], _Slab] = {}
        self._lines: dict[str, _Node] = {}
        self._camera: Any = None
        self._camera_frame: int | None = None  # whose picture it shows
        self._ground: tuple[float, float, Float64[np.ndarray, " 3"]] | None = None  # height, cell and up

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

    def show_now(self, clouds: Iterable[DisplayCloud]) -> None:
        """The current frame's own points."""
        slab = self._slabs.setdefault(("now", 0), _Slab())
        self._send(slab, "now/0", clouds)

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
            self._send(slab, f"{name}/{number}", slab_clouds(snapshot, settings, place, start=start, stop=stop))
        self._set_visible(slab, True)

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
        for node in slab.nodes.values():
            if node.handle.visible != visible:
                node.handle.visible = visible
        slab.visible = visible

    def _drop(self, name: str, number: int) -> None:
        for node in self._slabs.pop((name, number), _Slab()).nodes.values():
            node.handle.remove()

    def show_path(self, cameras: Cameras | None, settings: Settings, place: SceneLayout) -> None:
        self._show_lines("path", None if cameras is None else path_lines(cameras, settings, place), thickness=3.0)

    def show_frusta(self, cameras: Cameras | None, settings: Settings, place: SceneLayout) -> None:
        self._show_lines("frusta", None if cameras is None else frusta_lines(cameras, settings, place), thickness=1.2)

    def show_truth(self, path: Float64[np.ndarray, "frame 3"] | None, place: SceneLayout) -> None:
        """The true path, aligned, in the recording's world; frames without truth (NaN) leave gaps."""
        if path is None:
            self._show_lines("truth", None, thickness=2.0)
            return
        step = 1 + len(path) // 3000
        ends = np.stack([path[:-1:step], path[np.minimum(np.arange(0, len(path) - 1, step) + step, len(path) - 1)]], 1)
        ends = ends[np.isfinite(ends).all((1, 2))] * place.unit
        rgb = np.broadcast_to(np.array(_TRUTH_RGB, np.uint8), ends.shape)
        self._show_lines("truth", Lines(ends.astype(np.float32), rgb.copy()), thickness=2.0)

    def _show_lines(self, name: str, lines: Lines | None, *, thickness: float) -> None:
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

    def show_ground(self, place: SceneLayout | None, cameras: Cameras, *, radius: float = 0.0) -> None:
        """A grid through the ground and an axis under the first camera that points up, as long as two
        cells; `radius` is the scene's, in display units. None takes them away.
        """
        if place is None:
            self._ground = None
            self._scene.remove_by_name("/ground")
            self._scene.remove_by_name("/up")
            return
        height = place.ground * place.unit
        cell = nice(2 * radius / _GRID_CELLS / place.unit) * place.unit
        if self._ground is not None:
            old_height, old_cell, old_up = self._ground
            if abs(height - old_height) < 0.02 * radius and cell == old_cell and old_up @ place.up > 0.9999:
                return
        self._ground = (height, cell, place.up)
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
            "/up/length", f"up {_UP_CELLS * cell / place.unit:g}", position=tip, anchor="bottom-center"
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
