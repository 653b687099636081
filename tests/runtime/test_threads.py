"""The number of torch's threads beside decoding and writing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import openloger
from openloger.network import Network, preset
from openloger.runtime import threads


@pytest.fixture
def two_cores(monkeypatch):
    """As on a machine of two threads whose user said nothing about threads."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 64])
def test_large_networks_keep_every_thread(count):
    assert threads.threads_beside_pipeline(count, work=1e12) == count
    assert threads.threads_beside_pipeline(count, work=threads.SMALL_WORK) == count


@pytest.mark.parametrize(("count", "kept"), [(1, 1), (2, 1), (3, 3), (16, 16)])
def test_a_small_network_leaves_one_of_two_cores(count, kept):
    assert threads.threads_beside_pipeline(count, work=threads.SMALL_WORK / 2) == kept


@pytest.mark.parametrize(("name", "small"), [("pocket", True), ("compact", False), ("loger", False)])
def test_which_presets_are_small(name, small):
    config = preset(name)
    with torch.device("meta"):
        network = Network(config)
    multiplications = sum(p.numel() for p in network.parameters()) * config.max_pixels / config.encoder.patch**2
    assert (multiplications < threads.SMALL_WORK) == small


def within(work: float) -> int:
    with threads.cores_shared(work=work):
        return torch.get_num_threads()


def test_threads_are_given_back(two_cores):
    assert (within(1e8), torch.get_num_threads()) == (1, 2)
    assert (within(1e10), torch.get_num_threads()) == (2, 2)


def test_threads_that_the_user_set_are_kept(two_cores, monkeypatch):
    monkeypatch.setattr(threads, "usable_cores", lambda: 8)
    assert within(1e8) == 2, "torch.set_num_threads(2) on eight threads"
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert within(1e8) == 2


def test_a_run_keeps_the_rule(two_cores, tmp_path):
    seen = []
    options = openloger.RunOptions(on_window=lambda placed: seen.append(torch.get_num_threads()))
    network = openloger.load_network("pocket", weights="random", device="cpu")
    frames = [np.zeros((40, 48, 3), np.uint8)] * 12
    openloger.reconstruct(frames, tmp_path / "out", network=network, options=options)
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2
