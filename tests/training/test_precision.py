"""What a run multiplies in: asked for by name, or what the device is good at."""

import pytest
import torch

from openloger.training.precision import autocast_dtype
from openloger.training.train import train

from .boxes import render_boxes
from .test_train import losses, tiny

CPU = torch.device("cpu")


@pytest.mark.parametrize("able", [{"avx512_bf16": True}, {"amx_bf16": True}, {"avx512_f": True}, {}])
def test_auto_is_bfloat16_where_a_processor_multiplies_in_it(monkeypatch, able):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert autocast_dtype("auto", CPU) == (torch.bfloat16 if any("bf16" in name for name in able) else torch.float32)
    assert autocast_dtype("bfloat16", CPU) == torch.bfloat16
    assert autocast_dtype("float32", CPU) == torch.float32


def test_a_torch_that_cannot_tell_takes_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert autocast_dtype("auto", CPU) == torch.float32


def test_a_run_in_bfloat16_learns_as_one_in_float32(tmp_path):
    for precision in ("float32", "bfloat16"):
        train(tiny(6, precision=precision), tmp_path / precision, render=render_boxes, device="cpu")
    exact, rounded = (losses(tmp_path / precision) for precision in ("float32", "bfloat16"))
    assert exact != rounded
    assert rounded == pytest.approx(exact, rel=0.02)
