"""Random values that the laws of geometry are tried on."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from openloger.geometry import SE3, Sim3, rotation_from_axis_angle

LAW = settings(derandomize=True, deadline=None, max_examples=40)
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")),
]
DTYPES = [torch.float32, torch.float64]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def vectors(limit: float) -> st.SearchStrategy[Tensor]:
    coordinate = st.floats(-limit, limit)
    return st.tuples(coordinate, coordinate, coordinate).map(lambda xyz: torch.tensor(xyz, dtype=torch.float64))


def axis_angles(least: float = 0.0, most: float = math.pi) -> st.SearchStrategy[Tensor]:
    """Any axis, with angles from `least` to `most`."""
    axes = vectors(1.0).filter(lambda v: v.norm() > 0.01).map(lambda v: v / v.norm())
    return st.tuples(axes, st.floats(least, most)).map(lambda both: both[0] * both[1])


def rotations() -> st.SearchStrategy[Tensor]:
    near_pi = axis_angles(math.pi - 1e-6)
    return st.one_of(axis_angles(), near_pi, axis_angles(0, 1e-6)).map(rotation_from_axis_angle)


def rigid_motions() -> st.SearchStrategy[SE3]:
    return st.builds(SE3, rotations(), vectors(100.0))


def similarities() -> st.SearchStrategy[Sim3]:
    scales = st.floats(-3, 3).map(lambda power: torch.tensor(10.0**power, dtype=torch.float64))
    return st.builds(Sim3, scales, rotations(), vectors(100.0))


def seeds() -> st.SearchStrategy[int]:
    return st.integers(0, 2**31)
