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
from openloger.export.splat import write_discs
from openloger.viewing.browser.layers import Layers
from openloger.viewing.browser.server import Access, start_server, stop_server
from openloger.viewing.scene.cameras import ORBIT_FOV, home
from openloger.viewing.scene.display import Settings, discs
from openloger.viewing.scene.level_of_detail import reduced
from openloger.viewing.scene.mesh import SceneMesh, glb_bytes, visible_mesh
from openloger.viewing.scene.snapshot import SceneSnapshot, visible_points, with_points

SHARED_POINTS = 250_000  # 3.75 MB before compression
BACKGROUND = (17, 17, 17)  # of viser's page in the dark
SHOWN_SUFFIXES = {"points": ".ply", "splats": ".splat.ply", "mesh": ".glb"}
NOTHING = "nothing is shown, so there is nothing to export: lower confidence, or raise edges"
NO_MESH = "the mesh is not made yet: wait for it, or draw points"
_RENDER_TIMEOUT_S = 60


def share_page(scene: SceneSnapshot, settings: Settings, mesh: SceneMesh | None = None, *, unit: str = "units") -> str:
    """The scene as one HTML file: viser's client with the visible points (as splats, or the mesh, where the settings
    have that), path, cameras, truth and ground in it. `unit` is that of the recording's lengths.

    Raises InputError where viser is not installed, or the settings have a mesh and there is none yet.
    """
    if settings.style == "mesh" and mesh is None:
        raise InputError(NO_MESH)
    points = visible_points(scene.snapshot.points, settings, scene.place)
    fewer = reduced(points, SHARED_POINTS, reference_depth=scene.place.scale.depth)
    thinned = (len(points) / max(len(fewer), 1)) ** 0.5
    scene = with_points(scene, fewer, edge=scene.snapshot.edge * thinned)
    server = start_server(Access.at("127.0.0.1"), 0)
    try:
        _draw(server, scene, settings, mesh, unit)
        return server.get_scene_serializer().as_html(dark_mode=True)
    finally:
        stop_server(server)


def _draw(server: Any, scene: SceneSnapshot, settings: Settings, mesh: SceneMesh | None, unit: str) -> None:
    start = home(scene.cameras, scene.place)
    server.scene.set_up_direction(tuple(scene.place.up.tolist()))
    server.initial_camera.position = start.position
    server.initial_camera.look_at = start.look_at
    server.initial_camera.fov = ORBIT_FOV
    layers = Layers(server.scene)
    layers.show_overview(scene.snapshot, replace(settings, extent="everything"), scene.place)
    if settings.style == "mesh":
        layers.show_mesh(mesh, settings, scene.place, scene.cameras.world_from_cam[:, :3, 3])
    layers.show_path(scene.cameras, settings, scene.place)
    layers.show_frusta(scene.cameras, settings, scene.place)
    layers.show_truth(scene.true_path, scene.place)
    layers.show_ground(scene.place, scene.cameras, radius=start.distance / 2, unit=unit)


def shown_bytes(scene: SceneSnapshot, settings: Settings, mesh: SceneMesh | None) -> bytes:
    """What is shown, as a file with the ending of `SHOWN_SUFFIXES`: points and splats in the recording's axes and unit,
    a mesh y up.

    Raises InputError where nothing is shown.
    """
    if settings.style == "points":
        return ply_bytes(scene, settings)
    if settings.style == "splats":
        points = visible_points(scene.snapshot.points, settings, scene.place)
        points, flat = discs(points, settings, scene.place, edge=scene.snapshot.edge, frame_count=len(scene.cameras))
        if len(points) == 0:
            raise InputError(NOTHING)
        return _file_bytes(lambda path: write_discs(flat, path))
    shown = None if mesh is None else visible_mesh(mesh, settings, scene.place, scene.cameras.world_from_cam[:, :3, 3])
    if shown is None or len(shown.faces) == 0:
        raise InputError(NO_MESH if shown is None else NOTHING)
    return glb_bytes(shown)


def _file_bytes(write: Callable[[Path], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write(path)
        return path.read_bytes()


def ply_bytes(scene: SceneSnapshot, settings: Settings) -> bytes:
    """The visible points, in the recording's axes and unit.

    Raises InputError where there is none.
    """
    points = visible_points(scene.snapshot.points, settings, scene.place)
    if len(points) == 0:
        raise InputError(NOTHING)

    def write(path: Path) -> None:
        with PlyFile(path) as file:
            pixels = np.zeros((len(points), 2), np.float32)
            file.add(PointChunk(settings.frame, points.position, points.rgb, pixels))

    return _file_bytes(write)


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
