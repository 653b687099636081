"""The step that is traced: images of a window and the memory in, the heads' outputs and the next memory out.

Tensors have the names of `VideoMemory.to_tensors`; those of the next memory begin with `next.`. A first window has the
fast weights that the network was trained to begin with as inputs, and no keys, values or features; a steady one has all
that a window leaves. Sides of the picture, frames of a window and tokens of the window before are free.

Legend: F frame, O frame shared with the previous window, H head, S token of the previous window, C channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from openloger.memory import TestTimeTraining
from openloger.network.encoder import EncoderConfig
from openloger.network.heads import HeadsConfig
from openloger.network.network import Network, NetworkConfig
from openloger.network.video_memory import VideoMemory
from openloger.network.window import Window, WindowPrediction
from openloger.shapes import Int, Tensor

OUTPUTS = ("world_from_cam", "points_cam", "confidence_logit")  # of a prediction
METRIC = "metric_scale"  # of a network with a metric head, as well
NEXT = "next."
FIRST, STEADY = "first", "steady"
Dims = tuple[int | str, ...]  # of an input: sizes, and the names of those that are free

_ROWS, _COLUMNS, _FRAMES = 3, 5, 7  # of the example that is traced; unlike each other and every size of the networks
_FRAMES_BEFORE = 4


@dataclass(frozen=True)
class GraphInput:
    """One input of a graph."""

    name: str
    dims: Dims
    example: Tensor


class WindowStep(nn.Module):
    """One window of a network, in tensors alone; `kind` is that of the window, `overlap` in frames."""

    def __init__(self, network: Network, *, kind: str, overlap: int) -> None:
        super().__init__()
        self.network = network
        self.overlap = overlap
        self.inputs = graph_inputs(network, kind=kind, overlap=overlap)
        self.outputs = graph_outputs(network.config, overlap=overlap)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Of the tensors of `inputs`, those of `outputs`, in their order."""
        named = {entry.name: tensor for entry, tensor in zip(self.inputs, tensors, strict=True)}
        images, roles = named.pop("images"), named.pop("roles", None)
        window = _StepWindow(images, images.shape[1], self.overlap, rigid=False, given_roles=roles)
        prediction, memory = self.network(window, VideoMemory.from_tensors(named))
        found = named_outputs(prediction, memory)
        return tuple(found[name] for name in self.outputs)


@dataclass(frozen=True)
class _StepWindow(Window):
    """A window whose roles are given: counted from a number of frames that is free, they would fix it."""

    given_roles: Int[Tensor, " frame"] | None = None

    @property
    def roles(self) -> Int[Tensor, " frame"]:
        none = torch.zeros(1, dtype=torch.long)  # of a network without memory, which reads none
        return none if self.given_roles is None else self.given_roles


def named_outputs(prediction: WindowPrediction, memory: VideoMemory) -> dict[str, Tensor]:
    """What a step gives, by name."""
    found = {name: getattr(prediction, name) for name in OUTPUTS}
    if prediction.metric_scale is not None:
        found[METRIC] = prediction.metric_scale
    return found | {NEXT + name: tensor for name, tensor in memory.to_tensors().items()}


def initial_memory(network: Network) -> dict[str, Tensor]:
    """The fast weights before the first window, by name."""
    layers = () if network.decoder.memory is None else network.decoder.memory.ttt
    weights = {n: layer.initial_weights(1) for n, layer in enumerate(layers) if isinstance(layer, TestTimeTraining)}
    named = VideoMemory(fast_weights=weights).to_tensors()
    return {name: tensor.detach().float().cpu().clone() for name, tensor in named.items()}


def graph_outputs(config: NetworkConfig, *, overlap: int) -> tuple[str, ...]:
    """The names of a step's outputs."""
    assert isinstance(config.heads, HeadsConfig), "checked before"
    names = [*OUTPUTS] if config.heads.pi3x is None else [*OUTPUTS, METRIC]
    memory = config.memory
    if memory is not None:
        names += [f"{NEXT}fast_weights.{n}.{w}" for n in range(len(memory.ttt_after)) for w in ("w0", "w1", "w2")]
        names += [f"{NEXT}keys_values.{n}.{part}" for n in range(len(memory.swa_after)) for part in ("keys", "values")]
    return (*names, f"{NEXT}overlap_features.0") if overlap else tuple(names)


def graph_inputs(network: Network, *, kind: str, overlap: int) -> tuple[GraphInput, ...]:
    """The inputs of a step, with an example of each."""
    config, patch = network.config, network.config.encoder.patch
    frames = _FRAMES + overlap
    images = torch.rand(1, frames, 3, _ROWS * patch, _COLUMNS * patch)
    inputs = [GraphInput("images", (1, "frames", 3, "height", "width"), images)]
    if config.memory is not None:
        roles = (torch.arange(frames) >= overlap).long()
        inputs.append(GraphInput("roles", ("frames",), roles))
        inputs += [GraphInput(name, tuple(w.shape), w) for name, w in initial_memory(network).items()]
        if kind == STEADY:
            inputs += _keys_values(network)
    if kind == STEADY and overlap:
        assert isinstance(config.encoder, EncoderConfig), "checked before"
        features = torch.rand(1, overlap, _ROWS * _COLUMNS, config.encoder.width)
        inputs.append(GraphInput("overlap_features.0", (1, overlap, "patches", features.shape[-1]), features))
    return tuple(inputs)


def _keys_values(network: Network) -> list[GraphInput]:
    config = network.config.decoder
    tokens = _FRAMES_BEFORE * (_ROWS * _COLUMNS + network.decoder.special_tokens)
    assert network.config.memory is not None
    found = []
    for layer in range(len(network.config.memory.swa_after)):
        for part in ("keys", "values"):
            example = torch.rand(1, config.heads, tokens, config.width // config.heads)
            dims = (1, config.heads, "tokens_before", example.shape[-1])
            found.append(GraphInput(f"keys_values.{layer}.{part}", dims, example))
    return found
