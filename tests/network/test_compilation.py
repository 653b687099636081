"""Compiled regions beside the network as it is: the same windows, no breaks, one piece of code for equal blocks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from network.reference import toy_network
from openloger.errors import InputError
from openloger.network.compilation import REGIONS, compile_regions, regions
from openloger.runtime.compiler import OLDEST_TORCH
from openloger.transformer.attention import Block

traceable = pytest.mark.skipif(torch.__version__ < OLDEST_TORCH, reason="older versions are refused")


@traceable
@pytest.mark.timeout(1500)  # seconds of processor time, which a busy machine gives in minutes
@pytest.mark.parametrize(
    ("backend", "precision", "most"),
    [
        ("aot_eager", "float32", 1e-5),  # operator by operator, so that what differs would be the tracing
        pytest.param("inductor", "float32", 1e-4, marks=pytest.mark.slow),
        pytest.param("inductor", "bfloat16", 2e-2, marks=pytest.mark.slow),
    ],
)
def test_compiled_windows_are_the_same(tmp_path, backend, precision, most):
    script = str(Path(__file__).with_name("compiled_windows.py"))
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, script, backend, precision], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["apart"] < most
    assert found["breaks"] == 0
    assert found["graphs"] < 30  # of more than 30 blocks and layers, in three windows


def test_every_block_is_in_one_region():
    network = toy_network()
    inside = [module for region in regions(network) for module in region.modules() if isinstance(module, REGIONS)]
    assert len(inside) == len(set(inside))
    assert set(inside) == {module for module in network.modules() if isinstance(module, REGIONS)}
    assert sum(isinstance(module, Block) for module in inside) > 20


def test_a_torch_that_cannot_trace_them_is_refused(monkeypatch):
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.9.1+cpu"))
    with pytest.raises(InputError, match=r"2\.9\.1.*without --compile"):
        compile_regions(toy_network())


@traceable
def test_where_it_does_not_work_one_line_names_the_way_out():
    network = toy_network()
    with pytest.raises(InputError, match=r"does not work here .*: run without --compile"):
        compile_regions(network, backend="a compiler that is not there")
    assert not network.compiled
