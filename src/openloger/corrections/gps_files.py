"""Fixes of a satellite receiver, from GPX, CSV, and the EXIF of pictures."""

from __future__ import annotations

import csv
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from openloger.datasets.files import natural
from openloger.datasets.text import read_text
from openloger.errors import InputError
from openloger.frames.image_file import IMAGE_DAMAGE, open_image
from openloger.shapes import Float64

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "time": ("time", "timestamp", "timestamp_s", "t", "date", "datetime", "utc", "seconds"),
    "latitude": ("latitude", "lat", "latitude_deg"),
    "longitude": ("longitude", "lon", "lng", "long", "longitude_deg"),
    "altitude": ("altitude", "alt", "ele", "elevation", "height", "altitude_m"),
    "name": ("name", "file", "filename", "image", "frame"),
}
_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".heic", ".avif"})
_GPS_IFD = 0x8825
_LATITUDE, _LONGITUDE, _ALTITUDE = (1, 2), (3, 4), (5, 6)  # the EXIF tags of reference and value
_DOCTYPE = re.compile(r"<!DOCTYPE|<!ENTITY", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class GpsFixes:
    """Fixes in the order of their times, or of pictures by name."""

    path: Path
    latitude_deg: Float64[np.ndarray, " fix"]
    longitude_deg: Float64[np.ndarray, " fix"]
    altitude_m: Float64[np.ndarray, " fix"]  # NaN where none is given
    time_s: Float64[np.ndarray, " fix"] | None  # since 1970 where the file has dates, else of a clock of its own
    is_dated: bool  # whether time_s is since 1970
    names: tuple[str, ...] | None  # of pictures; one of the two is given

    def __len__(self) -> int:
        return len(self.latitude_deg)


def read_fixes(path: Path) -> GpsFixes:
    """Of a `.gpx`, a `.csv` with a header, or a picture or folder of pictures with GPS in their EXIF.

    Raises InputError where there is none, it cannot be read, or a coordinate is out of range.
    """
    if not path.exists():
        raise InputError(f"there is no {path}; give a GPX or CSV file, or a folder of pictures with GPS")
    if path.is_dir() or path.suffix.lower() in _PICTURES:
        return _of_pictures(path)
    if path.suffix.lower() == ".gpx":
        return _of_gpx(path)
    if path.suffix.lower() in (".csv", ".txt", ".tsv"):
        return _of_csv(path)
    raise InputError(f"{path} is no kind of GPS file that is known: .gpx, .csv, or a folder of pictures")


def seconds_of(text: str) -> tuple[float, bool]:
    """Seconds of a date (ISO 8601, UTC where it names no zone) since 1970, or of a number; and whether it is a date.

    Raises ValueError for what is neither.
    """
    try:
        number = float(text)
    except ValueError:
        date = datetime.fromisoformat(text.strip())
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp(), True
    return number, False


def _of_gpx(path: Path) -> GpsFixes:
    text = read_text(path, "a GPX track")
    if _DOCTYPE.search(text):
        raise InputError(f"{path}: declares entities, which no GPX needs; export the track again")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is no GPX: {error}") from None
    points = [one for one in root.iter() if _tag(one) in ("trkpt", "rtept", "wpt")]
    kind = next((kind for kind in ("trkpt", "rtept", "wpt") if any(_tag(one) == kind for one in points)), "")
    rows = []
    for number, point in enumerate((one for one in points if _tag(one) == kind), start=1):
        inside = {_tag(child): (child.text or "") for child in point}
        if "time" not in inside:
            raise InputError(f"{path}: point {number} has no time; a route without times cannot be matched to frames")
        try:
            time_s = seconds_of(inside["time"])[0]
            latitude, longitude = float(point.attrib["lat"]), float(point.attrib["lon"])
            rows.append((time_s, latitude, longitude, float(inside.get("ele") or "nan")))
        except (ValueError, KeyError) as error:
            raise InputError(f"{path}: point {number} cannot be read ({error})") from None
    return _timed(path, rows, is_dated=True)


def _tag(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _of_csv(path: Path) -> GpsFixes:
    lines = read_text(path, "GPS fixes").splitlines()
    try:
        dialect: Any = csv.Sniffer().sniff("\n".join(lines[:5]), delimiters=",;\t")
    except csv.Error:
        dialect = "excel"
    reader = csv.DictReader(lines, dialect=dialect)
    found = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    columns = {
        wanted: next((found[name] for name in names if name in found), None) for wanted, names in _COLUMNS.items()
    }
    if columns["latitude"] is None or columns["longitude"] is None or (columns["time"] or columns["name"]) is None:
        raise InputError(
            f"{path}: its header is {', '.join(found) or 'empty'}; it needs latitude and longitude, and time or name"
        )
    rows, names, dated = [], [], set[bool]()
    for number, row in enumerate(reader, start=2):
        try:
            time_s, is_date = seconds_of(row[columns["time"]]) if columns["time"] else (float(number), False)
            altitude = (row[columns["altitude"]] or "nan") if columns["altitude"] else "nan"
            rows.append((time_s, float(row[columns["latitude"]]), float(row[columns["longitude"]]), float(altitude)))
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}, line {number}: cannot be read ({error})") from None
        dated.add(is_date)
        names.append(Path(row[columns["name"]]).name if columns["name"] else "")
    if columns["time"] is None:
        return _named(path, [row[1:] for row in rows], names)
    if len(dated) > 1:
        raise InputError(f"{path}: has dates and plain numbers as times; use one of them")
    return _timed(path, rows, is_dated=dated == {True} or any(row[0] > 1e8 for row in rows))


def _of_pictures(path: Path) -> GpsFixes:
    files = [path] if path.is_file() else [one for one in path.iterdir() if one.suffix.lower() in _PICTURES]
    rows, names = [], []
    for file in natural(files):
        fix = _exif_fix(file)
        if fix is not None:
            rows.append(fix)
            names.append(file.name)
    if not rows:
        raise InputError(f"{path}: none of its {len(files)} pictures has GPS in its EXIF")
    return _named(path, rows, names)


def _exif_fix(file: Path) -> tuple[float, float, float] | None:
    try:
        with open_image(file) as image:
            tags: Any = image.getexif().get_ifd(_GPS_IFD)
    except IMAGE_DAMAGE as error:
        raise InputError(f"{file} cannot be read: {error}") from None
    try:
        latitude, longitude = (
            sum(float(part) / 60**power for power, part in enumerate(tags[value])) * (-1 if tags[sign] in "SW" else 1)
            for sign, value in (_LATITUDE, _LONGITUDE)
        )
        below = tags.get(_ALTITUDE[0], 0) in (1, b"\x01")
        altitude = float(tags[_ALTITUDE[1]]) * (-1 if below else 1) if _ALTITUDE[1] in tags else float("nan")
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return latitude, longitude, altitude


def _timed(path: Path, rows: list[tuple[float, float, float, float]], *, is_dated: bool) -> GpsFixes:
    values = np.array(rows, dtype=np.float64).reshape(-1, 4)
    values = values[np.argsort(values[:, 0], kind="stable")]
    values = values[np.append(True, np.diff(values[:, 0]) > 0)] if len(values) else values
    time_s, latitude, longitude, altitude = values.T.copy()
    return _checked(GpsFixes(path, latitude, longitude, altitude, time_s, is_dated, None))


def _named(path: Path, rows: list[tuple[float, float, float]], names: list[str]) -> GpsFixes:
    values = np.array(rows, dtype=np.float64).reshape(-1, 3)
    latitude, longitude, altitude = values.T.copy()
    return _checked(GpsFixes(path, latitude, longitude, altitude, None, False, tuple(names)))


def _checked(fixes: GpsFixes) -> GpsFixes:
    if len(fixes) == 0:
        raise InputError(f"{fixes.path} has no fixes")
    wrong = ~(np.abs(fixes.latitude_deg) <= 90) | ~(np.abs(fixes.longitude_deg) <= 180)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{fixes.path}: fix {row + 1} is at latitude {fixes.latitude_deg[row]:g}, longitude "
            f"{fixes.longitude_deg[row]:g}; degrees are wanted"
        )
    return fixes
