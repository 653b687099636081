"""The published networks at their real width: shapes on the meta device, and once for real."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from network.reference import parameter_list
from openloger.network import Network, Window, load_network, preset, with_pi3x_heads
from openloger.network.published_names import UNUSED, published_name


def test_shapes_go_through():
    with FakeTensorMode():  # shapes without numbers
        network, images = Network(with_pi3x_heads(preset("loger"))), torch.empty(1, 4, 3, 28, 42)
        prediction, memory = network(Window(images, 4, 1))
    assert prediction.world_from_cam.shape == (1, 4, 4, 4)
    assert prediction.points_cam.shape == (1, 4, 28, 42, 3)
    assert prediction.confidence_logit.shape == (1, 4, 28, 42)
    assert prediction.metric_scale.shape == (1,)
    assert [level.shape for level in memory.overlap_features] == [(1, 1, 6, 1024)]
    assert len(memory.fast_weights) == 18
    assert memory.fast_weights[17].w1.shape == (1, 2, 2048, 512)
    assert len(memory.keys_values) == 4
    assert memory.keys_values[3].keys.shape == (1, 16, 4 * (6 + 6), 64)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # orthogonalising 36 heads of 512 × 2048 takes a CPU a while
def test_a_real_file_loads_and_runs(tmp_path):
    """All 1509 published names, at full width in float16, through `load_network` and two tiny frames."""
    names = parameter_list("loger")
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.empty(shape, dtype=torch.float16).uniform_(-0.02, 0.02, generator=generator)
        for name, shape in names.items()
    }
    torch.save(
        {"model_state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}}, tmp_path / "latest.pt"
    )
    network = load_network("loger", weights=tmp_path / "latest.pt", device="cpu", dtype=torch.float32)
    state = network.state_dict()
    assert {published_name(name) for name in state} == {name for name in names if not UNUSED.match(name)}
    for name, tensor in state.items():
        assert torch.equal(tensor, tensors[published_name(name)].float()), name
    del tensors, state
    prediction, memory = network(Window(torch.rand(1, 2, 3, 28, 42, generator=generator), 2, 1))
    assert torch.isfinite(prediction.points_cam).all()
    assert torch.isfinite(prediction.world_from_cam).all()
    assert len(memory.fast_weights) == 18
