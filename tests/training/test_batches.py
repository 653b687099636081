"""Batches ahead of the network: the same ones as on demand, in a bounded part of the memory."""

import multiprocessing
from dataclasses import replace
from itertools import islice

import pytest
import torch

from openloger.errors import InputError
from openloger.training.batches import LaneFeed, arrived
from openloger.training.config import TrainConfig, load_config, recipe
from openloger.training.curriculum import ClipPlan
from openloger.training.distribute import Ranks
from openloger.training.render import AHEAD, TOGETHER, QueuePlan

from .boxes import render_boxes

PLAN = ClipPlan(size=(16, 24), rendered=4, frames=(2, 3), odds=(0.5, 0.5), batch=2, lanes=2, pool=6)
ONE = Ranks(0, 1, torch.device("cpu"))


def taken(workers: int, *, step: int, count: int, queue_gb: float = 16.0) -> list[tuple[tuple[str, ...], torch.Tensor]]:
    config = replace(recipe("pocket"), render_workers=workers, queue_gb=queue_gb)
    with LaneFeed(config, PLAN, ONE, render_boxes).batches(step) as batches:
        return [(one.names, one.images) for one in (arrived(ready, ONE) for ready in islice(batches, count))]


@pytest.mark.parametrize("queue_gb", [16.0, 1e-6])
def test_batches_ahead_are_those_on_demand(queue_gb):
    ahead, demanded = taken(2, step=3, count=6, queue_gb=queue_gb), taken(0, step=3, count=6)
    assert [names for names, _ in ahead] == [names for names, _ in demanded]
    assert all(torch.equal(one, other) for (_, one), (_, other) in zip(ahead, demanded, strict=True))
    assert len({names for names, _ in ahead}) == 6
    assert multiprocessing.active_children() == []


def test_of_processes_that_share_windows_one_makes_each_batch():
    config, plan = replace(recipe("pocket"), render_workers=0), replace(PLAN, lanes=6)
    for team in range(2):
        feeds = [
            LaneFeed(config, plan, Ranks(2 * team + one, 4, ONE.device, context=2), render_boxes) for one in (0, 1)
        ]
        assert [list(feed.lanes) for feed in feeds] == 2 * [[team, team + 2, team + 4]]
        ready = []
        for feed in feeds:
            with feed.batches(0) as batches:
                ready.append([one.batch is not None for one in islice(batches, 6)])
        assert ready == [[True, False, True] * 2, [False, True, False] * 2]
        assert [feed.pool_bytes for feed in feeds] == [lanes * 6 * plan.clip_bytes for lanes in (2, 1)]


def test_what_waits_is_bounded():
    for limit in (10**6, 10**7, 10**9):
        found = QueuePlan.within(limit, PLAN, workers=3)
        shortest = found.together == found.ahead == 1
        assert shortest or found.bytes(PLAN, workers=3) <= limit
    assert QueuePlan.within(10**9, PLAN, workers=3) == QueuePlan(TOGETHER, AHEAD)
    assert QueuePlan.within(1, PLAN, workers=3) == QueuePlan(1, 1)
    tight = QueuePlan(TOGETHER, 3)
    assert QueuePlan.within(tight.bytes(PLAN, workers=3), PLAN, workers=3) == tight
    assert tight.bytes(PLAN, workers=3) == 3 * 4 * TOGETHER * 4 * 16 * 24 * 10


@pytest.mark.parametrize(("name", "shortened"), [("pocket", False), ("compact", False), ("loger", True)])
def test_shipped_recipes(name: str, shortened: bool):
    config: TrainConfig = replace(recipe(name), render_workers=8)
    for stage in config.stages:
        feed = LaneFeed(config, stage.clips, Ranks(0, 8 if name == "loger" else 1, ONE.device), render_boxes)
        assert (feed.queues != QueuePlan()) == shortened
        assert f"{feed.waiting_bytes / 1e9:.2f} GB of each process" in feed.describe()


def test_a_bound_that_is_none_is_refused(tmp_path):
    (tmp_path / "run.toml").write_text('preset = "pocket"\nqueue_gb = 0.0\n')
    with pytest.raises(InputError, match="queue_gb is more than 0"):
        load_config(tmp_path / "run.toml")
