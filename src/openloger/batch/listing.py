"""Which videos a batch has: from folders, globs, lists and tables, each with a name and with options of its own.

A video's name is its place below OUT: its path within the folder, the glob or the list that it came from, suffix
included. It never depends on which others are listed with it, so that an archive can grow.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

from openloger.batch.storage import file_system, local_path, readable
from openloger.errors import InputError, in_a_line
from openloger.frames.addresses import host_and_path, without_secrets
from openloger.frames.listing import SUFFIXES, TEXT_SUFFIXES, VIDEO_SUFFIXES, is_sidecar, natural_key
from openloger.frames.masks import PREDICTED, Masks
from openloger.frames.open import LIST_SUFFIXES
from openloger.frames.ros_bag import BAG_SUFFIXES
from openloger.frames.world import PREFIX
from openloger.version import install_command

TABLE_SUFFIXES = frozenset({".parquet", ".csv"})
KEPT_PREFIX = "meta_"  # of columns that go into the index as they are
_MAGIC = re.compile(r"[*?\[]")
_FILES_TAKEN = VIDEO_SUFFIXES | BAG_SUFFIXES
_HIDDEN = ".openloger"
_log = logging.getLogger("openloger")


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """The options of one video, as `open_frames` and `reconstruct` take them. A column of a table has the same name.

    None leaves the choice to the network.
    """

    start: int = 0
    stop: int | None = None
    stride: int = 1
    fps: float | None = None
    on_bad_frame: str = "stop"
    window: int | None = None
    overlap: int | None = None
    placement: str = "auto"
    reset_every: int | None = None
    keyframes: str | None = None
    size: tuple[int, int] | None = None  # (height, width) in pixels; in a table "HEIGHTxWIDTH"
    lens: str = "varying"
    camera: str | None = None  # as `read_camera` takes it
    mask: tuple[str, ...] = ()  # as `Masks.parse` takes it; in a table with spaces between several
    mask_static: str | None = None
    depth_dtype: str = "float16"

    def __post_init__(self) -> None:
        if self.lens not in ("varying", "fixed"):
            raise InputError(f"lens {self.lens!r} is not known; choose varying or fixed")
        if self.depth_dtype not in ("float16", "float32"):
            raise InputError(f"depth_dtype {self.depth_dtype!r} is not known; choose float16 or float32")
        if self.on_bad_frame not in ("stop", "repeat", "skip"):
            raise InputError(f"on_bad_frame {self.on_bad_frame!r} is not known; choose stop, repeat or skip")
        Masks.parse(self.mask, self.mask_static)

    def with_row(self, row: Mapping[str, Any]) -> VideoOptions:
        """These options, and in their place those of a table's row that are not empty.

        Raises:
            InputError: a value does not fit its option.
        """
        return replace(self, **{name: _converted(name, value) for name, value in row.items()})


OPTION_NAMES = tuple(option.name for option in fields(VideoOptions))
_WHOLE = frozenset({"start", "stop", "stride", "window", "overlap", "reset_every"})


@dataclass(frozen=True)
class Video:
    """One video of a batch."""

    name: str  # relative, with slashes: its recording's place below the output
    source: str  # what `open_frames` takes, or an address
    options: VideoOptions
    kept: Mapping[str, str] = field(default_factory=dict)  # what its row of the table has beside the options

    @property
    def request(self) -> str:
        """The request, as a text that can be compared."""
        shown = without_secrets(self.source)
        hidden = (
            hashlib.sha256(self.source.encode(errors="surrogateescape")).hexdigest() if shown != self.source else ""
        )
        return json.dumps({"source": shown + hidden, **asdict(self.options)}, sort_keys=True)

    @property
    def shown_source(self) -> str:
        """The source as it may be shown and kept."""
        return without_secrets(self.source)


def list_videos(sources: Iterable[str], options: VideoOptions | None = None) -> tuple[Video, ...]:
    """The videos of folders, globs, lists (.txt), tables (.csv, .parquet), single videos and worlds.

    A folder is searched with its subfolders: each video or ROS bag is one, as is each folder that holds pictures and no
    video. `options` are of all videos, where a table's row does not say otherwise. Paths of a list or a table that are
    not absolute are relative to it.

    Raises:
        InputError: nothing is found, a row cannot be used, or two videos would have the same place.
    """
    options = options or VideoOptions()
    videos = [video for source in sources for video in _listed(source, options)]
    if not videos:
        raise InputError("there is no video to reconstruct; give folders, globs, lists, tables or videos")
    _check_names(videos)
    return tuple(videos)


def _listed(source: str, options: VideoOptions) -> Iterator[Video]:
    if source.startswith(PREFIX):
        yield Video(_name_of(source), source, options)
        return
    suffix = PurePosixPath(source).suffix.lower()
    if _is_glob(source):
        yield from _matching(source, options)
    elif suffix in TABLE_SUFFIXES:
        yield from _of_table(source, options)
    elif suffix in LIST_SUFFIXES:
        yield from _of_list(source, options)
    else:
        yield from _of_place(source, options)


def _is_glob(source: str) -> bool:
    """Not where a file has that very name; and in the web `?` begins what a server is asked."""
    path = local_path(source)
    if path is None and source.startswith(("http://", "https://")):
        return False
    return _MAGIC.search(source) is not None and not (path is not None and os.path.lexists(path))


def _of_place(source: str, options: VideoOptions) -> Iterator[Video]:
    """A folder's videos, or the one video that is given by its path."""
    place = _absolute(source)
    system, root = file_system(place)
    try:
        is_folder = system.isdir(root)
        exists = is_folder or system.exists(root)
    except OSError as error:
        raise InputError(
            f"{without_secrets(source)} cannot be reached ({in_a_line(error)}); check the address"
        ) from error
    if not is_folder:
        if not exists:
            raise InputError(f"there is no file or folder {without_secrets(source)!r}; check the path")
        yield Video(_name_of(PurePosixPath(host_and_path(root)).name), place, options)
        return
    found = sorted(_in_folder(system, root), key=lambda path: (natural_key(path), path))
    if not found:
        kinds = ", ".join(sorted(_FILES_TAKEN))
        raise InputError(f"{without_secrets(source)} holds no video and no folder of pictures; videos are {kinds}")
    for path in found:
        inside = PurePosixPath(path).relative_to(root).as_posix()
        name = PurePosixPath(root).name if inside == "." else inside
        yield Video(_name_of(name), place if inside == "." else f"{place}/{inside}", options)


def _in_folder(system: Any, root: str) -> Iterator[str]:
    """Videos and folders of pictures below `root`; what openloger keeps for itself, and what is hidden, is passed."""
    left_out: Counter[str] = Counter()
    for top, folders, files in system.walk(root):
        folders[:] = [name for name in folders if not is_sidecar(name)]
        names = [name for name in files if not is_sidecar(name)]
        suffixes = {name: PurePosixPath(name).suffix.lower() for name in names}
        videos = [name for name in names if suffixes[name] in _FILES_TAKEN]
        if videos:
            yield from (f"{top.rstrip('/')}/{name}" for name in videos)
        elif any(suffix in SUFFIXES for suffix in suffixes.values()):
            folders[:] = []
            yield top.rstrip("/")
            continue
        left_out.update(suffix for suffix in suffixes.values() if suffix not in _FILES_TAKEN | TEXT_SUFFIXES)
    if left_out:
        counted = ", ".join(f"{count} {suffix}" for suffix, count in left_out.most_common())
        _log.warning("%s: left out, as they are no videos: %s", root, counted)


def _matching(pattern: str, options: VideoOptions) -> Iterator[Video]:
    place = _absolute(pattern)
    system, path = file_system(place)
    before = path[: _MAGIC.search(path).start()]  # pyright: ignore[reportOptionalMemberAccess] - it has magic
    root = before.rpartition("/")[0]
    found = [one for one in system.glob(path) if not is_sidecar(PurePosixPath(one).name)]
    if not found:
        shown = without_secrets(pattern)
        raise InputError(f"nothing matches {shown}; quote it, so that the shell leaves it alone, and check it")
    for one in sorted(found, key=lambda path: (natural_key(path), path)):
        inside = PurePosixPath(one).relative_to(root or "/").as_posix()
        yield Video(_name_of(inside), _address_like(place, system, one), options)


def _of_list(source: str, options: VideoOptions) -> Iterator[Video]:
    with readable(_absolute(source)) as file:
        try:
            text = file.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{without_secrets(source)} is not a text file: byte {error.start} is not UTF-8") from None
    lines = [line.strip() for line in text.splitlines()]
    for line in (line for line in lines if line and not line.startswith("#")):
        yield Video(_listed_name(line), _beside(line, source), options)


def _of_table(source: str, options: VideoOptions) -> Iterator[Video]:
    """One row a video: `source`, and if wanted `name`, any option, and `meta_…` for the index."""
    for number, row in enumerate(_rows(source), start=1):
        unknown = [key for key in row if key not in ("source", "name", *OPTION_NAMES) and not _is_kept(key)]
        if unknown or "source" not in row:
            wanted = "no column `source`" if "source" not in row else f"the unknown columns {', '.join(unknown)}"
            options_are = f"options ({', '.join(OPTION_NAMES)})"
            raise InputError(
                f"{without_secrets(source)} has {wanted}; a table has source, name, {options_are}, and whatever begins "
                f"with {KEPT_PREFIX}, which goes into the index"
            )
        given = {key: value for key, value in row.items() if not _is_empty(value)}
        if "source" not in given:
            raise InputError(f"{without_secrets(source)}, row {number}: has no source; write a path or an address")
        text = str(given.pop("source"))
        name = str(given.pop("name", "")) or _listed_name(text)
        kept = {key: str(given.pop(key)) for key in list(given) if _is_kept(key)}
        try:
            own = options.with_row(_masks_beside(given, source))
        except InputError as error:
            raise InputError(f"{without_secrets(source)}, row {number}: {error}") from error
        yield Video(name, _beside(text, source), own, kept)


def _rows(source: str) -> Iterator[dict[str, Any]]:
    with readable(_absolute(source)) as file:
        if source.lower().endswith(".csv"):
            text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
            try:
                yield from csv.DictReader(text, restkey="", strict=True)
            except (csv.Error, UnicodeDecodeError) as error:
                raise InputError(f"{without_secrets(source)} is not a CSV file: {error}") from error
            return
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise InputError(f"Parquet needs the package pyarrow: {install_command('ray')}") from error
        try:
            yield from parquet.read_table(file).to_pylist()
        except pyarrow.ArrowException as error:
            raise InputError(f"{without_secrets(source)} is not a Parquet file: {in_a_line(error)}") from error


def _is_kept(column: str) -> bool:
    return column.startswith(KEPT_PREFIX)


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _converted(name: str, value: Any) -> Any:
    """A cell of a table as its option's type."""
    if name not in OPTION_NAMES:
        raise InputError(f"there is no option {name!r}; there are {', '.join(OPTION_NAMES)}")
    text = str(value).strip()
    if name == "size":
        found = re.fullmatch(r"(\d+)\s*[x×, ]\s*(\d+)", text.strip("[]()"))
        if found is None:
            raise InputError(f"size {text!r}: write HEIGHTxWIDTH, as 280x378")
        return int(found[1]), int(found[2])
    if name == "mask":
        return tuple(text.split())
    if name in _WHOLE:
        if not re.fullmatch(r"\d+(\.0+)?", text):  # pandas makes floats of a column with gaps
            raise InputError(f"{name} is {text!r}: write a whole number")
        return int(float(text))
    if name == "fps":
        try:
            return float(text)
        except ValueError:
            raise InputError(f"fps is {text!r}: write a number") from None
    return text


def _masks_beside(row: Mapping[str, Any], listed_in: str) -> dict[str, Any]:
    """A table's row, its masks' paths meant from the table's folder."""
    found = dict(row)
    if "mask" in found:
        words = str(found["mask"]).split()
        found["mask"] = " ".join(word if word in PREDICTED else _beside(word, listed_in) for word in words)
    if "mask_static" in found:
        found["mask_static"] = _beside(str(found["mask_static"]), listed_in)
    return found


def _absolute(source: str) -> str:
    """An address that means the same on every worker."""
    path = local_path(source)
    return source if path is None else str(path.expanduser().absolute())


def _beside(line: str, listed_in: str) -> str:
    """The address of a line: relative paths are meant from the list's folder."""
    if line.startswith(PREFIX) or local_path(line) is None:
        return line
    path = Path(os.path.expanduser(str(local_path(line))))
    if path.is_absolute():
        return str(path)
    folder = local_path(listed_in)
    if folder is None:
        return f"{listed_in.rpartition('/')[0]}/{line}"
    return str(folder.absolute().parent / path)


def _address_like(address: str, system: Any, path: str) -> str:
    return path if local_path(address) is not None else str(system.unstrip_protocol(path))


def _listed_name(line: str) -> str:
    """A name for a line of a list: its path without what leads there."""
    if line.startswith(PREFIX):
        return _name_of(line)
    path = local_path(line)
    parts = (PurePosixPath(host_and_path(line)) if path is None else PurePosixPath(path.as_posix())).parts
    return _name_of("/".join(part for part in parts if part not in ("..", ".", "/") and not part.endswith(":\\")))


def _name_of(path: str) -> str:
    """A path as a name: letters, digits and a few signs, and no part that is hidden."""
    parts = [re.sub(r"[^\w.+@=,-]+", "-", part).strip("-") for part in path.split("/")]
    return "/".join(part.lstrip(".") or "video" for part in parts if part)


def _check_names(videos: Sequence[Video]) -> None:
    ways_out = "give them names in a table (CSV or Parquet with the columns source and name)"
    counted = Counter(video.name for video in videos)
    for video in videos:
        parts = PurePosixPath(video.name).parts
        if not parts or video.name != "/".join(parts) or ".." in parts or parts[0].startswith((_HIDDEN, "/")):
            raise InputError(f"the name {video.name!r} of {video.shown_source} is no relative path; {ways_out}")
        if counted[video.name] > 1:
            twice = [one.shown_source for one in videos if one.name == video.name][:2]
            raise InputError(f"{' and '.join(twice)} would both be {video.name!r}; {ways_out}")
        for parent in map(str, PurePosixPath(video.name).parents):
            if parent in counted:
                raise InputError(
                    f"{video.name!r} ({video.shown_source}) would lie in the recording {parent!r}; {ways_out}"
                )
