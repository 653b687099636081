"""How a run has its worlds rendered: as its config says, or refused before anything begins."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from openloger.errors import InputError
from openloger.training.config import load_config, recipe
from openloger.training.data import ClipSpec
from openloger.training.distribute import device_of_process
from openloger.training.render import render_clips, renderer

SPEC = ClipSpec("rooms", 1_000_001, 3, 2, 5.0, (16, 24))


def test_as_it_comes_worlds_are_rendered_on_the_cpu() -> None:
    (found,), (plain,) = renderer(recipe("pocket"))([SPEC]), render_clips([SPEC])
    np.testing.assert_array_equal(found.rgb, plain.rgb)
    np.testing.assert_array_equal(found.depth, plain.depth)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_a_card_that_is_not_there_is_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match=r'cuda:0.*cannot be used here.*set render_device = "cpu"'):
        renderer(replace(recipe("pocket"), render_device="cuda"))


def test_kernels_that_cannot_be_compiled_are_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.9.1+cpu"))
    with pytest.raises(InputError, match=r"2\.9\.1.*set render_compiled = false"):
        renderer(replace(recipe("pocket"), render_compiled=True))


def test_another_device_is_refused(tmp_path) -> None:
    (tmp_path / "run.toml").write_text('preset = "pocket"\nrender_device = "gpu"\n')
    with pytest.raises(InputError, match=r"render_device is 'gpu'; it is cpu or cuda"):
        load_config(tmp_path / "run.toml")


def test_each_process_of_a_machine_has_its_own_card(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_of_process("cuda") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_of_process("cuda") == torch.device("cuda", 3)
    assert device_of_process("cpu") == torch.device("cpu")
