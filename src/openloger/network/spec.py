"""Which network runs, with which weights, on which device and in which precision."""

from __future__ import annotations

from dataclasses import dataclass

from openloger.network.compilation import compile_regions
from openloger.network.load import load_network
from openloger.network.network import Network
from openloger.network.presets import PRESETS


@dataclass(frozen=True)
class NetworkSpec:
    """Which network runs, and on which device."""

    network: str
    """A preset; `openloger networks` lists them."""
    weights: str | None = None
    """A file, a folder, a Hugging Face id (user/repo), or "random". By default what the box or the hub has."""
    device: str = "auto"
    """cpu, cuda, mps, or auto."""
    dtype: str = "auto"
    """float32, bfloat16, float16, or auto: bfloat16 where the device has it natively."""
    compile: bool = False
    """Compile the network with torch.compile: faster from then on, but the first windows take long, and more memory."""

    @property
    def preset(self) -> str | None:
        """The preset that it is, as far as that is certain before it is loaded; None: weights of one's own name it."""
        return self.network if self.weights is None and self.network in PRESETS else None

    def load(self) -> Network:
        """The network, on its device; raises InputError or WeightsError as `load_network` does."""
        network = load_network(self.network, weights=self.weights, device=self.device, dtype=self.dtype)
        return compile_regions(network) if self.compile else network
