"""The kernels of the fast ray-caster compiled, and its way to another device, beside what is rendered as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch.overrides import TorchFunctionMode

from openloger.runtime.compiler import OLDEST_TORCH
from openloger.worlds import FAMILIES, World
from openloger.worlds.raycast import Shot
from openloger.worlds.raycast_fast import render_fast
from openloger.worlds.world import make_shot


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ < OLDEST_TORCH, reason="older versions are refused")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("backend", "most"),
    [("eager", 0.0), ("inductor", 1.0)],  # torch's own operations, as they were traced; fused ones
)
def test_compiled_kernels_render_the_same(tmp_path: Path, backend: str, most: float) -> None:
    script = str(Path(__file__).with_name("compiled_kernels.py"))
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, script, backend, "120", "160", *sorted(FAMILIES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for family, apart in json.loads(done.stdout).items():
        assert apart["rgb"] <= most, family
        assert apart["colours"] <= most * 1e-4, family
        assert apart["depth"] <= most * 1e-4, family
        assert apart["normal"] <= most * 1e-3, family
        assert apart["masks"] == 0, family


def shot_of(*families: str) -> Shot:
    return make_shot([(World(family, seed=3, size=(40, 56), fps=2), frame) for family in families for frame in (1, 9)])


def test_all_of_a_shot_goes_to_a_device() -> None:
    moved = shot_of("terrain", "rooms").to(torch.device("meta"))
    parts = [getattr(moved, part.name) for part in fields(moved)]
    tensors = [value for part in parts for value in (part if hasattr(part, "_fields") else (part,))]
    devices = [value.device.type for value in tensors if isinstance(value, torch.Tensor)]
    assert devices == ["meta"] * len(devices)
    assert len(devices) > 15


def test_on_its_way_nothing_is_made_on_the_device_that_happens_to_be_the_default() -> None:
    makers = {torch.zeros, torch.ones, torch.full, torch.arange, torch.tensor, torch.linspace, torch.empty}
    nameless = []

    class Watched(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func in makers and (kwargs or {}).get("device") is None:
                nameless.append(func.__name__)
            return func(*args, **(kwargs or {}))

    shot = shot_of("terrain", "rooms", "street")
    with Watched():
        torch.zeros(1)
        assert nameless == ["zeros"]
        render_fast(shot)
    assert nameless == ["zeros"]
