"""Images and memory in, a prediction and the next memory out."""

from openloger.network.checkpoint import save_network, weights_hash
from openloger.network.load import load_network
from openloger.network.memory import HybridMemory, MemoryConfig
from openloger.network.network import Network, NetworkConfig, Window, WindowPrediction
from openloger.network.presets import PRESETS, preset, with_pi3x_heads
from openloger.network.spec import NetworkSpec

__all__ = [
    "PRESETS",
    "HybridMemory",
    "MemoryConfig",
    "Network",
    "NetworkConfig",
    "NetworkSpec",
    "Window",
    "WindowPrediction",
    "load_network",
    "preset",
    "save_network",
    "weights_hash",
    "with_pi3x_heads",
]
