"""Muon takes the matrices and AdamW the rest, each weight once; both learn."""

import re
from dataclasses import replace

import pytest
import torch

from openloger.errors import InputError
from openloger.network import Network, preset
from openloger.training.config import OptimiserConfig
from openloger.training.optimiser import make_optimisers
from openloger.training.train import Budget, train

from .boxes import render_boxes
from .shallow import shallow
from .test_train import losses, tiny

HAS_MUON = hasattr(torch.optim, "Muon")
NEEDS_MUON = pytest.mark.skipif(not HAS_MUON, reason="torch has Muon from 2.9 on")


@pytest.mark.parametrize("kind", ["adamw", pytest.param("muon", marks=NEEDS_MUON)])
def test_every_weight_moves_by_one_optimiser(kind):
    network = Network(preset("pocket"))
    optimisers = make_optimisers(network, OptimiserConfig(kind=kind), encoder_rate=0.1)
    assert [type(one).__name__ for one in optimisers] == (["AdamW"] if kind == "adamw" else ["AdamW", "Muon"])
    moved = [w for one in optimisers for group in one.param_groups for w in group["params"]]
    assert len(moved) == len(set(moved)) == len(list(network.parameters()))
    if kind == "muon":
        assert all(w.ndim == 2 for group in optimisers[1].param_groups for w in group["params"])
    parts = {group["part"] for one in optimisers for group in one.param_groups}
    assert parts == ({0.1, 1.0} if kind == "adamw" else {0.1, 1.0, 2.0, 20.0})


@NEEDS_MUON
def test_muon_learns_and_is_taken_up_again(tmp_path):
    config = tiny(4)
    config = replace(config, optimiser=replace(config.optimiser, kind="muon"))
    given = {"render": render_boxes, "device": "cpu", "shape_of": shallow}
    for out, cut in (("whole", None), ("cut", 2)):
        train(config, tmp_path / out, budget=Budget(steps=cut), **given)
    train(config, tmp_path / "cut", resume=True, **given)
    whole, cut = (losses(tmp_path / out) for out in ("whole", "cut"))
    assert whole == cut
    assert whole[-1] < whole[0]


def test_a_torch_without_muon_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    config = replace(tiny(1), optimiser=OptimiserConfig(kind="muon"))
    with pytest.raises(InputError, match=rf"2\.9 .*{re.escape(torch.__version__)}; .*adamw"):
        train(config, tmp_path / "run", render=render_boxes, device="cpu")
    assert not (tmp_path / "run").exists()
