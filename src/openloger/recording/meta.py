"""Provenance of a recording: `RecordingMeta` and its file, `meta.json`."""

from __future__ import annotations

import errno
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from openloger.diagnostics import Lens
from openloger.errors import InputError, RecordingError
from openloger.outputs import write_atomically
from openloger.recording.files import explain_os_errors, write_json
from openloger.recording.layout import (
    FORMAT,
    FORMAT_VERSION,
    META_COPY_FILE,
    META_FILE,
    READABLE_VERSIONS,
    DepthDtype,
    has_checksums,
)
from openloger.recording.lines import CHECKSUM, is_whole, sealed
from openloger.runtime.platform import read_bytes
from openloger.shapes import Float64
from openloger.version import __version__, versions

_ADVICE = "give a recording that can be read"
# Settings are compared one by one, and the source by whoever opens it
_NOT_COMPARED = ("package_version", "format_version", "versions", "settings", "source_size", "source_identity")


@dataclass(frozen=True, kw_only=True)
class RecordingMeta:
    """Provenance of a recording. All of it but versions of software must agree when a recording is resumed.

    `depth_dtype` float16 keeps depths of 6.1e-5..65504 to a relative precision of 4.9e-4 (half of that on average) in
    half the bytes; what lies outside is put on the nearer end and counted (`RecordedWindow.clipped_pixels`). float32
    keeps everything.
    """

    height: int  # of the frames as the network saw them, as is the width
    width: int
    source: str
    network: str  # the preset
    weights_hash: str | None  # None: random weights
    settings: Mapping[str, Any]  # how the run was set up (windows, placement, seeds, ...); plain JSON values
    lens: Literal["varying", "fixed"] = "varying"
    known_intrinsics_px: tuple[float, float, float, float] | None = None  # fx, fy, cx, cy at this height and width
    depth_dtype: DepthDtype = "float16"
    source_size: tuple[int, int] | None = None  # (height, width) of the source's pictures; older ones have none
    masks: Mapping[str, Any] | None = None  # by which those of its frames are recognised; None: nothing is masked
    camera: str | None = None  # the model that its pictures were undistorted by, as `read_camera` takes it
    views: int = 1  # frames of one instant, of a rig, which follow each other and have one centre
    source_identity: Mapping[str, Any] | None = None  # of the source's files; None: it has none, or was not kept
    package_version: str = __version__
    format_version: int = FORMAT_VERSION
    versions: Mapping[str, str] = field(default_factory=versions)  # of what it was computed with; older ones have none

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise InputError(f"a recording of {self.height}×{self.width} pixels cannot be; both sides must be positive")
        if self.lens not in ("varying", "fixed"):
            raise InputError(f"lens {self.lens!r} is not known; choose 'varying' or 'fixed'")
        if self.depth_dtype not in ("float16", "float32"):
            raise InputError(f"depth dtype {self.depth_dtype!r} is not known; choose 'float16' or 'float32'")
        known = self.known_intrinsics_px
        if known is not None and not (all(map(math.isfinite, known)) and min(known[:2]) > 0):
            raise InputError(f"known intrinsics {known}: focal lengths must be positive, and all four finite")
        object.__setattr__(self, "settings", json.loads(json.dumps(dict(self.settings))))
        if self.masks is not None:
            object.__setattr__(self, "masks", json.loads(json.dumps(dict(self.masks))))

    @property
    def mask_kinds(self) -> tuple[str, ...]:
        """The kinds of masks that hide pixels: what the network predicted, one a frame, one for all frames."""
        known = self.masks or {}
        kinds = {"per_frame": "one a frame", "given": "one a frame", "static": "one for all frames"}
        return (*known.get("predicted", ()), *(text for kind, text in kinds.items() if kind in known))

    @property
    def has_checksums(self) -> bool:
        """Whether its chunks and lines have checksums."""
        return has_checksums(self.format_version)

    @property
    def source_lens(self) -> Lens:
        """The known facts about the camera and its pictures, by which they are judged."""
        return Lens(
            source_size=self.source_size or (self.height, self.width),
            size=(self.height, self.width),
            known_intrinsics=self.known_intrinsics,
            is_view=self.camera is not None and self.camera.startswith("equirect"),
            is_spherical=self.camera is None and bool((self.source_identity or {}).get("spherical")),
        )

    @property
    def pixel_aspect(self) -> float:
        """fx : fy of a camera with square pixels, once its frames were resized to this height and width."""
        height, width = self.source_size or (self.height, self.width)
        return (self.width / width) / (self.height / height)

    @property
    def known_intrinsics(self) -> Float64[np.ndarray, "3 3"] | None:
        """The camera matrix that replaces the fit, where one is known; pixels."""
        if self.known_intrinsics_px is None:
            return None
        fx, fy, cx, cy = self.known_intrinsics_px
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)

    def differences(self, other: RecordingMeta) -> tuple[str, ...]:
        """One phrase for each field that keeps `other` from continuing a recording made like this; none: it can."""
        compared = [f.name for f in fields(self) if f.name not in _NOT_COMPARED]
        mine = {name: getattr(self, name) for name in compared} | dict(self.settings)
        theirs = {name: getattr(other, name) for name in compared} | dict(other.settings)
        return tuple(
            f"{name} {mine.get(name)!r}, not {theirs.get(name)!r}"
            for name in dict.fromkeys([*mine, *theirs])
            if mine.get(name) != theirs.get(name)
        )


def write_meta(folder: Path, meta: RecordingMeta) -> None:
    """Write `meta.json` and its copy into a recording's folder; without checksums, which choose between them, no copy.

    Raises:
        OSError: of the file system.
    """
    value = {"format": FORMAT, **asdict(meta)}
    if not meta.has_checksums:
        write_json(folder / META_FILE, value)
        return
    for name in (META_FILE, META_COPY_FILE):
        write_json(folder / name, sealed(value))


def restore_meta(folder: Path) -> None:
    """Put the one of `meta.json` and its copy that is damaged or missing back from the other.

    Raises:
        OSError: of the file system.
    """
    content = read_bytes(meta_file(folder))
    if CHECKSUM not in json.loads(content):
        return
    for file in (folder / META_FILE, folder / META_COPY_FILE):
        if _content(file) != content:
            write_atomically(file, content)


def meta_file(folder: Path) -> Path:
    """The file that a recording's meta is read from: `meta.json`, or its copy where that alone is whole.

    Raises:
        OSError: `meta.json` cannot be read, for another reason than damage.
    """
    file, copy = folder / META_FILE, folder / META_COPY_FILE
    return copy if not _is_whole_meta(file) and _is_whole_meta(copy) else file


def lost_meta(folder: Path) -> str | None:
    """For people: the one of `meta.json` and its copy that is damaged; None where neither is.

    Raises:
        RecordingError: `meta.json` cannot be read.
    """
    file, copy = folder / META_FILE, folder / META_COPY_FILE
    with explain_os_errors(file, _ADVICE):
        if meta_file(folder) == copy:
            damaged, whole = file, copy
        elif copy.exists() and not _is_whole_meta(copy):
            damaged, whole = copy, file
        else:
            return None
    return f"{damaged}: damaged or missing, but nothing is lost: {whole.name} beside it is whole, copy that over it"


def _is_whole_meta(file: Path) -> bool:
    content = _content(file)
    try:
        value = None if content is None else json.loads(content)
    except (ValueError, RecursionError):
        return False
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        return False
    known = {"format", CHECKSUM, *(f.name for f in fields(RecordingMeta))}
    return is_whole(value) and value.keys() <= known  # the checksum's own name may be what is damaged


def _content(file: Path) -> bytes | None:
    """None where there is no such file, or the disk cannot read it."""
    try:
        return read_bytes(file)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EIO):
            return None
        raise


def meta_hash(folder: Path) -> str:
    """The SHA-256 of `meta.json`, which identifies a recording.

    Raises:
        RecordingError: it cannot be read.
    """
    with explain_os_errors(folder / META_FILE, _ADVICE):
        return hashlib.sha256(read_bytes(meta_file(folder))).hexdigest()


def is_recording(folder: Path) -> bool:
    """True where a folder holds a recording, of any format version.

    Raises:
        OSError: it cannot be read.
    """
    try:
        value = json.loads(read_bytes(meta_file(folder)))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("format") == FORMAT


def read_meta(folder: Path) -> RecordingMeta:
    """Read `meta.json`, or its copy where that alone is whole (`lost_meta`).

    Raises:
        RecordingError: no recording is there, it is of another format version, or both files are damaged.
    """
    with explain_os_errors(folder, _ADVICE):
        if not folder.is_dir():
            raise RecordingError(f"{folder}: there is no such folder; give the folder that `reconstruct -o` wrote")
        if not is_recording(folder):
            reason = (
                "its meta.json is damaged, or none of one"
                if (folder / META_FILE).exists()
                else f"no {META_FILE} of one"
            )
            raise RecordingError(f"{folder}: not a recording ({reason}); give the folder of a recording")
        value = json.loads(read_bytes(meta_file(folder)))
    version = value.get("format_version")
    if version not in READABLE_VERSIONS:
        raise RecordingError(
            f"{folder}: recording format {version}, written by openloger {value.get('package_version')}; this is "
            f"openloger {__version__}, which reads formats up to {FORMAT_VERSION}: use the version that wrote it"
        )
    if not is_whole(value):
        raise RecordingError(f"{folder / META_FILE}: is damaged (its checksum does not match); put it back from a copy")
    return _meta_from_json(folder, value)


def _meta_from_json(folder: Path, value: dict[str, Any]) -> RecordingMeta:
    value = {
        "versions": {},
        "source_size": None,
        "source_identity": None,
        "camera": None,
        "masks": None,
        "views": 1,
    } | value  # recordings once had none
    given, wanted = set(value) - {"format", CHECKSUM}, {f.name for f in fields(RecordingMeta)}
    if given != wanted:
        raise RecordingError(
            f"{folder}: {META_FILE} is damaged: fields {sorted(given ^ wanted)} are missing or unknown"
        )
    arguments: dict[str, Any] = {name: value[name] for name in wanted}
    try:
        for name in ("known_intrinsics_px", "source_size"):
            if value[name] is not None:
                arguments[name] = tuple(value[name])
        return RecordingMeta(**arguments)
    except (InputError, TypeError, ValueError) as error:
        raise RecordingError(f"{folder}: {META_FILE} is damaged: {error}") from error
