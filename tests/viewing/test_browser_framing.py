"""What is in view, in a headless Chromium: scene and path in every picture that the report and the viewer begin with.

The walk is short, with the scene before it, and a patch that is trusted is far out. So whoever frames the path alone
cuts the scene off, and whoever frames all points shrinks it. The scene is grey: what has a colour is the path.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scenes
from browsing import Person, served
from PIL import Image

from openloger.recording import Recording
from openloger.viewing import report_page
from openloger.viewing.report.turntable import STAGE
from openloger.viewing.scene.display import mean_up
from openloger.viewing.scene.plans import planes

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
WALK, OF = 16, 60  # frames of the walk, and of a walk through the whole room
COLOURED = 70  # of 255: the least range of a path's channels; greys have less, packed as JPEG or WebP, too
BOXES = """svg => {
    const shapes = ["clipPath rect", "polyline.halo", "circle.end", "rect.end"].map(name => svg.querySelector(name));
    return shapes.map(shape => shape.getBBox()).map(box => [box.x, box.y, box.x + box.width, box.y + box.height]);
}"""


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    shots = []
    for shot in scenes.room(OF)[:WALK]:
        rgb = np.repeat(shot.rgb.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
        depth = shot.depth.copy()
        depth[19:26, 2:9] = scenes.FAR
        shots.append(replace(shot, rgb=rgb, depth=depth))
    return scenes.write_recording(tmp_path_factory.mktemp("walk") / "walk", shots)


@pytest.fixture(scope="module")
def report(walk: Recording, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("openloger.viewing.report.page.TURNS", 8)
        path.write_text(report_page(walk))
    return path.as_uri()


@pytest.mark.parametrize("title", ["From above", "From the side"])
def test_a_plan_frames_scene_and_path(title: str, browser: Any, report: str, walk: Recording) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(report)
    plan = page.locator("figure", has_text=title).locator("svg")
    sheet, path, begin, end = np.array(plan.evaluate(BOXES)).reshape(4, 2, 2)  # of each the upper left, lower right
    page.close()
    low, high = sheet
    assert (path[0] >= low).all(), "nothing of the path is cut off"
    assert (path[1] <= high).all()

    centres, up = walk.world_from_cam[:, :3, 3], mean_up(walk.world_from_cam)
    plane = planes(centres, up)[title == "From the side"]
    scene = np.concatenate([walk.points_world(frame).reshape(-1, 3) for frame in range(0, WALK, 3)]).astype(float)
    if title == "From above":  # without the ceiling
        scene = scene[scene @ up < (centres @ up).max()]
    on_paper = placed(plane.xy(scene), plane.xy(centres[[0, -1]]), np.stack([begin.mean(0), end.mean(0)]))
    inside = ((on_paper >= low) & (on_paper <= high)).all(1)
    assert inside.mean() > 0.75, "the path alone is framed"
    filled = np.ptp(np.percentile(on_paper, (10, 90), axis=0), axis=0) / (high - low)
    assert filled.max() > 0.3, "what is far out shrinks the scene"


def placed(xy: np.ndarray, known: np.ndarray, on_paper: np.ndarray) -> np.ndarray:
    """Where points of a plan are on the paper, whose y goes down, by where two of them are."""
    plan, known_plan, paper = (some @ [1, 1j * side] for some, side in ((xy, 1), (known, 1), (on_paper, -1)))
    found = paper[0] + (plan - known_plan[0]) * (paper[1] - paper[0]) / (known_plan[1] - known_plan[0])
    return np.stack([found.real, -found.imag], 1)


def test_the_turntable_frames_scene_and_path(browser: Any, report: str) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(report)
    pictures = []
    for _ in range(4):
        page.wait_for_timeout(200)
        shot = page.get_by_alt_text("from all sides").screenshot()
        pictures.append(np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int))
    page.close()
    assert any((picture != pictures[0]).any() for picture in pictures), "it turns"
    for picture in pictures:
        assert_framed(picture, lit=np.abs(picture - STAGE).max(-1) > 30)


@pytest.mark.parametrize("button", ["Whole scene in view", "From above", "From the side"])
def test_a_button_of_the_viewer_frames_scene_and_path(button: str, browser: Any, walk: Recording) -> None:
    with served(walk, budget=20_000) as viewer:
        person = Person(browser)
        person.visit(viewer.url)
        person.until(lambda: person.frame()[0] == WALK - 1)
        person.tick("ground")
        person.page.get_by_role("tab", name="Tools").click()
        person.page.mouse.move(300, 250)
        person.page.mouse.wheel(0, -1500)
        person.until(lambda: person.lit() > 0.6)
        person.page.get_by_role("button", name=button).click()
        person.until(lambda: person.lit() < 0.5)
        picture = person.picture()
        person.page.close()
        assert person.problems == []
    assert_framed(picture, lit=picture.max(-1) > 60)


def assert_framed(picture: np.ndarray, *, lit: np.ndarray) -> None:
    """All of the path, and nearly all of a scene that is as large as that allows."""
    coloured = np.ptp(picture, axis=-1) > COLOURED
    assert coloured.sum() > 20, "the path is to be seen"
    assert not border(coloured).any(), "nothing of the path is cut off"
    assert border(lit).mean() < 0.25, "the path alone is framed"
    rows, columns = np.nonzero(lit)
    filled = [np.ptp(np.percentile(at, (2, 98))) / size for at, size in zip((rows, columns), lit.shape, strict=True)]
    assert max(filled) > 0.5, "what is far out shrinks the scene"


def border(of: np.ndarray) -> np.ndarray:
    """Three pixels along all four edges."""
    return np.concatenate([of[:3].ravel(), of[-3:].ravel(), of[:, :3].ravel(), of[:, -3:].ravel()])
