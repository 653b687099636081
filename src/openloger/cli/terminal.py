"""Text on the terminal: foreign text made safe, lines, tables, and the progress line of long work."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, runtime_checkable

from openloger.runtime.progress import Progress
from openloger.runtime.resources import peak_memory_bytes

_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    """The text with what moves a cursor, sets colours, turns the writing round, or is no character, written out.

    Line feeds and tabs stay. A byte of a name that is not UTF-8 is shown as \\xNN.
    """
    return _UNSAFE.sub(_written_out, str(text))


def print_status(text: object) -> None:
    """A line on standard error."""
    print(printable(text), file=sys.stderr, flush=True)


@runtime_checkable
class PageServer(Protocol):
    """A server of a page, until it is interrupted."""

    @property
    def url(self) -> str: ...

    def run(self) -> None: ...

    def close(self) -> None: ...


def serve_page(server: PageServer, what: object, *, open_browser: bool) -> None:
    """Print the server's URL and `what` it does on standard error, and run it until Ctrl-C, the way to end it."""
    try:
        print_status(f"openloger: {server.url} {what}; Ctrl-C ends")
        if open_browser:
            webbrowser.open(server.url)
        with suppress(KeyboardInterrupt):
            server.run()
    finally:
        server.close()


def print_table(table: object) -> None:
    """A table on standard output, its texts as they are.

    Raises:
        BrokenPipeError: nobody reads there any more.
    """
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:  # rich would end the program
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    Piped(markup=False).print(table)


class SafeFormatter(logging.Formatter):
    """Log messages, safe for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # of os.fsdecode
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


@contextmanager
def progress_bar(name: str, *, also: Callable[[], str] = lambda: "") -> Iterator[Callable[[Progress], None]]:
    """A bar on standard error, where that is a terminal; elsewhere nothing is drawn. `also` adds to its text."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, TextColumn("{task.fields[text]}"), console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(printable(name), total=None, text="")

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.frames, total=progress.total, text=_progress_text(progress) + also())

        yield show


def _progress_text(progress: Progress) -> str:
    left = progress.remaining_s
    time_left = "" if left is None else f" · {int(left) // 60}:{int(left) % 60:02d} left"
    return f"{progress.frames_per_s:.1f} frames/s{time_left} · {peak_memory_bytes() / 1e9:.1f} GB"
