"""A camera that never ends: a robot's, a webcam's, a simulator's. Any generator of pictures will do.

The camera here is a procedural world that plays in real time; yours is `camera` below with another loop in it.
For a webcam, an address or a file that is still being written there is `openloger.open_live("0")`,
and `openloger live` to record and watch it.

python examples/04_live_camera.py --seconds 10
"""

import time
from collections.abc import Iterator

import tyro

import openloger


def main(seconds: float = 5.0, fps: float = 6.0, window: int = 6, overlap: int = 2) -> None:
    """Tell where the camera is, while it moves.

    Args:
        seconds: How long.
        fps: Pictures a second.
        window: Frames in a window. Short ones answer sooner, long ones see more at once.
        overlap: Frames that neighbouring windows share.
    """
    stream = openloger.Stream(openloger.load_network("pocket"), window=window, overlap=overlap)
    for placed in stream.run(camera(fps)):
        newest = placed.frames[-1]
        x, y, z = placed.world_from_cam[-1, :3, 3].tolist()
        ahead = placed.depth[-1, 20:40, 30:50].median()  # the middle of its picture
        age_s = time.monotonic() - newest.timestamp_s
        print(f"frame {newest.index}, {age_s:.1f} s ago: at ({x:.2f}, {y:.2f}, {z:.2f}), {ahead:.2f} to what is ahead")
        if newest.index >= seconds * fps:
            break


def camera(fps: float) -> Iterator[openloger.Frame]:
    """Pictures as they are taken. Whoever comes late gets the newest; those between are dropped."""
    world = openloger.worlds.World("street", seed=3, size=(64, 80), fps=fps)
    rgb, index, began_s = world[0].rgb, 0, time.monotonic()
    while True:
        yield openloger.Frame(rgb, index, timestamp_s=time.monotonic(), name=f"{index:06d}")
        newest = max(index + 1, int((time.monotonic() - began_s) * fps))  # an index that leaps: frames were dropped
        time.sleep(max(0.0, began_s + newest / fps - time.monotonic()))
        rgb, index = world[newest].rgb, newest


if __name__ == "__main__":
    tyro.cli(main)
