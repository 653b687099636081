"""Moving things along the camera's way: somebody who walks or drives ahead, and those who come towards it."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np

from openloger.worlds.families import props
from openloger.worlds.families.furniture import Stand
from openloger.worlds.random import Dice, hash_number, uniform_number
from openloger.worlds.scene import Column, Number, SolidBuilder, Solids, Zone, instances

PHASES = 8  # pictures of one stride
_SIGHT_S = 12.0  # seconds before and after a meeting in which the other is there

Spot = tuple[Number, Number, Number]  # x, z in metres, heading in radians (from +z towards +x)


@runtime_checkable
class Way(Protocol):
    """The camera's route, as movers share it."""

    def along(self, time_s: float, ahead: float = 0.0, beside: float = 0.0) -> Spot:
        """Where the route is at a time, `ahead` metres further on and `beside` metres to its right."""
        ...


def walkers(seed: int, materials: props.Outfits, zone: Zone, count: int = 3) -> list[list[Solids]]:
    """Some people, each in PHASES pictures of a stride; built around zero, facing +z."""
    people = []
    for number in range(count):
        phases = []
        for phase in range(PHASES):
            solids = SolidBuilder(key=hash_number(seed, 1201, number), zones=[zone])
            stride = 2.0 * math.pi * phase / PHASES
            props.person(Stand(solids, 0.0, 0.0, 0.0), Dice(seed, 1202, number), materials, stride)
            phases.append(solids.build(moving=True))
        people.append(phases)
    return people


def standing(template: Solids, spot: Spot, floor: float) -> np.ndarray:
    """Rows of a template at a spot, marked as moving."""
    rows = instances(template, np.array([[spot[0], floor, spot[1], spot[2]]]))
    rows[:, Column.MOVING] = 1.0
    return rows


def step_of(person: list[Solids], walked: float) -> Solids:
    """The picture of a stride after so many metres (1.4 m a double step)."""
    return person[int(walked / 1.4 * PHASES) % PHASES]


def meetings(seed: int, time_s: float, every_s: float) -> list[tuple[int, float]]:
    """(number, time of meeting) of those who come towards the camera about now."""
    first = int((time_s - _SIGHT_S) // every_s)
    last = int((time_s + _SIGHT_S) // every_s)
    times = [
        (number, (number + 0.2 + 0.6 * uniform_number(seed, 1203, number)) * every_s)
        for number in range(first, last + 1)
    ]
    return [(number, at) for number, at in times if abs(at - time_s) < _SIGHT_S and at > _SIGHT_S]


def oncoming(way: Way, time_s: float, meeting_s: float, beside: float) -> Spot:
    """Where somebody is who goes the camera's route backwards on the other side and passes it at `meeting_s`."""
    x, z, heading = way.along(2.0 * meeting_s - time_s, 0.0, -beside)
    return x, z, heading + math.pi


def gather(parts: list[np.ndarray], zone_rows: np.ndarray) -> Solids | None:
    """The movers' table, or None where nobody is about."""
    return Solids(rows=np.concatenate(parts), zones=zone_rows) if parts else None
