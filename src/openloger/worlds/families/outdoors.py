"""Shared by the open-air families: a lattice of ways, daylight, a sky, and which cells can be seen."""

from __future__ import annotations

import math

import numpy as np

from openloger.shapes import Float64
from openloger.worlds import textures
from openloger.worlds.families.family import Cell, View
from openloger.worlds.random import Dice, uniform_number
from openloger.worlds.routes import Node
from openloger.worlds.scene import Zone
from openloger.worlds.shading import SkyColumn
from openloger.worlds.surfaces import Colour, colour

_NO_SHADOWS = 0.85  # cover of clouds from which light comes from the whole sky


class Grid:
    """Ways along the lines of a square grid, bent by a smooth displacement of up to `bend` metres."""

    def __init__(self, seed: int, pitch: float, *, bend: float = 0.0, closed: float = 0.0) -> None:
        self.seed, self.pitch, self._bend, self._closed = seed, pitch, bend, closed
        self._phases = [2.0 * math.pi * uniform_number(seed, 801, number) for number in range(4)]

    def bent(self, x: float, z: float) -> tuple[float, float]:
        """Where a point of the straight grid lies in the world."""
        a, b, c, d = self._phases
        k = 2.0 * math.pi / self.pitch
        return (
            x + self._bend * (math.sin(0.31 * k * z + a) + 0.5 * math.sin(0.77 * k * z + b)) / 1.5,
            z + self._bend * (math.sin(0.29 * k * x + c) + 0.5 * math.sin(0.71 * k * x + d)) / 1.5,
        )

    def is_open(self, here: Node, there: Node) -> bool:
        low = min(here, there)
        axis = 0 if here[0] != there[0] else 1
        return low[1 - axis] % 2 == 0 or uniform_number(self.seed, 802, *low, axis) >= self._closed

    def way(self, here: Node, there: Node) -> list[tuple[float, float]]:
        steps = 12 if self._bend else 1
        return [
            self.bent(
                self.pitch * (here[0] + (there[0] - here[0]) * step / steps),
                self.pitch * (here[1] + (there[1] - here[1]) * step / steps),
            )
            for step in range(steps)
        ]

    def cells_seen(self, view: View, reach: float, shadow: tuple[float, float] = (0.0, 0.0)) -> list[Cell]:
        """Cells (between lines i and i + 1) whose circle meets the view within `reach` metres, where the circle also
        takes in the longest shadow's vector (x, z)."""
        i, j = math.floor(view.x / self.pitch), math.floor(view.z / self.pitch)
        shift_x, shift_z = 0.5 * shadow[0], 0.5 * shadow[1]
        radius = 0.7072 * self.pitch + 1.5 * self._bend + math.hypot(shift_x, shift_z)
        count = math.ceil((reach + radius) / self.pitch)
        seen = []
        for a in range(i - count, i + count + 1):
            for b in range(j - count, j + count + 1):
                dx, dz = (a + 0.5) * self.pitch + shift_x - view.x, (b + 0.5) * self.pitch + shift_z - view.z
                distance = math.hypot(dx, dz)
                if distance > reach + radius:
                    continue
                turn = abs((math.atan2(dx, dz) - view.heading + math.pi) % (2.0 * math.pi) - math.pi)
                if distance <= radius or turn - math.asin(radius / distance) < view.half_angle:
                    seen.append((a, b))
        return seen


class Daylight:
    """A world's sun, sky and haze."""

    def __init__(self, dice: Dice, *, far_m: float, haze: tuple[float, float], lowest_deg: float = 16.0) -> None:
        elevation, azimuth = math.radians(dice.uniform(lowest_deg, 65.0)), dice.uniform(0, 2 * math.pi)
        self.sun = (
            math.cos(elevation) * math.sin(azimuth),
            -math.sin(elevation),
            math.cos(elevation) * math.cos(azimuth),
        )
        self.cover = dice.uniform(0.0, 1.0)
        overcast = max(self.cover - 0.6, 0.0) / 0.4
        warmth = dice.uniform(0.0, 0.3)
        power = dice.uniform(0.9, 1.9) * (1.0 - 0.85 * overcast)
        self.sun_rgb: Colour = (power, power * (1 - 0.35 * warmth), power * (1 - 0.8 * warmth))
        blue = colour(dice, hue=(0.54, 0.63), saturation=(0.25, 0.7), value=(0.45, 0.9))
        grey = dice.uniform(0.45, 0.85)
        self.zenith: Colour = tuple(b + (grey - b) * overcast for b in blue)  # pyright: ignore[reportAttributeAccessIssue]
        pale = dice.uniform(0.7, 0.95)
        self.horizon: Colour = tuple(0.35 * z + 0.65 * pale for z in self.zenith)  # pyright: ignore[reportAttributeAccessIssue]
        self._haze, self._far = dice.uniform(*haze), far_m
        self._exposure = math.exp(dice.uniform(-0.4, 0.45))
        self._clouds = dice.choice(textures.layer_numbers()["plaster"])
        self._blur = dice.uniform(0.04, 0.18)
        self._offset, self._scale = (dice.uniform(), dice.uniform()), dice.uniform(0.12, 0.3)

    def zone(self) -> Zone:
        """Sunlight and skylight."""
        sky = 0.35 + 0.3 * self.cover
        up = tuple(sky * (0.5 * z + 0.4) for z in self.zenith)
        down = tuple(0.32 * (0.8 * u + 0.25 * s) for u, s in zip(up, self.sun_rgb, strict=True))
        lamp = tuple(1e6 * s for s in self.sun)
        return Zone(
            lamp=lamp,
            lamp_rgb=self.sun_rgb,
            ambient_up=up,
            ambient_down=down,
            high=(1e6, 0.05, 1e6),
            contact=0.3,
            shadow=0.0 if self.cover > _NO_SHADOWS else 1.0,
        )

    def shadow(self, height: float) -> tuple[float, float]:
        """(x, z) from the foot of something that high to the end of its shadow on level ground, metres."""
        return self.sun[0] / self.sun[1] * height, self.sun[2] / self.sun[1] * height

    def row(self) -> Float64[np.ndarray, "column"]:
        """The row of SkyColumn."""
        row = np.zeros(SkyColumn.COUNT)
        row[SkyColumn.SUN : SkyColumn.SUN + 3] = self.sun
        row[SkyColumn.SUN_RGB : SkyColumn.SUN_RGB + 3] = self.sun_rgb
        row[SkyColumn.ZENITH : SkyColumn.ZENITH + 3] = np.square(self.zenith)
        row[SkyColumn.HORIZON : SkyColumn.HORIZON + 3] = np.square(self.horizon)
        row[SkyColumn.CLOUD], row[SkyColumn.CLOUD_SCALE] = self.cover, self._scale
        row[SkyColumn.CLOUD_OFFSET : SkyColumn.CLOUD_OFFSET + 2] = self._offset
        row[SkyColumn.HAZE], row[SkyColumn.FAR], row[SkyColumn.EXPOSURE] = self._haze, self._far, self._exposure
        row[SkyColumn.LAYER], row[SkyColumn.BLUR] = self._clouds, self._blur
        return row
