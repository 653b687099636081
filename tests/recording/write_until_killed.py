"""A process that writes a recording and may be killed: `write_until_killed.py FOLDER FRAMES [resume]`."""

from __future__ import annotations

import sys

import recorded_values as values

from openloger.recording import BackgroundWriter, create_recording, open_recording, resume_recording


def main(folder: str, frames: int, *, resume: bool) -> None:
    if resume:
        done = len(open_recording(folder))
        writer = resume_recording(folder, values.meta(), frames=done)
    else:
        done, writer = 0, create_recording(folder, values.meta())
    print("ready", flush=True)
    with BackgroundWriter(writer) as background:
        for placed in values.each_placed_window(frames, first_window=done // (values.WINDOW - values.OVERLAP)):
            background.append(placed)
        background.finish()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), resume=sys.argv[3:] == ["resume"])
