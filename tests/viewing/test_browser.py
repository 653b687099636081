"""The viewer's page as a person uses it, in a headless Chromium: `make test-browser`."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import browsing
import numpy as np
import pytest
import scenes
from browsing import Person, served

from openloger.recording import Recording, create_recording, open_recording
from openloger.viewing import Settings, Viewer, load_snapshot, share_page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
BUDGET = 20_000
FRAMES = 40


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return scenes.write_recording(tmp_path_factory.mktemp("walk") / "walk", scenes.room(FRAMES))


@pytest.fixture(scope="module")
def viewer(walk: Recording) -> Iterator[Viewer]:
    truth = np.stack([shot.world_from_cam for shot in scenes.room(FRAMES)])
    with served(walk, budget=BUDGET, truth=lambda _: truth) as viewer:
        yield viewer


@pytest.fixture
def person(browser: Any, viewer: Viewer) -> Iterator[Person]:
    person = Person(browser)
    person.visit(viewer.url)
    person.press("End")
    person.until(lambda: person.frame()[0] == FRAMES - 1)
    yield person
    person.page.close()
    assert person.problems == []


def test_the_scene_is_in_the_middle_and_large(person: Person) -> None:
    person.until(lambda: person.lit() > 0.1)
    lit = person.picture().max(-1) > 60
    rows, columns = np.nonzero(lit)
    height, width = lit.shape
    assert 0.3 < rows.mean() / height < 0.7
    assert 0.3 < columns.mean() / width < 0.7
    assert lit[:, :8].mean() < 0.2, "nothing much is cut off"
    assert lit[:, -8:].mean() < 0.2
    assert person.picture().std() > 15


def test_the_cloud_grows_with_time_that_is_scrubbed_stepped_and_played(person: Person) -> None:
    person.drag("frame", 0.0)
    person.until(lambda: person.frame() == (0, FRAMES - 1))
    few = person.lit()
    person.drag("frame", 1.0)
    person.until(lambda: person.frame()[0] == FRAMES - 1)
    person.until(lambda: person.lit() > few + 0.03)
    person.press("j")
    person.until(lambda: person.frame()[0] == FRAMES - 2)
    person.press("Home")
    person.until(lambda: person.frame()[0] == 0)
    person.press("Shift+l")
    person.until(lambda: person.frame()[0] == 10)
    person.page.get_by_role("button", name="▶|").click()
    person.until(lambda: person.frame()[0] == FRAMES - 1)
    person.press("Home")
    person.until(lambda: person.frame()[0] == 0)
    person.choose("speed", "¼×")
    person.press("Space")
    person.until(lambda: person.frame()[0] > 0)
    person.press("Space")
    person.until(lambda: stands_still(person))
    assert 0 < person.frame()[0] < FRAMES - 1
    person.choose("speed", "1×")


def stands_still(person: Person) -> bool:
    before = person.frame()
    person.page.wait_for_timeout(1500)
    return person.frame() == before


def test_numbers_beside_sliders_change_what_is_seen(person: Person) -> None:
    person.until(lambda: person.lit() > 0.1)
    for label, there, back in (("confidence", 1.0, 0.1), ("point size", 0.2, 1.0)):
        all_of_it = person.lit()
        person.enter(label, there)
        person.until(lambda most=all_of_it: person.lit() < 0.7 * most)
        person.enter(label, back)
        person.until(lambda most=all_of_it: person.lit() > 0.85 * most)


@pytest.mark.parametrize(("label", "thumb", "share"), [("depth", 1, 0.02), ("height", 0, 0.9)])
def test_two_ended_sliders_are_dragged_and_show_their_numbers(
    label: str, thumb: int, share: float, person: Person
) -> None:
    person.until(lambda: person.lit() > 0.1)
    all_of_it = person.lit()
    written = person.row(label).locator("label").first
    assert written.inner_text() == {"depth": "depth 0.0 to any", "height": "height 0 % to 100 %"}[label]
    person.drag(label, share, thumb=thumb)
    person.until(lambda: person.lit() < 0.7 * all_of_it)
    ends = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", written.inner_text())]
    assert len(ends) == 2
    assert ends[thumb] != pytest.approx({"depth": 20.0, "height": 0.0}[label])
    assert ends[0] < ends[1]
    person.drag(label, float(thumb), thumb=thumb)
    person.until(lambda: person.lit() > 0.85 * all_of_it)


def test_sliders_are_of_one_window_and_a_reload_begins_anew(browser: Any, person: Person, viewer: Viewer) -> None:
    person.until(lambda: person.lit() > 0.1)
    all_of_it = person.lit()
    other = Person(browser)
    other.visit(viewer.url)
    other.until(lambda: other.lit() > 0.1)
    other.enter("edges", 0.0)
    other.enter("confidence", 1.0)
    other.until(lambda: other.lit() < 0.5 * all_of_it)
    person.page.wait_for_timeout(1500)
    assert person.lit() > 0.85 * all_of_it
    other.visit(viewer.url)
    other.until(lambda: other.lit() > 0.85 * all_of_it)
    other.page.close()
    assert other.problems == []


KNOCK = """([address, protocol]) => new Promise(done => {
    const socket = new WebSocket(address, [protocol]);
    socket.onopen = () => done("in");
    socket.onerror = () => done("refused");
})"""
FETCH = "address => fetch(address).then(response => response.text()).catch(() => 'refused')"


def test_a_hostile_page_gets_neither_scene_nor_socket(browser: Any, viewer: Viewer) -> None:
    import viser

    protocol, port = f"viser-v{viser.__version__}", viewer.port
    page = browser.new_page()
    with other_site() as address:
        for host in ("127.0.0.1", "localhost", browsing.EVIL):
            page.goto(address)
            assert page.evaluate(KNOCK, [f"ws://{host}:{port}", protocol]) == "refused"
            assert page.evaluate(FETCH, f"http://{host}:{port}/") == "refused"
    response = page.goto(f"http://{browsing.EVIL}:{port}/")  # a name that was made to point here
    assert response.status == 403
    assert page.evaluate(KNOCK, [f"ws://{browsing.EVIL}:{port}", protocol]) == "refused"
    page.goto(viewer.url)
    assert page.evaluate(KNOCK, [viewer.url.replace("http", "ws"), protocol]) == "in"
    page.close()


@contextmanager
def other_site() -> Iterator[str]:
    """The address of a page on another port."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>hostile</title>")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def test_boxes_and_colours_change_what_is_seen(person: Person) -> None:
    person.until(lambda: person.lit() > 0.1)
    for label in ("colour", "path colour", "show"):
        for option in {"colour": ("time", "picture"), "path colour": ("confidence", "time")}.get(
            label, ("this frame", "up to now")
        ):
            changes(person, lambda label=label, option=option: person.choose(label, option))
    for label in ("path", "cameras", "ground", "ground truth", "overhead"):
        changes(person, lambda label=label: person.tick(label))
        changes(person, lambda label=label: person.tick(label))


def changes(person: Person, action: Any) -> None:
    """The page shows what was done."""
    before = person.picture()
    action()
    person.until(lambda: bool((np.abs(person.picture().astype(int) - before).max(-1) > 12).sum() > 15))


def test_the_camera_is_followed_and_let_go(person: Person) -> None:
    person.until(lambda: person.lit() > 0.1)
    orbiting = person.lit()
    person.press("f")
    person.press("f")
    person.until(lambda: person.lit() > orbiting + 0.2)  # inside the room, walls are all around
    person.press("f")
    person.press("h")
    person.until(lambda: abs(person.lit() - orbiting) < 0.05)


def test_two_clicks_measure(person: Person) -> None:
    person.until(lambda: person.lit() > 0.1)
    person.press("m")
    person.page.get_by_role("tab", name="Tools").click()
    person.page.get_by_text("Click two points of the scene").wait_for()
    surfaces = person.surfaces()
    for share, written in ((0.3, "Now the second point"), (0.8, re.compile(r"^\d+\.\d+ m$"))):  # the scene is in metres
        row, column = surfaces[int(share * len(surfaces))].tolist()
        person.page.mouse.click(column, row)
        person.page.get_by_text(written).wait_for()
    person.press("m")


def test_what_is_seen_is_saved(person: Person) -> None:
    from PIL import Image

    person.until(lambda: person.lit() > 0.1)
    person.page.get_by_role("tab", name="Tools").click()
    saved = {}
    for label in ("Picture of the view", "What is shown, as a file", "Page to share"):
        with person.page.expect_download() as download:
            person.page.get_by_role("button", name=label).click()
        saved[Path(download.value.suggested_filename).suffix] = Path(download.value.path()).read_bytes()
    picture = np.asarray(Image.open(io.BytesIO(saved[".png"])).convert("RGB"))
    assert picture.shape == person.picture().shape
    assert (picture.max(-1) > 60).mean() == pytest.approx(person.lit(), abs=0.1)
    header = saved[".ply"].partition(b"end_header\n")[0]
    assert 1000 < int(header.split(b"element vertex ")[1].split()[0]) <= BUDGET
    assert b"__VISER_EMBED_DATA__" in saved[".html"]


def test_splats_and_a_mesh_take_the_place_of_points(person: Person) -> None:
    person.until(lambda: person.lit() > 0.1)
    as_points = person.lit()
    changes(person, lambda: person.choose("draw as", "splats"))
    person.until(lambda: person.lit() > 0.5 * as_points)
    person.choose("draw as", "mesh")
    person.page.get_by_text("triangles").wait_for()
    person.until(lambda: person.lit() > 0.5 * as_points)
    all_of_it = person.lit()
    person.drag("height", 0.9)
    person.until(lambda: person.lit() < 0.7 * all_of_it)
    person.drag("height", 0.0)
    person.until(lambda: person.lit() > 0.85 * all_of_it)
    person.page.get_by_role("tab", name="Tools").click()
    with person.page.expect_download() as download:
        person.page.get_by_role("button", name="What is shown, as a file").click()
    assert download.value.suggested_filename == "walk.glb"
    assert Path(download.value.path()).read_bytes().startswith(b"glTF")
    person.page.get_by_role("tab", name="Scene").click()
    changes(person, lambda: person.choose("draw as", "points"))


def test_a_recording_is_followed_while_it_is_written(browser: Any, tmp_path: Path) -> None:
    shots = scenes.room(FRAMES)
    first, *others = scenes.placed_windows(shots)
    with create_recording(tmp_path / "live", scenes.meta_of(shots)) as writer:
        writer.append(first)
        with served(open_recording(tmp_path / "live"), budget=BUDGET) as viewer:
            person = Person(browser)
            person.visit(viewer.url, ready="· being written")
            person.until(lambda: person.frame() == (12, 12))
            for placed in others:
                writer.append(placed)
                last = writer.frame_count - 1
                person.until(lambda last=last: person.frame() == (last, last))
            writer.finish()
            person.until(lambda: "being written" not in person.page.inner_text("body"))
            person.page.close()
            assert person.problems == []


def test_on_a_telephone_the_scene_is_seen_over_the_timeline(browser: Any, viewer: Viewer) -> None:
    person = Person(browser, size=(390, 844))
    person.visit(viewer.url)
    person.until(lambda: person.lit(above=0.5) > 0.02)
    page = person.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    person.drag("frame", 0.0)
    person.until(lambda: person.frame()[0] == 0)
    assert not person.row("point size").is_visible()
    page.get_by_role("button", name="Expand panel Scene").click()
    person.row("point size").wait_for()
    person.row("point size").scroll_into_view_if_needed()
    box = person.row("point size").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.close()
    assert person.problems == []


def test_the_page_to_share_opens_from_a_file_without_a_server(browser: Any, walk: Recording, tmp_path: Path) -> None:
    known = load_snapshot(walk, budget=BUDGET)
    page = share_page(known, Settings(frame=known.last, edge_max=0.15, overhead=False))
    (tmp_path / "scene.html").write_text(page)
    person = Person(browser)
    person.visit((tmp_path / "scene.html").as_uri(), ready=None)
    person.until(lambda: person.lit() > 0.1)
    person.page.close()
    assert person.problems == []
