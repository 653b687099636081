"""Training in bfloat16."""

import pytest

from openloger.training.train import train

from .boxes import render_boxes
from .test_train import losses, tiny


def test_a_run_in_bfloat16_learns_as_one_in_float32(tmp_path):
    for precision in ("float32", "bfloat16"):
        train(tiny(6, precision=precision), tmp_path / precision, render=render_boxes, device="cpu")
    exact, rounded = (losses(tmp_path / precision) for precision in ("float32", "bfloat16"))
    assert exact != rounded
    assert rounded == pytest.approx(exact, rel=0.02)
