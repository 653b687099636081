"""Claim: a small model reconstructs a video on one slow core with little memory.

`openloger reconstruct` in a process of its own whose control group has one core, of which it gets the share that makes
`--gigahertz` of this machine's clock, and `--megabytes` of memory, pages of files included; beyond that the kernel ends
it. Frames/s are of the whole command, from its start to the recording, and of the windows after the first. The
processor seconds a frame do not depend on what else the machine does; frames/s at the share follow from them where the
machine is busy. Linux, as a user who may create control groups (versions 1 and 2).

    python benchmarks/edge_budget.py VIDEO [--networks pocket compact] [--gigahertz 1.5] [--megabytes 512] [--out FILE]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openloger
from openloger.benchmarking import Ledger
from openloger.benchmarking.tables import machine_line
from openloger.cli.results import show
from openloger.errors import InputError, OpenlogerError
from openloger.evaluation.report import TableRows

GROUPS = Path("/sys/fs/cgroup")
PERIOD_US = 100_000


def clock_gigahertz() -> float:
    """The first processor's, as the kernel states it."""
    found = re.search(r"^cpu MHz\s*: ([\d.]+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    if found is None:
        raise InputError("/proc/cpuinfo states no clock: give its share of a core as --share")
    return float(found[1]) / 1000


@contextmanager
def limits(share: float, megabytes: int) -> Iterator[list[Path]]:
    """Files that take the number of a process into groups with that share of one core and that much memory.

    Raises InputError where no group can be created.
    """
    version_2 = (GROUPS / "cgroup.controllers").exists()
    name, quota, most = f"openloger-{os.getpid()}", str(round(share * PERIOD_US)), str(megabytes * 2**20)
    if version_2:
        wanted = {GROUPS / name: {"cpu.max": f"{quota} {PERIOD_US}", "memory.max": most, "memory.swap.max": "0"}}
    else:
        wanted = {
            GROUPS / "cpu" / name: {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": quota},
            GROUPS / "memory" / name: {"memory.limit_in_bytes": most},
        }
    made: list[Path] = []
    try:
        for folder, values in wanted.items():
            _make_group(folder, values, made)
        yield [folder / "cgroup.procs" for folder in wanted]
    finally:
        for folder in made:
            folder.rmdir()


def _make_group(folder: Path, values: dict[str, str], made: list[Path]) -> None:
    try:
        folder.mkdir()
        made.append(folder)
        for file, value in values.items():
            (folder / file).write_text(value)
    except OSError as error:
        raise InputError(f"a control group cannot be created: {error}") from error


def limited_run(network: str, given: argparse.Namespace, share: float) -> dict[str, Any]:
    """The command under these limits: whether it ended, its speed, its peak of resident memory."""
    with tempfile.TemporaryDirectory() as scratch, limits(share, given.megabytes) as groups:
        out = Path(scratch) / "recording"
        command = [sys.executable, "-m", "openloger", "reconstruct", given.video, "-o", str(out), "--network", network]
        if given.size:
            command += ["--size", *map(str, given.size)]

        def enter() -> None:
            for group in groups:
                group.write_text(str(os.getpid()))
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

        began = time.perf_counter()
        process = subprocess.Popen(command, preexec_fn=enter, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert process.stderr is not None
        errors = process.stderr.read().decode(errors="replace")
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        if process.returncode != 0:
            why = "out of memory" if process.returncode == -9 else errors.strip().splitlines()[-1:]
            return {"ended": process.returncode, "why": why}
        recording = openloger.open_recording(out)
        steady = [(window.final_count, window.cost.seconds) for window in recording.windows[1:] if window.cost]
        return {
            "ended": 0,
            "size": [recording.meta.height, recording.meta.width],
            "frames": len(recording),
            "frames_per_s": len(recording) / seconds,
            "steady_frames_per_s": sum(frames for frames, _ in steady) / sum(seconds for _, seconds in steady),
            "processor_ms": 1000 * (used.ru_utime + used.ru_stime) / len(recording),
            "peak_mb": used.ru_maxrss / 1000,
        }


def table(content: dict[str, Any]) -> TableRows:
    """A row for each network."""
    rows = []
    for name, found in content["results"].items():
        if found["ended"]:
            rows.append((name, f"ended with {found['ended']}: {found['why']}", "", "", "", ""))
            continue
        height, width = found["size"]
        speed, steady = (f"{found[key]:.2f}" for key in ("frames_per_s", "steady_frames_per_s"))
        rows.append(
            (name, f"{height}×{width}", speed, steady, f"{found['processor_ms']:.0f}", f"{found['peak_mb']:.0f}")
        )
    header = ("network", "size", "frames/s", "after the first window", "processor, ms a frame", "peak memory, MB")
    return TableRows(header, tuple(rows), note=machine_line(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--networks", nargs="+", default=["pocket", "compact"])
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--gigahertz", type=float, default=1.5)
    parser.add_argument("--share", type=float, help="of a core, instead of --gigahertz by this machine's clock")
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    try:
        share = given.share or min(1.0, given.gigahertz / clock_gigahertz())
        ledger = Ledger("edge_budget", vars(given) | {"share": share}, path=given.out)
        for network in given.networks:
            ledger.measure(network, lambda name=network: limited_run(name, given, share))
        ledger.conclude()
    except OpenlogerError as error:
        sys.exit(f"{Path(__file__).name}: {error}")
    show(table(ledger.content()), f"{share:.0%} of one core, {given.megabytes} MB")


if __name__ == "__main__":
    main()
