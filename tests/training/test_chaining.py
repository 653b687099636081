"""Clips are trained on as Stream runs them."""

from dataclasses import replace

import pytest
import torch

from openloger.errors import InputError
from openloger.network import Network, preset
from openloger.streaming import Stream
from openloger.training.chaining import run_chain

FRAMES, SIZE, OVERLAP = 11, 5, 2


def network(placement: str) -> Network:
    torch.manual_seed(0)
    net = Network(replace(preset("pocket"), placement=placement)).eval()
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if "gate" in name or "camera.translation" in name:
                weight.add_(torch.randn_like(weight) * 0.3)  # memory that says something, cameras that move
    return net


def images(batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, FRAMES, 3, 32, 40, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("placement", ["none", "se3"])
def test_a_chain_is_what_the_stream_gives(placement):
    net = network(placement)
    chain = run_chain(net, images(), size=SIZE, overlap=OVERLAP)
    placed = list(Stream(net, window=SIZE, overlap=OVERLAP, size=(32, 40)).run(list(images()[0])))
    assert chain.frames == tuple(tuple(frame.index for frame in window.frames) for window in placed)
    world_from_cam = torch.cat([window.world_from_cam for window in placed]).float()
    torch.testing.assert_close(chain.prediction.world_from_cam[0], world_from_cam, rtol=1e-3, atol=1e-4)
    points = torch.cat([window.points_cam for window in placed])
    off = (chain.prediction.points_cam[0] - points).norm(
        dim=-1
    )  # held against a point's distance: x and y may be near 0
    assert (off <= 1e-3 * points.norm(dim=-1) + 1e-4).all()


def test_gradients_reach_through_the_memory_and_truncation_cuts_them():
    net = network("none")
    for truncate, reaches in ((0, True), (1, False), (2, False)):
        pictures = images().requires_grad_()
        last = run_chain(net, pictures, size=SIZE, overlap=OVERLAP, truncate=truncate).prediction.points_cam[:, -1]
        (grad,) = torch.autograd.grad(last.sum(), pictures)
        assert bool(grad[:, 0].abs().max() > 0) == reaches, truncate
        assert grad[:, -1].abs().max() > 0


def test_rigid_chaining_is_in_the_graph():
    net = network("se3")
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if "gate" in name:
                weight.zero_()
    pictures = images().requires_grad_()
    last = run_chain(net, pictures, size=SIZE, overlap=OVERLAP).prediction.world_from_cam[:, -1]
    (grad,) = torch.autograd.grad(last.square().sum(), pictures)
    assert grad[:, 3].abs().max() > 0  # the first window's overlap, where the second is attached


def test_one_window_is_the_network_itself():
    net = network("se3")
    chain = run_chain(net, images(2), size=0, overlap=0)
    assert chain.index.tolist() == list(range(FRAMES))


def test_sim3_is_not_trained_through():
    with pytest.raises(InputError, match="sim3"):
        run_chain(network("sim3"), images(), size=SIZE, overlap=OVERLAP)
