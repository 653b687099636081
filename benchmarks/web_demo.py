"""The page of `openloger web-demo` in a headless Chromium: its speed on one thread and two, and its pictures.

Frames/s are new frames of steady windows, without drawing: by the clock, and by the processor time of all of Chromium's
processes, so that neighbours on the machine matter little. Pictures are those that the page reads of a video (decoded,
shrunk and resized in the browser), beside Python's of the same frames; both go through `OnnxNetwork`.

    python benchmarks/web_demo.py --page DIR --onnx DIR [--clip kitchen=VIDEO lab=VIDEO] [--frames 120]

DIR are folders that `openloger web-demo` and `openloger export-network` wrote; needs Linux, playwright and Chromium.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import openloger
from openloger.frames.open import open_frames
from openloger.frames.resize import resize_rgb
from openloger.network import OnnxNetwork
from openloger.streaming import network_size
from openloger.webdemo import DemoServer
from openloger.webdemo.build import folder_bytes

_FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
_WAYS = {"the page: shrunk by the canvas to 4 times, then Lanczos": 4, "Lanczos alone": 1000, "the canvas alone": 1}
_SPEED = """async ({ threads, windows, height, width }) => {
  const base = new URL('.', location.href);
  const { loadEngine } = await import(new URL('engine.js', base));
  const { stream: make } = await loadEngine(base, { on: 'cpu', threads });
  const stream = make();
  let done = 0;
  for (let n = 0; done < 2; n++) done += Boolean(await stream.push(picture(n)));
  window.advance = async () => {
    const start = performance.now();
    for (let n = 0, more = 0; more < windows; n++) more += Boolean(await stream.push(picture(n)));
    return (performance.now() - start) / 1000;
  };
  function picture(n) {
    const rgb = Uint8Array.from({ length: 3 * height * width }, (_, i) => (i * 7 + n * 13) % 256);
    return { rgb, height, width };
  }
}"""
_PICTURES = """async ({ url, size, shrunk, times }) => {
  const base = new URL('.', location.href);
  const source = await import(new URL('source.js', base));
  const { resizeRgb } = await import(new URL('resize.js', base));
  const video = document.createElement('video');
  await source.openFile(video, URL.createObjectURL(await (await fetch(url)).blob()));
  const native = [video.videoHeight, video.videoWidth];
  const canvas = document.createElement('canvas');
  [canvas.height, canvas.width] = native.map((side, n) => Math.min(side, shrunk * size[n]));
  const context = canvas.getContext('2d', { willReadFrequently: true, alpha: false });
  context.imageSmoothingQuality = 'high';
  const found = [];
  for (const at of times) {
    await new Promise((resolve) => { video.onseeked = resolve; video.currentTime = at + 1e-3; });
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const rgb = resizeRgb(data, [canvas.height, canvas.width], size);
    found.push(btoa(String.fromCharCode(...rgb)));
  }
  return found;
}"""


def speed(page: Any, *, threads: int, windows: int, new_frames: int) -> str:
    """Frames/s by the clock and by processor time, of windows at 48×64."""
    page.evaluate(_SPEED, {"threads": threads, "windows": windows, "height": 48, "width": 64})
    before = processor_seconds()
    seconds = page.evaluate("window.advance()")
    spent = processor_seconds() - before
    frames = windows * new_frames
    by_clock = f"{frames / seconds:.1f} frames/s by the clock"
    return f"{threads} thread(s): {by_clock}, {spent / frames * 1e3:.1f} ms of processor time a frame"


def processor_seconds() -> float:
    """Of all processes that come from this one."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
            spent[int(entry.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(spent[pid] for pid in ours if pid != os.getpid())


def pictures(page: Any, video: Path, network: OnnxNetwork, *, frames: int) -> Iterator[str]:
    """How far the browser's pictures, and what the network makes of them, are from Python's."""
    chosen = tenths(video, frames)
    height, width = chosen[0].rgb.shape[:2]
    size = network_size(height, width, network.config)
    wanted = [resize_rgb(frame.rgb, size) for frame in chosen]
    reference = reconstructed(network, wanted)
    for name, shrunk in _WAYS.items():
        given = {"url": f"try{video.suffix}", "size": size, "shrunk": shrunk, "times": [f.timestamp_s for f in chosen]}
        found = [
            np.frombuffer(bytearray(base64.b64decode(one)), np.uint8).reshape(*size, 3)
            for one in page.evaluate(_PICTURES, given)
        ]
        levels = np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(found, wanted, strict=True)])
        depth, path = (apart(a, b) for a, b in zip(reconstructed(network, found), reference, strict=True))
        yield f"{name}: {levels:.2f} of 255 levels, depth {depth:.2%}, path {path:.2%} of its length"


def tenths(video: Path, frames: int) -> list[openloger.Frame]:
    """Ten frames a second, as the page takes them by default."""
    found: list[openloger.Frame] = []
    for frame in open_frames(video):
        if frame.timestamp_s >= len(found) / 10 - 1e-6:
            found.append(frame)
        if len(found) == frames:
            break
    return found


def reconstructed(network: OnnxNetwork, images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Depth of all final frames, and the camera's centres."""
    windows = list(openloger.Stream(network, size=images[0].shape[:2]).run(iter(images)))
    depth = np.concatenate([one.depth[: one.final_count].numpy() for one in windows])
    return depth, np.concatenate([one.world_from_cam[: one.final_count, :3, 3].numpy() for one in windows])


def apart(found: np.ndarray, wanted: np.ndarray) -> float:
    """The median relative difference of depth; of paths (frame × 3) the median distance by the path's length."""
    if wanted.ndim == 3:
        return float(np.median(np.abs(found - wanted) / np.abs(wanted)))
    length = np.linalg.norm(np.diff(wanted, axis=0), axis=1).sum()
    return float(np.median(np.linalg.norm(found - wanted, axis=1)) / length)


@contextmanager
def opened(folder: Path) -> Iterator[Any]:
    """A tab of a headless Chromium at the page's server, on a file without a script."""
    from playwright.sync_api import sync_playwright

    server = DemoServer(folder, port=8895)
    threading.Thread(target=server.run, daemon=True).start()
    with sync_playwright() as playwright:
        program = os.environ.get("OPENLOGER_CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        page = browser.new_page()
        page.set_default_timeout(600_000)
        page.goto(f"{server.url}/NOTICE.txt")
        yield page
        browser.close()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, required=True)
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--clip", nargs="*", default=[], metavar="NAME=VIDEO")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--windows", type=int, default=12)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    network = OnnxNetwork.load(given.onnx, threads=1)
    new_frames = network.config.window - network.config.overlap
    print(f"{given.page}: {folder_bytes(given.page) / 1e6:.1f} MB; load of this machine {os.getloadavg()[0]:.1f}")
    for _ in range(given.turns):
        for threads in (1, 2):
            with opened(given.page) as page:
                print(speed(page, threads=threads, windows=given.windows, new_frames=new_frames), flush=True)
    for clip in given.clip:
        name, _, video = clip.partition("=")
        copied = given.page / f"try{Path(video).suffix}"
        shutil.copyfile(video, copied)
        try:
            with opened(given.page) as page:
                for line in pictures(page, Path(video), network, frames=given.frames):
                    print(f"{name}, {line}", flush=True)
        finally:
            copied.unlink()


if __name__ == "__main__":
    start = time.monotonic()
    main()
    print(f"{time.monotonic() - start:.0f} s")
