"""The main numbers of docs/benchmarks.md, taken again: in under a quarter of an hour on two quiet cores.

Each measurement leaves its JSON in a folder; one that is there already is not taken again, so a run that was cut goes
on. At the end `summary.md` holds all tables, and `length.png` the picture of speed and memory against length.

    python benchmarks/all.py [--out benchmarks-results] [--only soak twin]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from colmap import table as colmap_table

from openloger.benchmarking.soak import summary_line
from openloger.benchmarking.tables import TABLES, markdown

HERE = Path(__file__).parent
COMMANDS = {
    "soak": ("soak", "--frames", "19000"),
    "length": ("length", "--full-limit-s", "40"),
    "twin-pocket": ("twin", "--network", "pocket", "--frames", "200"),
    "twin-compact": ("twin", "--network", "compact", "--frames", "80", "--repeats", "3"),
    "stages-pocket": ("stages", "--network", "pocket", "--frames", "200"),
    "stages-compact": ("stages", "--network", "compact", "--frames", "120", "--repeats", "3"),
    "presets": ("presets",),
}
RESUMABLE = ("length", "presets")
COLMAP = ("world:street:7", "--frames", "60")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks-results"))
    parser.add_argument("--only", nargs="+", choices=(*COMMANDS, "colmap"), default=(*COMMANDS, "colmap"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.only:
        measure(name, given.out)
    (given.out / "summary.md").write_text(summary(given.out), encoding="utf-8")
    print(f"{given.out / 'summary.md'}")


def measure(name: str, out: Path) -> None:
    """One measurement, in a process of its own; nothing where its results are there and whole."""
    file = out / f"{name}.json"
    if is_whole(file):
        print(f"{name}: there already", flush=True)
        return
    resumable = name in RESUMABLE
    if not resumable:
        file.unlink(missing_ok=True)  # a part of it is worth nothing
    if name == "colmap":
        command = [str(HERE / "colmap.py"), *COLMAP, "--out", str(file)]
    else:
        kind, *options = COMMANDS[name]
        command = ["-m", "openloger", "bench", kind, *options, "--out", str(file)]
        command += ["--resume"] if resumable else []
        command += ["--picture", str(out / "length.png")] if kind == "length" else []
        command += ["--folder", str(out)] if kind == "soak" else []
    began_s = time.perf_counter()
    done = subprocess.run([sys.executable, *command], check=False)
    ended = "done" if done.returncode == 0 else f"failed with code {done.returncode}"
    print(f"{name}: {ended} after {time.perf_counter() - began_s:.0f} s", flush=True)


def is_whole(file: Path) -> bool:
    """Whether a measurement ran to its end."""
    return file.is_file() and json.loads(file.read_text(encoding="utf-8"))["ended"] is not None


def summary(out: Path) -> str:
    """All tables that can be made of what is there, as Markdown."""
    parts, made = [], {**TABLES, "colmap": colmap_table}
    for name in (*COMMANDS, "colmap"):
        if not is_whole(out / f"{name}.json"):
            continue
        content = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
        parts += [f"## {name}", markdown(made[content["benchmark"]](content))]
        if name == "soak":
            parts.append(summary_line(content["results"]["soak"]))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
