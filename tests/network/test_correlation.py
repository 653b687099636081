"""Correlation with neighbours: a slow twin, and maps that are shifted by a known way."""

import torch
import torch.nn.functional as F

from openloger.network import correlation
from openloger.network.correlation import (
    NeighbourCorrelation,
    by_frame,
    local_correlation,
    soft_argmax,
    to_neighbours,
)


def slow_correlation(own, other, radius):
    own, other = F.normalize(own, dim=1), F.normalize(other, dim=1)
    padded = F.pad(other, (radius,) * 4)
    rows, columns = own.shape[-2:]
    shifts = range(2 * radius + 1)
    return torch.stack(
        [(own * padded[..., dy : dy + rows, dx : dx + columns]).sum(1) for dy in shifts for dx in shifts], dim=1
    )


def test_it_equals_its_slow_twin():
    own, other = torch.randn(3, 8, 5, 7), torch.randn(3, 8, 5, 7)
    assert torch.allclose(local_correlation(own, other, radius=2), slow_correlation(own, other, 2), atol=1e-6)


def test_cells_that_take_turns_give_what_they_give_together(monkeypatch):
    own, other = torch.randn(3, 8, 5, 7), torch.randn(3, 8, 5, 7)
    whole = local_correlation(own, other, radius=2)
    monkeypatch.setattr(correlation, "MOST_AT_ONCE", 3 * 35 * 4)
    assert [len(range(35)[some]) for some in correlation.cells_in_turn(3, 35)] == [4] * 8 + [3]
    assert torch.allclose(local_correlation(own, other, radius=2), whole, atol=1e-6)
    monkeypatch.setattr(correlation, "MOST_AT_ONCE", 1)
    assert torch.allclose(local_correlation(own, other, radius=2), whole, atol=1e-6)


def test_a_shifted_map_peaks_at_its_shift():
    """Content that moves by (2, −1) cells: the largest similarity, 1, is there; the soft arg-max is near it."""
    own = torch.randn(1, 32, 12, 12)
    other = own.roll((-1, 2), dims=(2, 3))  # what is at (x, y) in `own` is at (x + 2, y − 1) in `other`
    x, y, peak = soft_argmax(local_correlation(own, other, radius=4))[0, :, 5:7, 5:7]
    assert torch.allclose(peak, torch.ones(2, 2), atol=1e-5)
    assert ((x - 2).abs() < 0.4).all()
    assert ((y + 1).abs() < 0.4).all()


def test_pairs_come_back_to_their_frames():
    maps = torch.arange(6.0).reshape(2, 3, 1, 1, 1)
    own, other = to_neighbours(maps)
    sides = by_frame(torch.cat([own, other], dim=1), batch=2, frames=3)[..., 0, 0]  # (own, previous, own, next)
    assert sides[0].tolist() == [[0, 0, 0, 1], [1, 0, 1, 2], [2, 1, 0, 0]]
    assert sides[1].tolist() == [[0, 0, 3, 4], [4, 3, 4, 5], [5, 4, 0, 0]]


def test_a_frame_alone_has_no_motion():
    features, flow = NeighbourCorrelation(8, projected=4, width=6)(torch.randn(2, 1, 8, 4, 4))
    assert features.shape == (2, 1, 12, 4, 4)
    assert not flow.any()
