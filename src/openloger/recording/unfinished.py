"""What a pass over a recording has found so far, in a file beside it, so that a pass that was cut can go on."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openloger.recording.files import write_json
from openloger.recording.layout import LOOPS_FILE
from openloger.recording.lines import CHECKSUM, is_whole, sealed
from openloger.runtime.platform import read_bytes, remove_file

logger = logging.getLogger("openloger")


class UnfinishedPass:
    """The findings of one pass; `of` names all that they depend on, and those of anything else are not read."""

    def __init__(self, folder: Path, of: str) -> None:
        self._file, self._of = folder / LOOPS_FILE, of
        self._is_told = False

    def read(self) -> list[Any]:
        """The findings that an earlier pass left, in their order; none where it was one of something else, or the file
        is damaged, which is logged."""
        try:
            value: Any = json.loads(read_bytes(self._file))
            if CHECKSUM not in value or not is_whole(value):
                raise ValueError("its checksum does not match")
            return list(value["found"]) if value["of"] == self._of else []
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            logger.warning("%s cannot be read (%s): the pass starts over", self._file, error)
            return []

    def write(self, found: Sequence[Mapping[str, Any]]) -> None:
        """Keep the findings so far. Where the disk refuses, that is logged, once, and the pass would start over."""
        try:
            write_json(self._file, sealed({"of": self._of, "found": list(found)}))
        except OSError as error:
            if not self._is_told:
                logger.warning("%s: %s; a pass that is cut starts over", self._file, error.strerror or error)
            self._is_told = True

    def remove(self) -> None:
        """The pass is finished."""
        try:
            remove_file(self._file)
        except OSError as error:
            if not os.path.lexists(self._file):  # a file system that is read-only refuses to remove what is not there
                return
            logger.warning("%s: %s; it is of no more use", self._file, error.strerror or error)
