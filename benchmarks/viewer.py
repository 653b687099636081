"""The viewer against length: what server and browser hold of 1,000 and of 19,000 frames.

    python benchmarks/viewer.py --frames 1000 19000
    python benchmarks/viewer.py --frames 1000 19000 --server-only

Made-up recordings of small pictures along a spiral that never comes back to a place: the worst case for a cloud of
bounded size. The server runs in a process of its own. The browser is a headless Chromium that renders in software
unless the machine has a graphics card, so its frames a second are a lower bound; $OPENLOGER_CHROMIUM names another.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openloger.geometry import Sim3, unproject
from openloger.recording import RecordingMeta, create_recording, open_recording
from openloger.runtime.resources import peak_resident_bytes
from openloger.values import Frame, PlacedWindow
from openloger.viewing import POINT_BUDGET, Viewer, ViewOptions

WINDOW = 32
FLAGS = ["--no-sandbox", "--ignore-gpu-blocklist", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
WATCHED_S = 5.0
PATIENCE_S = 600
COUNT_FRAMES = """seconds => new Promise(done => {
    const began = performance.now(); let frames = 0;
    const next = now => now - began < 1000 * seconds ? (frames++, requestAnimationFrame(next))
                                                     : done(1000 * frames / (now - began));
    requestAnimationFrame(next);
})"""


def write_recording(path: Path, frames: int, size: tuple[int, int]) -> None:
    """Hills of depth around a camera on a spiral."""
    height, width = size
    known = (float(width), float(width), width / 2, height / 2)
    meta = RecordingMeta(
        height=height,
        width=width,
        source="spiral",
        network="none",
        weights_hash=None,
        settings={},
        known_intrinsics_px=known,
    )
    intrinsics = torch.tensor([[known[0], 0, known[2]], [0, known[1], known[3]], [0, 0, 1]])
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 4, width), indexing="ij")
    with create_recording(path, meta) as writer:
        for number, start in enumerate(range(0, frames, WINDOW)):
            count = torch.arange(start, min(start + WINDOW, frames))
            depth = 3 + torch.sin(x + count[:, None, None] / 10) + torch.cos(2 * y)
            rgb = np.stack([60 * depth.numpy(), 255 - 50 * depth.numpy(), 40 * depth.numpy()], -1).astype(np.uint8)
            writer.append(
                PlacedWindow(
                    number=number,
                    frames=tuple(Frame(rgb[k], i, i / 30, f"{i:06d}.png") for k, i in enumerate(count.tolist())),
                    points_cam=unproject(depth, intrinsics),
                    confidence_logit=depth - 2,
                    world_from_cam=spiral(count),
                    world_from_window=Sim3.identity(dtype=torch.float64),
                    metric_scale=None,
                    disagreement=None,
                    final_count=len(count),
                    last=start + WINDOW >= frames,
                    known_intrinsics=intrinsics.double(),
                )
            )
        writer.finish()


def spiral(frame: torch.Tensor) -> torch.Tensor:
    """A tenth of a unit a frame, each turn some five units outside the one before."""
    angle = torch.sqrt(2 * 0.1 * frame.double() / 0.8 + 100)
    forward, aside = torch.cos(angle), torch.sin(angle)
    matrix = torch.eye(4, dtype=torch.float64).repeat(len(frame), 1, 1)
    matrix[:, 0, 0], matrix[:, 0, 2], matrix[:, 2, 0], matrix[:, 2, 2] = forward, aside, -aside, forward
    matrix[:, 0, 3], matrix[:, 2, 3] = -0.8 * angle * forward, 0.8 * angle * aside
    return matrix


def serve(path: Path, budget: int) -> None:
    """Print the address, serve until standard input ends, then print what it took."""
    began_s = time.monotonic()
    viewer = Viewer(open_recording(path), options=ViewOptions(budget=budget))
    print(viewer.url, flush=True)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    viewer.run(should_stop=lambda: is_read(viewer) or ended.is_set())
    print(f"{time.monotonic() - began_s:.3f}", flush=True)
    viewer.run(should_stop=ended.is_set)
    latest = viewer.latest
    points = 0 if latest is None else len(latest.points)
    viewer.close()
    print(json.dumps({"points": points, "sent_mb": viewer.sent_bytes / 1e6, "server_mb": peak_resident_bytes() / 1e6}))


def is_read(viewer: Viewer) -> bool:
    return viewer.latest is not None and viewer.latest.blocks_read == viewer.latest.blocks


def measure(path: Path, budget: int, *, with_browser: bool) -> dict[str, Any]:
    """One recording, in a server of its own."""
    command = [sys.executable, __file__, "--serve", str(path), "--points", str(budget)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        seen = look(url, server.stdout) if with_browser else {"read_s": float(server.stdout.readline())}
        server.stdin.close()
        return seen | json.loads(server.stdout.readline())


def look(url: str, said: Any) -> dict[str, Any]:
    """In a browser: when it shows something first, what it got, and how often it draws while the scene is turned."""
    from playwright.sync_api import sync_playwright

    program = os.environ.get("OPENLOGER_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(1000 * PATIENCE_S)
        received = [0]

        def count(payload: str | bytes) -> None:
            received[0] += len(payload)

        page.on("websocket", lambda socket: socket.on("framereceived", count))
        began_s = time.monotonic()
        page.goto(url)
        page.get_by_text(" points · ").wait_for()
        while is_blank(page):
            page.wait_for_timeout(50)
        first_s = time.monotonic() - began_s
        read_s = float(said.readline())
        page.get_by_text("frames read").wait_for()
        page.wait_for_timeout(1000)
        resting = page.evaluate(COUNT_FRAMES, WATCHED_S)
        page.evaluate("""() => { const canvas = [...document.querySelectorAll('canvas')].at(-1); let x = 300;
            const event = (kind, buttons) => canvas.dispatchEvent(new PointerEvent(kind, {pointerId: 1, clientX: x,
                clientY: 300, buttons, button: 0, bubbles: true, pointerType: 'mouse'}));
            event('pointerdown', 1); setInterval(() => { x += 2; event('pointermove', 1); }, 16); }""")
        turning = page.evaluate(COUNT_FRAMES, WATCHED_S)
        heap = page.evaluate("performance.memory ? performance.memory.usedJSHeapSize : 0")
        browser.close()
    return {
        "first_picture_s": first_s,
        "read_s": read_s,
        "received_mb": received[0] / 1e6,
        "fps_resting": resting,
        "fps_turning": turning,
        "browser_heap_mb": heap / 1e6,
    }


def is_blank(page: Any) -> bool:
    """Whether nothing is drawn but ground and background."""
    import io

    from PIL import Image

    picture = np.asarray(Image.open(io.BytesIO(page.screenshot(clip={"x": 330, "y": 0, "width": 600, "height": 800}))))
    return bool((picture[..., :3].max(-1) > 100).mean() < 0.002)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 19_000])
    parser.add_argument("--size", type=int, nargs=2, default=(48, 64), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--points", type=int, default=POINT_BUDGET)
    parser.add_argument("--server-only", action="store_true", help="without a browser")
    parser.add_argument("--json", type=Path, help="write the numbers there")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        serve(given.serve, given.points)
        return
    rows = []
    for frames in given.frames:
        with tempfile.TemporaryDirectory() as folder:
            write_recording(Path(folder) / "spiral", frames, tuple(given.size))
            row = {"frames": frames} | measure(
                Path(folder) / "spiral", given.points, with_browser=not given.server_only
            )
        rows.append(row)
        print(
            "  ".join(
                f"{name} {value:,.4g}" if name != "frames" else f"{value:,} frames" for name, value in row.items()
            )
        )
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
