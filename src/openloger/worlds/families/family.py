"""The interface of a family of worlds: solids by the cell, moving things, the sky, and the ways a camera can take."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from openloger.shapes import Float32, Float64
from openloger.worlds.families.crowd import Way
from openloger.worlds.random import Dice
from openloger.worlds.routes import Lattice, RouteStyle
from openloger.worlds.scene import Material, Solids, Zone
from openloger.worlds.terrain import Terrain

Cell = tuple[int, int]


class Gait(NamedTuple):
    """The camera's motion along its route; angles in degrees, lengths in metres, frequencies in hertz."""

    route: RouteStyle
    height: float  # above the ground
    height_swing: float  # slow rise and fall
    look_ahead: float  # metres of route that give the heading
    yaw_swing: float
    pitch: float
    pitch_swing: float
    roll_swing: float
    swing_s: float  # seconds between changes of gaze
    bob: float  # metres up and down with each step
    step_hz: float
    jitter_deg: float  # hand tremor
    beside: float = 0.0  # metres to the right of the route: a lane
    asides: float = 0.0  # part of the time that the gaze is turned to a side: one moves sideways
    backs: float = 0.0  # part of the time that it is turned back
    spell_s: float = 12.0  # seconds that it stays turned one way
    roll: float = 0.0  # that the camera is held at


class Hold(NamedTuple):
    """The motion of a handheld camera, as in Gait."""

    roll: float
    roll_swing: float
    yaw_swing: float
    swing_s: float


def hold(dice: Dice) -> Hold:
    """Mostly upright and calm; some are held aslant, some whirl about."""
    kind = dice.uniform()
    if kind < 0.15:  # aslant
        return Hold(dice.uniform(-35, 35), dice.uniform(2, 20), dice.uniform(15, 50), dice.uniform(2.0, 5.0))
    if kind < 0.3:  # fast
        return Hold(dice.uniform(-6, 6), dice.uniform(1, 8), dice.uniform(20, 60), dice.uniform(0.8, 1.8))
    return Hold(dice.uniform(-5, 5), dice.uniform(0.5, 4), dice.uniform(10, 50), dice.uniform(2.5, 6.0))


class View(NamedTuple):
    """A camera's position and field of view, from above."""

    x: float
    z: float
    heading: float  # of the middle of the view, radians from +z towards +x
    half_angle: float  # π where it looks all around


@runtime_checkable
class Family(Protocol):
    """One world's content, a function of its seed."""

    far_m: float  # nothing is seen beyond
    gait: Gait
    fov_deg: tuple[float, float]  # field of view along the longer side, from … to
    light_zone: Zone  # what the ground and movers stand in

    @property
    def lattice(self) -> Lattice: ...

    def surfaces(self) -> Float32[np.ndarray, "surface column"]:
        """The table that the solids' materials point into."""
        ...

    def cells_seen(self, view: View) -> list[Cell]:
        """All cells that hold anything seen in a view, or anything that throws a shadow there."""
        ...

    def home(self, x: float, z: float) -> Cell:
        """The cell that holds a point."""
        ...

    def cell(self, cell: Cell) -> Solids:
        """The solids of a cell."""
        ...

    def movers(self, time_s: float, way: Way) -> Solids | None:
        """The moving solids near the camera at a time, along the camera's way."""
        ...

    def sky(self) -> Float64[np.ndarray, "column"]:
        """The row of shading.SkyColumn."""
        ...

    @property
    def terrain(self) -> tuple[Terrain, Material] | None:
        """The rolling ground and what covers it (the next surface shows where it is steep); None where it is flat."""
        ...

    def ground(self, x: float, z: float) -> float:
        """Height of the ground in metres, upwards."""
        ...
