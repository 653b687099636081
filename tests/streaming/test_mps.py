"""A run on a device without float64 (Apple's MPS), which a stand-in simulates: equal to the CPU's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_in_device import MPS, MpsTensor, on_mps

from openloger import load_network
from openloger.streaming import Stream
from openloger.streaming.state import StreamState

SIZE = (48, 64)


def noise(count: int) -> list[np.ndarray]:
    base = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return [np.roll(base, 2 * number, axis=1) for number in range(count)]


def test_the_stand_in_refuses_what_mps_refuses() -> None:
    layer = torch.nn.Linear(2, 2).requires_grad_(False)
    with on_mps(layer):
        weight = layer.weight
        assert weight.device == MPS
        assert layer(torch.zeros(1, 2, device=MPS)).cpu().device.type == "cpu"
        with pytest.raises(TypeError, match="float64"):
            weight.double()
        with pytest.raises(TypeError, match="float64"):
            torch.zeros(2, dtype=torch.float64, device=MPS)
        with pytest.raises(AssertionError, match="of the CPU"):
            weight + torch.zeros(2, 2)
    assert not isinstance(layer.weight, MpsTensor)


@pytest.mark.parametrize(
    ("name", "known_px"), [("pocket", None), ("compact", None), ("compact", (60.0, 60.0, 32.0, 24.0))]
)
def test_a_stream_on_a_device_without_float64_equals_the_cpus(name: str, known_px: tuple[float, ...] | None) -> None:
    torch.set_num_threads(1)
    network = load_network(name, device="cpu", dtype="float32")
    settings = {"window": 4, "overlap": 2, "size": SIZE}
    expected = list(Stream(network, **settings).run(noise(6), known_intrinsics_px=known_px))
    with on_mps(network):  # of this thread alone
        assert network.device == MPS
        stream = Stream(network, **settings)
        windows = stream.run(noise(6), known_intrinsics_px=known_px, ahead=0)
        found = [next(windows)]
        windows.close()
        stream.state = StreamState.from_bytes(stream.state.to_bytes(), device=MPS)
        found += stream.run(noise(6), known_intrinsics_px=known_px, ahead=0)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for name in ("world_from_cam", "points_cam", "confidence", "intrinsics"):
            torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-3, atol=1e-3)
