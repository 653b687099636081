"""Files from the viewer: a page that needs no server, the visible points, and pictures of the view."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from openloger.errors import InputError
from openloger.export.ply import PlyFile
from openloger.export.selection import PointChunk
from openloger.viewing.browser.layers import Layers
from openloger.viewing.browser.server import Access, start_server, stop_server
from openloger.viewing.scene.cameras import ORBIT_FOV, home
from openloger.viewing.scene.display import Settings
from openloger.viewing.scene.level_of_detail import reduced
from openloger.viewing.scene.snapshot import SceneSnapshot, visible_points, with_points

SHARED_POINTS = 250_000  # 3.75 MB before compression
BACKGROUND = (17, 17, 17)  # of viser's page in the dark
_RENDER_TIMEOUT_S = 60


def share_page(scene: SceneSnapshot, settings: Settings) -> str:
    """The scene as one HTML file: viser's client with the points visible_points, path, cameras, truth and ground in it.

    Raises InputError where viser is not installed.
    """
    points = visible_points(scene.snapshot.points, settings, scene.place)
    fewer = reduced(points, SHARED_POINTS, reference_depth=scene.place.scale.depth)
    thinned = (len(points) / max(len(fewer), 1)) ** 0.5
    scene = with_points(scene, fewer, edge=scene.snapshot.edge * thinned)
    server = start_server(Access.at("127.0.0.1"), 0)
    try:
        _draw(server, scene, settings)
        return server.get_scene_serializer().as_html(dark_mode=True)
    finally:
        stop_server(server)


def _draw(server: Any, scene: SceneSnapshot, settings: Settings) -> None:
    start = home(scene.cameras, scene.place)
    server.scene.set_up_direction(tuple(scene.place.up.tolist()))
    server.initial_camera.position = start.position
    server.initial_camera.look_at = start.look_at
    server.initial_camera.fov = ORBIT_FOV
    layers = Layers(server.scene)
    layers.show_overview(scene.snapshot, replace(settings, extent="everything"), scene.place)
    layers.show_path(scene.cameras, settings, scene.place)
    layers.show_frusta(scene.cameras, settings, scene.place)
    layers.show_truth(scene.true_path, scene.place)
    layers.show_ground(scene.place, scene.cameras, radius=start.distance / 2)


def ply_bytes(scene: SceneSnapshot, settings: Settings) -> bytes:
    """The points visible_points, in the recording's axes and unit.

    Raises InputError where there is none.
    """
    points = visible_points(scene.snapshot.points, settings, scene.place)
    if len(points) == 0:
        raise InputError("no point is visible_points, so there is none to export: lower confidence, or raise edges")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "points.ply"
        with PlyFile(path) as file:
            pixels = np.zeros((len(points), 2), np.float32)
            file.add(PointChunk(settings.frame, points.position, points.rgb, pixels))
        return path.read_bytes()


def picture(client: Any) -> bytes:
    """The view of a browser, as PNG on the page's background.

    Raises RuntimeError or TimeoutError where the browser does not answer.
    """
    from PIL import Image

    camera = client.camera
    size = (camera.image_height, camera.image_width)
    seen = client.get_render(*size, transport_format="png", timeout=_RENDER_TIMEOUT_S)
    image = Image.new("RGBA", (seen.shape[1], seen.shape[0]), (*BACKGROUND, 255))
    image.alpha_composite(Image.fromarray(seen).convert("RGBA"))
    data = io.BytesIO()
    image.convert("RGB").save(data, "PNG")
    return data.getvalue()


def send_file(client: Any, name: str, make: Callable[[], bytes]) -> None:
    """Make a file and let a browser save it; where it cannot be made, show the reason there."""
    try:
        data = make()
    except (InputError, RuntimeError, TimeoutError) as error:
        client.add_notification("Not saved", str(error), color="red", auto_close_seconds=10.0)
        return
    client.send_file_download(name, data, save_immediately=True)
