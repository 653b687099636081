"""The patterns of surfaces in the texture atlas, each a picture of hashes; and the canvas they are drawn on.

`Canvas` has a layer's random numbers, its coordinates, and noise that tiles.

A layer is float32 (size, size, 4) in 0..1. Channels: red leads from a surface's first colour to its second, green to
its third (joints, dark features), blue is brightness around one half, alpha is gloss. In layers of prints (prints.py)
red, green and blue are the colours themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from openloger.worlds.random import Dice, hash32, hash_number, uniform


def _fade(part: np.ndarray) -> np.ndarray:
    return part**3 * (part * (part * 6.0 - 15.0) + 10.0)


@dataclass(frozen=True)
class Canvas:
    """One layer to paint: its random numbers and the texel coordinates in periods (u rightwards, v downwards)."""

    name: str
    variant: int
    size: int

    @cached_property
    def seed(self) -> int:
        return hash_number(self.variant, *self.name.encode())

    @cached_property
    def dice(self) -> Dice:
        return Dice(self.seed, 1)

    @cached_property
    def u(self) -> np.ndarray:
        return np.broadcast_to((np.arange(self.size) + 0.5) / self.size, (self.size, self.size))

    @cached_property
    def v(self) -> np.ndarray:
        return self.u.T

    def noise(self, channel: int, across: int, down: int | None = None) -> np.ndarray:
        """Value noise in 0..1 with `across` × `down` lattice cells in the period."""
        down = across if down is None else down
        lattice = uniform(self.seed, channel, np.arange(down)[:, None], np.arange(across)[None, :])
        return self._steps(down) @ lattice @ self._steps(across).T

    def _steps(self, cells: int) -> np.ndarray:
        """(size, cells): the weights that interpolate a periodic row of random values."""
        position = (np.arange(self.size) + 0.5) / self.size * cells
        first = np.floor(position).astype(int)
        weight = _fade(position - first)
        matrix = np.zeros((self.size, cells))
        rows = np.arange(self.size)
        np.add.at(matrix, (rows, first % cells), 1.0 - weight)
        np.add.at(matrix, (rows, (first + 1) % cells), weight)
        return matrix

    def octaves(self, channel: int, cells: int, count: int = 5, *, gain: float = 0.55, stretch: int = 1) -> np.ndarray:
        """Noise of doubling frequency, spread to about 0..1; `stretch` > 1 makes streaks along v."""
        total, weight, norm = np.zeros((self.size, self.size)), 1.0, 0.0
        for octave in range(count):
            across = cells << octave
            if across > self.size // 2:
                break
            total += weight * (self.noise(channel * 16 + octave, across, max(across // stretch, 1)) - 0.5)
            norm += weight * weight
            weight *= gain
        return np.clip(0.5 + total / np.sqrt(norm) * 1.4, 0.0, 1.0)

    def stack(self, red: np.ndarray | float, green: np.ndarray | float, blue: np.ndarray | float, gloss: float = 0.0):
        """The layer from its channels."""
        layers = [np.broadcast_to(channel, (self.size, self.size)) for channel in (red, green, blue, gloss)]
        return np.clip(np.stack(layers, axis=-1), 0.0, 1.0).astype(np.float32)


def soft_step(value: np.ndarray, edge: float, width: float) -> np.ndarray:
    return np.clip((value - edge) / width + 0.5, 0.0, 1.0)


def calm(noise: np.ndarray, strength: float) -> np.ndarray:
    """Noise drawn towards one half."""
    return 0.5 + strength * (noise - 0.5)


def plain(canvas: Canvas) -> np.ndarray:
    """Painted walls, lacquer, plastic: hardly anything but a little grain and slow changes of tone."""
    return canvas.stack(calm(canvas.octaves(1, 2, 3), 0.6), 0.0, calm(canvas.octaves(2, 48, 2), 0.5))


def plaster(canvas: Canvas) -> np.ndarray:
    stains = canvas.octaves(1, 3, 6)
    spots = 0.6 * soft_step(canvas.octaves(2, 9, 5), 0.97, 0.12)
    return canvas.stack(soft_step(stains, 0.5, 0.8), spots, calm(canvas.octaves(3, 24, 4), 0.8))


def concrete(canvas: Canvas) -> np.ndarray:
    """Poured floors and asphalt: clouds, fine grain, a few thin cracks."""
    crack = 1.0 - soft_step(np.abs(canvas.octaves(1, 3, 4) - 0.5), 0.008, 0.008)
    crack *= 0.7 * (canvas.octaves(2, 2, 2) > 0.55)
    grain = 0.5 * canvas.octaves(3, 96, 1) + 0.5 * canvas.octaves(4, 6, 4)
    return canvas.stack(calm(canvas.octaves(5, 2, 4), 0.8), crack, grain, 0.3)


def marble(canvas: Canvas) -> np.ndarray:
    bent = canvas.octaves(1, 4, 5) + 0.35 * canvas.octaves(2, 3, 2)
    vein = 1.0 - soft_step(np.abs(bent - 0.68), 0.03, 0.06)
    return canvas.stack(canvas.octaves(3, 3, 4), 0.7 * vein, calm(canvas.octaves(4, 32, 3), 0.7), 0.6)


def panels(canvas: Canvas) -> np.ndarray:
    """Ceiling boards, four by four, with pinholes; every second layer of long boards."""
    across, down = (4, 4) if canvas.variant % 2 == 0 else (2, 4)
    joint, tone, _ = _courses(canvas, across, down, 0.004, 0.0)
    holes = 0.35 * soft_step(canvas.octaves(1, 64, 1), 0.86, 0.1)
    return canvas.stack(0.4 * tone, np.maximum(joint, holes), calm(canvas.octaves(2, 32, 2), 0.4))


def slats(canvas: Canvas) -> np.ndarray:
    """Blinds, ribs of radiators, boards of fences: edges across v."""
    count = canvas.dice.choice((8, 12, 16, 24))
    part = canvas.v * count % 1.0
    gap = 1.0 - soft_step(np.minimum(part, 1.0 - part), 0.09, 0.08)
    return canvas.stack(part, gap, calm(canvas.octaves(1, 16, 3), 0.4), 0.3)


def keys(canvas: Canvas) -> np.ndarray:
    """A keyboard's keys, or the buttons and vents of a machine's front."""
    joint, tone, other = _courses(canvas, 14, 5, 0.008, 0.25)
    label = (other > 0.2) * (np.hypot(canvas.u * 28 % 1 - 0.5, canvas.v * 10 % 1 - 0.5) < 0.28)
    return canvas.stack(0.5 * label * (1 - joint), joint, 0.45 + 0.1 * tone)


def speckle(canvas: Canvas) -> np.ndarray:
    """Terrazzo, granite: grains on a ground."""
    grains = canvas.octaves(1, 56, 2)
    chips = canvas.octaves(2, 40, 2)
    clouds = calm(canvas.octaves(3, 4, 5), 0.7)
    return canvas.stack(0.7 * soft_step(grains, 0.62, 0.12), 0.6 * soft_step(chips, 0.78, 0.08), clouds, 0.3)


def _courses(canvas: Canvas, across: int, down: int, joint: float, shift: float = 0.5):
    """Cells laid in courses: (joint mask, a random number per cell, another)."""
    row = np.floor(canvas.v * down)
    along = canvas.u * across + (row % 2) * shift
    column = np.floor(along) % across
    edge_u = np.minimum(along - np.floor(along), 1.0 - (along - np.floor(along))) / across
    edge_v = np.minimum(canvas.v * down - row, 1.0 - (canvas.v * down - row)) / down
    mask = 1.0 - soft_step(np.minimum(edge_u, edge_v), joint, 0.006)
    key = hash32(canvas.seed, row.astype(int), column.astype(int)) >> 8
    return mask, (key & 0xFF) / 255.0, (key >> 8 & 0xFF) / 255.0


def brick(canvas: Canvas) -> np.ndarray:
    joint, tone, other = _courses(canvas, canvas.dice.choice((4, 5, 6)), canvas.dice.choice((12, 14, 16)), 0.006)
    grain = canvas.octaves(2, 24, 4)
    return canvas.stack(tone * (1 - joint), joint, 0.3 + 0.4 * grain + 0.2 * (other - 0.5))


def tiles(canvas: Canvas) -> np.ndarray:
    count = canvas.dice.choice((4, 6, 8))
    joint, tone, other = _courses(canvas, count, count, 0.005, 0.0)
    checked = (np.floor(canvas.u * count) + np.floor(canvas.v * count)) % 2
    red = checked if canvas.variant % 2 else (other > 0.7) * tone
    return canvas.stack(red, joint, 0.35 + 0.2 * tone + 0.2 * canvas.octaves(3, 8, 5), 0.6)


def planks(canvas: Canvas) -> np.ndarray:
    across = canvas.dice.choice((6, 8, 10))
    plank = np.floor(canvas.u * across).astype(int)
    seam_u = np.abs(canvas.u * across - np.rint(canvas.u * across)) / across
    along = canvas.v * 2.0 + uniform(canvas.seed, 7, plank)
    seam_v = np.abs(along - np.rint(along)) / 2.0
    joint = 1.0 - soft_step(np.minimum(seam_u, seam_v), 0.004, 0.004)
    tone = uniform(canvas.seed, 8, plank, (np.floor(along) % 2).astype(int))
    grain = canvas.octaves(1, 32, 3, stretch=16)
    knots = soft_step(canvas.octaves(2, 16, 2, stretch=3), 0.93, 0.1)
    red = tone * 0.7 + 0.4 * (grain - 0.5) + 0.15
    return canvas.stack(red, np.maximum(joint, knots * 0.35), 0.3 + 0.4 * grain, 0.4)


def wood(canvas: Canvas) -> np.ndarray:
    bend = canvas.octaves(2, 2, 3, stretch=2)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (canvas.u * canvas.dice.choice((3, 5, 8)) + 1.5 * bend))
    grain = canvas.octaves(1, 32, 3, stretch=16)
    return canvas.stack(0.4 * rings + 0.5 * grain, 0.4 * soft_step(grain, 0.85, 0.2), 0.3 + 0.4 * grain, 0.4)


def carpet(canvas: Canvas) -> np.ndarray:
    lines = uniform(canvas.seed, 3, np.arange(64))
    column = np.floor(canvas.u * 64).astype(int)
    fleck = canvas.octaves(1, 64, 2)
    return canvas.stack(lines[column], soft_step(fleck, 0.75, 0.2), 0.2 + 0.6 * canvas.octaves(2, 32, 3))


def fabric(canvas: Canvas) -> np.ndarray:
    count = canvas.dice.choice((8, 16))
    stripes = (np.sin(2 * np.pi * count * canvas.u) > 0.3) * 0.5
    if canvas.variant % 2:
        stripes = stripes + (np.sin(2 * np.pi * count * canvas.v) > 0.3) * 0.5
    weave = 0.5 + 0.25 * np.sin(2 * np.pi * 64 * canvas.u) * np.sin(2 * np.pi * 64 * canvas.v)
    return canvas.stack(stripes, 0.0, 0.6 * weave + 0.4 * canvas.octaves(1, 6, 4))


def wallpaper(canvas: Canvas) -> np.ndarray:
    count = canvas.dice.choice((3, 4, 6))
    fu, fv = canvas.u * count, canvas.v * count
    fu = fu + 0.5 * (np.floor(fv) % 2)
    radius = np.hypot(fu - np.floor(fu) - 0.5, fv - np.floor(fv) - 0.5)
    petals = radius * (1.0 + 0.35 * np.cos(canvas.dice.choice((4, 5, 6)) * np.arctan2(fv % 1 - 0.5, fu % 1 - 0.5)))
    return canvas.stack(
        1 - soft_step(petals, 0.3, 0.04), 1 - soft_step(petals, 0.12, 0.04), 0.3 + 0.4 * canvas.octaves(1, 12, 4)
    )


def grass(canvas: Canvas) -> np.ndarray:
    blades = canvas.octaves(1, 40, 2, gain=0.9, stretch=2)
    return canvas.stack(soft_step(canvas.octaves(2, 3, 5), 0.5, 1.2), 0.7 * soft_step(blades, 0.7, 0.25), blades)


def leaves(canvas: Canvas) -> np.ndarray:
    clumps = canvas.octaves(1, 12, 4, gain=0.8)
    gaps = soft_step(canvas.octaves(2, 20, 3, gain=0.8), 0.58, 0.15)
    return canvas.stack(clumps, gaps, canvas.octaves(3, 32, 2, gain=0.9))


def stones(canvas: Canvas) -> np.ndarray:
    """Cells around random points (Worley), as in rubble walls and cobbles."""
    count = canvas.dice.choice((6, 9, 12))
    nearest = np.full((canvas.size, canvas.size), 9.0)
    second, tone = nearest.copy(), np.zeros((canvas.size, canvas.size))
    cu, cv = np.floor(canvas.u * count).astype(int), np.floor(canvas.v * count).astype(int)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            iu, iv = (cu + dx) % count, (cv + dy) % count
            pu = cu + dx + 0.15 + 0.7 * uniform(canvas.seed, 4, iu, iv)
            pv = cv + dy + 0.15 + 0.7 * uniform(canvas.seed, 5, iu, iv)
            distance = np.hypot(canvas.u * count - pu, canvas.v * count - pv)
            closer = distance < nearest
            second = np.minimum(np.where(closer, nearest, distance), second)
            tone = np.where(closer, uniform(canvas.seed, 6, iu, iv), tone)
            nearest = np.minimum(nearest, distance)
    joint = 1.0 - soft_step(second - nearest, 0.12, 0.08)
    return canvas.stack(tone * (1 - joint), joint, 0.25 + 0.5 * canvas.octaves(1, 16, 4))


def facade(canvas: Canvas) -> np.ndarray:
    """One window in its stretch of wall: red the frame, green the glass and its curtains, blue wear."""
    dice = canvas.dice
    half_u, half_v = dice.uniform(0.2, 0.36), dice.uniform(0.25, 0.36)
    du, dv = np.abs(canvas.u - 0.5), np.abs(canvas.v - 0.52)
    inside = np.maximum(du - half_u, dv - half_v)
    frame = (inside < 0.03) & ((inside > 0) | (np.abs(canvas.u - 0.5) < 0.012) | (np.abs(canvas.v - 0.42) < 0.01))
    glass = (inside < 0) & ~frame
    curtain = glass & (du > half_u * dice.uniform(0.5, 0.9))
    sill = (dv < half_v + 0.07) & (dv > half_v + 0.02) & (canvas.v > 0.5) & (du < half_u + 0.05)
    wear = canvas.octaves(1, 6, 5)
    red = np.where(frame | sill, 1.0, np.where(curtain, 0.6, 0.12 * canvas.octaves(4, 24, 3)))
    green = np.where(glass & ~curtain, 0.75 + 0.25 * (canvas.v - canvas.u), 0.0)
    return canvas.stack(red, green, 0.25 + 0.5 * wear, 0.2)


def road(canvas: Canvas) -> np.ndarray:
    """Nine metres of carriageway: red the painted lines, green cracks, patches and tyre tracks (v runs along it)."""
    dice = canvas.dice
    dash = (np.abs(canvas.u - 0.5) < 0.008) & (canvas.v < dice.uniform(0.35, 0.6))
    sides = np.abs(np.abs(canvas.u - 0.5) - dice.uniform(0.3, 0.46)) < 0.006
    worn = soft_step(canvas.octaves(7, 16, 3), 0.3, 0.3)
    crack = 1.0 - soft_step(np.abs(canvas.octaves(1, 5, 4) - 0.5), 0.012, 0.01)
    crack *= canvas.octaves(2, 3, 2) > 0.5
    tracks = 0.18 * (0.5 + 0.5 * np.cos(8 * np.pi * canvas.u)) * canvas.octaves(5, 4, 3)
    patch = (canvas.octaves(6, 2, 1) > 0.8) * 0.2
    return canvas.stack(
        (dash | (sides & dice.chance(0.6))) * worn,
        np.maximum(0.8 * crack, tracks + patch),
        0.45 * canvas.octaves(3, 64, 2) + 0.55 * calm(canvas.octaves(4, 6, 4), 0.6),
    )


def shingles(canvas: Canvas) -> np.ndarray:
    """Roof tiles in overlapping rows."""
    rows, across = 16, 20
    row = np.floor(canvas.v * rows)
    along = canvas.u * across + 0.5 * (row % 2)
    within = canvas.v * rows - row
    arc = 0.25 * np.abs(np.sin(np.pi * along))
    edge = soft_step(within + arc, 0.93, 0.25)
    tone = uniform(canvas.seed, 3, row.astype(int), (np.floor(along) % across).astype(int))
    return canvas.stack(tone, 0.9 * edge, 0.3 + 0.5 * canvas.octaves(1, 6, 5))


Bake = Callable[[Canvas], np.ndarray]
PATTERNS: dict[str, tuple[Bake, int]] = {
    "plain": (plain, 3),
    "plaster": (plaster, 3),
    "concrete": (concrete, 4),
    "marble": (marble, 2),
    "panels": (panels, 2),
    "slats": (slats, 3),
    "keys": (keys, 2),
    "speckle": (speckle, 3),
    "brick": (brick, 3),
    "tiles": (tiles, 4),
    "planks": (planks, 3),
    "wood": (wood, 4),
    "carpet": (carpet, 2),
    "fabric": (fabric, 4),
    "wallpaper": (wallpaper, 2),
    "grass": (grass, 2),
    "leaves": (leaves, 3),
    "stones": (stones, 3),
    "facade": (facade, 6),
    "road": (road, 3),
    "shingles": (shingles, 2),
}
