"""The page in a headless Chromium, with the network of the box: beside the stream in Python, a file and a camera."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import re
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from network.exported_networks import run
from PIL import Image
from viewing.browsing import Person, chromium

from openloger.errors import InputError
from openloger.export.selection import PointSelection, trusted_pixels
from openloger.frames.open import open_frames
from openloger.frames.resize import resize_rgb
from openloger.network import OnnxNetwork
from openloger.streaming import Stream
from openloger.values import PlacedWindow
from openloger.webdemo import DemoServer, find_runtime, write_web_demo
from webdemo.test_modules import read_ply

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
CLIP = Path(__file__).parents[2] / "examples" / "data" / "lab.mp4"
CLIP_SECONDS = 20  # about: 199 frames
FRAMES = 28  # four windows of 8 that share 2, and a short last one
MOST = 1e-4  # ‖a − b‖ / ‖b‖


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package, reason="needs openloger[onnx]")
    folder = tmp_path_factory.mktemp("network") / "pocket-onnx"
    done = run("export-network", "pocket", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def page(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        runtime = find_runtime()
    except InputError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("page") / "out"
    write_web_demo(network, folder, runtime=runtime, clip=CLIP)
    return folder


@pytest.fixture(scope="module")
def server(page: Path) -> Iterator[DemoServer]:
    server = DemoServer(page, port=8891)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.close()
    thread.join()


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clip as the fake camera of Chromium plays it, again and again."""
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    frames = list(islice(open_frames(CLIP), 60))
    height, width = frames[0].rgb.shape[:2]
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            file.write(b"FRAME\n" + yuv420(frame.rgb))
    return path


def yuv420(rgb: np.ndarray) -> bytes:
    """Of full range, BT.601."""
    y = rgb @ [0.299, 0.587, 0.114]
    blue, red = 128 + (rgb[..., 2] - y) * 0.564, 128 + (rgb[..., 0] - y) * 0.713
    halves = [plane.reshape(len(y) // 2, 2, -1, 2).mean((1, 3)) for plane in (blue, red)]
    return b"".join(plane.round().clip(0, 255).astype(np.uint8).tobytes() for plane in (y, *halves))


@pytest.fixture(scope="module")
def browser(camera: Path) -> Iterator[Any]:
    flags = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    with chromium(*flags, f"--use-file-for-fake-video-capture={camera}") as browser:
        yield browser


@pytest.fixture
def person(browser: Any) -> Iterator[Person]:
    person = Person(browser, size=(900, 900))
    yield person
    person.page.close()
    assert person.problems == []


def open_page(person: Person, url: str, *, status: str = "Ready.") -> None:
    person.visit(url, ready=None)
    person.page.locator("#status", has_text=status).wait_for()


def test_cameras_points_and_cloud_are_those_of_the_stream_in_python(
    person: Person, server: DemoServer, network: Path
) -> None:
    stream = Stream(OnnxNetwork.load(network, threads=1))
    wanted = list(stream.run(islice(open_frames(CLIP), FRAMES)))
    assert len(wanted) == 5
    pictures = [frame.rgb for one in wanted for frame in one.frames[: one.final_count]]
    person.visit(f"{server.url}/?on=cpu", ready=None)
    found = person.page.evaluate(
        """async ({ pictures, height, width, selection }) => {
          const base = new URL('.', location.href);
          const module = (name) => import(new URL(name, base));
          const [{ loadEngine }, { framePoints }] = [await module('engine.js'), await module('cloud.js')];
          const engine = await loadEngine(base, { on: 'cpu', threads: 1 });
          const stream = engine.stream();
          const windows = [];
          for (const picture of pictures) {
            const rgb = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
            windows.push(await stream.push({ rgb, height, width }));
          }
          windows.push(await stream.finish());
          return windows.filter((one) => one).map((one) => ({
            finalCount: one.finalCount,
            cameras: one.worldFromCam,
            points: Array.from(one.pointsCam),
            confidence: Array.from(one.confidenceLogit),
            cloud: one.frames.map((_, n) => Array.from(framePoints(one, n, selection).positions)),
          }));
        }""",
        {
            "pictures": [base64_of(picture) for picture in pictures],
            "height": pictures[0].shape[0],
            "width": pictures[0].shape[1],
            "selection": {"confidenceMin": 0.1, "leastEdge": 0.03},
        },
    )
    assert [one["finalCount"] for one in found] == [one.final_count for one in wanted]
    worst = {"rotation": 0.0, "centre": 0.0, "points": 0.0, "confidence": 0.0}
    for one, other in zip(found, wanted, strict=True):
        rotation = np.reshape([camera["rotation"] for camera in one["cameras"]], (-1, 3, 3))
        centre = np.array([camera["translation"] for camera in one["cameras"]])
        pairs = {
            "rotation": (rotation, other.world_from_cam[:, :3, :3]),
            "centre": (centre, other.world_from_cam[:, :3, 3]),
            "points": (np.reshape(one["points"], other.points_cam.shape), other.points_cam),
            "confidence": (np.reshape(one["confidence"], other.confidence_logit.shape), other.confidence_logit),
        }
        worst |= {name: max(worst[name], apart(a, b.numpy())) for name, (a, b) in pairs.items()}
        for cloud, ours in zip(one["cloud"], clouds(other), strict=True):
            assert abs(len(cloud) / 3 - len(ours)) <= 0.002 * len(ours)  # a pixel on the edge of being trusted
            if len(cloud) == 3 * len(ours):
                assert apart(np.reshape(cloud, (-1, 3)), ours) < MOST
    assert max(worst.values()) < MOST, worst


def base64_of(picture: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(picture).tobytes()).decode()


def apart(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def clouds(window: PlacedWindow) -> list[np.ndarray]:
    depth, confidence, points = window.depth.numpy(), window.confidence.numpy(), window.points_world.numpy()
    return [points[n][trusted_pixels(depth[n], confidence[n], PointSelection())] for n in range(len(window.frames))]


def test_the_pictures_of_a_video_are_those_of_python(person: Person, server: DemoServer) -> None:
    person.visit(f"{server.url}/?on=cpu&threads=1", ready=None)
    found = person.page.evaluate(
        """async ({ sizing }) => {
          const source = await import(new URL('source.js', new URL('.', location.href)));
          const video = document.createElement('video');
          await source.openFile(video, URL.createObjectURL(await (await fetch('clip.mp4')).blob()));
          const reader = new source.PictureReader(video, sizing);
          const pictures = [];
          for await (const { frame } of source.filePictures(video, reader, { rate: 2, room: async () => true })) {
            pictures.push(btoa(String.fromCharCode(...frame.rgb)));
          }
          return { size: reader.size, pictures };
        }""",
        {"sizing": {"patch": 8, "maxPixels": 5120}},
    )
    wanted = [resize_rgb(frame.rgb, tuple(found["size"])) for frame in islice(open_frames(CLIP), 0, None, 5)]
    assert len(found["pictures"]) == len(wanted) == 2 * CLIP_SECONDS
    pictures = [np.frombuffer(base64.b64decode(one), np.uint8).reshape(*found["size"], 3) for one in found["pictures"]]
    levels = [np.abs(a.astype(int) - b).mean() for a, b in zip(pictures, wanted, strict=True)]
    moved = [np.abs(a.astype(int) - b).mean() for a, b in zip(pictures[1:], wanted, strict=False)]
    assert max(levels) < 3, "its own decoding and colours"
    assert np.median(moved) > 2 * max(levels), "other frames would differ by more"


def test_a_chosen_video_becomes_a_cloud_a_path_and_a_ply(person: Person, server: DemoServer, tmp_path: Path) -> None:
    open_page(person, f"{server.url}/?on=cpu")
    page = person.page
    page.get_by_text("Settings").click()
    page.locator("#pictures").select_option("2")
    page.locator("#file").set_input_files(CLIP)
    page.locator("#status", has_text=re.compile("^Done: ")).wait_for()
    video = CLIP_SECONDS * 2
    assert abs(int(page.inner_text("#frames")) - video) <= 1
    assert float(page.inner_text("#rate")) > 0
    points = int(page.inner_text("#points").replace(",", ""))
    rows = downloaded(person, tmp_path / "cloud.ply")
    assert len(rows) == points > 1000 * video
    for axis in "xyz":
        assert np.isfinite(rows[axis]).all()
    assert float(np.median(rows["z"])) > 0, "the first camera looks along z"
    assert np.stack([rows[name] for name in ("red", "green", "blue")]).std() > 10
    person.until(lambda: lit(person) > 0.02)


def lit(person: Person) -> float:
    """The share of the stage that shows points."""
    shown = np.asarray(Image.open(io.BytesIO(person.page.locator("#scene").screenshot())).convert("RGB"))
    return float((shown[150:].max(-1) > 70).mean())


def downloaded(person: Person, path: Path) -> np.ndarray:
    with person.page.expect_download() as waiting:
        person.page.locator("#save").click()
    assert waiting.value.suggested_filename == "openloger-cloud.ply"
    waiting.value.save_as(path)
    return read_ply(path)


def test_the_camera_becomes_a_cloud_while_it_runs(person: Person, server: DemoServer, tmp_path: Path) -> None:
    open_page(person, f"{server.url}/?on=cpu")
    page = person.page
    assert page.locator("#stop").is_hidden()
    page.locator("#camera").click()
    person.until(lambda: re.fullmatch(r"\d+\.\d", page.inner_text("#rate")) is not None)
    person.until(lambda: int(page.inner_text("#points").replace(",", "")) > 10_000)
    assert float(page.inner_text("#rate")) > 0
    page.locator("#stop").click()
    page.locator("#status", has_text=re.compile("^Done: ")).wait_for()
    assert len(downloaded(person, tmp_path / "cloud.ply")) == int(page.inner_text("#points").replace(",", ""))
    page.locator("#camera").click()  # once more, from nothing
    person.until(lambda: page.inner_text("#status").startswith("Reconstructing"))
    assert int(page.inner_text("#frames")) < 20
    page.locator("#stop").click()
    page.locator("#status", has_text=re.compile("^Done: ")).wait_for()


def test_what_is_no_video_is_said(person: Person, server: DemoServer, tmp_path: Path) -> None:
    open_page(person, f"{server.url}/?on=cpu&threads=1")
    (tmp_path / "walk.mp4").write_bytes(b"no video")
    person.page.locator("#file").set_input_files(tmp_path / "walk.mp4")
    person.page.locator("#status", has_text="this browser cannot play the file").wait_for()
    assert person.page.locator("#camera").is_visible(), "something else can be tried"
    assert "CPU, 1 thread" in person.page.inner_text("#engine")
    assert "pocket" in person.page.inner_text("#about")


def test_on_any_static_server_one_thread_runs_and_the_page_says_so(person: Person, page: Path) -> None:
    handler = functools.partial(Quiet, directory=str(page))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            open_page(person, f"http://127.0.0.1:{server.server_address[1]}/?on=cpu")
            assert "CPU, 1 thread" in person.page.inner_text("#engine")
            assert "One thread only" in person.page.inner_text("#note")
        finally:
            server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """As any static server, without the headers of ours."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_a_phone_shows_all_of_it_without_scrolling_sideways(browser: Any, server: DemoServer) -> None:
    person = Person(browser, size=(375, 720))
    open_page(person, f"{server.url}/?on=cpu&threads=1")
    assert person.page.evaluate("document.documentElement.scrollWidth") <= 375
    for name in ("Choose a video", "Use the camera", "Download PLY"):
        box = person.page.get_by_text(name, exact=True).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 375
    person.page.close()
    assert person.problems == []
