"""Several videos as one: the chapters that a camera cuts a long recording into, or a list."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from shlex import quote

from openloger.errors import InputError
from openloger.frames.lazy import CutShortError, LazyFrame
from openloger.frames.selection import FrameStamp, Selection
from openloger.frames.video import VideoFile

_log = logging.getLogger("openloger")
# GoPro: GX, GH and GL with chapter and number; before 2017, GOPR and the number, then GP with chapter and number
_CHAPTER = re.compile(r"(?:G[XHLS](?P<chapter>\d\d)|GOPR|GP(?P<later>\d\d))(?P<number>\d{4})", re.IGNORECASE)


@dataclass(frozen=True)
class JoinedVideos:
    """Videos one after the other; each begins one frame after the last of the one before it."""

    name: str
    parts: tuple[VideoFile, ...]

    def slots(self, first: int) -> Generator[LazyFrame, None, None]:
        following, begins_s, step_s = 0, 0.0, 0.0
        for part in self.parts:
            base, last_s, offset_s = following, begins_s, None
            with closing(part.slots(0)) as slots:
                for slot in _numbered_on(slots, base, part.name):
                    offset_s = begins_s - slot.timestamp_s if offset_s is None else offset_s
                    time_s = slot.timestamp_s + offset_s
                    step_s, last_s = (time_s - last_s if time_s > last_s else step_s), time_s
                    following = slot.index + 1
                    if slot.index >= first:
                        yield replace(slot, timestamp_s=time_s, name=f"frame_{slot.index:06d}")
            begins_s = last_s + step_s

    def outline(self, choice: Selection) -> Iterable[FrameStamp] | None:
        if choice.fps is not None:
            return None
        counts = [sum(1 for _ in part.outline(choice)) for part in self.parts]
        return [FrameStamp(index) for index in range(sum(counts))]


def _numbered_on(slots: Iterable[LazyFrame], base: int, name: str) -> Iterable[LazyFrame]:
    try:
        for slot in slots:
            yield replace(slot, index=base + slot.index)
    except CutShortError as cut:
        raise CutShortError(f"{name}: {cut}", index=base + cut.index) from cut


def joined(name: str, paths: Sequence[Path]) -> JoinedVideos | VideoFile:
    """The videos in the order given; chapters of one recording in theirs."""
    if len(recordings := chapters(paths)) == 1 and len(recordings[0]) == len(paths):
        paths = recordings[0]
        if missing := _missing_chapters(paths):
            _log.warning("%s lacks %s of its recording: the picture jumps there", name, ", ".join(missing))
    parts = tuple(VideoFile(path) for path in paths)
    return parts[0] if len(parts) == 1 else JoinedVideos(name, parts)


def _missing_chapters(paths: Sequence[Path]) -> list[str]:
    """The names of the chapters before the last one that are not among those of one recording."""
    matches = [match for path in paths if (match := _CHAPTER.fullmatch(path.stem))]
    names = {int(match["chapter"] or match["later"] or 0): match for match in matches}
    last = names[max(names)]
    if last["chapter"]:
        expected = {number: f"{last[0][:2]}{number:02d}{last['number']}" for number in range(1, max(names))}
    else:
        expected = {number: f"GP{number:02d}{last['number']}" for number in range(1, max(names))}
        expected[0] = f"GOPR{last['number']}"
    return [name + paths[0].suffix for number, name in sorted(expected.items()) if number not in names]


def videos_of_folder(folder: Path, paths: Sequence[Path]) -> JoinedVideos | VideoFile:
    """The only video of a folder, or the chapters of the only recording in it; raises InputError for any other."""
    recordings = chapters(paths)
    if len(paths) == 1 or (len(recordings) == 1 and len(recordings[0]) == len(paths)):
        return joined(str(folder), paths)
    choices = [str(one[0].name) for one in recordings] or [path.name for path in paths]
    some = ", ".join(choices[:5]) + (", …" if len(choices) > 5 else "")
    raise InputError(f"{folder} holds {len(paths)} videos and no picture; give one of them ({some}), or a quoted glob")


def other_chapters(path: Path) -> str | None:
    """For people: which chapter of a recording a video is, and how to give all; None where it is the only one, or no
    chapter.

    Raises:
        OSError: its folder cannot be listed.
    """
    match = _CHAPTER.fullmatch(path.stem)
    if match is None:
        return None
    family = f"{path.stem[:2]}??" if match["chapter"] else "G*"
    glob = f"{family}{match['number']}{path.suffix}"
    together = chapters([entry for entry in path.parent.iterdir() if fnmatchcase(entry.name, glob)])
    if len(together) != 1 or len(together[0]) == 1:
        return None
    whole, number = together[0], 1 + [part.name for part in together[0]].index(path.name)
    every = quote(str(Path(escape(str(path.parent)), glob)))
    return f"{path} is chapter {number} of {len(whole)} of one recording; all of it is {every}"


def chapters(paths: Sequence[Path]) -> list[list[Path]]:
    """The recordings by GoPro's names, each as its chapters in order; empty where a name is another."""
    found: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in paths:
        match = _CHAPTER.fullmatch(path.stem)
        if match is None:
            return []
        found[match["number"]].append((int(match["chapter"] or match["later"] or 0), path))
    return [[path for _, path in sorted(found[number])] for number in sorted(found)]
