"""A process that has imported everything once, and runs each case in a copy of itself.

A copy costs some hundredths of a second where a fresh start costs seconds, is a process of its own that may crash,
hang, be killed or run out of memory, and inherits the layer of `shim.c`. POSIX only.

How busy the machine is decides nothing: a case hangs when it has used a minute of processor time, or when none of its
threads could run and it used no processor time for a minute; signals are counted from the instant that its command
begins.

`python zygote.py [SHIM]` reads one JSON request a line and answers with one line.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Fault:
    """The fault of a case: the `at`th operation below `folder` fails; -1 for none."""

    folder: str
    at: int = -1
    error_number: int = 0
    sticky: bool = False  # every later one fails too
    only_writes: bool = False


@dataclass(frozen=True)
class Case:
    """One run of the command line, or of a function of `inputs.py` on a path."""

    arguments: tuple[str, ...] = ()
    use: str | None = None
    path: str | None = None
    folder: str | None = None  # the working directory
    fault: Fault | None = None
    signals: tuple[tuple[float, int], ...] = ()  # (seconds after the command has begun, number)
    clock: tuple[float, int] | None = None  # (seconds that it jumps, after how many readings)
    limit_s: float = 60.0  # of processor time, and of standing still
    limit_bytes: int | None = None  # of data


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case."""

    code: int  # the exit code; -number where a signal ended it
    said: str  # standard error, or what `use` gave
    seconds: float
    operations: int = 0
    hung: bool = False


class Zygote:
    """The other side: starts the process, and asks it."""

    def __init__(self, shim: Path | None = None) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        environment["PYTHONPATH"] = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        if shim is not None:
            environment["LD_PRELOAD"] = str(shim)
        command = [sys.executable, __file__, *([str(shim)] if shim else [])]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def run(self, *cases: Case) -> list[Outcome]:
        """The cases, all at the same time."""
        return [Outcome(**outcome) for outcome in self._asked([asdict(case) for case in cases])]

    def rehearse(self, *arguments: str) -> None:
        """A command that succeeds, in the zygote itself: what it imports and computes once, every later copy has."""
        said = self._asked({"arguments": arguments})
        assert said is None, said

    def _asked(self, request: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the zygote has died"
        return json.loads(answer)

    def __enter__(self) -> Zygote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@dataclass
class _Running:
    case: dict[str, Any]
    pid: int
    said: Any
    ready: int  # the end of a pipe, which closes as the command begins
    watch: _HangWatch
    signals: list[tuple[float, int]] = field(default_factory=list)
    began_s: float | None = None  # of the command
    outcome: dict[str, Any] | None = None

    def tick(self) -> None:
        """Send what is due; note whether it has ended, or hangs."""
        if self.began_s is None and select.select([self.ready], [], [], 0)[0]:
            self.began_s = time.monotonic()
        seconds = 0.0 if self.began_s is None else time.monotonic() - self.began_s
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self._end(os.waitstatus_to_exitcode(status), seconds, hung=False)
            return
        while self.began_s is not None and self.signals and self.signals[0][0] <= seconds:
            os.kill(self.pid, self.signals.pop(0)[1])
        if self.watch.hangs():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._end(-signal.SIGKILL, seconds, hung=True)

    def _end(self, code: int, seconds: float, *, hung: bool) -> None:
        self.said.seek(0)
        text = self.said.read().decode(errors="backslashreplace")
        self.said.close()
        os.close(self.ready)
        text, _, operations = text.rpartition("\0operations ") if "\0operations " in text else (text, "", "0")
        self.outcome = asdict(Outcome(code, text[-4000:], seconds, int(operations), hung))


@dataclass
class _HangWatch:
    """Detects a process that hangs, by its processor time and by whether any of its threads could run."""

    pid: int
    limit_s: float
    next_s: float = field(default_factory=lambda: time.monotonic() + 1)
    ticks: int = -1
    moved_s: float = field(default_factory=time.monotonic)

    def hangs(self) -> bool:
        """Measured once a second; in between it is False."""
        now_s = time.monotonic()
        if now_s < self.next_s:
            return False
        self.next_s = now_s + 1
        ticks, runnable = _processor_ticks(self.pid)
        if runnable or ticks != self.ticks:
            self.ticks, self.moved_s = ticks, now_s
        return ticks / os.sysconf("SC_CLK_TCK") > self.limit_s or now_s - self.moved_s > self.limit_s


def _processor_ticks(pid: int) -> tuple[int, bool]:
    """The processor time that a process has used, and whether a thread of it could run now, or waits for a disk."""
    own, threads = _stat(Path(f"/proc/{pid}/stat")), map(_stat, Path(f"/proc/{pid}/task").glob("*/stat"))
    ticks = int(own[11]) + int(own[12]) if own else 0
    return ticks, any(fields[0] in "RD" for fields in threads if fields)


def _stat(path: Path) -> list[str]:
    """From the state on; nothing of what has just ended."""
    try:
        return path.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def main() -> None:
    """The zygote's own side."""
    library = ctypes.CDLL(sys.argv[1]) if len(sys.argv) > 1 else None
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _warm_up()
    for line in sys.stdin:
        asked = json.loads(line)
        answer = _rehearsed(asked["arguments"]) if isinstance(asked, dict) else _copies(asked, library)
        print(json.dumps(answer), file=answers, flush=True)


def _copies(cases: list[dict[str, Any]], library: ctypes.CDLL | None) -> list[dict[str, Any] | None]:
    running = [_start(case, library) for case in cases]
    while any(one.outcome is None for one in running):
        for one in running:
            if one.outcome is None:
                one.tick()
        time.sleep(0.001)
    return [one.outcome for one in running]


def _rehearsed(arguments: list[str]) -> str | None:
    """What the command said where it did not succeed."""
    from openloger import cli

    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
        try:
            cli.main(arguments)
        except SystemExit as ended:
            code = ended.code
    gc.collect()
    gc.freeze()  # a collection in a copy would touch, and so copy, every page that holds an object
    return f"exit code {code}: {said.getvalue()}" if code else None


def _warm_up() -> None:
    """Imports all that a case may need, and loads its network: a network is not changed by what is done with it."""
    from campaign import inputs

    from openloger.network import NetworkSpec, spec

    inputs.import_all()
    loaded: dict[NetworkSpec, Any] = {}
    first = spec.load_network("pocket", weights="random", device="cpu", dtype="float32")

    def load(self: NetworkSpec) -> Any:
        wanted = (self.network, self.weights) == ("pocket", "random")
        return loaded.get(self) or (first if wanted else spec.load_network(self.network, weights=self.weights))

    NetworkSpec.load = load  # type: ignore[method-assign]


def _start(case: dict[str, Any], library: ctypes.CDLL | None) -> _Running:
    said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with its case
    ready, begins = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready)
        _child(case, library, said.fileno(), begins)
    os.close(begins)
    return _Running(case, pid, said, ready, _HangWatch(pid, case["limit_s"]), sorted(map(tuple, case["signals"])))


def _child(case: dict[str, Any], library: ctypes.CDLL | None, said: int, begins: int) -> None:
    """Never returns."""
    code = 99
    try:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.dup2(said, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
        if case["folder"]:
            os.chdir(case["folder"])
        if case["limit_bytes"]:
            resource.setrlimit(resource.RLIMIT_DATA, (case["limit_bytes"], case["limit_bytes"]))
        _arm(case, library)
        code = _perform(case, begins)
    except BaseException:  # noqa: BLE001 - whatever it is, it is what the campaign looks for
        sys.stderr.write(traceback.format_exc())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        count = library.fault_count() if library is not None else 0
        os.write(2, f"\0operations {count}".encode())
        os._exit(code if 0 <= code < 256 else 98)


def _arm(case: dict[str, Any], library: ctypes.CDLL | None) -> None:
    if library is None:
        return
    if case["clock"]:
        jump_s, after = case["clock"]
        library.fault_clock(ctypes.c_double(jump_s), ctypes.c_long(after))
    if fault := case["fault"]:
        folder = ctypes.c_char_p(os.fsencode(fault["folder"]))
        at, number = ctypes.c_long(fault["at"]), fault["error_number"]
        library.fault_arm(folder, at, number, int(fault["sticky"]), int(fault["only_writes"]))


def _perform(case: dict[str, Any], begins: int) -> int:
    if case["use"]:
        from campaign import inputs

        os.close(begins)
        print(inputs.used(case["use"], Path(case["path"])), file=sys.stderr)
        return 0
    from openloger import cli

    run = cli._run_and_flush

    def within(arguments: list[str]) -> int | None:
        """Signals come while the command runs, neither before it nor while this process ends."""
        try:
            os.close(begins)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            return run(arguments)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)

    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    cli._run_and_flush = within
    try:
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
            cli.main(case["arguments"])
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    return 0


if __name__ == "__main__":
    main()
