"""Images and memory in, a prediction and the next memory out."""

from openloger.memory import MemoryConfig
from openloger.network.checkpoint import save_network
from openloger.network.compilation import compile_regions
from openloger.network.exported import OnnxNetwork, export_network
from openloger.network.hashing import weights_hash
from openloger.network.load import load_network
from openloger.network.network import Network, NetworkConfig
from openloger.network.presets import PRESETS, preset, with_pi3x_heads
from openloger.network.spec import NetworkSpec
from openloger.network.video_memory import VideoMemory
from openloger.network.window import Window, WindowPrediction
from openloger.network.window_network import WindowNetwork

__all__ = [
    "PRESETS",
    "MemoryConfig",
    "Network",
    "NetworkConfig",
    "NetworkSpec",
    "OnnxNetwork",
    "VideoMemory",
    "Window",
    "WindowNetwork",
    "WindowPrediction",
    "compile_regions",
    "export_network",
    "load_network",
    "preset",
    "save_network",
    "weights_hash",
    "with_pi3x_heads",
]
