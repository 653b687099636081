"""Rolling ground: a sum of smooth value noises on hashed lattices, and where a ray meets it.

height(x, z) = Σ amplitude_k · (2 · noise(x / wavelength_k, z / wavelength_k) − 1), quintic between lattice values, so
that slopes and their changes are continuous. A ray is followed in steps that cannot pass the ground while its slope
is below `STEEPNESS` × the bound of the sum, then the crossing is bracketed and closed in by regula falsi.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from openloger.shapes import Float32, Float64, Tensor
from openloger.worlds.intersect import NEAREST, Vector
from openloger.worlds.random import hash32

WAVELENGTHS = (64, 32, 16)  # metres; whole parts of the blocks that share an origin
_STEEPNESS = 0.6  # share of the steepest possible slope that the steps allow for
MARCHES = 96  # steps at most
_CLOSING = 6


class Terrain(NamedTuple):
    """One world's ground."""

    seed: int
    amplitudes: tuple[float, float, float]  # metres, per wavelength

    @property
    def steepest(self) -> float:
        """A slope that the ground hardly passes."""
        bound = sum(2 * 1.875 * a / w for a, w in zip(self.amplitudes, WAVELENGTHS, strict=True))
        return _STEEPNESS * bound

    def height(self, x: Float64[np.ndarray, "point"], z: Float64[np.ndarray, "point"]) -> Float64[np.ndarray, "point"]:
        """Metres above zero at world points."""
        total = np.zeros(len(x))
        for octave, (amplitude, wavelength) in enumerate(zip(self.amplitudes, WAVELENGTHS, strict=True)):
            i, j = np.floor(x / wavelength).astype(int), np.floor(z / wavelength).astype(int)
            u, v = _fade(x / wavelength - i), _fade(z / wavelength - j)
            a, b, c, d = (
                hash32(self.seed, octave, i + di, j + dj).astype(np.int32).astype(np.float64) * 2.0**-31
                for dj in (0, 1)
                for di in (0, 1)
            )
            near, far = a + (b - a) * u, c + (d - c) * u
            total += amplitude * (near + (far - near) * v)
        return total


def _fade(part: np.ndarray) -> np.ndarray:
    return part * part * part * (part * (part * 6.0 - 15.0) + 10.0)


_PERIOD = 64  # lattice points that are kept along each axis: 512 m each way of the finest, more than is ever seen
KEPT = len(WAVELENGTHS) * _PERIOD * _PERIOD  # cells of one relief


class Relief(NamedTuple):
    """The ground around the origins of some tiles, as tensors."""

    corners: Tensor  # (4, relief · KEPT) in −1..1, as `lattice_corners` gives them
    first: Tensor  # (tile, 1) int32: where each tile's cells begin
    sizes: Tensor  # (tile, 4): three amplitudes in metres and the steepest slope


def lattice_corners(terrain: Terrain, origin: Float64[np.ndarray, "3"]) -> Float32[np.ndarray, "4 cell"]:
    """The hashed values around an origin that the wavelengths divide: at the corners (0, 0), (1, 0), (0, 1), (1, 1)
    along (x, z) of the cells of each octave, from the origin on, wrapped by _PERIOD."""
    near = np.arange(_PERIOD)
    near = np.where(near < _PERIOD // 2, near, near - _PERIOD)
    parts = []
    for octave, wavelength in enumerate(WAVELENGTHS):
        i, j = (math.floor(origin[axis] / wavelength) + near for axis in (0, 2))
        hashed = hash32(terrain.seed, octave, i[None, :], j[:, None]).astype(np.int32)
        values = hashed.astype(np.float32) * np.float32(2.0**-31)
        parts.append([np.roll(values, (-dj, -di), axis=(0, 1)).ravel() for dj in (0, 1) for di in (0, 1)])
    return np.concatenate(parts, axis=1)


def relief_sizes(terrain: Terrain) -> list[float]:
    """One row of `Relief.sizes`."""
    return [*terrain.amplitudes, terrain.steepest]


class _Spot(NamedTuple):
    """Points in the lattices of all octaves, (octave, tile, ray) each: the values at the corners of their cells, and
    where in the cell they are."""

    corners: tuple[Tensor, Tensor, Tensor, Tensor]  # at (0, 0), (1, 0), (0, 1), (1, 1) along (x, z)
    x: Tensor  # 0..1
    z: Tensor


def _find(relief: Relief, x: Tensor, z: Tensor) -> _Spot:
    per_metre, begin = _octaves(x.device)
    px, pz = x * per_metre, z * per_metre
    fx, fz = torch.floor(px), torch.floor(pz)
    i, j = fx.to(torch.int32), fz.to(torch.int32)
    wrap = _PERIOD - 1
    cell = ((relief.first + begin) + (j & wrap) * _PERIOD + (i & wrap)).view(-1)
    a, b, c, d = (corner.index_select(0, cell).view(px.shape) for corner in relief.corners)
    return _Spot((a, b, c, d), px - fx, pz - fz)


def _octaves(device: torch.device) -> tuple[Tensor, Tensor]:
    """(octave, 1, 1) each: 1 / wavelength in metres, and where an octave's cells begin in a relief (int32)."""
    per_metre = torch.tensor([1.0 / wavelength for wavelength in WAVELENGTHS], device=device)
    begin = torch.arange(len(WAVELENGTHS), dtype=torch.int32, device=device) * (_PERIOD * _PERIOD)
    return per_metre[:, None, None], begin[:, None, None]


def _rise(part: Tensor) -> Tensor:
    return part * part * part * (part * (part * 6.0 - 15.0) + 10.0)


def height(relief: Relief, x: Tensor, z: Tensor) -> Tensor:
    """Metres above zero at points (tile, ray) relative to the origin."""
    (a, b, c, d), wx, wz = _find(relief, x, z)
    u, v = _rise(wx), _rise(wz)
    near, far = a + (b - a) * u, c + (d - c) * u
    rise, total = near + (far - near) * v, torch.zeros_like(x)
    for octave in range(len(WAVELENGTHS)):
        total = total + relief.sizes[:, octave : octave + 1] * rise[octave]
    return total


def slopes(relief: Relief, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """The height's derivatives along x and along z."""
    (a, b, c, d), wx, wz = _find(relief, x, z)
    u, v = _rise(wx), _rise(wz)
    du, dv = 30.0 * wx * wx * (wx * (wx - 2.0) + 1.0), 30.0 * wz * wz * (wz * (wz - 2.0) + 1.0)
    near, far = a + (b - a) * u, c + (d - c) * u
    climb_x, climb_z = (b - a) + ((d - c) - (b - a)) * v, far - near
    along_x, along_z = torch.zeros_like(x), torch.zeros_like(x)
    for octave, wavelength in enumerate(WAVELENGTHS):
        per_metre = relief.sizes[:, octave : octave + 1] * (1.0 / wavelength)
        along_x = along_x + per_metre * du[octave] * climb_x[octave]
        along_z = along_z + per_metre * dv[octave] * climb_z[octave]
    return along_x, along_z


def clearance(relief: Relief, origin: Vector, direction: Vector, t: Tensor) -> Tensor:
    """Metres of air below the ray at depth t; negative inside the ground."""
    x, z = origin[0] + t * direction[0], origin[2] + t * direction[2]
    return -(origin[1] + t * direction[1]) - height(relief, x, z)


class March(NamedTuple):
    """The distance along rays so far, (tile, ray) each."""

    above: Tensor  # the last depth known to be in the air
    below: Tensor  # the first depth known to be in the ground, inf while there is none
    air: Tensor  # clearance at `above`
    depth_in: Tensor  # clearance at `below`, negative


def march(relief: Relief, origin: Vector, direction: Vector, at: March) -> March:
    """One step of every ray that has not met the ground."""
    level = torch.sqrt(direction[0] * direction[0] + direction[2] * direction[2])
    closing = torch.clamp(level * relief.sizes[:, 3:4] + direction[1], min=1e-3)
    stride = torch.maximum(at.air / closing, 0.02 + 0.006 * at.above)
    t = at.above + stride
    air = clearance(relief, origin, direction, t)
    open_ray = torch.isinf(at.below)
    through = open_ray & (air < 0)
    on = open_ray & (air >= 0)
    return March(
        torch.where(on, t, at.above),
        torch.where(through, t, at.below),
        torch.where(on, air, at.air),
        torch.where(through, air, at.depth_in),
    )


def close_in(relief: Relief, origin: Vector, direction: Vector, at: March) -> Tensor:
    """Depth of the crossing between `above` and `below` (regula falsi, "Illinois" rule); inf where there is none."""
    met = ~torch.isinf(at.below)
    low, high = at.above, torch.where(met, at.below, at.above + 1.0)
    air, deep = at.air, at.depth_in
    low_moved, high_moved = torch.zeros_like(met), torch.zeros_like(met)
    for _ in range(_CLOSING):
        t = low + (high - low) * (air / torch.clamp(air - deep, min=1e-12))
        here = clearance(relief, origin, direction, t)
        outside = here >= 0
        deep = torch.where(outside, torch.where(low_moved, 0.5 * deep, deep), here)
        air = torch.where(outside, here, torch.where(high_moved, 0.5 * air, air))
        low, high = torch.where(outside, t, low), torch.where(outside, high, t)
        low_moved, high_moved = outside, ~outside
    crossing = low + (high - low) * (air / torch.clamp(air - deep, min=1e-12))
    return torch.where(met, crossing, float("inf"))


def meet_ground_densely(relief: Relief, origin: Vector, direction: Vector, far: float) -> Tensor:
    """The plain twin of marching: a thousand samples along each ray, then bisection; inf where there is no crossing."""
    samples = NEAREST * (far / NEAREST) ** torch.linspace(0.0, 1.0, 1000, device=relief.corners.device)
    low = torch.full_like(direction[0], NEAREST)
    high = torch.full_like(low, float("inf"))
    for t in samples:
        air = clearance(relief, origin, direction, t.expand_as(low))
        open_ray = torch.isinf(high)
        low = torch.where(open_ray & (air >= 0), t, low)
        high = torch.where(open_ray & (air < 0), t, high)
    for _ in range(24):
        middle = 0.5 * (low + high)
        outside = clearance(relief, origin, direction, torch.nan_to_num(middle, posinf=far)) >= 0
        low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
    return high


def ground_normal(relief: Relief, origin: Vector, direction: Vector, t: Tensor) -> Vector:
    """Upward unit normal, world axes (y down), where rays at depth t touch the ground."""
    along_x, along_z = slopes(relief, origin[0] + t * direction[0], origin[2] + t * direction[2])
    norm = torch.rsqrt(1.0 + along_x * along_x + along_z * along_z)
    return -along_x * norm, -norm, -along_z * norm
