"""`--max-memory`: footprints as of a real run, plans that keep to what is given, and runs that keep to it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from network.reference import distance, open_pocket, small_images, toy_network

import openloger
from openloger.errors import InputError, RecordingError
from openloger.network import Network, Window, preset
from openloger.network.footprint import LiveBytes, footprint
from openloger.pipeline import memory_plan
from openloger.pipeline.memory_plan import MemoryPlan, WantedWindows, plan_memory
from openloger.pipeline.options import RunOptions
from openloger.recording import Recording

SIZE = (48, 64)
FRAMES = 12


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_a_footprint_is_that_of_a_real_window(precision: torch.dtype) -> None:
    expected = footprint(preset("pocket"), precision=precision, window=8, overlap=2, size=SIZE)
    with LiveBytes() as live:
        network = Network(preset("pocket")).eval().set_precision(precision)
        weights = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
        memory = network.fresh_memory()
        for _ in range(2):
            images = torch.rand(1, 8, 3, *SIZE)
            live.peak = live.now
            _, memory = network(Window(images, 8, 2, rigid=False), memory)
    assert expected.weights == weights
    assert live.peak - weights == pytest.approx(expected.window, rel=0.02)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("pi3x", [False, True])
@torch.inference_mode()
def test_frames_that_take_turns_give_what_they_give_together(pi3x: bool, masked: bool) -> None:
    network, images = toy_network(pi3x=pi3x), small_images(frames=5, height=28, width=42)
    used = torch.ones(1, 5, 28, 42, dtype=torch.bool)
    used[:, 1, :14] = used[:, 3, :, 14:] = False
    window = Window(images, 5, 2, used=used if masked else None)
    whole, whole_after = network(window, network.fresh_memory())
    network.frames_at_once = 2
    parts, parts_after = network(window, network.fresh_memory())
    for name in ("world_from_cam", "points_cam", "confidence_logit"):
        assert distance(getattr(whole, name), getattr(parts, name)) < 1e-5, name
    for name, tensor in whole_after.to_tensors().items():
        assert distance(tensor, parts_after.to_tensors()[name]) < 1e-5, name


def test_frames_that_take_turns_need_less() -> None:
    config = preset("pi3x")
    small = replace(
        config,
        encoder=replace(config.encoder, width=64, depth=2, heads=2),
        decoder=replace(config.decoder, width=64, depth=2, heads=2),
        heads=replace(config.heads, width=64, depth=1, heads=2, output_width=64, camera_width=64),
    )
    needs = [
        footprint(small, precision=torch.float32, window=4, overlap=2, size=(112, 140), frames_at_once=at_once).window
        for at_once in (None, 2, 1)
    ]
    assert needs[0] > 1.5 * needs[1] > 1.5 * needs[2]


@pytest.fixture
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_plan, "_held_bytes", lambda network: (0, 0))


def planned(network: Network, *, allowed_gb: float, window: int = 8, shorter: bool = True, **wanted: Any) -> MemoryPlan:
    wanted = {"size": SIZE, "overlap": 2, **wanted}
    return plan_memory(network, WantedWindows(window=window, shorter=shorter, **wanted), allowed_gb=allowed_gb)


@pytest.mark.usefixtures("nothing_held")
def test_plans_keep_to_what_is_allowed_and_shorten_windows_last() -> None:
    network = open_pocket()
    whole = planned(network, window=16, allowed_gb=1.0)
    assert (whole.window, whole.frames_at_once) == (16, None)
    needed = whole.needed_bytes / 1e9
    plans = [planned(network, window=16, allowed_gb=share * needed) for share in (1.001, 0.9, 0.7, 0.5)]
    assert plans[0] == replace(whole, allowed_bytes=plans[0].allowed_bytes)
    assert all(plan.needed_bytes <= plan.allowed_bytes for plan in plans)
    assert [plan.window for plan in plans] == sorted((plan.window for plan in plans), reverse=True)
    assert plans[-1].window < 16
    assert str(plans[-1].window) in plans[-1].describe()


@pytest.mark.usefixtures("nothing_held")
@pytest.mark.parametrize("shorter", [True, False])
def test_too_little_names_what_suffices(shorter: bool) -> None:
    network = open_pocket()
    with pytest.raises(InputError, match=r"--max-memory 0\.0001: pocket needs ([\d.]+) GB") as told:
        planned(network, shorter=shorter, allowed_gb=1e-4)
    assert ("--window" in str(told.value)) is not shorter
    needed = re.search(r"needs ([\d.]+) GB", str(told.value))
    assert needed is not None
    planned(network, shorter=shorter, allowed_gb=float(needed[1]))


@pytest.fixture(scope="module")
def compact() -> Network:
    return openloger.load_network("compact", device="cpu", dtype="float32")


@pytest.mark.usefixtures("nothing_held")
def test_compact_has_fewer_keyframes_a_window_where_memory_is_short(compact: Network) -> None:
    size = (144, 192)
    whole = planned(compact, size=size, allowed_gb=1.0)
    assert (whole.window, whole.frames_at_once) == (8, None)
    assert planned(compact, size=size, between=8, allowed_gb=1.0).needed_bytes > whole.needed_bytes
    waiting = planned(compact, size=size, waiting_bytes=10_000_000, allowed_gb=1.0)
    assert waiting.needed_bytes == whole.needed_bytes + 10_000_000
    short = planned(compact, size=size, allowed_gb=0.7 * whole.needed_bytes / 1e9)
    assert (short.window, short.frames_at_once) == (4, None)
    assert short.needed_bytes <= short.allowed_bytes
    with pytest.raises(InputError, match=r"compact needs 0\.\d\d GB on cpu for windows of 3 frames of 144×192 pixels"):
        planned(compact, size=size, allowed_gb=0.01)


@pytest.mark.parametrize(("height", "width", "window"), [(64, 80, 8), (96, 128, 4), (192, 256, 6)])
@torch.inference_mode()
def test_the_footprint_of_compact_covers_its_tensors(height: int, width: int, window: int, compact: Network) -> None:
    """Of a picture that moves, so that all edges of the geometric camera are there."""
    expected = footprint(compact.config, precision=torch.float32, window=window, overlap=2, size=(height, width))
    texture = torch.rand(1, 3, height // 8, width // 8 + 1, generator=torch.Generator().manual_seed(0))
    picture = torch.nn.functional.interpolate(texture, scale_factor=8.0)[0]
    images = torch.stack([picture[:, :, shift : shift + width] for shift in range(window)])[None]
    memory = compact.fresh_memory()
    with LiveBytes() as live:
        for _ in range(2):
            images, live.peak = images.clone(), live.now
            _, memory = compact(Window(images, window, 2, rigid=False), memory)
    assert live.peak < expected.window < 2.5 * live.peak
    assert expected.weights == sum(tensor.nbytes for tensor in (*compact.parameters(), *compact.buffers()))


@pytest.mark.slow
def test_on_a_card_of_8_gb_loger_has_windows_of_its_own_overlap() -> None:
    found = footprint(preset("loger"), precision=torch.bfloat16, window=32, overlap=3, size=(280, 504))
    assert found.weights == pytest.approx(2.65e9, rel=0.01)
    assert 3e9 < found.window < 5e9
    assert found.weights + memory_plan.SLACK * found.window + memory_plan.CONTEXT_BYTES < 8e9


# Runs


def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (FRAMES, *SIZE, 3), dtype=np.uint8)


def run(out: Path, **options: object) -> Recording:
    network = openloger.load_network("pocket", weights="random", device="cpu", dtype="float32")
    chosen = RunOptions(**options)  # type: ignore[arg-type]
    return openloger.reconstruct(list(frames()), out, network=network, size=SIZE, options=chosen)


def test_a_planned_run_is_resumed_as_it_was_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_plan, "_held_bytes", lambda network: (0, 0))
    needed = planned(open_pocket(), allowed_gb=1.0).needed_bytes
    allowed = 0.6 * needed / 1e9
    whole = run(tmp_path / "whole", max_memory_gb=allowed)
    assert whole.meta.settings["window"] < 8
    assert whole.meta.settings["max_memory_gb"] == allowed
    seen: list[object] = []
    run(tmp_path / "cut", max_memory_gb=allowed, on_progress=seen.append, should_stop=lambda: len(seen) == 2)
    with pytest.raises(RecordingError, match="max_memory_gb"):
        run(tmp_path / "cut", max_memory_gb=2 * allowed, existing="resume")
    cut = run(tmp_path / "cut", existing="resume")  # without naming it again
    assert cut.complete
    np.testing.assert_array_equal(cut.world_from_cam, whole.world_from_cam)
    for number in range(FRAMES):
        np.testing.assert_array_equal(cut.depth(number), whole.depth(number))


def command(out: Path, allowed_gb: float, network: str) -> subprocess.CompletedProcess[str]:
    given = ("--network", network, "--weights", "random", "--device", "cpu", "--size", "96", "128", "--json")
    allowed = ("--max-memory", str(allowed_gb), "-o", str(out))
    return subprocess.run(
        [sys.executable, "-m", "openloger", "reconstruct", "world:rooms:1?frames=20", *given, *allowed],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs a system that counts peaks exactly")
@pytest.mark.parametrize("network", ["pocket", "compact"])
def test_the_command_keeps_to_it_and_refuses_too_little(network: str, tmp_path: Path) -> None:
    refused = command(tmp_path / "out", 0.05, network)
    assert refused.returncode == 2, refused.stderr
    needed = re.search(rf"--max-memory 0\.05: {network} needs ([\d.]+) GB on cpu", refused.stderr)
    assert needed is not None, refused.stderr
    assert not (tmp_path / "out").exists()
    allowed_gb = float(needed[1]) + 0.05  # of what a process holds from one run to the next
    done = command(tmp_path / "out", allowed_gb, network)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["complete"]
    assert 0 < summary["peak_memory_bytes"] <= allowed_gb * 1e9
