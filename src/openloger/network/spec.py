"""Which network runs, with which weights, on which device and in which precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from openloger.errors import InputError
from openloger.network.compilation import compile_regions
from openloger.network.exported import OnnxNetwork, is_exported
from openloger.network.load import load_network
from openloger.network.network import Network
from openloger.network.presets import PRESETS
from openloger.network.window_network import WindowNetwork


@dataclass(frozen=True)
class NetworkSpec:
    """Which network runs, and on which device."""

    network: str
    """A preset (`openloger networks` lists them), or a folder that `openloger export-network` wrote."""
    weights: str | None = None
    """A file, a folder, a Hugging Face id (user/repo), or "random". By default what the box or the hub has."""
    device: str = "auto"
    """cpu, cuda, mps, or auto."""
    dtype: str = "auto"
    """float32, bfloat16, float16, or auto: bfloat16 where the device is fast in it (`openloger info --device`)."""
    compile: bool = False
    """Compile the network with torch.compile: faster from then on, but the first windows take long, and more memory."""

    @property
    def preset(self) -> str | None:
        """The preset that it is, as far as that is certain before it is loaded; None: weights of one's own name it."""
        return self.network if self.weights is None and self.network in PRESETS else None

    def continuing(self, settings: Mapping[str, Any] | None) -> NetworkSpec:
        """The same in the precision of a recording of these settings, where none is asked for; None: a new one."""
        if self.dtype != "auto" or settings is None or self._is_exported:
            return self
        return replace(self, dtype=settings["precision"])

    @property
    def _is_exported(self) -> bool:
        """A preset's name is that, whatever lies in a folder of that name."""
        return self.network not in PRESETS and is_exported(self.network)

    def load(self) -> Network:
        """The network in torch, on its device; raises InputError or WeightsError as `load_network` does."""
        if self._is_exported:
            raise InputError(f"{self.network} is an exported network, which reconstruct, live and batch alone can run")
        network = load_network(self.network, weights=self.weights, device=self.device, dtype=self.dtype)
        return compile_regions(network) if self.compile else network

    def load_window_network(self) -> WindowNetwork:
        """The network that a stream runs: in torch, or an exported one in ONNX Runtime.

        Raises InputError or WeightsError as `load_network` and `OnnxNetwork.load` do, and InputError for a setting that
        an exported network does not take.
        """
        if not self._is_exported:
            return self.load()
        taken = {"weights": (None,), "device": ("auto", "cpu"), "dtype": ("auto",), "compile": (False,)}
        for name, values in taken.items():
            if getattr(self, name) not in values:
                raise InputError(f"{name} {getattr(self, name)}: an exported network ({self.network}) is run as it is")
        return OnnxNetwork.load(self.network)
