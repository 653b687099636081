"""Actions of buttons, keys and clicks beyond settings: measures, and files for the browser to save."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from openloger.recording import Recording
from openloger.shapes import Float, Float64
from openloger.viewing.browser.controls import Controls
from openloger.viewing.browser.share import SHOWN_SUFFIXES, picture, send_file, share_page, shown_bytes
from openloger.viewing.scene.cameras import Cameras
from openloger.viewing.scene.display import Settings
from openloger.viewing.scene.mesh import SceneMesh
from openloger.viewing.scene.overview import Snapshot
from openloger.viewing.scene.points import Points
from openloger.viewing.scene.snapshot import SceneSnapshot, visible_points

_RGB = (255, 214, 90)
CONE = 0.012  # radians off the ray within which a point counts as clicked


class Tools:
    """Of one browser window."""

    def __init__(
        self, client: Any, controls: Controls, recording: Recording, *, request: Callable[[str, Any], None]
    ) -> None:
        self._client, self._scene, self._recording = client, client.scene, recording
        self._controls, self._name, self._request = controls, page_name(recording.path), request
        self._measure = Measure(self._scene)
        self._pixels: list[str] = []  # of the clicked points, as `openloger align` takes them

    def set_measuring(self, measuring: bool) -> None:
        """Take clicks for measuring from now on, or no longer."""
        self._scene.remove_click_callback()
        self._measure.clear()
        if measuring:
            self._scene.on_click()(lambda event: self._request("click", event))
        self._controls.show_notes(measured="Click two points of the scene." if measuring else "")

    def click(self, event: Any, scene: SceneSnapshot, detail: Snapshot | None, settings: Settings) -> None:
        """Take the point that was clicked."""
        parts = [scene.snapshot.points] if detail is None else [scene.snapshot.points, detail.points]
        unit = scene.place.unit
        points = Points.joined([visible_points(part, settings, scene.place) for part in parts])
        positions = points.position * unit
        found = pick(positions.astype(np.float64), np.array(event.ray_origin), np.array(event.ray_direction))
        if found is None:
            self._controls.show_notes(measured="There is no point where you clicked.")
            return
        name = self._recording.unit
        length = self._measure.add(positions[found].astype(np.float64), unit=unit, name=name)
        pixel = self._pixel(scene.cameras, points, found)
        self._pixels = [pixel] if length is None else [*self._pixels, pixel]
        note = "Now the second point." if length is None else self._length_note(length)
        self._controls.show_notes(measured=note)

    def _length_note(self, length: float) -> str:
        if self._recording.is_metric:
            return f"**{length:.4g} m**"
        path = shlex.quote(str(self._recording.path))
        command = f"openloger align {path} --distance {' '.join(self._pixels)} METRES"
        return f"**{length:.4g}** in the recording's unit of length. If you know it in metres: `{command}`"

    def _pixel(self, cameras: Cameras, points: Points, number: int) -> str:
        """FRAME:x,y of a point in the frame that saw it, in pixels of the source.

        A point that stands for those of other frames, too, may lie a little outside of its picture.
        """
        frame = int(points.frame[number])
        world_from_cam, meta = cameras.world_from_cam[frame], self._recording.meta
        cam = (points.position[number] - world_from_cam[:3, 3]) @ world_from_cam[:3, :3]
        x, y = ((cameras.intrinsics[frame] @ cam)[:2] / cam[2]).clip(0.5, [meta.width - 0.5, meta.height - 0.5])
        height, width = meta.source_size or (meta.height, meta.width)
        return f"{frame}:{x * width / meta.width:.1f},{y * height / meta.height:.1f}"

    def save(self, wish: str, scene: SceneSnapshot, settings: Settings, mesh: SceneMesh | None) -> None:
        """Made in a thread of its own: a browser may take its time to draw a picture."""
        unit = self._recording.unit
        makers: dict[str, tuple[str, Callable[[], bytes]]] = {
            "snapshot": (f"{self._name}_{settings.frame:06d}.png", lambda: picture(self._client)),
            "shown": (f"{self._name}{SHOWN_SUFFIXES[settings.style]}", lambda: shown_bytes(scene, settings, mesh)),
            "share": (f"{self._name}.html", lambda: share_page(scene, settings, mesh, unit=unit).encode()),
        }
        given = (self._client, *makers[wish])
        threading.Thread(target=send_file, args=given, name=f"viewer-{wish}", daemon=True).start()


def page_name(recording: Path) -> str:
    """The base name of files that are saved of a recording."""
    return recording.resolve().name or "recording"


def pick(
    points: Float[np.ndarray, "point 3"],
    origin: Float[np.ndarray, " 3"],
    direction: Float[np.ndarray, " 3"],
    *,
    cone: float = CONE,
) -> int | None:
    """The point that a click means: of those within the cone around the ray, the nearest to the viewer, where being
    off the ray by the whole cone counts like a tenth of the way further. None: there is none.
    """
    offset = points - origin
    along = offset @ (direction / np.linalg.norm(direction))
    across = np.sqrt(np.maximum((offset * offset).sum(1) - along * along, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(along > 0, across / along, np.inf)
    if len(points) == 0 or not (angle <= cone).any():
        return None
    return int(np.argmin(np.where(angle <= cone, along * (1 + 0.1 * angle / cone), np.inf)))


class Measure:
    """Two clicked points, the line between them, and its length; a third click begins anew."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._points: list[Float64[np.ndarray, " 3"]] = []

    def clear(self) -> None:
        """Take everything away."""
        self._points = []
        self._scene.remove_by_name("/measure")

    def add(self, point: Float64[np.ndarray, " 3"], *, unit: float, name: str = "units") -> float | None:
        """A click on a point, in display units; the length in the recording's unit, called `name`, of two of them."""
        if len(self._points) == 2:
            self.clear()
        self._points.append(point)
        self._scene.add_point_cloud(
            f"/measure/{len(self._points)}",
            points=point[None].astype(np.float32),
            colors=_RGB,
            point_size=0.05,
            point_shape="circle",
            precision="float32",
        )
        if len(self._points) < 2:
            return None
        ends = np.stack(self._points)
        length = float(np.linalg.norm(ends[1] - ends[0])) / unit
        self._scene.add_line_segments(
            "/measure/line", points=ends[None].astype(np.float32), colors=_RGB, thickness=3.0, thickness_units="screen"
        )
        self._scene.add_label("/measure/length", f"{length:.3g} {name}", position=ends.mean(0), anchor="bottom-center")
        return length
