"""The heads' outputs: pixels in their order, depth in front, rotations that are rotations."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from network.reference import small_images, toy_network
from openloger.network import Window
from openloger.network.heads import CameraHead, PixelHead, points_from_maps
from openloger.network.pi3x import ConvolutionalPointHead, CrossBlock, MetricHead, Pi3XConfig, view_plane

lawful = settings(derandomize=True, deadline=None, max_examples=30)


def test_pixels_come_channel_by_channel_row_by_row():
    """Output channel c of pixel (i, j) of a patch is feature c·P² + i·P + j."""
    torch.manual_seed(0)
    head, patches = PixelHead(8, 3, channels=2), torch.randn(2, 2 * 4, 8)
    maps = head(patches, 2, 4)
    assert maps.shape == (2, 2, 6, 12)
    features = head.proj(patches)
    for frame in range(2):
        for row in range(6):
            for column in range(12):
                patch = (row // 3) * 4 + column // 3
                for channel in range(2):
                    feature = channel * 9 + (row % 3) * 3 + column % 3
                    assert maps[frame, channel, row, column] == features[frame, patch, feature]


def test_points_lie_along_their_rays_in_front_of_the_camera():
    maps = torch.randn(2, 3, 4, 5) * 5
    points = points_from_maps(maps)
    assert points.shape == (2, 4, 5, 3)
    assert (points[..., 2] > 0).all()
    assert torch.allclose(points[..., 2].log(), maps[:, 2], atol=1e-5)
    assert torch.allclose(points[..., :2] / points[..., 2:], maps[:, :2].permute(0, 2, 3, 1), atol=1e-4)


@lawful
@given(st.integers(0, 10_000))
def test_a_camera_is_a_rigid_motion(seed):
    generator = torch.Generator().manual_seed(seed)
    head = CameraHead(6)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    world_from_cam = head(torch.randn(3, 4, 6, generator=generator)).detach()
    rotation = world_from_cam[:, :3, :3]
    assert torch.allclose(rotation.mT @ rotation, torch.eye(3).expand(3, 3, 3), atol=1e-5)
    assert torch.allclose(torch.det(rotation), torch.ones(3), atol=1e-5)
    assert torch.equal(world_from_cam[:, 3], torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(3, 4))


def slow_camera(head, patches):
    """As the contract says it: rows normalised, the transpose projected by SVD, transposed back."""
    x = patches
    for residual in head.residuals:
        y = x
        for layer in residual.layers:
            y = (y @ layer.weight.T + layer.bias).clamp_min(0)
        x = x + y
    x = x.mean(0)
    for layer in head.perceptron:
        x = (layer.weight @ x + layer.bias).clamp_min(0)
    rows = (head.rotation.weight @ x + head.rotation.bias).view(3, 3)
    rows = rows / rows.norm(dim=1, keepdim=True)
    u, _, vt = torch.linalg.svd(rows.T)
    sign = torch.diag(torch.stack([torch.ones(()), torch.ones(()), torch.det(u @ vt)]))
    return (u @ sign @ vt).T, head.translation.weight @ x + head.translation.bias


def test_the_camera_head_step_by_step():
    generator = torch.Generator().manual_seed(0)
    head = CameraHead(6)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    patches = torch.randn(5, 4, 6, generator=generator)
    for frame, world_from_cam in enumerate(head(patches)):
        rotation, translation = slow_camera(head, patches[frame])
        assert torch.allclose(world_from_cam[:3, :3], rotation, atol=1e-5)
        assert torch.allclose(world_from_cam[:3, 3], translation, rtol=1e-4, atol=1e-4)


def test_an_untrained_camera_looks_ahead():
    head = CameraHead(6)
    torch.nn.init.zeros_(head.rotation.weight)
    assert torch.allclose(head(torch.randn(2, 4, 6))[:, :3, :3], torch.eye(3).expand(2, 3, 3))


def test_a_camera_trains_from_an_orthonormal_start():
    """Where the gradient of a plain SVD is infinite."""
    head = CameraHead(6)
    torch.nn.init.zeros_(head.rotation.weight)
    head(torch.randn(2, 4, 6))[:, 0, 1].sum().backward()
    assert torch.isfinite(head.rotation.bias.grad).all()
    assert head.rotation.bias.grad.abs().sum() > 0


def test_the_view_plane_is_seen_from_pixel_centres():
    grid = view_plane(4, 6, aspect=1.5, like=torch.empty(0))
    assert grid.shape == (2, 4, 6)
    half_width, half_height = grid[0].max() * 6 / 5, grid[1].max() * 4 / 3  # from the last centres to the edges
    assert torch.hypot(half_width, half_height).item() == pytest.approx(1, abs=1e-6)
    assert (half_width / half_height).item() == pytest.approx(1.5, abs=1e-6)
    assert torch.allclose(grid, -grid.flip(1, 2), atol=1e-6)
    assert torch.equal(grid[0, 0], grid[0, 3])  # u along the columns
    assert torch.equal(grid[1, :, 0], grid[1, :, 5])


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 5), (7, 2)])
def test_the_convolutional_head_fills_odd_sizes(rows, columns):
    torch.manual_seed(0)
    head = ConvolutionalPointHead(8, (32, 32, 32), patch=14)
    maps = head(torch.randn(2, rows * columns, 8), rows, columns)
    assert maps.shape == (2, 3, 14 * rows, 14 * columns)
    assert torch.isfinite(maps).all()


TRACED = """
import torch
from openloger.network.pi3x import ConvolutionalPointHead

class OfSizes(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.head = ConvolutionalPointHead(8, (32,), patch=2)

    def forward(self, patches, like):
        return self.head(patches, like.shape[0], like.shape[1])

torch.manual_seed(0)
whole, free = OfSizes().eval(), torch.export.Dim.DYNAMIC
traced, given = (torch.randn(2, 15, 8), torch.zeros(3, 5)), (torch.randn(5, 8, 8), torch.zeros(4, 2))
step = torch.export.export(whole, traced, dynamic_shapes=({0: free, 1: free}, {0: free, 1: free}), strict=False)
print(float((step.module()(*given) - whole(*given)).abs().max()))
"""


def test_the_convolutional_head_is_traced_for_any_size():
    """As an export traces it, neither the number of frames nor that of patches becomes a constant; in a process of its
    own, as the checks of shapes that run with the tests would make them so."""
    done = subprocess.run([sys.executable, "-c", TRACED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-6


def test_the_convolutional_head_bounds_depth():
    head = ConvolutionalPointHead(8, (32, 32, 32), patch=14)
    torch.nn.init.constant_(head.outputs[1][-1].bias, 1000.0)
    points = points_from_maps(head(torch.randn(1, 4, 8), 2, 2))
    assert torch.allclose(points[..., 2].log(), torch.tensor(15.0))


def test_a_cross_block_listens_to_its_context_alone():
    """It has no self-attention: a token's result does not depend on the tokens beside it."""
    torch.manual_seed(0)
    config = Pi3XConfig(stages=(32,), metric_width=32, metric_depth=2, metric_heads=2, metric_output_width=16)
    head = MetricHead(24, config)
    positions = torch.rand(6, 2)
    tokens = torch.randn(2, 6, 24)
    scale = head(tokens, positions)
    assert scale.shape == (2,)
    assert (scale > 0).all()
    assert torch.allclose(head(tokens[1:], positions), scale[1:], rtol=1e-5)
    assert not torch.allclose(head(tokens.roll(1, 1), positions), scale, rtol=1e-3)
    assert sum(isinstance(module, CrossBlock) for module in head.modules()) == 2


def test_metric_scale_reaches_points_and_cameras():
    network, images = toy_network(pi3x=True), small_images(frames=4)
    metric, _ = network(Window(images, 4, 2))
    network.heads.metric.scale.bias += 1.0  # e times as long
    longer, _ = network(Window(images, 4, 2))
    e = torch.tensor(1.0).exp()
    assert torch.allclose(longer.metric_scale, e * metric.metric_scale, rtol=1e-4)
    assert torch.allclose(longer.points_cam, e * metric.points_cam, rtol=1e-4)
    assert torch.allclose(longer.world_from_cam[..., :3, 3], e * metric.world_from_cam[..., :3, 3], rtol=1e-4)
    assert torch.equal(longer.world_from_cam[..., :3, :3], metric.world_from_cam[..., :3, :3])


def test_a_prediction_in_its_own_words():
    prediction, _ = toy_network()(Window(small_images(frames=4), 4, 2))
    assert torch.equal(prediction.confidence, prediction.confidence_logit.sigmoid())
    rotation, translation = prediction.world_from_cam[0, 1, :3, :3], prediction.world_from_cam[0, 1, :3, 3]
    wanted = prediction.points_cam[0, 1] @ rotation.T + translation
    assert torch.allclose(prediction.points_world[0, 1], wanted, atol=1e-5)
