"""A measurement in a process of its own, so that its peak of memory is its own, and a limit can end it.

The child reads what to call as JSON from standard input and answers in lines of JSON behind a mark; all else that it
prints is passed over. `python -m openloger.benchmarking.child` is the child.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from openloger.errors import InputError, OpenlogerError
from openloger.runtime.platform import limit_data_bytes
from openloger.runtime.progress import Progress
from openloger.runtime.resources import is_out_of_memory

_MARK = "openloger-child "
OnProgress = Callable[[Progress], None]


class OverLimitError(Exception):
    """The child took more time or memory than it was allowed; the text is "time" or "memory"."""


def in_child(
    function: Callable[..., Mapping[str, Any]],
    arguments: Mapping[str, Any],
    *,
    limit_s: float | None = None,
    limit_gb: float | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> dict[str, Any]:
    """`function(**arguments, on_progress=…)` in a fresh process; what goes in and out is JSON.

    Raises OverLimitError past a limit (the memory's is of data, and kept on Linux only), InputError for what the
    function refused.
    """
    order = {"module": function.__module__, "name": function.__name__, "arguments": arguments, "limit_gb": limit_gb}
    command = [sys.executable, "-m", "openloger.benchmarking.child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        too_late = threading.Event()
        try:
            with _killed_after(limit_s, process, too_late):
                answer = _converse(process, order, on_progress)
        finally:
            process.kill()
    if too_late.is_set() and answer is None:
        raise OverLimitError("time")
    if answer is None and process.returncode == -9:  # the kernel's answer to too much memory
        raise OverLimitError("memory")
    if answer is None:
        raise RuntimeError(f"the process that measured {function.__name__} ended with code {process.returncode}")
    if "over" in answer:
        raise OverLimitError(answer["over"])
    if "refused" in answer:
        raise InputError(answer["refused"])
    return answer["result"]


def _converse(process: subprocess.Popen[str], order: Mapping[str, Any], on_progress: OnProgress) -> Any | None:
    """The child's last word; None where it ended without one."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(order) + "\n")  # left open: the child ends when it closes, as when we are killed
        process.stdin.flush()
    for line in process.stdout:
        if not line.startswith(_MARK):
            continue
        message = json.loads(line.removeprefix(_MARK))
        if "progress" not in message:
            process.wait()
            return message
        on_progress(Progress(**message["progress"]))
    process.wait()
    return None


@contextlib.contextmanager
def _killed_after(limit_s: float | None, process: subprocess.Popen[str], too_late: threading.Event) -> Iterator[None]:
    def kill() -> None:
        too_late.set()
        process.kill()

    if limit_s is None:
        yield
        return
    timer = threading.Timer(limit_s, kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def main() -> None:
    """The child's side."""
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.getLogger("openloger").setLevel(logging.ERROR)  # the parent has reported what is run
    if order["limit_gb"] is not None:
        limit_data_bytes(int(order["limit_gb"] * 1e9))
    function = getattr(importlib.import_module(order["module"]), order["name"])
    try:
        result = function(**order["arguments"], on_progress=lambda progress: _send(progress=asdict(progress)))
    except OpenlogerError as error:
        _send(refused=str(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        _send(over="memory")
    else:
        _send(result=result)


def _end_with_parent() -> None:
    while os.read(0, 1):  # of standard input, where nothing more comes: this waits for the parent's end
        pass
    os._exit(1)


def _send(**fields: Any) -> None:
    print(_MARK + json.dumps(fields), flush=True)


if __name__ == "__main__":
    main()
