"""Fixes of a satellite receiver, from GPX, CSV, and the EXIF of pictures."""

from __future__ import annotations

import csv
import logging
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from openloger.datasets.files import natural
from openloger.datasets.text import read_text
from openloger.errors import InputError
from openloger.frames.image_file import IMAGE_DAMAGE, open_image
from openloger.frames.times import in_seconds
from openloger.shapes import Bool, Float64

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
_TIME, _STATUS, _DATE = 7, 9, 29
_BELOW = (1, 3)  # GPSAltitudeRef below the ellipsoid or the sea
_log = logging.getLogger("openloger")
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
    names: tuple[str, ...] | None  # of pictures; at least one of the two is given

    def __len__(self) -> int:
        return len(self.latitude_deg)

    def at(self, kept: Bool[np.ndarray, " fix"]) -> GpsFixes:
        """The fixes where `kept` is true."""
        return GpsFixes(
            self.path,
            self.latitude_deg[kept],
            self.longitude_deg[kept],
            self.altitude_m[kept],
            None if self.time_s is None else self.time_s[kept],
            self.is_dated,
            None if self.names is None else tuple(name for name, keep in zip(self.names, kept, strict=True) if keep),
        )


def read_fixes(path: Path) -> GpsFixes:
    """Of a `.gpx`, a `.csv` with a header, or a picture or folder of pictures with GPS in their EXIF, which have times
    too where all of them have GPS's date and time.

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
    if dated == {False}:
        times_s = in_seconds(np.array([row[0] for row in rows]), path, may_be_slow=True)
        rows = [(time_s, *row[1:]) for time_s, row in zip(times_s.tolist(), rows, strict=True)]
    return _timed(path, rows, is_dated=dated == {True} or any(row[0] > 1e8 for row in rows))


def _of_pictures(path: Path) -> GpsFixes:
    """Those with a fix; the others are counted in a warning. They have times where all of them do."""
    files = [path] if path.is_file() else [one for one in path.iterdir() if one.suffix.lower() in _PICTURES]
    found, without = [], []
    for file in natural(files):
        try:
            found.append((file.name, _exif_fix(file)))
        except _NoFixError as error:
            without.append(f"{file.name} {error}")
    if not found:
        first = f" ({without[0]})" if without else ""
        raise InputError(f"{path}: none of its {len(files)} pictures has GPS in its EXIF{first}")
    if without:
        _log.warning(
            "%s: %d of %d pictures have no GPS fix and are left out: %s%s",
            path,
            len(without),
            len(files),
            without[0],
            ", …" if len(without) > 1 else "",
        )
    is_timed = all(fix.time_s is not None for _, fix in found)
    if is_timed:
        found.sort(key=lambda one: one[1].time_s or 0.0)
    times = np.array([fix.time_s for _, fix in found], dtype=np.float64) if is_timed else None
    rows = [(fix.latitude_deg, fix.longitude_deg, fix.altitude_m) for _, fix in found]
    return _named(path, rows, [name for name, _ in found], times)


class _NoFixError(ValueError):
    """A picture has none, or none that can be used."""


class _ExifFix(NamedTuple):
    latitude_deg: float
    longitude_deg: float
    altitude_m: float  # NaN: not given
    time_s: float | None  # since 1970


def _exif_fix(file: Path) -> _ExifFix:
    """By Exif 3.0, section 4.6.6. Raises _NoFixError where there is none: the text goes on from the file's name."""
    try:
        with open_image(file) as image:
            tags: Any = image.getexif().get_ifd(_GPS_IFD)
    except IMAGE_DAMAGE as error:
        raise InputError(f"{file} cannot be read: {error}") from None
    if not tags:
        raise _NoFixError("has no GPS")
    if _letter(tags.get(_STATUS)) == "V":
        raise _NoFixError("was taken without reception")
    latitude, longitude = _degrees(tags, _LATITUDE, "NS"), _degrees(tags, _LONGITUDE, "EW")
    reference, value = (tags.get(tag) for tag in _ALTITUDE)
    below = reference in _BELOW or (isinstance(reference, bytes) and reference[:1] in (b"\x01", b"\x03"))
    altitude = _rational(value) * (-1 if below else 1)
    return _ExifFix(latitude, longitude, altitude, _exif_time_s(tags))


def _degrees(tags: Any, numbers: tuple[int, int], letters: str) -> float:
    """Degrees, minutes and seconds, of which the last may be missing; negative to the south and the west."""
    letter, value = _letter(tags.get(numbers[0])), tags.get(numbers[1])
    parts = [_rational(part) for part in value] if isinstance(value, tuple | list) else [_rational(value)]
    degrees = sum(part / 60**power for power, part in enumerate(parts[:3]))
    if not np.isfinite(degrees):
        raise _NoFixError("has GPS without a place")
    if letter not in letters or not letter:
        raise _NoFixError(f"does not say whether it is {' or '.join(letters)}")
    return -degrees if letter == letters[1] else degrees


def _letter(value: Any) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return text.strip("\0 ")[:1].upper()


def _rational(value: Any) -> float:
    """NaN for what is none: missing, or with the denominator 0, which receivers write for what they do not have."""
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return float("nan")
    return number if np.isfinite(number) else float("nan")


def _exif_time_s(tags: Any) -> float | None:
    """Of GPSDateStamp and GPSTimeStamp, which is UTC, to fractions of a second; None where either is missing."""
    date, clock = tags.get(_DATE), tags.get(_TIME)
    text = date.decode("ascii", "replace") if isinstance(date, bytes) else str(date or "")
    try:
        midnight = datetime.strptime(text.strip("\0 ").replace("-", ":"), "%Y:%m:%d").replace(tzinfo=UTC)
        hours, minutes, seconds = (_rational(part) for part in clock)
    except (TypeError, ValueError):
        return None
    time_s = midnight.timestamp() + 3600 * hours + 60 * minutes + seconds
    return time_s if np.isfinite(time_s) else None


def _timed(path: Path, rows: list[tuple[float, float, float, float]], *, is_dated: bool) -> GpsFixes:
    values = np.array(rows, dtype=np.float64).reshape(-1, 4)
    values = values[np.argsort(values[:, 0], kind="stable")]
    values = values[np.append(True, np.diff(values[:, 0]) > 0)] if len(values) else values
    time_s, latitude, longitude, altitude = values.T.copy()
    return _checked(GpsFixes(path, latitude, longitude, altitude, time_s, is_dated, None))


def _named(
    path: Path,
    rows: list[tuple[float, float, float]],
    names: list[str],
    time_s: Float64[np.ndarray, " fix"] | None = None,
) -> GpsFixes:
    values = np.array(rows, dtype=np.float64).reshape(-1, 3)
    latitude, longitude, altitude = values.T.copy()
    return _checked(GpsFixes(path, latitude, longitude, altitude, time_s, time_s is not None, tuple(names)))


def _checked(fixes: GpsFixes) -> GpsFixes:
    if len(fixes) == 0:
        raise InputError(f"{fixes.path} has no fixes")
    wrong = ~(np.abs(fixes.latitude_deg) <= 90) | ~(np.abs(fixes.longitude_deg) <= 180)
    if wrong.any():
        row = int(wrong.argmax())
        which = f"fix {row + 1}" if fixes.names is None else fixes.names[row]
        raise InputError(
            f"{fixes.path}: {which} is at latitude {fixes.latitude_deg[row]:g}, longitude "
            f"{fixes.longitude_deg[row]:g}; degrees are wanted"
        )
    return fixes
