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

from openloger.shapes import Float64, Tensor
from openloger.worlds.intersect import NEAREST, Vector
from openloger.worlds.random import STEP, hash32, hash_number, mix_torch, signed

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


def ground_row(terrain: Terrain, origin: Float64[np.ndarray, "3"]) -> tuple[list[int], list[float]]:
    """The ground as seen from an origin that the wavelengths divide: (hash states of the three octaves, the origin in
    their lattices along x and along z; three amplitudes and the steepest slope)."""
    states = [signed(hash_number(terrain.seed, octave)) for octave in range(3)]
    bases = [math.floor(origin[axis] / wavelength) for axis in (0, 2) for wavelength in WAVELENGTHS]
    return [*states, *bases], [*terrain.amplitudes, terrain.steepest]


def height_and_slope(whole: Tensor, real: Tensor, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(height, its derivative along x, along z) at points relative to the origin; `whole`, `real`: ground rows."""
    step = signed(STEP)
    total, along_x, along_z = torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x)
    for octave, wavelength in enumerate(WAVELENGTHS):
        px, pz = x * (1.0 / wavelength), z * (1.0 / wavelength)
        fx, fz = torch.floor(px), torch.floor(pz)
        i = fx.to(torch.int32) + whole[:, 3 + octave : 4 + octave]
        j = fz.to(torch.int32) + whole[:, 6 + octave : 7 + octave]
        state = whole[:, octave : octave + 1] + step
        columns = [mix_torch(state ^ mix_torch((i + k) * step)) + step for k in (0, 1)]
        rows = [mix_torch((j + k) * step) for k in (0, 1)]
        a, b, c, d = (mix_torch(columns[k] ^ rows[m]).to(torch.float32) * 2.0**-31 for m in (0, 1) for k in (0, 1))
        wx, wz = px - fx, pz - fz
        u, v = wx * wx * wx * (wx * (wx * 6.0 - 15.0) + 10.0), wz * wz * wz * (wz * (wz * 6.0 - 15.0) + 10.0)
        du, dv = 30.0 * wx * wx * (wx * (wx - 2.0) + 1.0), 30.0 * wz * wz * (wz * (wz - 2.0) + 1.0)
        near, far = a + (b - a) * u, c + (d - c) * u
        amplitude = real[:, octave : octave + 1]
        total = total + amplitude * (near + (far - near) * v)
        along_x = along_x + amplitude * (1.0 / wavelength) * du * ((b - a) + ((d - c) - (b - a)) * v)
        along_z = along_z + amplitude * (1.0 / wavelength) * dv * (far - near)
    return total, along_x, along_z


def clearance(whole: Tensor, real: Tensor, origin: Vector, direction: Vector, t: Tensor) -> Tensor:
    """Metres of air below the ray at depth t; negative inside the ground."""
    x, z = origin[0] + t * direction[0], origin[2] + t * direction[2]
    return -(origin[1] + t * direction[1]) - height_and_slope(whole, real, x, z)[0]


class March(NamedTuple):
    """How far rays have been followed, (tile, ray) each."""

    above: Tensor  # the last depth known to be in the air
    below: Tensor  # the first depth known to be in the ground, inf while there is none
    air: Tensor  # clearance at `above`
    depth_in: Tensor  # clearance at `below`, negative


def begin_march(whole: Tensor, real: Tensor, origin: Vector, direction: Vector) -> March:
    start = torch.full_like(direction[0], NEAREST)
    air = clearance(whole, real, origin, direction, start)
    return March(start, torch.full_like(start, float("inf")), air, torch.full_like(start, -1.0))


def march(whole: Tensor, real: Tensor, origin: Vector, direction: Vector, at: March) -> March:
    """One step of every ray that has not met the ground."""
    level = torch.sqrt(direction[0] * direction[0] + direction[2] * direction[2])
    closing = torch.clamp(level * real[:, 3:4] + direction[1], min=1e-3)
    stride = torch.maximum(at.air / closing, 0.02 + 0.006 * at.above)
    t = at.above + stride
    air = clearance(whole, real, origin, direction, t)
    open_ray = torch.isinf(at.below)
    through = open_ray & (air < 0)
    on = open_ray & (air >= 0)
    return March(
        torch.where(on, t, at.above),
        torch.where(through, t, at.below),
        torch.where(on, air, at.air),
        torch.where(through, air, at.depth_in),
    )


def close_in(whole: Tensor, real: Tensor, origin: Vector, direction: Vector, at: March) -> Tensor:
    """Depth of the crossing between `above` and `below` (regula falsi, "Illinois" rule); inf where there is none."""
    met = ~torch.isinf(at.below)
    low, high = at.above, torch.where(met, at.below, at.above + 1.0)
    air, deep = at.air, at.depth_in
    low_moved, high_moved = torch.zeros_like(met), torch.zeros_like(met)
    for _ in range(_CLOSING):
        t = low + (high - low) * (air / torch.clamp(air - deep, min=1e-12))
        here = clearance(whole, real, origin, direction, t)
        outside = here >= 0
        deep = torch.where(outside, torch.where(low_moved, 0.5 * deep, deep), here)
        air = torch.where(outside, here, torch.where(high_moved, 0.5 * air, air))
        low, high = torch.where(outside, t, low), torch.where(outside, high, t)
        low_moved, high_moved = outside, ~outside
    crossing = low + (high - low) * (air / torch.clamp(air - deep, min=1e-12))
    return torch.where(met, crossing, float("inf"))


def meet_ground_densely(whole: Tensor, real: Tensor, origin: Vector, direction: Vector, far: float) -> Tensor:
    """The plain twin of marching: a thousand samples along each ray, then bisection; inf where there is no crossing."""
    samples = NEAREST * (far / NEAREST) ** torch.linspace(0.0, 1.0, 1000, device=whole.device)
    low = torch.full_like(direction[0], NEAREST)
    high = torch.full_like(low, float("inf"))
    for t in samples:
        air = clearance(whole, real, origin, direction, t.expand_as(low))
        open_ray = torch.isinf(high)
        low = torch.where(open_ray & (air >= 0), t, low)
        high = torch.where(open_ray & (air < 0), t, high)
    for _ in range(24):
        middle = 0.5 * (low + high)
        outside = clearance(whole, real, origin, direction, torch.nan_to_num(middle, posinf=far)) >= 0
        low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
    return high


def ground_normal(whole: Tensor, real: Tensor, origin: Vector, direction: Vector, t: Tensor) -> Vector:
    """Upward unit normal, world axes (y down), where rays at depth t touch the ground."""
    _, along_x, along_z = height_and_slope(whole, real, origin[0] + t * direction[0], origin[2] + t * direction[2])
    norm = torch.rsqrt(1.0 + along_x * along_x + along_z * along_z)
    return -along_x * norm, -norm, -along_z * norm
