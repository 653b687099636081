"""The number of torch's threads beside decoding and writing."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

import openloger
from openloger import InputError
from openloger.evaluation import measure
from openloger.evaluation.gather import MatchedFrames
from openloger.network import Network, preset
from openloger.runtime import threads
from openloger.training import train
from openloger.training.config import recipe
from openloger.worlds import World, world
from openloger.worlds.clips import render_clip


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


def test_what_runs_beside_takes_cores(two_cores):
    with threads.cores_shared(work=1e12, beside=1):
        assert torch.get_num_threads() == 1
    with threads.cores_shared(work=1e12, beside=3):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_what_was_measured_is_taken_as_far_as_there_are_cores(two_cores):
    for measured, taken in ((1, 1), (2, 2), (16, 2)):
        with threads.cores_shared(work=1e8, measured=measured):
            assert torch.get_num_threads() == taken


def test_threads_are_given_back_after_an_error(two_cores):
    @threads.small_operations()
    def fails():
        assert torch.get_num_threads() == 1
        raise InputError("in the midst")

    with pytest.raises(InputError):
        fails()
    assert torch.get_num_threads() == 2


def test_a_neighbour_ends():
    before = threading.active_count()
    with threads.beside_neighbour(0.5):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def looking(function, seen):
    """The function, and torch's threads whenever it is called."""

    def wrapped(*given, **options):
        seen.append(torch.get_num_threads())
        return function(*given, **options)

    return wrapped


def test_rendering_has_one_thread(two_cores, monkeypatch):
    seen = []
    monkeypatch.setattr(world, "render_fast", looking(world.render_fast, seen))
    shown = World("rooms", seed=1, size=(16, 16), frames=3)
    shown[0]
    for _ in shown:
        assert torch.get_num_threads() == 2, "between the frames it is the caller's"
    render_clip("rooms", 3, [0, 1], (16, 16))
    assert seen == [1, 1, 1]
    assert torch.get_num_threads() == 2


def test_a_picture_is_the_same_with_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(threads, "free_threads", lambda: None)  # keeps what is set
    shown = World("street", seed=7, size=(64, 80), frames=2)
    with threads.threads_set(1):
        one = list(shown)
    with threads.threads_set(2):
        two = list(shown)
    for a, b in zip(one, two, strict=True):
        assert all(np.array_equal(getattr(a, part), getattr(b, part)) for part in ("rgb", "depth", "normal"))


def test_measures_have_one_thread(two_cores, monkeypatch):
    seen = []
    room = sys.modules[measure.__module__]
    monkeypatch.setattr(room, "align", looking(room.align, seen))
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[:, :3, 3] = np.random.default_rng(0).normal(size=(5, 3))
    measure(MatchedFrames(5, np.arange(5), poses, poses.copy(), (), (), None, None, ()))
    assert seen == [1]
    assert torch.get_num_threads() == 2


def test_a_loop_of_ones_own_keeps_the_rule(two_cores, monkeypatch):
    seen = []
    monkeypatch.setattr(Network, "forward", looking(Network.forward, seen))
    network = openloger.load_network("pocket", weights="random", device="cpu")
    for _ in openloger.Stream(network).run([np.zeros((40, 48, 3), np.uint8)] * 20):
        assert torch.get_num_threads() == 2, "between windows it is the caller's"
    assert len(seen) == 3
    assert set(seen) == {1}


def test_training_leaves_cores_to_its_renderers(two_cores, monkeypatch, tmp_path):
    seen = []

    def ends(*given):
        seen.append(torch.get_num_threads())
        raise InputError("before the first step")

    monkeypatch.setattr(train, "run_stages", ends)
    for workers in (0, 1):
        config = replace(recipe("pocket"), render_workers=workers)
        with pytest.raises(InputError, match="before the first step"):
            train.train(config, tmp_path / str(workers), device="cpu")
    assert seen == [2, 1]
    assert torch.get_num_threads() == 2


def test_a_run_keeps_the_rule(two_cores, tmp_path):
    seen = []
    options = openloger.RunOptions(on_window=lambda placed: seen.append(torch.get_num_threads()))
    network = openloger.load_network("pocket", weights="random", device="cpu")
    frames = [np.zeros((40, 48, 3), np.uint8)] * 12
    openloger.reconstruct(frames, tmp_path / "out", network=network, options=options)
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2
