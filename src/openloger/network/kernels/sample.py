"""A small network of a kind, untrained, and one window for it: what a calibration times."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import torch

from openloger.network.encoder import EncoderConfig
from openloger.network.heads import HeadsConfig
from openloger.network.kernels.choice import Kernels
from openloger.network.kernels.use import use_kernels
from openloger.network.network import Network, NetworkConfig
from openloger.network.window import Window

_MOST_PIXELS = 96**2  # of a frame
_WINDOW_PIXELS = 2 * _MOST_PIXELS
_DEEP = 4  # blocks of the decoder, past which a network is represented by fewer of the same width


class WindowSample:
    """One window of a few small frames, by a network of this configuration with few layers."""

    def __init__(self, config: NetworkConfig) -> None:
        """Nothing is random outside: the same network every time, and torch's generator as it was."""
        patch = config.encoder.patch
        side = patch * math.isqrt(min(config.max_pixels, _MOST_PIXELS) // patch**2)
        self.frames = min(config.window, _WINDOW_PIXELS // side**2)
        self.has_whole_frames = config.max_pixels <= _MOST_PIXELS  # as large as the network's own
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._network = Network(shallow(config)).eval().requires_grad_(False)
            self._images = torch.rand(1, self.frames, 3, side, side)

    def way(self, kernels: Kernels, precision: torch.dtype) -> Callable[[], object]:
        """Computes the window so, on a network of its own."""
        network = use_kernels(copy.deepcopy(self._network).set_precision(precision), kernels)
        window = Window(self._images, self.frames, 1)

        def run() -> object:
            with torch.inference_mode():
                return network(window)

        return run


def shallow(config: NetworkConfig) -> NetworkConfig:
    """The same with a layer of each kind, where there are many, and without what no choice is about, a camera that is
    computed from flow; every layer has its width."""
    config = replace(config, camera="regressed")
    if config.decoder.depth <= _DEEP:
        return config
    memory = config.memory and replace(config.memory, ttt_after=(0,), swa_after=(1,))
    encoder = replace(config.encoder, depth=1) if isinstance(config.encoder, EncoderConfig) else config.encoder
    heads = replace(config.heads, depth=1) if isinstance(config.heads, HeadsConfig) else config.heads
    decoder = replace(config.decoder, depth=2)
    return replace(config, encoder=encoder, decoder=decoder, heads=heads, memory=memory)
