"""The report and what notebooks show: read as HTML, nothing loaded from elsewhere, in every state of a recording."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import scenes

import openloger
from openloger.cli import main
from openloger.errors import InputError
from openloger.pages import Backdrop, Line, Route, document, line_plot, map_plot
from openloger.recording import Cost, Recording, create_recording, open_recording
from openloger.viewing import plot_depth, plot_trajectory, report_page
from openloger.viewing.report.plans import backdrop
from openloger.viewing.report.turntable import directions, faces, turntable
from openloger.viewing.scene.plans import planes, view_edges
from openloger.viewing.scene.snapshot import SceneSnapshot, load_snapshot

FRAMES = 32
COST = Cost(seconds=0.5, waiting_s=0.1, peak_memory_bytes=3_000_000_000, device="cpu")


VOID = {"meta", "img", "source"}


class Tags(HTMLParser):
    """Which tags are open, what is loaded from elsewhere, and how often each tag is there."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.count: dict[str, int] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        for name, value in attrs:
            if name in {"src", "srcset", "href", "data", "poster"} and not (value or "").startswith(("data:", "#")):
                self.outside.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """With what each window cost, but for the first."""
    shots, path = scenes.room(FRAMES, size=(36, 48)), tmp_path_factory.mktemp("walk") / "a <walk>"
    with create_recording(path, scenes.meta_of(shots, source="clips/a <walk>.mp4")) as writer:
        for placed in scenes.placed_windows(shots):
            writer.append(placed, cost=COST if placed.number else None)
        writer.finish()
    return open_recording(path)


@pytest.fixture(scope="module")
def known(walk: Recording) -> SceneSnapshot:
    return load_snapshot(walk, budget=6_000)


@pytest.fixture(scope="module")
def page(walk: Recording) -> str:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("openloger.viewing.report.page.TURNS", 14)
        return report_page(walk)


@pytest.fixture(autouse=True)
def _small_previews(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what a test makes for itself."""
    monkeypatch.setattr("openloger.viewing.report.page.TURNS", 4)
    monkeypatch.setattr("openloger.viewing.report.page.SPIN_SIZE", (60, 96))


def test_the_report_holds_all_that_it_shows_and_runs_nothing(page: str) -> None:
    tags = Tags(page)
    assert tags.open == []
    assert tags.outside == []
    assert "script" not in tags.count
    assert len(page) < 10_000_000
    assert not re.search(r"url\((?!#)", page)
    for heading in ("Path", "Frames", "Drift meter", "Along the video", "Speed and memory", "How it was made"):
        assert f"<h2>{heading}</h2>" in page
    assert tags.count["img"] == 1 + 3 * 6  # the turntable, and six frames with depth and confidence


def test_the_report_says_how_the_recording_was_made(page: str, walk: Recording) -> None:
    assert "<title>a &lt;walk&gt;</title>" in page
    assert "32 frames of a &lt;walk&gt;.mp4, reconstructed by compact" in page
    for said in ("3f2a90c1", "compact", "16 frames, 3 of them shared", "se3", "torch 2", walk.meta.package_version):
        assert said in page
    assert "openloger view &#x27;" in page, "a path with a space is quoted for the shell"
    assert "1 earlier windows did not record it" in page
    assert "<dt>speed</dt><dd>19 frames/s" in page, "32 frames less the 13 of the first window, in a second"
    assert "3 GB" in page
    assert "Not complete" not in page


def test_the_preview_turns_and_stands_still_for_who_wants_no_motion(page: str) -> None:
    found = re.search(r'<img alt="the cloud[^>]*src="data:image/webp;base64,([^"]+)"', page)
    assert found is not None
    import base64
    import io

    from PIL import Image

    animation = Image.open(io.BytesIO(base64.b64decode(found[1])))
    assert animation.n_frames >= 10, "to and fro; where it turns, two alike become one"
    assert len(np.unique(np.asarray(animation).reshape(-1, 3), axis=0)) > 100, "something is to be seen"
    assert 'media="(prefers-reduced-motion: reduce)"' in page


def test_what_an_old_or_unfinished_recording_does_not_know_is_said(tmp_path: Path) -> None:
    recording = scenes.write_recording(tmp_path / "old", scenes.room(18, size=(24, 32)), complete=False)
    meta = json.loads((recording.path / "meta.json").read_text())
    del meta["versions"], meta["crc32c"]
    (recording.path / "meta.json").write_text(json.dumps(meta | {"weights_hash": None}))
    page = report_page(open_recording(recording.path), scene_page="old scene.html")
    assert "Not recorded: this recording was made before runs kept it." in page
    assert "others were not recorded" in page
    assert "Not complete" in page
    assert "--resume" in page
    assert "random weights" in page
    assert Tags(page).outside == ["old%20scene.html"]


def test_a_recording_of_one_frame_has_a_report(tmp_path: Path) -> None:
    recording = scenes.write_recording(tmp_path / "one", scenes.room(1, size=(24, 32)))
    page = report_page(recording)
    assert "nan" not in re.sub(r'base64,[^"]+', "", page)
    assert "Drift meter" not in page
    assert plot_trajectory(recording).axes


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_that_are_not_utf8_and_names_with_markup_are_shown(tmp_path: Path) -> None:
    shots = [replace(shot, name=f"caf\udce9 <b>{shot.index}</b>\x1b[2J.png") for shot in scenes.room(4, size=(24, 32))]
    recording = scenes.write_recording(tmp_path / "w\udcff<i>", shots)
    page = report_page(recording, scene_page="w\udcff<i>_scene.html")
    page.encode()
    assert "<h1>a?[2Jb?" in document("a\x1b[2Jb\x9b", [])
    assert 'href="w%FF%3Ci%3E_scene.html"' in page
    assert "<title>w?&lt;i&gt;</title>" in page
    assert "<i>" not in page


def test_a_recording_without_frames_has_none(tmp_path: Path) -> None:
    create_recording(tmp_path / "none", scenes.meta_of(scenes.room(1))).close()
    recording = open_recording(tmp_path / "none")
    for make in (report_page, plot_trajectory, openloger.show):
        with pytest.raises(InputError, match=r"none.*no frames"):
            make(recording)


def test_plans_are_not_mirrored_and_the_path_goes_to_the_right() -> None:
    up = np.array([0.0, -1.0, 0.0])
    turn_right = np.array([[0.0, 0, 0], [0, 0, 5], [0, 0, 10], [3, 0, 10]])  # forward, then x: to the right
    above, side = planes(turn_right, up)
    path = above.xy(turn_right)
    assert path[-1, 0] > path[0, 0]
    first, second = path[2] - path[0], path[3] - path[2]
    assert first[0] * second[1] - first[1] * second[0] < 0, "seen from above a turn to the right is clockwise"
    np.testing.assert_allclose(above.axes @ above.axes.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(side.xy(up[None])[0], [0, 1], atol=1e-12)
    for still in (np.zeros((1, 3)), np.ones((4, 3))):
        assert np.isfinite(planes(still, up)[0].axes).all()


def test_the_backdrop_shows_points_where_they_are() -> None:
    import base64
    import io

    from PIL import Image

    xy = np.array([[1.0, 1.0], [9.0, 4.0], [50.0, 50.0]])
    rgb = np.array([[255, 0, 0], [0, 0, 255], [0, 255, 0]], np.uint8)
    drawn = backdrop(xy, rgb, (0.0, 0.0, 10.0, 5.0))
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn.uri.partition(",")[2]))).convert("RGBA")).astype(
        int
    )
    assert pixels.shape == (200, 400, 4)
    red, blue = pixels[200 - 40, 40], pixels[200 - 160, 360]
    assert red[0] > 150 > red[2]
    assert blue[2] > 150 > blue[0]
    assert red[3] > 100 < blue[3]
    assert (pixels[..., 3] > 0).sum() < 100


def test_plans_show_the_path_and_the_scene_without_what_is_far_out() -> None:
    path = np.stack([np.linspace(0, 1, 30), np.zeros(30)], 1)
    cloud = np.random.default_rng(0).uniform(-10, 10, (4000, 2))
    cloud[:40] = 1e4  # as of the sky
    left, bottom, right, top = view_edges(path, cloud, 1.0)
    assert (left, bottom, right, top) == pytest.approx((-9, -9, 9, 9), abs=0.6)
    away = path + np.array([0.0, 30.0])
    left, bottom, right, top = view_edges(away, cloud, 1.0)
    assert bottom < -8
    assert top > 30
    assert np.isfinite(view_edges(path, np.zeros((0, 2)), 1.0)).all()


def test_a_map_has_one_scale_for_both_axes_and_shows_where_it_begins() -> None:
    xy = np.stack([np.linspace(0, 10, 5000), np.linspace(0, 2, 5000)], 1)
    route = Route(xy, np.full((5000, 3), 7, np.uint8))
    drawn = map_plot(
        route,
        edges=(0.0, -1.0, 10.0, 3.0),
        x_label="<m>",
        y_label="m",
        backdrop=Backdrop("data:,", (0.0, 0.0, 5.0, 1.0)),
    )
    assert Tags(drawn).open == []
    assert "&lt;m&gt;" in drawn
    points = np.array(
        [pair.split(",") for pair in re.findall(r'class="halo"|points="([^"]+)" class="halo"', drawn)[0].split()], float
    )
    assert len(points) < 2000
    width, height = points[-1] - points[0]
    assert width == pytest.approx(-5 * height, rel=1e-2)
    image = [float(re.search(rf'<image[^>]* {name}="([\d.]+)"', drawn)[1]) for name in ("width", "height")]
    assert image[0] == pytest.approx(5 * image[1], rel=1e-2)
    assert "<title>begin</title>" in drawn


def test_a_line_is_broken_where_it_is_not_known() -> None:
    drawn = line_plot([Line("a", np.arange(6.0), np.array([1, 2, np.nan, np.inf, 3, 4.0]))], x_label="x", y_label="y")
    assert drawn.count("<polyline") == 2
    assert "nan" not in drawn
    assert "inf" not in drawn


def test_surfaces_are_shown_to_those_who_stand_where_the_camera_did() -> None:
    wall = np.array([[0.0, 0, 5], [0, 0, 5]])
    seen_from = np.array([[0.0, 0, 0], [0, 0, 10]])  # the front, and the back
    assert faces(wall, seen_from, np.array([1.0, 0, 0])).tolist() == [True, False]
    assert faces(wall, seen_from, np.array([1.0, 0, 10])).tolist() == [False, True]


def test_the_turntable_swings_before_one_view_and_goes_around_where_cameras_looked_around(known: SceneSnapshot) -> None:
    up = known.place.up
    ways = directions(known.cameras, up, turns=24)
    np.testing.assert_allclose(np.linalg.norm(ways, axis=1), 1)
    assert (ways @ ways[0]).min() > 0, "the walk looks one way on the whole"
    around = known.cameras.world_from_cam.copy()
    angle = np.linspace(0, 2 * np.pi, len(around), endpoint=False)
    around[:, :3, 2] = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], 1)
    cameras = type(known.cameras)(around, known.cameras.intrinsics, known.cameras.confidence, known.cameras.size)
    ways = directions(cameras, up, turns=24)
    assert (ways @ ways[0]).min() < -0.3
    steps = np.linalg.norm(np.diff(np.concatenate([ways, ways[:1]]), axis=0), axis=1)
    assert steps.max() < 1.1 * steps.min(), "the last leads to the first"


def test_pictures_of_the_turntable_show_cloud_and_path(known: SceneSnapshot) -> None:
    pictures = list(turntable(known, turns=4, size=(60, 96)))
    assert [picture.shape for picture in pictures] == [(60, 96, 3)] * 4
    assert not np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2]), "to and fro passes the middle twice"
    for picture in pictures:
        shown = (picture != picture[0, 0]).any(-1).mean()
        assert 0.1 < shown < 0.98


def test_figures_are_returned_and_need_no_display(walk: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # whoever imports it fails
    path = plot_trajectory(walk)
    assert path._repr_png_().startswith(b"\x89PNG")
    assert [axis.get_title(loc="left") for axis in path.axes[:2]] == ["from above", "from the side"]
    depth = plot_depth(walk, 3)
    assert depth._repr_png_().startswith(b"\x89PNG")
    np.testing.assert_array_equal(depth.axes[0].images[0].get_array(), walk.rgb(3))
    np.testing.assert_allclose(1 / depth.axes[1].images[0].get_array(), walk.depth(3), rtol=1e-3)
    for number in (-1, FRAMES):
        with pytest.raises(InputError, match=rf"frame {number}\b.*{FRAMES} frames"):
            plot_depth(walk, number)


def test_a_notebook_shows_a_page_of_its_own(walk: Recording, tmp_path: Path) -> None:
    shown = openloger.show(walk, height=480)
    assert "32 frames" in repr(shown)
    cell = shown._repr_html_()
    tags = Tags(cell)
    assert (tags.open, tags.outside, tags.count) == ([], [], {"div": 1, "iframe": 1})
    assert 'height="480"' in cell
    inside = Tags(shown.page)
    assert (inside.open, inside.outside) == ([], [])
    assert "script" not in inside.count
    assert shown.save(tmp_path / "page.html").read_text() == shown.page
    with pytest.raises(InputError, match="exists"):
        shown.save(tmp_path / "page.html")


def test_an_interactive_notebook_has_the_scene_to_walk_through(walk: Recording, known: SceneSnapshot) -> None:
    shown = openloger.show(walk, interactive=True)
    assert "__VISER_EMBED_DATA__" in shown.page
    assert shown._repr_html_().count("<iframe") == 1


def test_the_command_writes_pages_and_refuses_in_one_line(
    walk: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "walk_report.html"
    run("report", str(walk.path), "-o", str(out), "--scene")
    assert capsys.readouterr().out.split() == [str(out), str(out.with_name("walk_scene.html"))]
    assert 'href="walk_scene.html"' in out.read_text()
    for arguments, said in (
        ((str(walk.path), "-o", str(out)), "exists: choose another path, or give --overwrite"),
        ((str(walk.path), "-o", str(tmp_path)), "is a folder, and report writes one file"),
        ((str(tmp_path / "nothing"),), "there is no such folder"),
        ((str(walk.path), "-o", str(tmp_path / "t.html"), "--truth", str(tmp_path / "no.txt")), "no ground truth"),
    ):
        run("report", *arguments, code=2)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert said in lines[0]


def run(*arguments: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert (ended.value.code or 0) == code
