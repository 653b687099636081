"""Time by stage: every moment once, to the innermost stage, and nothing of it left on the network."""

from __future__ import annotations

from itertools import count

import pytest
import torch

from openloger.benchmarking.inputs import MovingPicture
from openloger.benchmarking.serial import STAGES, StageClock, TimedFrames
from openloger.benchmarking.stages import summarise
from openloger.network import Network, load_network
from openloger.streaming import Stream


class Hand:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def __call__(self) -> float:
        return self.time_s


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network("pocket", device="cpu")


def test_a_stage_within_a_stage_counts_once() -> None:
    hand = Hand()
    clock = StageClock(now=hand)
    with clock.stage("decoder"):
        hand.time_s += 1
        with clock.stage("swa"):
            hand.time_s += 10
        hand.time_s += 100
        with clock.stage("ttt_update"):
            hand.time_s += 1000
    hand.time_s += 10_000  # nobody's
    assert {name: seconds for name, seconds in clock.seconds.items() if seconds} == {
        "decoder": 101.0,
        "swa": 10.0,
        "ttt_update": 1000.0,
    }


def test_an_error_leaves_its_stage() -> None:
    hand = Hand()
    clock = StageClock(now=hand)
    with clock.stage("rest"):
        with pytest.raises(ValueError, match="no"), clock.stage("write"):
            raise ValueError("no")
        hand.time_s += 1
    assert clock.seconds["rest"] == 1


def test_it_waits_for_the_device_at_every_border() -> None:
    waits: list[int] = []
    clock = StageClock(synchronize=lambda: waits.append(1))
    with clock.stage("rest"), clock.stage("heads"):
        pass
    assert len(waits) == 4


def test_every_part_of_the_network_is_seen_and_the_parts_are_the_whole(network: Network) -> None:
    ticks = count()
    clock = StageClock(now=lambda: float(next(ticks)))
    stream = Stream(network, window=4, overlap=1)
    source = TimedFrames(MovingPicture(10, (16, 24)), clock, "decode")
    with clock.watching(network), clock.stage("rest"):
        placed = list(stream.run(source, observer=lambda: clock.stage("placement")))
    assert sum(clock.seconds.values()) == next(ticks) - 1  # a tick for every look at the clock, none lost
    seen = {name for name, seconds in clock.seconds.items() if seconds}
    assert seen == set(STAGES) - {"resize", "write"}
    assert [window.final_count for window in placed] == [3, 3, 4]


def test_watching_changes_nothing_and_leaves_nothing(network: Network) -> None:
    source = MovingPicture(6, (16, 24))
    plain = list(Stream(network, window=4, overlap=1).run(source))
    clock = StageClock()
    with clock.watching(network), clock.stage("rest"):
        watched = list(Stream(network, window=4, overlap=1).run(source))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    for one, other in zip(plain, watched, strict=True):
        assert torch.equal(one.points_cam, other.points_cam)


def test_shares_are_of_the_whole_and_medians_over_runs() -> None:
    runs = [{**dict.fromkeys(STAGES, 0.0), "encoder": 1.0, "decoder": 3.0, "whole": 4.0 * scale} for scale in (1, 1, 8)]
    found = summarise(runs)
    assert sum(found["share"].values()) == pytest.approx(1)
    assert found["share"]["decoder"] == 0.75
    assert found["parts_of_whole"] == 1
    assert found["serial_frames_per_s"] == 0.25
