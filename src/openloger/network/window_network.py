"""The part of a network that a stream needs: what runs it in torch and what runs an exported one have it in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from openloger.network.video_memory import VideoMemory
from openloger.shapes import Float, Tensor

if TYPE_CHECKING:
    from openloger.network.network import NetworkConfig
    from openloger.network.window import Window, WindowPrediction


@runtime_checkable
class WindowNetwork(Protocol):
    """`prediction, memory = network(window, memory)`, in torch (`Network`) or not (`OnnxNetwork`)."""

    @property
    def config(self) -> NetworkConfig: ...

    @property
    def device(self) -> torch.device:
        """Of the tensors that go in and come out."""
        ...

    @property
    def takes_padding(self) -> bool:
        """Whether a last window may be padded to the usual length."""
        ...

    def __call__(
        self, window: Window, memory: VideoMemory | None = None, *, disabled: Collection[str] = ()
    ) -> tuple[WindowPrediction, VideoMemory]: ...

    def carried_place(self, memory: VideoMemory, size: tuple[int, int]) -> Float[Tensor, " number"] | None:
        """As `places.place_of_overlap`."""
        ...

    def weights_hash(self) -> str | None:
        """The SHA-256 of the weights file, in hexadecimal; None: they are random."""
        ...

    def run_settings(self) -> Mapping[str, Any]:
        """How it is run, as recordings keep it: two runs of the same settings give the same numbers."""
        ...

    def parameter_count(self) -> int: ...
