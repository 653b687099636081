"""The network with a convolutional encoder and dense heads: its outputs, its lens, its memory of shared frames."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from openloger.geometry import centred_intrinsics, unproject
from openloger.network import Network, VideoMemory, Window, preset
from openloger.network.dense import ConvexUpsample


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Network(preset("compact")).eval().requires_grad_(False)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 80), (80, 48)])
def test_every_output_is_a_pixel_each(network, height, width):
    prediction, _ = network(Window(torch.rand(1, 3, 3, height, width), 3, 1))
    for part in ("confidence_logit", "sky_logit", "moving_logit"):
        assert getattr(prediction, part).shape == (1, 3, height, width)
    assert prediction.points_cam.shape == (1, 3, height, width, 3)
    assert prediction.flow_px.shape == (1, 3, 4, height // 8, width // 8)
    assert (prediction.points_cam[..., 2] > 0).all()


def test_points_lie_on_the_rays_of_one_lens(network):
    prediction, _ = network(Window(torch.rand(2, 4, 3, 48, 64), 4, 1))
    assert torch.equal(prediction.focal_px, prediction.focal_px[:, :1].expand(-1, 4))
    rays = unproject(torch.ones(2, 4, 48, 64), centred_intrinsics(prediction.focal_px[:, :1], size=(48, 64)))
    assert torch.allclose(prediction.points_cam, rays * prediction.points_cam[..., 2:], atol=1e-5)


def test_depth_that_nothing_binds_stays_within_what_a_file_can_hold():
    torch.manual_seed(0)
    network = Network(preset("compact")).eval().requires_grad_(False)
    network.heads.output.bias[0] = 100.0  # as of a sky
    prediction, _ = network(Window(torch.rand(1, 3, 3, 48, 64), 3, 1))
    depth = prediction.points_cam[..., 2]
    assert depth.min() > 1000
    assert depth.max() < torch.finfo(torch.float16).max


def test_features_of_shared_frames_are_carried(network):
    images = torch.rand(1, 6, 3, 48, 64)
    _, memory = network(Window(images[:, :4], 4, 2))
    assert [level.shape[1] for level in memory.overlap_features] == [2] * 5
    carried, _ = network(Window(images[:, 2:], 4, 2), memory)
    encoded, _ = network(Window(images[:, 2:], 4, 2), replace(memory, overlap_features=()))
    assert torch.allclose(carried.points_cam, encoded.points_cam, rtol=1e-4)
    assert torch.allclose(carried.world_from_cam, encoded.world_from_cam, atol=1e-5)


def test_the_memory_survives_a_file(network):
    _, memory = network(Window(torch.rand(1, 4, 3, 48, 64), 4, 2))
    again = VideoMemory.from_tensors(memory.to_tensors())
    assert len(again.overlap_features) == 5
    assert all(map(torch.equal, again.overlap_features, memory.overlap_features))


def test_convex_upsampling_starts_bilinear():
    values, features = torch.randn(2, 1, 5, 6), torch.randn(2, 8, 5, 6)
    expected = F.interpolate(values, scale_factor=2.0, mode="bilinear")
    assert torch.allclose(ConvexUpsample(8)(values, features), expected, atol=0.02)


def test_convex_upsampling_stays_within_its_cells():
    """A mean of the cells around: no value that none of them has."""
    layer, values = ConvexUpsample(8), torch.randn(1, 1, 4, 4)
    torch.nn.init.normal_(layer.weight.weight, std=3.0)
    fine = layer(values, torch.randn(1, 8, 4, 4))
    around = F.pad(values, (1, 1, 1, 1), mode="replicate")
    highest = F.interpolate(F.max_pool2d(around, 3, stride=1), scale_factor=2.0, mode="nearest")
    assert (fine <= highest + 1e-6).all()


def test_given_intrinsics_are_the_lens_of_the_points():
    """Depth stays, points lie on the rays of the lens that was given, and the geometric camera leaves it alone."""
    torch.manual_seed(0)
    network = Network(preset("compact")).eval().requires_grad_(False)
    images = torch.rand(1, 3, 3, 64, 80)
    given = torch.tensor([[[90.0, 0, 37.0], [0, 95.0, 34.0], [0, 0, 1]]])
    for config in (replace(network.config, camera="regressed"), network.config):
        network.config = config
        prediction, _ = network(Window(images, 3, 0, intrinsics=given))
        torch.testing.assert_close(prediction.focal_px, torch.full((1, 3), 92.5), rtol=1e-3, atol=0)
        on_rays = unproject(prediction.points_cam[..., 2], given[:, None])
        torch.testing.assert_close(on_rays, prediction.points_cam, rtol=1e-3, atol=1e-3)
