"""Processes that share a video's windows have what one has: predictions, memory, gradients."""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from openloger.errors import InputError
from openloger.network import Network, Window, preset, with_pi3x_heads
from openloger.training.rehearse import small_shape
from openloger.transformer.share import WindowShare

from .shared_windows import CASES, PROCESSES, SIZES, run, small_network

pytestmark = pytest.mark.timeout(600)  # seconds of work, on a machine that may be busy


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The folder of what each process has."""
    out = tmp_path_factory.mktemp("shared")
    script, quiet = Path(__file__).with_name("shared_windows.py"), {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(script), str(out)], env=quiet, timeout=500, check=False)
    assert done.returncode == 0
    return out


def by_layer(values):
    """Gradients of a layer's weights and biases together: those of some biases are 0 but for rounding."""
    layers = defaultdict(list)
    for name in sorted(values):
        layer = name.rpartition(".")[0] if name.startswith("gradient.") else name
        layers[layer].append(values[name].double().flatten())
    return {layer: torch.cat(parts) for layer, parts in layers.items()}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_processes_that_share_windows_equal_one(shared, name, size):
    alone = run(small_network(name), None)
    assert {part.partition(".")[0] for part in alone} == {"prediction", "memory", "gradient", "loss"}
    for rank in range(PROCESSES):
        found = load_file(shared / f"{name}-{size}-{rank}.safetensors")
        assert {part: one.shape for part, one in found.items()} == {part: one.shape for part, one in alone.items()}
        of_layers = by_layer(found)
        for layer, one in by_layer(alone).items():
            assert (of_layers[layer] - one).norm() <= 1e-5 * one.norm(), (rank, layer)


@pytest.mark.parametrize(("frames", "processes", "counts"), [(7, 3, [3, 2, 2]), (4, 4, [1] * 4), (2, 4, [1, 1, 0, 0])])
def test_frames_are_shared_out_evenly_and_in_order(frames, processes, counts):
    shares = [WindowShare(frames, rank, processes, None) for rank in range(processes)]
    assert shares[0].counts == counts
    own = [range(frames)[share.own] for share, count in zip(shares, counts, strict=True) if count]
    assert [frame for some in own for frame in some] == list(range(frames))
    assert [len(range(frames)[share.own]) for share in shares] == [max(count, 1) for count in counts]


@pytest.mark.parametrize("shape", [preset("compact"), with_pi3x_heads(small_shape("pi3"))], ids=["compact", "pi3x"])
def test_networks_that_look_from_frame_to_frame_otherwise_refuse(shape):
    network, patch = Network(shape), shape.encoder.patch
    images = torch.rand(1, 2, 3, 4 * patch, 4 * patch)
    with pytest.raises(InputError, match=rf"^{shape.name} takes whole windows; .*without"):
        network(Window(images, 2, 1, share=WindowShare(2, 0, 2, None)))
