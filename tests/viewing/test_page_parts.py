"""The parts of the page, without a browser: the clock, the port, clicks, truth, words, files."""

from __future__ import annotations

import io
import logging
import socket
from pathlib import Path

import numpy as np
import pytest
import scenes

from openloger.errors import InputError
from openloger.recording import Recording
from openloger.recording.windows import drift_series
from openloger.viewing.browser.drawing import about, caption, escaped, export_note, reading
from openloger.viewing.browser.layers import nice, turn_z_to
from openloger.viewing.browser.navigation import Closeness, Gaze, closeness
from openloger.viewing.browser.server import free_port
from openloger.viewing.browser.session import PlaybackClock, frame_rate
from openloger.viewing.browser.share import ply_bytes, send_file, share_page
from openloger.viewing.browser.tools import pick
from openloger.viewing.scene.display import Settings
from openloger.viewing.scene.snapshot import SceneSnapshot, load_snapshot, overlay, visible_points


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return scenes.write_recording(tmp_path_factory.mktemp("walk") / "walk", scenes.room(40))


@pytest.fixture(scope="module")
def known(walk: Recording) -> SceneSnapshot:
    return load_snapshot(walk, budget=20_000)


def test_the_clock_plays_stops_at_the_end_and_begins_anew() -> None:
    clock = PlaybackClock(position=5.0).toggled(last=10)
    assert clock.playing
    clock = clock.advanced(0.25, fps=10.0, last=10, goes_on=False)
    assert clock.position == 7.5
    assert clock.at(7) is clock, "a slider that shows the frame does not lose its fraction"
    assert clock.at(2).position == 2.0
    clock = clock.advanced(9.0, fps=10.0, last=10, goes_on=False)
    assert (clock.frame, clock.playing) == (10, False)
    assert clock.toggled(last=10) == PlaybackClock(0.0, playing=True)
    assert clock.advanced(9.0, fps=10.0, last=10, goes_on=False) is clock, "paused"


def test_where_the_recording_goes_on_the_clock_waits_at_its_end() -> None:
    clock = PlaybackClock(9.0, playing=True).advanced(1.0, fps=10.0, last=10, goes_on=True)
    assert (clock.frame, clock.playing) == (10, True)
    assert clock.advanced(0.1, fps=10.0, last=20, goes_on=True).frame == 11


def test_steps_stay_within_the_video_and_pause() -> None:
    clock = PlaybackClock(3.7, playing=True)
    assert clock.stepped(2, last=10) == PlaybackClock(5.0)
    assert clock.stepped(-99, last=10) == PlaybackClock(0.0)
    assert clock.stepped(99, last=10) == PlaybackClock(10.0)


def test_the_frame_rate_is_the_timestamps() -> None:
    assert frame_rate(np.arange(9) / 25) == pytest.approx(25)
    assert frame_rate(np.zeros(1)) == frame_rate(np.ones(5)) == 30


def test_a_port_in_use_gives_the_next_one_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken, caplog.at_level(logging.WARNING):
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = free_port("127.0.0.1", port)
    assert port < other < port + 100
    assert f"port {port} is in use; serving at {other}" in caplog.text


@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        ("127.0.0.1", 0, "port 0.*65535"),
        ("127.0.0.1", 70_000, "port 70000"),
        ("192.0.2.7", 8080, "192.0.2.7"),
        ("no.such.host.invalid", 8080, "no.such.host.invalid"),
    ],
)
def test_an_address_that_cannot_be_is_one_line(host: str, port: int, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        free_port(host, port)
    assert "\n" not in str(raised.value)


def test_a_click_means_the_near_point_on_the_ray() -> None:
    points = np.array([[0, 0, 5.0], [0.01, 0, 2.0], [3, 0, 2.0], [0, 0, -1.0]])
    origin, ahead = np.zeros(3), np.array([0, 0, 2.0])
    assert pick(points, origin, ahead) == 1
    assert pick(points, origin, np.array([3.0, 0, 2.0])) == 2
    assert pick(points, origin, np.array([0, 1.0, 0])) is None
    assert pick(np.zeros((0, 3)), origin, ahead) is None
    between = np.array([[0.02, 0, 2.0], [0, 0, 2.05]])
    assert pick(between, origin, ahead) == 1, "hitting it counts for more than a little depth"


def test_truth_is_laid_over_by_a_similarity_and_its_error_is_in_its_own_unit() -> None:
    generator = np.random.default_rng(0)
    ours = np.tile(np.eye(4), (20, 1, 1))
    ours[:, :3, 3] = generator.normal(size=(20, 3))
    turn = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    true = ours.copy()
    true[:, :3, 3] = 4 * ours[:, :3, 3] @ turn.T + [5, 6, 7]
    true[7] = np.nan
    laid = overlay(ours, true)
    known = np.arange(20) != 7
    np.testing.assert_allclose(laid.path[known], ours[known, :3, 3], atol=1e-9)
    assert np.isnan(laid.path[7]).all()
    assert laid.matched == 19
    assert laid.scale == pytest.approx(0.25)
    assert laid.error < 1e-9
    true[3, 0, 3] += 2.0
    assert 0.2 < overlay(ours, true).error < 2 / np.sqrt(19) + 1e-6


def test_truth_that_does_not_fix_a_rotation_is_refused() -> None:
    line = np.tile(np.eye(4), (20, 1, 1))
    line[:, 2, 3] = np.arange(20)
    with pytest.raises(InputError, match="on one line"):
        overlay(line, line)
    with pytest.raises(InputError, match="at least 3 points"):
        overlay(line, np.full((20, 4, 4), np.nan))


def test_detail_is_wanted_from_near_and_not_from_far(known: SceneSnapshot) -> None:
    coarse = know_all_coarsely(known)
    near = Gaze(np.zeros(3), np.array([0.0, 0, 0.5]), pixels_per_radian=800.0)
    far = Gaze(np.zeros(3), np.array([0.0, 0, 500.0]), pixels_per_radian=800.0)
    wanted = closeness(near, coarse, Settings(frame=20))
    assert wanted is not None
    assert wanted.stop == 21
    np.testing.assert_allclose(wanted.focus, near.look_at / coarse.place.unit)
    assert closeness(far, coarse, Settings(frame=20)) is None
    assert closeness(near, coarse, Settings(frame=20, extent="this frame")) is None
    everything = closeness(near, coarse, Settings(extent="everything"))
    assert everything is not None
    assert everything.stop == 40


def know_all_coarsely(known: SceneSnapshot) -> SceneSnapshot:
    from openloger.viewing.scene.snapshot import with_points

    return with_points(known, known.snapshot.points, edge=10 * known.snapshot.edge)


def test_only_a_move_that_matters_fetches_detail_again() -> None:
    here = Closeness(np.zeros(3), 2.0, 10)
    assert not Closeness(np.array([0.1, 0, 0]), 2.2, 12).differs(here)
    assert Closeness(np.array([1.0, 0, 0]), 2.0, 10).differs(here)
    assert Closeness(np.zeros(3), 0.5, 10).differs(here)
    assert Closeness(np.zeros(3), 2.0, 9).differs(here), "what comes later must not be seen"


def test_the_points_shown_are_those_of_the_ply(known: SceneSnapshot) -> None:
    settings = Settings(frame=20, confidence_min=0.5, edge_max=None)
    data = ply_bytes(known, settings)
    header, _, body = data.partition(b"end_header\n")
    points = visible_points(known.snapshot.points, settings, known.place)
    assert f"element vertex {len(points)}\n".encode() in header
    rows = np.frombuffer(body, [("position", "<f4", 3), ("colour", "u1", 3)])
    np.testing.assert_array_equal(rows["position"], points.position)
    np.testing.assert_array_equal(rows["colour"], points.rgb)
    with pytest.raises(InputError, match=r"confidence.*edges"):
        ply_bytes(known, Settings(frame=20, confidence_min=1.0))


def test_what_a_browser_cannot_be_given_is_said_to_it() -> None:
    class Client:
        def __init__(self) -> None:
            self.said: list[str] = []
            self.files: dict[str, bytes] = {}

        def add_notification(self, title: str, body: str, **_: object) -> None:
            self.said.append(body)

        def send_file_download(self, name: str, data: bytes, **_: object) -> None:
            self.files[name] = data

    def fail() -> bytes:
        raise InputError("no point is visible_points")

    client = Client()
    send_file(client, "a.ply", fail)
    send_file(client, "b.ply", lambda: b"points")
    assert client.said == ["no point is visible_points"]
    assert client.files == {"b.ply": b"points"}


def test_the_page_to_share_is_one_file_with_all_in_it(known: SceneSnapshot) -> None:
    page = share_page(known, Settings(frame=39, edge_max=None))
    assert page.count("window.__VISER_EMBED_DATA__=") == 1
    for outside in ('src="http', "src='http", 'href="http', 'rel="stylesheet" href'):
        assert outside not in page
    assert len(page) < 5_000_000


def test_names_cannot_break_the_page() -> None:
    assert escaped("a|b\n<script>*x_y*") == "a&#124;b &lt;script&gt;&#42;x&#95;y&#42;"
    assert escaped("caf\u00e9\udcff") == "caf\u00e9?"


def test_words_about_a_recording(walk: Recording, known: SceneSnapshot) -> None:
    assert "40 of 48 × 64 pixels" in about(walk)
    assert "compact, weights 3f2a90c1" in about(walk)
    assert caption(walk.frame(20), first_s=0.0, count=40) == "**20** of 39 · 2.00 s · 000020.png"
    assert reading(known.snapshot, walk, problem=None).endswith("points · all 40 frames read")
    assert reading(known.snapshot, walk, problem="c.0: missing") == "**c.0: missing**"
    note = export_note(Path("my walk"), Settings(confidence_min=0.25, edge_max=None))
    assert "openloger export 'my walk' --to ply --confidence-min 0.25 --depth-edge None" in note


def test_the_drift_meter_has_a_value_a_window_but_the_first(walk: Recording) -> None:
    series = drift_series(walk.windows, walk.timestamps_s)
    assert [len(values) for values in series.values()] == [len(walk.windows) - 1] * 4
    assert series["time"][0] == pytest.approx(1.3)
    assert series["depth"][0] == pytest.approx(100 * walk.windows[1].disagreement.depth)


@pytest.mark.parametrize(
    ("length", "cell"), [(1.0, 1.0), (0.99, 0.5), (4.9, 2.0), (7.0, 5.0), (0.02, 0.02), (123, 100)]
)
def test_grid_cells_are_round(length: float, cell: float) -> None:
    assert nice(float(length)) == pytest.approx(cell)


@pytest.mark.parametrize("up", [(0, 0, 1), (0, -1, 0), (0, 0, -1), (0.6, 0, 0.8)])
def test_the_grid_is_turned_to_its_normal(up: tuple[float, float, float]) -> None:
    w, x, y, z = turn_z_to(np.array(up, np.float64))
    turned = [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)]
    np.testing.assert_allclose(turned, up, atol=1e-9)


def test_a_picture_is_pnged_on_the_pages_background() -> None:
    from PIL import Image

    from openloger.viewing.browser.share import BACKGROUND, picture

    class Camera:
        image_height, image_width = 20, 30

    class Client:
        camera = Camera()

        def get_render(self, height: int, width: int, **_: object) -> np.ndarray:
            seen = np.zeros((height, width, 4), np.uint8)
            seen[5, 6] = 200, 100, 50, 255
            return seen

    image = np.asarray(Image.open(io.BytesIO(picture(Client()))))
    assert image.shape == (20, 30, 3)
    assert image[5, 6].tolist() == [200, 100, 50]
    assert image[0, 0].tolist() == list(BACKGROUND)
