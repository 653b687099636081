"""An endless floor plan: where the walls between rooms run, where they are open, and which rooms see each other."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from openloger.worlds.families.family import View
from openloger.worlds.random import Dice, uniform_number
from openloger.worlds.routes import Node
from openloger.worlds.scene import Pair

WALL = 0.08  # half of a wall's thickness


class Opening(NamedTuple):
    """A hole in the wall between two rooms: where along the wall its middle is, how wide and high (0: no hole)."""

    middle: float
    width: float
    height: float


class Plan:
    """Where the walls run and where they are open. Room (i, j) lies between lines i, i + 1 and j, j + 1."""

    def __init__(self, seed: int, pitch: float, ceiling: float) -> None:
        self.seed, self.pitch, self.ceiling = seed, pitch, ceiling
        self.line = lru_cache(maxsize=1024)(self._line)
        self.opening = lru_cache(maxsize=1024)(self._opening)

    def _line(self, axis: int, number: int) -> float:
        return (number + 0.36 * (uniform_number(self.seed, 601, axis, number) - 0.5)) * self.pitch

    def bounds(self, room: Node) -> tuple[float, float, float, float]:
        """(x low, z low, x high, z high) of a room, between its walls' middles."""
        i, j = room
        return self.line(0, i), self.line(1, j), self.line(0, i + 1), self.line(1, j + 1)

    def _opening(self, room: Node, axis: int) -> Opening:
        """The hole between a room and its neighbour on the high side of an axis (0: x, 1: z)."""
        dice = Dice(self.seed, 602, *room, axis)
        low_x, low_z, high_x, high_z = self.bounds(room)
        low, high = (low_z, high_z) if axis == 0 else (low_x, high_x)
        spine = room[1 - axis] % 2 == 0
        kind = dice.uniform()
        if not spine and kind > 0.55:
            return Opening(0.5 * (low + high), 0.0, 0.0)
        width, height = (0.95, 2.05) if kind > 0.2 else (dice.uniform(1.6, 2.6), 2.3)
        middle = 0.5 * (low + high) + dice.uniform(-0.16, 0.16) * (high - low)
        return Opening(middle, width, min(height, self.ceiling - 0.1))

    def between(self, here: Node, there: Node) -> tuple[Opening, int, float]:
        """The opening between neighbours, its axis, and the wall's position on that axis."""
        axis = 0 if here[0] != there[0] else 1
        low = min(here, there)
        return self.opening(low, axis), axis, self.line(axis, max(here[axis], there[axis]))

    def rooms_seen(self, home: Node, view: View) -> list[Node]:
        """The rooms that are visible through openings, by narrowing the angle of view at each (as portals)."""
        seen = [home]
        ahead: list[tuple[Node, Node | None, float, float]] = [
            (home, None, view.heading - view.half_angle, view.heading + view.half_angle)
        ]
        while ahead:
            room, came_from, begin, end = ahead.pop()
            for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                there = (room[0] + di, room[1] + dj)
                span = self._through(room, there, view, begin, end) if there != came_from else None
                if span is None:
                    continue
                if there not in seen:
                    seen.append(there)
                if len(seen) < 40:
                    ahead.append((there, room, *span))
        return seen

    def _through(self, room: Node, there: Node, view: View, begin: float, end: float) -> tuple[float, float] | None:
        """The part of the angles begin … end (radians) that passes from a room into its neighbour, or None."""
        opening, axis, wall = self.between(room, there)
        side = 1.0 if there[axis] > room[axis] else -1.0
        depth = side * (wall - (view.x if axis == 0 else view.z))
        if opening.width == 0 or depth < -0.2:
            return None
        if depth < 0.2:
            return begin, end
        across = view.z if axis == 0 else view.x
        edges = [opening.middle + half * opening.width - across for half in (-0.5, 0.5)]
        angles = [math.atan2(side * depth, e) if axis == 0 else math.atan2(e, side * depth) for e in edges]
        middle = 0.5 * (begin + end)
        turns = [(angle - middle + math.pi) % (2.0 * math.pi) - math.pi for angle in angles]
        low, high = min(turns), max(turns)
        if high - low > math.pi:  # the opening lies across the back of the view: keep it whole
            return begin, end
        low, high = max(low, begin - middle), min(high, end - middle)
        return (middle + low, middle + high) if low < high else None

    def middle(self, room: Node) -> Pair:
        low_x, low_z, high_x, high_z = self.bounds(room)
        return 0.5 * (low_x + high_x), 0.5 * (low_z + high_z)

    def is_open(self, here: Node, there: Node) -> bool:
        return self.between(here, there)[0].width > 0

    def way(self, here: Node, there: Node) -> list[Pair]:
        opening, axis, wall = self.between(here, there)
        side = 1.0 if there[axis] > here[axis] else -1.0
        points = [self.middle(here)]
        for offset in (-0.8 * side, 0.8 * side):
            points.append((wall + offset, opening.middle) if axis == 0 else (opening.middle, wall + offset))
        return points
