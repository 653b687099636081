"""GPS from the EXIF of real JPEGs, as cameras, telephones and drones write it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from true_recordings import Walk

from openloger.corrections import align_by_gps
from openloger.corrections.gps_files import read_fixes
from openloger.errors import InputError
from openloger.geometry.earth import GeoOrigin
from openloger.recording import Recording

GPS_IFD = 0x8825
NOTHING = IFDRational(0, 0)


def degrees(value: float) -> tuple[IFDRational, ...]:
    value = abs(value)
    minutes = value % 1 * 60
    return (IFDRational(int(value), 1), IFDRational(int(minutes), 1), IFDRational(round(minutes % 1 * 60e6), 1_000_000))


def tags(latitude: float, longitude: float, altitude: float | None = None, **others: Any) -> dict[int, Any]:
    """A GPS directory as a camera has it; `others` are t7=... for tag 7, None takes a tag away."""
    found: dict[int, Any] = {
        0: b"\x02\x03\x00\x00",
        1: "S" if latitude < 0 else "N",
        2: degrees(latitude),
        3: "W" if longitude < 0 else "E",
        4: degrees(longitude),
    }
    if altitude is not None:
        found[5] = b"\x01" if altitude < 0 else b"\x00"
        found[6] = IFDRational(round(abs(altitude) * 1000), 1000)
    found.update({int(name[1:]): value for name, value in others.items()})
    return {tag: value for tag, value in found.items() if value is not None}


def picture(file: Path, gps: dict[int, Any] | None) -> Path:
    image = Image.new("RGB", (8, 6))
    exif = Image.Exif()
    if gps is not None:
        exif[GPS_IFD] = gps
    image.save(file, exif=exif)
    return file


@pytest.mark.parametrize("latitude", [48.858370, -33.856784, 0.000012])
@pytest.mark.parametrize("longitude", [2.294481, -151.215297, 179.999999])
def test_every_quarter_of_the_earth(tmp_path: Path, latitude: float, longitude: float) -> None:
    fixes = read_fixes(picture(tmp_path / "a.jpg", tags(latitude, longitude, 35.25)))
    assert fixes.names == ("a.jpg",)
    assert fixes.latitude_deg[0] == pytest.approx(latitude, abs=1e-9)
    assert fixes.longitude_deg[0] == pytest.approx(longitude, abs=1e-9)
    assert fixes.altitude_m[0] == pytest.approx(35.25)
    assert fixes.time_s is None


@pytest.mark.parametrize(
    ("others", "altitude"),
    [
        ({}, 12.5),
        ({"t5": b"\x01"}, -12.5),
        ({"t5": b"\x02"}, 12.5),  # Exif 3.0: above the sea
        ({"t5": b"\x03"}, -12.5),  # below it
        ({"t5": None}, 12.5),
        ({"t6": None}, np.nan),
        ({"t6": NOTHING}, np.nan),
        ({"t6": IFDRational(7, 0)}, np.nan),
    ],
)
def test_altitudes(tmp_path: Path, others: dict[str, Any], altitude: float) -> None:
    fixes = read_fixes(picture(tmp_path / "a.jpg", tags(31.5, 35.5, 12.5, **others)))
    np.testing.assert_equal(fixes.altitude_m[0], altitude)


def test_minutes_with_decimals_and_no_seconds(tmp_path: Path) -> None:
    whole = (IFDRational(51, 1), IFDRational(307500, 10000), NOTHING)
    with pytest.raises(InputError, match="without a place"):
        read_fixes(picture(tmp_path / "a.jpg", tags(0, 0, t2=whole)))
    fixes = read_fixes(picture(tmp_path / "b.jpg", tags(0, 0, t2=(*whole[:2], IFDRational(0, 1)))))
    assert fixes.latitude_deg[0] == pytest.approx(51.5125)


def test_times_to_fractions_of_a_second(tmp_path: Path) -> None:
    for number, seconds in enumerate((59.25, 58.75, 59.5)):
        clock = (IFDRational(23, 1), IFDRational(59, 1), IFDRational(round(100 * seconds), 100))
        picture(tmp_path / f"{number}.jpg", tags(-33, -70, t7=clock, t29="2026:05:01"))
    fixes = read_fixes(tmp_path)
    assert fixes.time_s is not None
    np.testing.assert_allclose(fixes.time_s, 1_777_679_940 + np.array([58.75, 59.25, 59.5]))
    assert fixes.names == ("1.jpg", "0.jpg", "2.jpg"), "in the order of time"
    assert fixes.is_dated
    picture(tmp_path / "3.jpg", tags(-33, -70, t7=(NOTHING,) * 3, t29="2026:05:01"))
    assert read_fixes(tmp_path).time_s is None, "one has no time"


def test_pictures_without_a_fix_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken: dict[str, dict[int, Any] | None] = {
        "b no gps": None,
        "c nothing": tags(10, 10, t2=(NOTHING,) * 3),
        "d no reception": tags(10, 10, t9="V"),
        "e no letter": tags(10, 10, t1=None),
        "f wrong letter": tags(10, 10, t3="N"),
        "g no longitude": tags(10, 10, t4=None),
    }
    for name, gps in broken.items():
        picture(tmp_path / f"{name}.jpg", gps)
    with pytest.raises(InputError, match="none of its 6 pictures has GPS") as raised:
        read_fixes(tmp_path)
    assert "\n" not in str(raised.value)
    picture(tmp_path / "a good one.jpg", tags(10, 10, t9="A"))
    with caplog.at_level(logging.WARNING):
        fixes = read_fixes(tmp_path)
    assert fixes.names == ("a good one.jpg",)
    assert "6 of 7 pictures have no GPS fix and are left out: b no gps.jpg has no GPS, …" in caplog.text


def test_degrees_that_no_place_has_are_refused_by_the_pictures_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.jpg is at latitude 95"):
        read_fixes(picture(tmp_path / "a.jpg", tags(95, 10)))


ORIGIN = GeoOrigin(-33.4372, -70.6506, -3.0)  # to the south and the west, below the sea


def taken(street: Walk, folder: Path, *, named: bool, without_altitude: int = 0, start_s: int = 36_000) -> Path:
    """A picture with GPS for each frame; the first one is of a receiver that had not found itself: 0°, 0°."""
    from pyproj import Transformer

    folder.mkdir()
    place = f"+lat_0={ORIGIN.latitude_deg} +lon_0={ORIGIN.longitude_deg} +h_0={ORIGIN.altitude_m}"
    to_degrees = Transformer.from_pipeline(
        f"+proj=pipeline +step +inv +proj=topocentric +ellps=WGS84 {place} +step +inv +proj=cart +ellps=WGS84"
    )
    for number, (sample, (x, y, z)) in enumerate(zip(street.samples, street.true_centres, strict=True)):
        longitude, latitude, altitude = to_degrees.transform(x, z, -y)
        seconds = start_s + sample.timestamp_s
        clock = (
            IFDRational(int(seconds // 3600), 1),
            IFDRational(int(seconds % 3600 // 60), 1),
            IFDRational(round(seconds % 60 * 1000), 1000),
        )
        gps = tags(
            0.0 if number == 0 else latitude,
            0.0 if number == 0 else longitude,
            None if number % 10 < without_altitude else altitude,
            t7=clock,
            t29="2026:05:01",
        )
        picture(folder / (f"{Path(sample.name).stem}.jpg" if named else f"IMG_{number:04d}.JPG"), gps)
    return folder


@pytest.mark.parametrize("named", [True, False])
def test_they_give_metres_and_place(recording: Recording, street: Walk, tmp_path: Path, named: bool) -> None:
    """By the frames' names, or by GPS's own time."""
    folder = taken(street, tmp_path / "pictures", named=named)
    if named:
        for file, name in zip(sorted(folder.iterdir()), recording.names, strict=True):
            file.rename(folder / Path(name).with_suffix(".jpg").name)
        names = tuple(Path(name).with_suffix(".jpg").name for name in recording.names)
        renamed = pytest.MonkeyPatch()
        renamed.setattr(type(recording), "names", names)
    try:
        found = align_by_gps(recording, folder, start=None if named else "2026-05-01T10:00:00Z")
    finally:
        if named:
            renamed.undo()
    assert found.scale == pytest.approx(3.7, rel=0.01)
    assert found.given == 40
    assert 36 <= found.used <= 39, "not the one at 0°, 0°"
    assert found.residual is not None
    assert found.residual < 0.05
    assert found.step.origin is not None
    assert found.step.origin.latitude_deg == pytest.approx(ORIGIN.latitude_deg, abs=0.01)
    assert found.step.origin.longitude_deg == pytest.approx(ORIGIN.longitude_deg, abs=0.01)


@pytest.mark.parametrize(("without", "said"), [(1, "are left out"), (6, "heights are not used")])
def test_where_altitudes_are_missing_it_is_said(
    recording: Recording, street: Walk, tmp_path: Path, without: int, said: str
) -> None:
    folder = taken(street, tmp_path / "pictures", named=False, without_altitude=without)
    found = align_by_gps(recording, folder, start="2026-05-01T10:00:00Z")
    assert any(said in note for note in found.notes)
    assert found.scale == pytest.approx(3.7, rel=0.02)
    assert found.given == (36 if without == 1 else 40)
