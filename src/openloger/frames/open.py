"""`open_frames`: whatever was given, as a `FrameSource`."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openloger.errors import InputError
from openloger.frames import images
from openloger.frames.animation import Animation, is_animated
from openloger.frames.archive import ZipPictures, zip_pictures
from openloger.frames.joined import other_chapters
from openloger.frames.lazy import LazyFrameSource
from openloger.frames.listing import SUFFIXES
from openloger.frames.memory import GivenFrames, OtherSource
from openloger.frames.resize import Size, resized
from openloger.frames.ros_bag import bag_pictures, is_bag
from openloger.frames.selected import OnBadFrame, SelectedFrames, without_times
from openloger.frames.selection import Selection
from openloger.frames.video import VideoFile, standard_input
from openloger.frames.world import PREFIX, world_frames
from openloger.values import FrameSource

_log = logging.getLogger("openloger")
LONGEST_SHOWN = 200  # letters of a path in a message
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
LIST_SUFFIXES = frozenset({".list", ".lst", ".txt"})


def open_frames(
    source: str | os.PathLike[str] | FrameSource | Iterable[Any],
    *,
    start: int = 0,
    stop: int | None = None,
    stride: int = 1,
    fps: float | int | None = None,
    size: Size | None = None,
    on_bad_frame: OnBadFrame = "stop",
) -> FrameSource:
    """Frames from anywhere, decoded on demand.

    `source` is one of
    - a path to a video, to a folder or a zip file of pictures, to one picture, still or animated, or a glob of
      pictures (natural order, EXIF applied) or videos;
    - a folder that holds one video, or the chapters of one recording, which are joined;
    - a path to a list: lines of `seconds path` (TUM's `rgb.txt`), of paths, or one time a picture beside it;
    - a path to a ROS bag (.bag, .mcap, .db3, ROS 2's folder), "BAG#TOPIC" where it has several topics of pictures;
    - "-": MJPEG or MPEG-TS on standard input;
    - "world:FAMILY:SEED?frames=N": a procedural world;
    - a list of paths of pictures, or of videos, which are joined;
    - an iterable of uint8 (height, width, 3) arrays or of `Frame`s; a ready `FrameSource`.

    `start`, `stop` (frame numbers of the source), `fps` and `stride` choose among the frames, in that order; see
    `selection.py` for the rule of `fps`. `size` = (height, width) in pixels resizes them. `on_bad_frame` sets what
    follows a frame that cannot be decoded: "stop" (BadFrameError), "repeat" the one before it, or "skip"; the result's
    `bad_frames` lists them as (index, reason).

    A `Frame.index` is the source's own frame number, whatever was chosen. Raises InputError for a source that cannot
    be read or values that make no sense; iterating raises BadFrameError as said, and where frames differ in size.
    """
    selection = Selection(start, stop, stride, None if fps is None else float(fps))
    opened = _slot_source(source)
    if fps is not None and _is_without_times(opened):  # now, as what follows may take long: loading a network
        raise without_times(fps, opened.name)
    chosen = SelectedFrames(opened, selection, on_bad_frame)
    return chosen if size is None else resized(chosen, size)


def _is_without_times(source: LazyFrameSource) -> bool:
    pictures = isinstance(source, images.PictureFiles) and source.times_s is None
    return pictures or isinstance(source, ZipPictures)


def _slot_source(source: Any) -> LazyFrameSource:
    if isinstance(source, (str, os.PathLike)):
        return _named(os.fspath(source))
    if isinstance(source, FrameSource):
        return OtherSource(source)
    if not isinstance(source, Iterable) or isinstance(source, (bytes, dict)):
        raise InputError(f"a {type(source).__name__} is no source of frames; give a path, arrays or a FrameSource")
    if isinstance(source, (list, tuple)) and all(isinstance(item, (str, os.PathLike)) for item in source):
        if not source:
            raise InputError("an empty list holds no frame; give paths or arrays")
        return images.path_list(f"a list of {len(source)} paths", source)
    return GivenFrames(source)


def _named(text: str) -> LazyFrameSource:
    if text == "-":
        return standard_input()
    if text.startswith(PREFIX):
        return world_frames(text)
    if not text:
        raise InputError("an empty text is no path; give one")
    path = Path(text)
    try:
        bag, _, topic = text.partition("#")
        if topic and not path.exists() and is_bag(Path(bag)):
            return bag_pictures(Path(bag), topic)
        return bag_pictures(path) if is_bag(path) and path.exists() else _on_disk(path)
    except PermissionError as error:
        raise InputError(f"{text} may not be read ({error.strerror}); allow it, or give another path") from error
    except ValueError as error:  # a NUL in the path
        if isinstance(error, InputError):
            raise
        raise InputError(f"{text!r} cannot be a path ({error}); give another") from error
    except OSError as error:
        raise InputError(f"{_shortened(text)} cannot be read ({error.strerror}); check the path") from error


def _on_disk(path: Path) -> LazyFrameSource:
    if path.is_dir():
        return images.folder(path)
    if not path.exists():
        if glob.has_magic(str(path)) and not _ADDRESS.match(str(path)):
            return images.matching(str(path))
        raise InputError(_nothing_there(str(path)))
    suffix = path.suffix.lower()
    if suffix in LIST_SUFFIXES:
        return images.list_file(path)
    if suffix == ".zip":
        return zip_pictures(path)
    if suffix in SUFFIXES:
        return Animation(path) if is_animated(path) else images.path_list(str(path), [path])
    if is_animated(path):
        return Animation(path)
    if note := other_chapters(path):
        _log.warning("%s", note)
    return VideoFile(path)


def _nothing_there(text: str) -> str:
    if text.lower().startswith("file:/"):
        return f"{_shortened(text)!r} is no path; leave out the file://, and write %20 as a space"
    if found := _ADDRESS.match(text):  # the rest may hold a password
        return (
            f"{found[1]}://… is an address, and this reads files: download it, "
            "or give a stream to `openloger live` (`openloger.open_live`)"
        )
    if re.search(r"%\d*d", text):
        pattern = re.sub(r"%\d*d", "*", text)
        return f"there is no file {text!r}; numbered pictures are given by a quoted glob ({pattern!r}) or their folder"
    return f"there is no file or folder {_shortened(text)!r}; check the path"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
