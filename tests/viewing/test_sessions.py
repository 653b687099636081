"""Two browser windows, as the server sees them: each has its own settings, and a new one begins anew.

The windows are played by websockets that speak viser's protocol, so that nothing needs to be rendered.
"""

from __future__ import annotations

import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scenes

from openloger.cli import main
from openloger.recording import Recording, open_recording
from openloger.viewing import Viewer, ViewOptions
from openloger.viewing.scene.points import Points
from openloger.viewing.scene.snapshot import visible_points

viser = pytest.importorskip("viser")
PATIENCE_S = 120


class Window:
    """One connection; what the server sends is taken and thrown away."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        threading.Thread(target=lambda: [None for _ in socket], daemon=True).start()
        self.send("ViewerCameraMessage", wxyz=(1, 0, 0, 0), position=(0, 0, -3), fov=1.0, near=0.01, far=1000.0)

    def send(self, kind: str, **fields: Any) -> None:
        import msgspec

        if kind == "ViewerCameraMessage":
            fields |= {"image_height": 600, "image_width": 800, "look_at": (0, 0, 0), "up_direction": (0, -1, 0)}
        self._socket.send(msgspec.msgpack.encode({"type": kind, **fields}))

    def move(self, slider: Any, value: Any) -> None:
        """As a person who drags it."""
        self.send("GuiUpdateMessage", uuid=slider._impl.uuid, updates={"value": value})


@contextmanager
def window(viewer: Viewer) -> Iterator[Window]:
    from websockets.sync.client import connect

    own = f"127.0.0.1:{viewer.port}"
    protocol: Any = f"viser-v{viser.__version__}"
    with connect(f"ws://{own}", origin=f"http://{own}", subprotocols=[protocol], max_size=None) as socket:  # type: ignore
        yield Window(socket)


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[Viewer]:
    recording = scenes.write_recording(tmp_path / "walk", scenes.room(6, size=(24, 32)))
    viewer = Viewer(recording, options=ViewOptions(port=8890, budget=20_000))
    yield viewer
    viewer.close()


def until(viewer: Viewer, condition: Callable[[], bool]) -> None:
    """Turn the viewer's loop until it holds."""
    limit_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < limit_s, "waited in vain"
        viewer.tick()
        time.sleep(0.01)


def test_each_window_draws_in_its_own_style(viewer: Viewer) -> None:
    """Points, splats or the mesh, and only one of them at a time."""
    sessions = viewer._sessions
    with window(viewer) as one:
        until(viewer, lambda: any(session._page is not None for session in sessions.values()))
        (session,) = sessions.values()
        layers = session._drawing.layers
        drawn = lambda: (  # noqa: E731
            any(slab.nodes for slab in layers._slabs.values()),
            any(slab.splats is not None for slab in layers._slabs.values()),
            layers._mesh is not None,
        )
        until(viewer, lambda: drawn() == (True, False, False))
        one.move(session._controls._style, "splats")
        until(viewer, lambda: drawn() == (False, True, False))
        one.move(session._controls._edge, 0.3)
        one.move(session._controls._style, "mesh")
        until(viewer, lambda: drawn() == (False, False, True))
        assert "6 frames" in session._controls._mesh_note.content
        one.move(session._controls._style, "points")
        until(viewer, lambda: drawn() == (True, False, False))
        assert not session._controls._mesh_note.visible


def test_a_window_that_closes_while_it_is_drawn_ends_nothing(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    """viser warns of what is sent to a closed window, and warnings are errors here."""
    with window(viewer):
        until(viewer, lambda: any(session._page is not None for session in viewer._sessions.values()))
        (session,) = viewer._sessions.values()
        session._tools.set_measuring(True)
    until(viewer, lambda: not viewer._sessions)
    viewer._sessions[0], session._page, session._draws = session, None, None
    monkeypatch.setattr(viewer, "_greet", lambda: None)  # the turn has looked for closed windows already
    viewer.tick()
    assert session._page is not None, "it was drawn"


def test_what_was_measured_is_a_command_that_gives_the_scale(
    viewer: Viewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands on the page, from another folder than the recording's."""
    recording = viewer._recording
    monkeypatch.setattr(type(recording), "is_metric", False)
    with window(viewer):
        until(viewer, lambda: any(session._page is not None for session in viewer._sessions.values()))
        (session,) = viewer._sessions.values()
        until(viewer, lambda: len(session._shown.scene.snapshot.points) > 100)
        scene, settings = session._shown.scene, session._page.settings
        session._tools.set_measuring(True)
        eye = scene.cameras.world_from_cam[0, :3, 3] * scene.place.unit
        for point in ends_on_smooth_surface(recording, visible_points(scene.snapshot.points, settings, scene.place)):
            event = SimpleNamespace(ray_origin=tuple(eye), ray_direction=tuple(point * scene.place.unit - eye))
            session._tools.click(event, scene, None, settings)
        note = session._controls._measured.content
    length, command = re.fullmatch(r"\*\*(\S+)\*\* in the .*: `(.+)`", note).groups()
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(command.replace("METRES", str(10 * float(length))))[1:])
    assert not ended.value.code
    step = open_recording(recording.path).correction.steps[-1]
    assert step.after_from_before.scale.item() == pytest.approx(10, rel=0.02)


def ends_on_smooth_surface(recording: Recording, points: Points) -> np.ndarray:
    """The two furthest from each other of those that frame 0 sees where depth hardly changes: (2, 3)."""
    frame = recording.frame(0)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(frame.depth, 1, mode="edge"), (3, 3))
    smooth = around.max((2, 3)) < 1.05 * around.min((2, 3))
    seen = points.position[points.frame == 0].astype(np.float64)
    pixels = (seen - frame.world_from_cam[:3, 3]) @ frame.world_from_cam[:3, :3] @ frame.intrinsics.T
    column, row = (
        (pixels[:, :2] / pixels[:, 2:]).clip(0, [recording.meta.width - 1, recording.meta.height - 1]).astype(int).T
    )
    found = seen[smooth[row, column]]
    apart = np.linalg.norm(found[:, None] - found, axis=-1)
    return found[list(np.unravel_index(apart.argmax(), apart.shape))]


def test_a_slider_changes_its_own_window_and_no_other(viewer: Viewer) -> None:
    sessions = viewer._sessions
    with window(viewer) as one:
        until(viewer, lambda: any(session._page is not None for session in sessions.values()))
        (first,) = sessions.values()
        usual = first._page.settings
        with window(viewer):
            until(viewer, lambda: len(sessions) == 2 and all(session._page for session in sessions.values()))
            second = next(session for session in sessions.values() if session is not first)
            one.move(first._controls._edge, 0.0)
            one.move(first._controls._depth, (0.5, 5.0))
            one.move(first._controls._frame, 2)
            until(viewer, lambda: first._page.settings.frame == 2 and first._page.settings.depth_range == (0.5, 5.0))
            until(viewer, lambda: first._page.settings.edge_max == 0.0)
            assert first._controls._depth.label == "depth 0.5 to 5.0"
            viewer.tick()
            assert second._page.settings == usual
            assert second._controls._depth.label == "depth 0.0 to any"
            assert second.sent_bytes > 0
        until(viewer, lambda: list(sessions.values()) == [first])
        sent_bytes = viewer.sent_bytes
    until(viewer, lambda: not sessions)
    assert viewer.sent_bytes == sent_bytes
    with window(viewer):  # the page is reloaded
        until(viewer, lambda: any(session._page is not None for session in sessions.values()))
        (again,) = sessions.values()
        assert again._page.settings == usual
