"""A person before the viewer's page: a headless Chromium, moved by what is written on the page."""

from __future__ import annotations

import io
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openloger.recording import Recording
from openloger.viewing import Viewer, ViewOptions

PATIENCE_S = 120
EVIL = "evil.example"  # a name of somebody else's that points to this machine, as a rebound one does
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
FLAGS += [f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_BRIGHT = 40  # of 255: over the background and the grid


@contextmanager
def chromium(*flags: str) -> Iterator[Any]:
    """A browser, with these flags as well; skips the test where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install '.[test-browser]'")
    with sync_api.sync_playwright() as playwright:
        program = _program(playwright)
        if program is None:
            pytest.skip("no Chromium: apt-get install chromium, playwright install chromium, or $OPENLOGER_CHROMIUM")
        browser = playwright.chromium.launch(executable_path=program, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()


def _program(playwright: Any) -> str | None:
    named = os.environ.get("OPENLOGER_CHROMIUM")
    found = [shutil.which(program) for program in PROGRAMS]
    places = [named] if named else [*found, playwright.chromium.executable_path]
    return next((place for place in places if place and Path(place).is_file()), None)


@contextmanager
def served(recording: Recording, **options: Any) -> Iterator[Viewer]:
    """A viewer that runs meanwhile."""
    viewer = Viewer(recording, options=ViewOptions(port=8790, **options))
    ended = threading.Event()
    thread = threading.Thread(target=viewer.run, kwargs={"should_stop": ended.is_set})
    thread.start()
    try:
        yield viewer
    finally:
        ended.set()
        thread.join()
        viewer.close()


class Person:
    """Looks at a page and moves what is on it; `problems` are what no page may have."""

    def __init__(self, browser: Any, *, size: tuple[int, int] = (760, 560)) -> None:
        self.page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.page.set_default_timeout(1000 * PATIENCE_S)
        self.problems: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))

    def _hear(self, message: Any) -> None:
        # A picture that is replaced before the browser has shown it: viser lets its blob go a moment too early. And
        # three.js takes a sphere around the corners of viser's splats, which have no z (createGaussianMeshProps).
        is_splats = message.text.startswith("THREE.BufferGeometry.computeBoundingSphere(): Computed radius is NaN")
        if message.type == "error" and not message.location["url"].startswith("blob:") and not is_splats:
            self.problems.append(f"console: {message.text}")

    def visit(self, url: str, *, ready: str | None = "frames read") -> None:
        """Open a page that may ask nobody but its own server, and wait until it says that all is there."""
        own = ("data:", "blob:", re.sub(r"[^/]*$", "", url))
        self.page.on(
            "request", lambda asked: None if asked.url.startswith(own) else self.problems.append(f"asks {asked.url}")
        )
        self.page.goto(url)
        self.page.wait_for_selector("canvas")
        if ready is not None:
            self.page.get_by_text(ready).wait_for()
            self.until(lambda: self.lit() > 0)
        notice = self.page.locator(".mantine-Notification-closeButton")  # of rendering in software
        if notice.count():
            notice.first.click()

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for it."""
        limit_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < limit_s, "waited in vain"
            self.page.wait_for_timeout(150)

    def picture(self) -> np.ndarray:
        """The picture in the scene's part of the page: (height, width, 3)."""
        from PIL import Image

        whole = np.asarray(Image.open(io.BytesIO(self.page.screenshot())).convert("RGB"))
        box = self.page.locator("canvas").last.bounding_box()
        return whole[:, round(box["x"]) : round(box["x"] + box["width"])]

    def lit(self, *, above: float = 1.0) -> float:
        """The share of the picture that shows more than ground and background; `above` cuts its lower part off."""
        picture = self.picture()
        return float((picture[: round(above * len(picture))].max(-1) > _BRIGHT).mean())

    def surfaces(self) -> np.ndarray:
        """Pixels (row, column) amid nothing but points, from the top down."""
        lit = self.picture().max(-1) > _BRIGHT
        amid = np.lib.stride_tricks.sliding_window_view(lit, (9, 9)).all((2, 3))
        return np.argwhere(amid) + 4

    def frame(self) -> tuple[int, int]:
        """The current frame's number and the last one's, as the page says."""
        found = re.search(r"(\d+) of (\d+) · ", self.page.inner_text("body"))
        assert found is not None
        return int(found[1]), int(found[2])

    def row(self, label: str) -> Any:
        """The control of that name; those of two-ended sliders go on with their numbers."""
        exact = self.page.locator("label", has_text=re.compile(f"^{label}( .+ to .+)?$"))
        return exact.locator("xpath=ancestor::div[2]")

    def drag(self, label: str, share: float, *, thumb: int = 0) -> None:
        """A slider's thumb, with the mouse, to that share of its track."""
        row = self.row(label)
        row.scroll_into_view_if_needed()
        track = row.locator(".mantine-Slider-track, .multi-slider-track").bounding_box()
        start = row.locator(".mantine-Slider-thumb, .multi-slider-thumb").nth(thumb).bounding_box()
        mouse, y = self.page.mouse, track["y"] + track["height"] / 2
        mouse.move(start["x"] + start["width"] / 2, y)
        mouse.down()
        mouse.move(track["x"] + 0.5 * track["width"], y, steps=3)
        mouse.move(track["x"] + share * track["width"], y, steps=3)
        mouse.up()

    def enter(self, label: str, value: float) -> None:
        """A number, beside a slider."""
        field = self.row(label).locator("input").last
        field.fill(f"{value:g}")
        field.press("Enter")

    def choose(self, label: str, option: str) -> None:
        """Of a dropdown."""
        self.row(label).locator("input").first.click()
        self.page.get_by_role("option", name=option, exact=True).click()

    def tick(self, label: str) -> None:
        """A checkbox, on or off."""
        self.row(label).locator("input[type=checkbox]").click()

    def press(self, key: str) -> None:
        """A key, with the scene in focus."""
        self.page.evaluate("document.activeElement.blur()")
        self.page.keyboard.press(key)
