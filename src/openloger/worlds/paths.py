"""Where the camera is and looks at a time: a route, and how a hand, a car or a drone carries the camera along it."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from openloger.shapes import Float64
from openloger.worlds.families.family import Family
from openloger.worlds.random import smooth_noise
from openloger.worlds.routes import Tour, make_tour
from openloger.worlds.scene import rotations


class Path:
    """The camera's way through one world, random-access in time."""

    def __init__(self, family: Family, seed: int) -> None:
        self._family, self._seed = family, seed
        self.tour = lru_cache(maxsize=4)(self._make_tour)

    def _make_tour(self, number: int) -> Tour:
        return make_tour(self._family.lattice, self._seed, number, self._family.gait.route)

    def _along(self, time_s: float, ahead: float) -> np.ndarray:
        tour_s = self._family.gait.route.tour_s
        number = int(time_s // tour_s)
        return self.tour(number).place(time_s - number * tour_s, ahead)

    def world_from_cam(self, time_s: float) -> Float64[np.ndarray, "4 4"]:
        """Camera pose at a time: metres, OpenCV axes, y down."""
        gait = self._family.gait
        here, there = self._along(time_s, 0.0), self._along(time_s, gait.look_ahead)
        forward = there - self._along(time_s, -0.3 * gait.look_ahead)
        heading = math.atan2(forward[0], forward[1])
        right = np.array([math.cos(heading), -math.sin(heading)])
        swing = time_s / gait.swing_s
        hand = time_s * 3.0
        yaw = heading + math.radians(
            gait.yaw_swing * smooth_noise(self._seed, 1, swing) + gait.jitter_deg * smooth_noise(self._seed, 2, hand)
        )
        pitch = math.radians(
            gait.pitch
            + gait.pitch_swing * smooth_noise(self._seed, 3, swing * 0.9)
            + gait.jitter_deg * smooth_noise(self._seed, 4, hand)
        )
        roll = math.radians(
            gait.roll_swing * smooth_noise(self._seed, 5, swing * 1.3)
            + gait.jitter_deg * smooth_noise(self._seed, 6, hand)
        )
        step = 2.0 * math.pi * gait.step_hz * time_s
        sway = gait.beside + gait.bob * math.sin(0.5 * step)
        x, z = here + right * sway
        height = (
            self._family.ground(float(x), float(z))
            + gait.height
            + gait.height_swing * smooth_noise(self._seed, 7, swing * 0.5)
            + gait.bob * math.sin(step)
        )
        pose = np.eye(4)
        pose[:3, :3] = rotations(np.array([[yaw, pitch, roll]]))[0]
        pose[:3, 3] = x, -height, z
        return pose
