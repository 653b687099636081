"""A network with memory begins as the network that it comes from."""

from dataclasses import replace

import pytest
import torch

from openloger.errors import InputError, WeightsError
from openloger.geometry import rotation_angle
from openloger.network import MemoryConfig, Network, preset
from openloger.network.checkpoint import save_network
from openloger.training.chaining import run_chain
from openloger.training.initialise import begin_from, join_memory

MEMORY = MemoryConfig(ttt_after=(0, 2), swa_after=(0,), ttt_head_dim=64)  # MLPs as wide as the decoder's


def bare() -> Network:
    torch.manual_seed(0)
    return Network(replace(preset("pocket"), name="pi3", memory=None)).eval()


def with_memory() -> Network:
    torch.manual_seed(1)
    net = Network(replace(preset("pocket"), memory=MEMORY)).eval()
    for name, weight in net.named_parameters():
        if "gate" in name:
            torch.nn.init.normal_(weight)
    return net


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    path = tmp_path_factory.mktemp("pi3") / "pi3.safetensors"
    save_network(bare(), path)
    net = with_memory()
    begin_from(net, path)
    return net


def images() -> torch.Tensor:
    return torch.rand(1, 9, 3, 32, 40, generator=torch.Generator().manual_seed(2))


def test_memory_adds_exactly_nothing_at_step_zero(joined):
    memory = joined.decoder.memory
    chain = run_chain(joined, images(), size=5, overlap=2)
    joined.decoder.memory = None  # the same tokens, no memory layers
    without = run_chain(joined, images(), size=5, overlap=2)
    joined.decoder.memory = memory
    assert torch.equal(chain.prediction.points_cam, without.prediction.points_cam)
    assert torch.equal(chain.prediction.world_from_cam, without.prediction.world_from_cam)


def test_open_memory_moves_little_and_learns_at_once(tmp_path):
    torch.manual_seed(1)
    networks = {opened: Network(replace(preset("pocket"), memory=MEMORY)).eval() for opened in (0.0, 0.2)}
    depths, learnt = {}, {}
    for opened, network in networks.items():
        join_memory(bare(), network, gate=opened)
        chain = run_chain(network, images(), size=5, overlap=2)
        depth = chain.prediction.points_cam[..., 2].log()
        (depth.square().mean() + chain.prediction.world_from_cam.square().sum()).backward()
        depths[opened] = depth.detach()
        inside = {name: weight.grad for name, weight in network.decoder.memory.named_parameters()}
        learnt[opened] = {
            name.split(".")[0]
            for name, slope in inside.items()
            if "gate" not in name and slope is not None and bool(slope.any())
        }
    assert learnt == {0.0: set(), 0.2: {"ttt", "swa"}}
    assert 0 < float((depths[0.2] - depths[0.0]).abs().mean()) < 0.1


def test_without_the_role_token_it_is_pi3_itself(joined):
    memory, roles = joined.decoder.memory, joined.decoder.roles
    joined.decoder.memory = joined.decoder.roles = None
    chain = run_chain(joined, images(), size=0, overlap=0)
    joined.decoder.memory, joined.decoder.roles = memory, roles
    expected = run_chain(bare(), images(), size=0, overlap=0)
    assert torch.equal(chain.prediction.points_cam, expected.prediction.points_cam)
    assert torch.equal(chain.prediction.world_from_cam, expected.prediction.world_from_cam)


def test_the_role_token_moves_it_little(joined):
    chain = run_chain(joined, images(), size=0, overlap=0)
    expected = run_chain(bare(), images(), size=0, overlap=0)
    depth, pi3_depth = (side.prediction.points_cam[..., 2] for side in (chain, expected))
    assert 0 < float((depth / pi3_depth - 1).detach().abs().mean()) < 0.01
    camera, pi3_camera = (side.prediction.world_from_cam[..., :3, :3] for side in (chain, expected))
    assert float(rotation_angle(camera.mT @ pi3_camera).detach().rad2deg().max()) < 0.2


def test_sliding_windows_are_the_next_window_block(joined):
    layer, block = joined.decoder.memory.swa[0].block, joined.decoder.blocks[1]
    for name, weight in layer.named_parameters():
        assert torch.equal(weight, block.get_parameter(name)), name


def test_an_mlp_of_another_width_keeps_its_own_start():
    net = Network(preset("pocket"))
    before = net.decoder.memory.swa[0].block.mlp.fc1.weight.clone()
    join_memory(bare(), net)
    layer, block = net.decoder.memory.swa[0].block, net.decoder.blocks[3]
    assert torch.equal(layer.mlp.fc1.weight, before)
    assert torch.equal(layer.attention.qkv.weight, block.attention.qkv.weight)


def test_gates_learn_from_the_first_step(joined):
    run_chain(joined, images(), size=5, overlap=2).prediction.points_cam.sum().backward()
    for layer in [*joined.decoder.memory.ttt, *joined.decoder.memory.swa]:
        assert float(layer.gate.weight.grad.abs().max()) > 0


def test_what_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "compact.safetensors"
    save_network(Network(replace(preset("compact"), memory=None)), path)
    with pytest.raises(WeightsError):
        begin_from(with_memory(), path)
    with pytest.raises(InputError, match="no memory layers"):
        join_memory(bare(), bare())


def test_a_network_with_memory_begins_from_itself(tmp_path):
    path, trained, fresh = tmp_path / "trained.safetensors", with_memory(), with_memory()
    with torch.no_grad():
        for weight in trained.parameters():
            weight.mul_(1.5)
    save_network(trained, path)
    begin_from(fresh, path)
    assert all(torch.equal(weight, trained.state_dict()[name]) for name, weight in fresh.state_dict().items())


def test_memory_is_not_left_out_silently(tmp_path):
    path = tmp_path / "trained.safetensors"
    save_network(with_memory(), path)
    with pytest.raises(WeightsError, match="later stage"):
        begin_from(bare(), path)


def test_a_refinement_joins_on_nothing(tmp_path):
    path = tmp_path / "compact.safetensors"
    bare = Network(replace(preset("compact"), memory=None, refinement=None))
    save_network(bare, path)
    network = Network(replace(preset("compact"), memory=None))
    begin_from(network, path)
    assert network.refinement is not None
    assert not network.refinement.output.weight.any()
    for name, weight in bare.state_dict().items():
        assert torch.equal(network.state_dict()[name], weight)
