"""The JSON that a benchmark leaves: results by name, the settings, the machine; a run that was cut goes on from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openloger.errors import InputError
from openloger.evaluation.measure import json_ready
from openloger.evaluation.provenance import machine, revision
from openloger.outputs import replace_file
from openloger.version import versions

SAME = ("benchmark", "settings", "versions", "revision")  # what must agree before results are put side by side


class Ledger:
    """Results as they come, each measured once; in a file where one is given.

    `resume` takes up what the file has. Raises InputError for a file that is there and is not to be gone on with, or
    was made otherwise.
    """

    def __init__(
        self, benchmark: str, settings: Mapping[str, Any], *, path: Path | None = None, resume: bool = False
    ) -> None:
        self.path = path
        self.made: dict[str, Any] = json_ready(
            {
                "benchmark": benchmark,
                "settings": dict(settings),
                "versions": versions(),
                "revision": revision(),
                "machine": machine(),
                "began": _now(),
            }
        )
        self.results: dict[str, dict[str, Any]] = {}
        self.summary: dict[str, Any] = {}
        self.ended: str | None = None
        if path is not None and path.exists():
            self._take_up(path, resume=resume)

    def measure(self, name: str, take: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The result of that name, measured now where it is not known."""
        if name not in self.results:
            self.results[name] = json_ready(dict(take()))
            self.save()
        return self.results[name]

    def conclude(self, summary: Mapping[str, Any] | None = None) -> None:
        """All is measured; and what follows from it."""
        self.summary = json_ready(dict(summary or {}))
        self.ended = _now()
        self.save()

    def content(self) -> dict[str, Any]:
        """Everything for programs; `ended` is None while there is more to be measured."""
        return {**self.made, "ended": self.ended, "results": self.results, "summary": self.summary}

    def save(self) -> None:
        """Write the file, where there is one; a file there that was changed by hand is kept under another name."""
        if self.path is not None:
            with replace_file(self.path, made_by="bench") as draft:
                draft.write_text(json.dumps(self.content(), indent=2) + "\n", encoding="utf-8")

    def _take_up(self, path: Path, *, resume: bool) -> None:
        if not resume:
            raise InputError(f"{path} is there already; go on with it (--resume), or give another file")
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            different = [key for key in SAME if stored[key] != self.made[key]]
            self.results = dict(stored["results"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path} is not a benchmark's results ({error!r}); give another file") from error
        if different:
            raise InputError(f"{path} was made with another {', '.join(different)}; give another file")
        self.made["machine"], self.made["began"] = stored["machine"], stored["began"]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
