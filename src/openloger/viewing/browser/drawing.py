"""Draws a snapshot with the page's settings in the browser, and writes the page's texts."""

from __future__ import annotations

import html
import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from openloger.errors import RecordingError
from openloger.recording import RecordedFrame, Recording
from openloger.shapes import UInt8
from openloger.viewing.browser.controls import Controls, Page
from openloger.viewing.browser.layers import Layers
from openloger.viewing.browser.navigation import Navigation
from openloger.viewing.scene.cameras import ORBIT_FOV, behind, home, through
from openloger.viewing.scene.display import Settings, confidence_picture, depth_picture, mask_picture
from openloger.viewing.scene.mesh import SceneMesh
from openloger.viewing.scene.overview import Snapshot
from openloger.viewing.scene.points import NO_POINTS, frame_points
from openloger.viewing.scene.snapshot import Overlay, SceneSnapshot


def caption(frame: RecordedFrame, *, first_s: float, count: int) -> str:
    """Of the current frame."""
    seconds = frame.timestamp_s - first_s
    return f"**{frame.number}** of {count - 1} · {seconds:.2f} s · {escaped(Path(frame.name).name)}"


def reading(snapshot: Snapshot, recording: Recording, *, problem: str | None) -> str:
    """The progress of the overview, and the last error of the disk."""
    if problem is not None:
        return f"**{escaped(problem)}**"
    points = f"{len(snapshot.points):,} points".replace(",", " ")
    state = "" if recording.complete else " · being written"
    if snapshot.blocks_read < snapshot.blocks:
        return f"{points} · reading {100 * snapshot.blocks_read // snapshot.blocks} %{state}"
    return f"{points} · all {snapshot.frame_count} frames read{state}"


def about(recording: Recording) -> str:
    """The recording in a table."""
    meta = recording.meta
    rows = {
        "recording": str(recording.path),
        "source": meta.source,
        "frames": f"{len(recording)} of {meta.height} × {meta.width} pixels",
        "state": "complete" if recording.complete else "not complete: being written, or interrupted",
        "network": f"{meta.network}, weights {meta.weights_hash or 'random'}",
        "settings": ", ".join(f"{name} {value}" for name, value in meta.settings.items()),
        "lens": meta.lens,
        "masks": ", ".join(meta.mask_kinds) or "none",
        "lengths": "in metres" if recording.is_metric else "in the recording's own unit: no scale is known",
        "corrected": "; ".join(recording.correction_texts) or "no: as recorded",
        "openloger": meta.package_version,
    }
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {escaped(value)} |" for name, value in rows.items())


def alignment(overlay: Overlay) -> str:
    """The fit to the ground truth."""
    return (
        f"{overlay.error:.3g} off (RMS, in the truth's unit) over {overlay.matched} frames; "
        f"one of its units is {overlay.scale:.3g} here"
    )


def export_note(recording: Path, settings: Settings) -> str:
    """The command that writes every point within the sliders, at full density, of all times and depths."""
    edge = "None" if settings.edge_max is None else f"{settings.edge_max:g}"
    path = shlex.quote(str(recording))
    command = f"openloger export {path} --to ply --confidence-min {settings.confidence_min:g} --depth-edge {edge}"
    return f"All points at full density, by the same sliders:\n```\n{command}\n```"


def escaped(text: str) -> str:
    """For markdown and tables: names may hold anything."""
    text = text.encode("utf-8", "replace").decode()
    return html.escape(text).replace("|", "&#124;").replace("\n", " ").replace("*", "&#42;").replace("_", "&#95;")


_NOW_POINTS = 30_000


def _beside(frame: RecordedFrame, second: str) -> UInt8[np.ndarray, "height width 3"]:
    if second == "mask":
        return mask_picture(frame.rgb, frame.mask)
    return depth_picture(frame.depth) if second == "depth" else confidence_picture(frame.confidence)


class Drawing:
    """Draws the page of one browser window; what it has already is not sent again."""

    def __init__(self, scene: Any, controls: Controls, navigation: Navigation, recording: Recording) -> None:
        self.layers = Layers(scene)
        self._controls, self._navigation, self._recording = controls, navigation, recording
        self._frame: RecordedFrame | None = None
        self._pictured: tuple[int, str] | None = None

    def discard(self) -> None:
        """The recording has changed: frames are read again."""
        self._frame = None

    def draw(
        self,
        scene: SceneSnapshot,
        page: Page,
        before: Page | None,
        detail: Snapshot | None,
        mesh: SceneMesh | None = None,
    ) -> None:
        """All of a page; `before` is what was drawn last, `mesh` the one that its settings request, once it is made."""
        settings, cameras, place = page.settings, scene.cameras, scene.place
        self.layers.show_overview(scene.snapshot, settings, place)
        self.layers.show_detail(detail, settings, place)
        self.layers.show_path(cameras if page.path else None, settings, place)
        self.layers.show_frusta(cameras if page.frusta else None, settings, place)
        self.layers.show_truth(scene.true_path if page.truth else None, place)
        self.layers.show_mesh(mesh, settings, place, cameras.world_from_cam[:, :3, 3])
        self.layers.show_correction(scene if page.recorded else None)
        radius, unit = home(cameras, place).distance / 2, self._recording.unit
        self.layers.show_ground(place if page.ground else None, cameras, radius=radius, unit=unit)
        self._draw_frame(scene, page)
        self._lead(scene, page, before)
        self._controls.show_notes(export=export_note(self._recording.path, settings))

    def _draw_frame(self, scene: SceneSnapshot, page: Page) -> None:
        """Draw the current frame: its pictures, its camera, its own points."""
        settings, place = page.settings, scene.place
        frame = self._read(settings.frame)
        if frame is None:
            return
        if self._pictured != (frame.number, page.second_picture):
            self._pictured = (frame.number, page.second_picture)
            beside = _beside(frame, page.second_picture)
            times_s = self._recording.timestamps_s
            text = caption(frame, first_s=float(times_s[0]), count=len(scene.cameras))
            self._controls.show_frame(text, frame.rgb, beside)
        self.layers.show_camera(None if page.following == "through" else scene.cameras, frame, place)
        stride = math.ceil(math.sqrt(frame.depth.size / _NOW_POINTS))
        points = NO_POINTS if settings.extent == "everything" else frame_points(frame, pixel_stride=stride)
        edge = scene.snapshot.scale.pixel * stride
        self.layers.show_now(points, settings, place, edge=edge, frame_count=len(scene.cameras))

    def _read(self, number: int) -> RecordedFrame | None:
        if self._frame is None or self._frame.number != number:
            try:
                self._frame = self._recording.frame(number)
            except (IndexError, RecordingError) as error:  # begun anew under our hands, or damaged
                self._controls.show_notes(state=f"Frame {number} cannot be read: {escaped(str(error))}")
                return None
        return self._frame

    def _lead(self, scene: SceneSnapshot, page: Page, before: Page | None) -> None:
        """Take the viewers along, where they are to follow the camera."""
        number, place = page.settings.frame, scene.place
        if page.following == "follow":
            self._navigation.lead(behind(scene.cameras, number, place), place.up, fov=ORBIT_FOV)
        elif page.following == "through":
            up = -scene.cameras.world_from_cam[number, :3, 1]
            self._navigation.lead(through(scene.cameras, number, place), up, fov=scene.cameras.fov(number))
        elif before is not None and before.following != "orbit":
            self._navigation.let_go(place.up)
