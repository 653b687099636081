"""The fast product beside torch's own."""

import pytest
import torch
from torch import nn

from openloger.network import load_network
from openloger.network.window import Window
from openloger.transformer import layers
from openloger.transformer.layers import Linear

needs_onednn = pytest.mark.skipif(layers._onednn is None or not layers._X86, reason="this torch has no oneDNN")


@pytest.mark.parametrize("shape", [(7, 24), (2, 3, 24), (1, 24), (0, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_product_is_that_of_torchs_layer(shape, bias):
    torch.manual_seed(0)
    layer, x = Linear(24, 40, bias=bias), torch.randn(*shape)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias), rtol=1e-5, atol=1e-6)
        strided = torch.randn(24, 5).T
        torch.testing.assert_close(layer(strided), nn.functional.linear(strided, layer.weight, layer.bias))


@needs_onednn
def test_onednn_serves_inference_alone(monkeypatch):
    calls = []
    fast = layers._onednn
    monkeypatch.setattr(layers, "_onednn", lambda *given: calls.append(1) or fast(*given))
    layer, x = Linear(8, 8), torch.randn(3, 8)
    layer(x).sum().backward()  # has gradients
    assert layer.weight.grad is not None
    with torch.no_grad():
        layer.double()(x.double())
        layer.float()
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
        assert not calls
        layer(x)
    assert len(calls) == 1


@needs_onednn
def test_a_window_is_the_same_with_either(monkeypatch):
    network = load_network("pocket", device="cpu", dtype="float32")
    images = torch.rand(1, 8, 3, 64, 80)
    found = []
    for kernel in (layers._onednn, None):
        monkeypatch.setattr(layers, "_onednn", kernel)
        with torch.no_grad():
            found.append(network(Window(images, 8, 2))[0])
    torch.testing.assert_close(found[0].points_cam, found[1].points_cam, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0].world_from_cam, found[1].world_from_cam, rtol=1e-4, atol=1e-5)
