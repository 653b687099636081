"""The memory of the lens: a filter of focal lengths, and that it is part of the state."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from openloger.network import Network, VideoMemory, Window, measured, preset
from openloger.network.lens import DRIFT_SIGMA, GUESS_SIGMA, LEAST_FLOW_SIGMA, MOST_INNOVATION, LensBelief
from openloger.streaming import Stream


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network(preset("compact")).eval().requires_grad_(False)


def pictures(seed: int) -> torch.Tensor:
    return torch.rand(1, 4, 3, 32, 48, generator=torch.Generator().manual_seed(seed))


def adjusted(belief: LensBelief, flow_wants: torch.Tensor, information: torch.Tensor) -> torch.Tensor:
    """The factor that an adjustment takes: from the prior to what flow wants, by their information."""
    gain = information / (information + 1 / belief.variance)
    return gain * (flow_wants - belief.mean)


def test_the_first_window_has_the_guess() -> None:
    belief = LensBelief.of_window(torch.tensor([150.0, 90.0]), None)
    assert_close(belief.mean.exp(), torch.tensor([150.0, 90.0]))
    assert_close(belief.variance.sqrt(), torch.full((2,), GUESS_SIGMA))


def test_windows_are_averaged_by_what_they_tell() -> None:
    """A filter without drift is the weighted mean of all windows, the first guess among them."""
    wants = torch.tensor([[5.00], [4.95], [5.03], [5.01]]).double()
    sigma = torch.tensor([0.05, 0.2, 0.1, 0.08]).double()
    belief = LensBelief.of_window(torch.tensor([5.1]).double().exp(), None)
    weights, values = [GUESS_SIGMA**-2], [5.1]
    for want, deviation in zip(wants, sigma, strict=True):
        belief = belief.measured(adjusted(belief, want, deviation[None] ** -2), deviation[None] ** -2)
        weights.append(float(deviation) ** -2)
        values.append(float(want))
    mean = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    assert float(belief.mean) == pytest.approx(mean, abs=1e-7)
    assert float(belief.variance) == pytest.approx(1 / sum(weights), rel=1e-6)


def test_a_window_that_tells_nothing_changes_nothing() -> None:
    belief = LensBelief.of_window(torch.tensor([150.0]), None)
    after = belief.measured(torch.zeros(1), torch.zeros(1))
    assert_close(after.mean, belief.mean)
    assert_close(after.variance, belief.variance, rtol=1e-4, atol=0)


def test_a_window_that_is_wrong_and_sure_of_it_moves_little() -> None:
    belief = LensBelief.of_window(torch.tensor([150.0]).double(), None)
    for _ in range(10):
        information = torch.tensor([0.03**-2]).double()
        belief = belief.measured(adjusted(belief, torch.tensor([5.0]).double(), information), information)
    sure = torch.tensor([1e8]).double()
    after = belief.measured(adjusted(belief, torch.tensor([5.9]).double(), sure), sure)
    spread = (belief.variance + LEAST_FLOW_SIGMA**2).sqrt()
    assert float(after.mean - belief.mean) <= MOST_INNOVATION * float(spread)
    assert float(after.mean - belief.mean) < 0.05
    assert float(after.variance) == pytest.approx(4 * float(belief.variance))


def test_a_zoom_is_followed() -> None:
    belief = LensBelief.of_window(torch.tensor([150.0]).double(), None)
    information = torch.tensor([0.02**-2]).double()
    for number in range(60):
        want = torch.tensor([5.0 + 0.004 * number]).double()
        carried = belief.carry() if number else None
        belief = LensBelief.of_window(torch.tensor([150.0]).double(), carried)
        belief = belief.measured(adjusted(belief, want, information), information)
    assert float(belief.mean) == pytest.approx(5.0 + 0.004 * 59, abs=0.03)
    again = LensBelief.of_window(torch.tensor([150.0]).double(), belief.carry())
    assert float(again.variance) == pytest.approx(float(belief.variance) + DRIFT_SIGMA**2, rel=1e-2)


def test_another_lens_is_followed_within_some_windows() -> None:
    information = torch.tensor([0.02**-2]).double()
    carried = None
    for number in range(26):
        belief = LensBelief.of_window(torch.tensor([150.0]).double(), carried)
        want = torch.tensor([5.0 if number < 20 else 5.6]).double()
        carried = belief.measured(adjusted(belief, want, information), information).carry()
    assert float(carried[0, 0]) == pytest.approx(5.6, abs=0.05)


def test_the_lens_is_part_of_the_state(network: Network) -> None:
    _, memory = network(Window(pictures(1), 4, 2))
    assert memory.log_focal is not None
    again = VideoMemory.from_tensors(memory.to_tensors())
    assert torch.equal(again.log_focal, memory.log_focal)
    assert torch.equal(memory.map(torch.clone).log_focal, memory.log_focal)
    assert memory.cleared().log_focal is None


def test_a_window_begins_with_the_lens_before_it(network: Network) -> None:
    images = pictures(2)
    alone, _ = network(Window(images, 4, 2))
    sure = VideoMemory(log_focal=torch.tensor([[alone.focal_px[0, 0].log() + 0.4, 1e-10]]))
    after, memory = network(Window(images, 4, 2), sure)
    # a later guess and drift weigh as they do
    expected = LensBelief.of_window(after.predicted_focal_px[:, 0], sure.log_focal).mean
    assert_close(after.focal_px[:, 0].log(), expected, rtol=0, atol=2e-2)
    off, nothing = network(Window(images, 4, 2), sure, disabled=("swa",))
    assert_close(off.focal_px, alone.focal_px)
    assert nothing.log_focal is None
    assert memory.log_focal is not None


def test_the_lens_is_judged_in_the_first_windows_and_then_more_and_more_seldom(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known one never."""
    monkeypatch.setattr(measured, "fisheye_error", lambda flow, edges, world_from_cam: torch.tensor([0.5]))
    images = torch.cat([pictures(seed)[0] for seed in range(6)])
    for known_px, judged in ((None, [0, 1, 2, 3, 4, 8]), ((60.0, 60.0, 24.0, 16.0), [])):
        stream = Stream(network, window=4, overlap=2, size=(32, 48), keyframes="all")
        placed = list(stream.run(images, known_intrinsics_px=known_px))
        assert len(placed) == 11
        assert [window.number for window in placed if window.fisheye_error == 0.5] == judged
        assert sum(window.fisheye_error is None for window in placed) == 11 - len(judged)


def test_a_known_lens_is_not_measured(network: Network) -> None:
    intrinsics = torch.tensor([[[60.0, 0, 24], [0, 60, 16], [0, 0, 1]]])
    before = VideoMemory(log_focal=torch.tensor([[5.0, 1e-6]]))
    found, memory = network(Window(pictures(3), 4, 2, intrinsics=intrinsics), before)
    assert_close(found.focal_px, torch.full((1, 4), 60.0), rtol=1e-3, atol=0)
    assert memory.log_focal is None
