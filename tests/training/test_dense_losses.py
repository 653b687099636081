"""The losses of networks with dense heads."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from openloger.geometry import unproject
from openloger.network import WindowPrediction
from openloger.training.chaining import Chain
from openloger.training.clips import stack
from openloger.training.data import ClipSpec
from openloger.training.losses import (
    LossWeights,
    focal_loss,
    gradient_loss,
    log_depth_error,
    mask_loss,
    measure,
)
from openloger.training.objective import chain_scale_loss
from openloger.training.render import render_clips


@pytest.fixture(scope="module")
def clip():
    (rendered,) = render_clips([ClipSpec("rooms", 1_000_000, 3, 2, 5.0, (32, 40))])
    return rendered


def test_depth_error_is_free_of_scale():
    truth, valid = torch.rand(2, 3, 8, 10) + 0.5, torch.rand(2, 3, 8, 10) > 0.2
    scale = torch.tensor([3.0, 0.2])[:, None, None, None]
    error = log_depth_error(truth * scale, truth, valid)
    assert error.abs().max() < 1e-5
    assert log_depth_error(truth.square(), truth, valid).abs().max() > 0.05


def test_gradient_loss_of_a_step():
    """Half of a picture off by one: of neighbours `step` apart along x, `step` columns' worth differ; none along y."""
    error = torch.zeros(1, 1, 16, 16)
    error[..., 8:] = 1.0
    valid = torch.ones_like(error, dtype=torch.bool)
    expected = sum(1 / (16 // step - 1) for step in (1, 2, 4, 8)) / 4
    assert gradient_loss(error, valid).item() == pytest.approx(expected)


def test_focal_and_masks():
    lens = torch.eye(3).repeat(1, 2, 1, 1)
    lens[..., 0, 0], lens[..., 1, 1] = 100.0, 100.0
    assert focal_loss(torch.full((1, 2), 110.0), lens).item() == pytest.approx(np.log(1.1), rel=1e-5)
    mask = torch.rand(1, 2, 4, 4) > 0.5
    sure = torch.where(mask, 20.0, -20.0)
    known = torch.ones_like(mask)
    assert mask_loss(sure, mask, known) < 1e-6 < mask_loss(-sure, mask, known)
    known[..., :2] = False
    assert mask_loss(torch.where(known, sure, -sure), mask, known) < 1e-6  # wrong only where nothing is known
    assert mask_loss(-sure, mask, torch.zeros_like(mask)) == 0


def test_true_values_have_no_loss(clip):
    batch = stack([clip])
    prediction = WindowPrediction(
        world_from_cam=batch.world_from_cam,
        points_cam=unproject(batch.depth.clamp(min=1e-3), batch.intrinsics),
        confidence_logit=torch.zeros_like(batch.depth),
        metric_scale=None,
        sky_logit=torch.where(batch.valid, -20.0, 20.0),
        moving_logit=torch.where(batch.moving, 20.0, -20.0),
        focal_px=batch.intrinsics[..., 0, 0],
    )
    weights = LossWeights(depth=1.0, gradient=1.0, focal=1.0, sky=1.0, moving=1.0)
    found = measure(prediction, batch, weights)
    for name in ("depth", "gradient", "focal", "sky", "moving"):
        assert getattr(found, name).item() < 1e-4, name
    far = measure(replace(prediction, focal_px=2 * prediction.focal_px), batch, weights)
    assert far.focal.item() > 0.5


def test_the_scale_loss_of_a_chain(clip):
    """Two windows that are right up to factors of 1 and e^0.4 are 0.2 from their mean; a common factor is free."""
    truth = stack([clip])
    points = unproject(truth.depth.clamp(min=1e-3), truth.intrinsics)
    for common in (1.0, 7.0):
        factor = common * torch.tensor([0.0, 0.4]).exp()
        prediction = WindowPrediction(
            truth.world_from_cam, points * factor[None, :, None, None, None], truth.depth, None
        )
        loss = chain_scale_loss(Chain(prediction, ((0,), (1,))), truth)
        assert loss.item() == pytest.approx(0.2, abs=1e-4)
