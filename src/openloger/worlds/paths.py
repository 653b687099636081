"""The camera's position and direction at a time: a route, and the way a hand, a car or a drone follows it."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from openloger.shapes import Float64
from openloger.worlds.families.crowd import Spot
from openloger.worlds.families.family import Family
from openloger.worlds.random import Dice, smooth_noise
from openloger.worlds.routes import Tour, make_tour
from openloger.worlds.scene import rotations

_TURN = 0.4  # part of a spell that the gaze takes to turn to its new side


class Path:
    """The camera's way through one world, random-access in time."""

    def __init__(self, family: Family, seed: int) -> None:
        self._family, self._seed = family, seed
        self.tour = lru_cache(maxsize=4)(self._make_tour)

    def _make_tour(self, number: int) -> Tour:
        return make_tour(self._family.lattice, self._seed, number, self._family.gait.route)

    def _place(self, time_s: float, ahead: float) -> np.ndarray:
        tour_s = self._family.gait.route.tour_s
        number = int(time_s // tour_s)
        return self.tour(number).place(time_s - number * tour_s, ahead)

    def along(self, time_s: float, ahead: float = 0.0, beside: float = 0.0) -> Spot:
        """(x, z, heading) of the route at a time, `ahead` metres further on and `beside` metres to its right."""
        reach = self._family.gait.look_ahead
        here = self._place(time_s, ahead)
        forward = self._place(time_s, ahead + reach) - self._place(time_s, ahead - 0.3 * reach)
        heading = math.atan2(forward[0], forward[1])
        x, z = here[0] + math.cos(heading) * beside, here[1] - math.sin(heading) * beside
        return float(x), float(z), heading

    def gaze(self, time_s: float) -> float:
        """Radians to the right of the route's heading that the middle of the gaze is turned at a time."""
        spell, part = divmod(time_s / self._family.gait.spell_s, 1.0)
        before, now = self._side(int(spell) - 1), self._side(int(spell))
        turn = (now - before + math.pi) % (2.0 * math.pi) - math.pi  # the short way round
        done = min(part / _TURN, 1.0)
        return before + turn * done * done * (3.0 - 2.0 * done)

    def _side(self, spell: int) -> float:
        dice, gait = Dice(self._seed, 620, spell), self._family.gait
        draw = dice.uniform()
        if draw < gait.asides:
            return dice.sign() * math.radians(dice.uniform(45.0, 135.0))
        return math.radians(dice.uniform(150.0, 210.0)) if draw < gait.asides + gait.backs else 0.0

    def world_from_cam(self, time_s: float) -> Float64[np.ndarray, "4 4"]:
        """Camera pose at a time: metres, OpenCV axes, y down."""
        gait = self._family.gait
        swing, hand = time_s / gait.swing_s, time_s * 3.0
        step = 2.0 * math.pi * gait.step_hz * time_s
        x, z, heading = self.along(time_s, 0.0, gait.beside + gait.bob * math.sin(0.5 * step))
        yaw, pitch, roll = (
            math.radians(amount * smooth_noise(self._seed, channel, swing * pace) + tremor)
            for channel, (amount, pace), tremor in zip(
                (1, 3, 5),
                ((gait.yaw_swing, 1.0), (gait.pitch_swing, 0.9), (gait.roll_swing, 1.3)),
                (gait.jitter_deg * smooth_noise(self._seed, channel, hand) for channel in (2, 4, 6)),
                strict=True,
            )
        )
        height = gait.height + gait.height_swing * smooth_noise(self._seed, 7, 0.5 * swing) + gait.bob * math.sin(step)
        pose = np.eye(4)
        pose[:3, :3] = rotations(
            np.array(
                [[heading + self.gaze(time_s) + yaw, math.radians(gait.pitch) + pitch, math.radians(gait.roll) + roll]]
            )
        )[0]
        pose[:3, 3] = x, -self._family.ground(x, z) - height, z
        return pose
