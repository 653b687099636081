"""The memory of scale: what it takes from shared frames, and that it is part of the state."""

import pytest
import torch

from openloger.network import Network, VideoMemory, Window, preset
from openloger.network.scale import ScaleMemory, depth_cells, scale_step


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Network(preset("compact")).eval().requires_grad_(False)


@pytest.fixture
def following():
    """A scale memory that follows the window before entirely."""
    memory = ScaleMemory(8)
    memory.mlp[2].bias.data[1] = 50.0
    return memory


def sure(log_depth):
    """Cells of weight 1."""
    return torch.stack([log_depth, torch.ones_like(log_depth)], 2)


def test_a_window_takes_the_scale_of_the_frames_it_shares(following):
    log_depth = torch.randn(2, 5, 3, 4)
    factor = torch.tensor([0.5, 3.0])
    before = log_depth[:, :2] + factor.log()[:, None, None, None]
    before[:, :, 0, 0] += 7.0  # a few cells that changed
    torch.testing.assert_close(following(torch.randn(2, 5, 6, 8), sure(log_depth), sure(before)).exp(), factor)


def test_the_first_window_and_untrained_memory():
    memory, tokens, log_depth = ScaleMemory(8), torch.randn(1, 3, 6, 8), torch.randn(1, 3, 2, 2)
    assert memory(tokens, sure(log_depth), None).item() == 0
    assert memory(tokens, sure(log_depth), sure(log_depth[:, :2] + 1.0)).item() == pytest.approx(0.5, abs=1e-6)


def test_cells_count_by_how_sure_both_windows_are_of_them():
    log_depth = torch.rand(2, 2, 3, 4)
    now, before = sure(log_depth), sure(log_depth + 0.3)
    before[:, :, 0, 0] += 5.0  # a third of all
    assert torch.allclose(scale_step(before, now), torch.tensor(0.3))
    before[:, :, 0, 1] += 5.0  # two thirds …
    assert torch.allclose(scale_step(before, now), torch.tensor(5.3))
    now[:, :, 1, :2] = 0.5  # … of which neither window is very sure
    before[:, :, 1, :2] = 0.5
    assert torch.allclose(scale_step(before, now), torch.tensor(0.3))
    before[1, :, 1] = 0.0
    assert torch.allclose(scale_step(before, now), torch.tensor([0.3, 0.0]))


def test_cells_of_a_plane_with_sky_and_a_mask():
    depth, confidence = torch.full((1, 2, 32, 48), 3.0), torch.full((1, 2, 32, 48), 0.5)
    cells = depth_cells(depth, confidence)
    assert torch.allclose(cells[:, :, 0], torch.tensor(3.0).log().expand(1, 2, 2, 3))
    assert torch.allclose(cells[:, :, 1], torch.full((1, 2, 2, 3), 0.5))
    sky, hidden = torch.zeros(2, 1, 2, 32, 48, dtype=torch.bool)
    sky[..., :4, :16] = True
    hidden[..., 20, 40] = True
    depth[hidden] = 0.0
    cells = depth_cells(depth, confidence, sky, hidden)
    assert bool(cells.isfinite().all())
    assert torch.allclose(cells[0, 0, 1], torch.tensor([[0.375, 0.5, 0.5], [0.5, 0.5, 0.0]]))


def test_the_memory_holds_the_depth_that_was_handed_out(network):
    images = torch.rand(1, 4, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    prediction, memory = network(Window(images, 4, 2))
    shared = (prediction.points_cam[..., 2], prediction.confidence, prediction.sky_logit > 0)
    torch.testing.assert_close(memory.overlap_cells, depth_cells(*(part[:, 2:] for part in shared)))
    again = VideoMemory.from_tensors(memory.to_tensors())
    assert torch.equal(again.overlap_cells, memory.overlap_cells)
    assert memory.cleared().overlap_cells is None


def test_scale_moves_points_and_cameras_together_and_can_be_disabled(network):
    images = torch.rand(1, 4, 3, 32, 48, generator=torch.Generator().manual_seed(2))
    _, memory = network(Window(images, 4, 2))
    far = VideoMemory(overlap_cells=memory.overlap_cells + torch.tensor([2.0, 0.0])[:, None, None])
    near, _ = network(Window(images.flip(1), 4, 2), VideoMemory())
    scaled, _ = network(Window(images.flip(1), 4, 2), far)
    ratio = (scaled.points_cam / near.points_cam).flatten()
    assert ratio.std() < 1e-4
    assert ratio.mean() > 1.1
    moved, still = (p.world_from_cam[0, 1:, :3, 3] - p.world_from_cam[0, :1, :3, 3] for p in (scaled, near))
    torch.testing.assert_close(moved, still * ratio.mean(), rtol=1e-2, atol=1e-3)
    off, after = network(Window(images.flip(1), 4, 2), far, disabled=("swa",))
    torch.testing.assert_close(off.points_cam, near.points_cam)
    assert after.overlap_cells is None


def test_a_scale_that_is_wrong_on_purpose_is_handed_on_and_mended(network):
    """In training: the first window keeps it, and one that follows the window before entirely takes it over."""
    images = torch.rand(1, 4, 3, 32, 48, generator=torch.Generator().manual_seed(3))
    plain, _ = network(Window(images, 4, 2))
    wrong, memory = network(Window(images, 4, 2, log_scale=torch.tensor([0.4])))
    torch.testing.assert_close(wrong.points_cam, plain.points_cam * torch.tensor(0.4).exp(), rtol=1e-4, atol=1e-5)
    bias = network.scale.mlp[2].bias
    before = bias.clone()
    bias.data[1] = 50.0
    images = torch.cat([images[:, 2:], images[:, :2]], dim=1)
    scales = [
        network(Window(images, 4, 2, log_scale=torch.tensor([off])), memory)[0].points_cam[0, 0, ..., 2].log().mean()
        for off in (-0.3, 0.3)
    ]
    bias.data.copy_(before)
    torch.testing.assert_close(scales[0], scales[1], rtol=1e-3, atol=1e-3)
