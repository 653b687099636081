"""Paths by their laws, guesses beside them, and a picture to look at."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from openloger.geometry import rotation_from_quaternion_wxyz, umeyama
from openloger.network import Network, preset
from openloger.training.config import ValidationConfig, recipe
from openloger.training.distribute import Ranks
from openloger.training.metrics import colour, draw_held_out
from openloger.training.validate import (
    held_out,
    held_out_clips,
    held_out_frames,
    path_error,
    path_length,
    straight_line_error,
    validate,
)

from .boxes import render_boxes

DRAW = torch.Generator().manual_seed(0)


def path(frames=9):
    return torch.randn(1, frames, 3, generator=DRAW, dtype=torch.float64).cumsum(1)


def test_a_similar_path_has_no_error_and_any_other_umeyamas():
    truth, other = path(), path()
    turn = rotation_from_quaternion_wxyz(torch.randn(4, generator=DRAW, dtype=torch.float64))
    similar = 0.3 * truth @ turn.T + torch.tensor([1.0, 2.0, 3.0])
    assert float(path_error(similar, truth)) < 1e-6
    for found in (other, similar * torch.tensor([1.0, 1.0, -1.0])):  # a mirrored path is another one
        best = umeyama(found[0], truth[0])
        expected = (best.apply(found[0]) - truth[0]).square().sum(1).mean().sqrt()
        torch.testing.assert_close(path_error(found, truth)[0], expected)


def test_the_straight_guess_is_a_regression():
    truth = path()
    time = torch.arange(9, dtype=torch.float64)
    design = torch.stack([torch.ones(9, dtype=torch.float64), time], dim=1)
    fit = design @ torch.linalg.lstsq(design, truth[0]).solution
    torch.testing.assert_close(straight_line_error(truth)[0], (fit - truth[0]).square().sum(1).mean().sqrt())
    still = path_error(torch.zeros(1, 9, 3), truth)[0]
    torch.testing.assert_close(still, (truth[0] - truth[0].mean(0)).square().sum(1).mean().sqrt())
    assert float(path_length(torch.stack([time, 0 * time, 0 * time], 1)[None])) == pytest.approx(8)


@pytest.fixture(scope="module")
def chained():
    stage = recipe("pocket").stage("chained")
    return held_out(stage, ValidationConfig(clips=3, paths=2), render_boxes)


def test_whole_clips_are_run_as_the_stages_windows(chained):
    assert (chained.window, chained.overlap) == (8, 2)
    assert all(len(clip) == 24 for clips in chained.paths.values() for clip in clips)
    scores = validate(Network(preset("pocket")), chained)["all"]
    assert 0 < scores.guess_ate < scores.ate < 1  # boxes are walked straight, and nothing is learnt yet


def test_processes_share_the_clips_and_leave_none_out(chained):
    stage = recipe("pocket").stage("chained")
    shares = [
        held_out(stage, ValidationConfig(clips=3, paths=2), render_boxes, Ranks(rank, 2, torch.device("cpu")))
        for rank in range(2)
    ]
    for family, batches in chained.batches.items():
        (whole,), parts = batches, [share.batches[family][0] for share in shares]
        assert [len(part.names) for part in parts] == [2, 1]
        for rank, part in enumerate(parts):
            assert list(part.names) == list(whole.names[rank::2])
            assert torch.equal(part.images, whole.images[rank::2])
        assert [[clip.name for clip in share.paths[family]] for share in shares] == [
            [clip.name] for clip in chained.paths[family]
        ]


def test_long_clips_are_fewer():
    stage, config = recipe("loger").stage("stage2"), recipe("loger").validation
    assert held_out_clips(stage, config) == 8  # of 128 frames, in 4 families
    assert held_out_frames(stage, config) == config.most_frames == 4096
    assert held_out_clips(stage, replace(config, most_frames=1)) == 1


def test_a_picture_has_a_row_a_frame(chained, tmp_path):
    draw_held_out(Network(preset("pocket")), chained, 3, tmp_path / "pictures" / "a.png")
    picture = np.asarray(Image.open(tmp_path / "pictures" / "a.png"))
    assert picture.shape == (3 * 2 * 64, 3 * 80, 3)
    first = next(iter(chained.batches.values()))[0].images[0, 0]
    np.testing.assert_array_equal(picture[:64, :80], first.mul(255).round().permute(1, 2, 0))
    red, violet = colour(np.array([[1.0, 1e9]], dtype=np.float32), 1.0)[0]
    assert red[0] > violet[0]
