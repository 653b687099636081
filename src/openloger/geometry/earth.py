"""A local frame on the earth: metres east and north of a place and above it, from latitude and longitude and back.

pyproj (PROJ) does the sums: `topocentric` about an origin on WGS 84, and UTM for maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from openloger.errors import InputError
from openloger.shapes import Float64
from openloger.version import install_command

_UTM_SOUTH, _UTM_NORTH = 32700, 32600  # EPSG of zone 0
_UTM_LIMITS = (-80.0, 84.0)


@dataclass(frozen=True)
class GeoOrigin:
    """The place on the earth (WGS 84) where a world has its origin: x east, y down, z north, in metres."""

    latitude_deg: float
    longitude_deg: float
    altitude_m: float  # above the ellipsoid or the sea, as the source of the fixes has it

    def world_from_geodetic(
        self, latitude_deg: np.ndarray, longitude_deg: np.ndarray, altitude_m: np.ndarray
    ) -> Float64[np.ndarray, "point 3"]:
        """Points of the world. Raises InputError where pyproj is not installed."""
        geodetic = _pipeline(f"+step +proj=cart +ellps=WGS84 +step {self._topocentric}")
        east, north, above = geodetic.transform(longitude_deg, latitude_deg, altitude_m)
        return np.stack([east, -np.asarray(above), north], -1).astype(np.float64)

    @property
    def utm_epsg(self) -> int:
        """The code of the UTM zone that the origin lies in. Raises InputError near the poles, which have none."""
        if not _UTM_LIMITS[0] <= self.latitude_deg <= _UTM_LIMITS[1]:
            raise InputError(f"latitude {self.latitude_deg:.2f}° lies in no UTM zone; export ply")
        zone = int((self.longitude_deg + 180) // 6) % 60 + 1
        return (_UTM_NORTH if self.latitude_deg >= 0 else _UTM_SOUTH) + zone

    def utm_from_world(self, points: Float64[np.ndarray, "point 3"]) -> Float64[np.ndarray, "point 3"]:
        """Easting, northing and altitude of points of the world, in metres, each exactly and not by a plane."""
        x, y, z = points.T
        # lists: with numpy before 2.4, pyproj takes an array of one point for a number
        easting, northing, altitude = self._utm.transform(x.tolist(), z.tolist(), (-y).tolist())
        return np.stack([easting, northing, altitude], -1).astype(np.float64)

    @property
    def utm(self) -> Any:
        """That zone as pyproj's CRS."""
        try:
            from pyproj import CRS
        except ImportError as error:
            raise InputError(f"a map's zone needs the package pyproj: {install_command('align')}") from error
        return CRS.from_epsg(self.utm_epsg)

    @property
    def _topocentric(self) -> str:
        place = f"+lat_0={self.latitude_deg!r} +lon_0={self.longitude_deg!r} +h_0={self.altitude_m!r}"
        return f"+proj=topocentric +ellps=WGS84 {place}"

    @cached_property
    def _utm(self) -> Any:
        code = self.utm_epsg
        south = "+south" if code >= _UTM_SOUTH else ""
        utm = f"+proj=utm +zone={code % 100} {south} +ellps=WGS84"
        return _pipeline(f"+step +inv {self._topocentric} +step +inv +proj=cart +ellps=WGS84 +step {utm}")


def _pipeline(steps: str) -> Any:
    try:
        from pyproj import Transformer
    except ImportError as error:
        raise InputError(f"places on the earth need the package pyproj: {install_command('align')}") from error
    return Transformer.from_pipeline(f"+proj=pipeline {steps}")
