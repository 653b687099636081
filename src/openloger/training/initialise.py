"""First weights: from a checkpoint, from a network without memory, or between two checkpoints.

The memory layers of a LoGeR network join a π³ network (or our own after its first stages) without a jump: every gate
is zero, so a layer adds exactly nothing; each sliding-window layer is a copy of the next window-attention block, so
that it attends sensibly as soon as its gate opens. Only the role token, one more token in front of each frame, is
seen at once; it starts as a copy of the last register token. Without it step 0 is π³ to the bit; with it, and random
weights of `pocket` and `compact`, depth moved by 0.3 % on average (at most 3 %), cameras by 0.03° and 1 % of their way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from openloger.errors import InputError, WeightsError
from openloger.memory.hybrid import HybridLayers
from openloger.network import Network, load_network
from openloger.network.checkpoint import load_tensors, read_config, read_tensors
from openloger.network.published_names import published_name
from openloger.shapes import Tensor


def begin_from(network: Network, path: Path, *, gate: float = 0.0) -> None:
    """Give a network the weights of a checkpoint (published names or ours): of the same network, or of one without its
    memory, such as π³, whose memory layers then begin as in `join_memory`, or without its refinement of depth.

    Raises:
        WeightsError: the file holds another network, or memory layers that this network leaves out.
    """
    tensors = _with_refinement(network, read_tensors(path))
    bare = Network(replace(network.config, memory=None))
    if network.config.memory is None:
        _refuse_memory(path)
    of_memory = network.state_dict().keys() - bare.state_dict().keys()
    if network.config.memory is None or any(name in tensors or published_name(name) in tensors for name in of_memory):
        load_tensors(network, tensors, source=str(path))
    else:
        load_tensors(bare, tensors, source=str(path))
        join_memory(bare, network, gate=gate)


def _with_refinement(network: Network, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors of a checkpoint; where it has no refinement, the network's own, which adds nothing yet."""
    own = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("refinement.")}
    return tensors if any(name in tensors for name in own) else {**tensors, **own}


def _refuse_memory(path: Path) -> None:
    config = read_config(path)
    if config is not None and config.memory is not None:
        raise WeightsError(
            f"{path} has memory layers, and the stage that would begin from it leaves them out; begin with a later "
            "stage of the recipe (--stage NAME)"
        )


@torch.no_grad()
def join_memory(bare: Network, network: Network, *, gate: float = 0.0) -> None:
    """Give a network with memory the weights of the same network without, and open its memory layers on nothing.

    A layer behind a shut gate learns only as its gate opens, which in a few hundred steps it hardly does. `gate`
    above 0 is where the gates of the sliding windows begin (before SiLU); those of the fast weights begin at 1 then,
    and their projections at zero, so that they add nothing, but learn at once.
    """
    layers, memory = network.decoder.memory, network.config.memory
    if layers is None or memory is None or network.decoder.roles is None:
        raise InputError(f"{network.config.name!r} has no memory layers; load the weights as they are")
    network.load_state_dict({**network.state_dict(), **bare.state_dict()})
    for role in network.decoder.roles:
        role.copy_(network.decoder.registers[:, :, -1:])
    for layer, after in zip(layers.swa, memory.swa_after, strict=True):
        _copy_what_fits(_next_window_block(network, after), layer.get_submodule("block"))
    for name, weight in layers.named_parameters():
        if ".gate." in name:
            weight.zero_()
    if gate > 0:
        _set_gates(layers, gate)


def _set_gates(layers: HybridLayers, gate: float) -> None:
    for sliding in layers.swa:
        sliding.get_submodule("gate").get_parameter("bias").fill_(gate)
    for fast in layers.ttt:
        fast.get_submodule("gate").get_parameter("bias").fill_(1.0)
        fast.get_submodule("proj").get_parameter("weight").zero_()


def _next_window_block(network: Network, after: int) -> nn.Module:
    """The first block over the whole window after block `after`; the last one where none follows."""
    blocks = network.decoder.blocks
    return blocks[min(after + 1 + after % 2, len(blocks) - 1)]


def _copy_what_fits(source: nn.Module, target: nn.Module) -> None:
    """All tensors of the same shape; an MLP of another width keeps its own start."""
    own = target.state_dict()
    same = {name: value for name, value in source.state_dict().items() if own[name].shape == value.shape}
    mlp_fits = all(name in same for name in own if name.startswith("mlp."))
    target.load_state_dict(
        {**own, **{name: value for name, value in same.items() if mlp_fits or not name.startswith("mlp.")}}
    )


@torch.no_grad()
def blend(before: str | Path, after: str | Path, *, part: float) -> Network:
    """Interpolate two checkpoints: the network of `after` with the weights before + part · (after − before).

    The network is on the CPU, in float32. Both are what `openloger.load_network` takes for weights: our own files,
    folders or preset names. Weights that only `after` has, such as memory layers that joined in between, are taken from
    it. A stage that is long on worlds loses some of what carries over to real video; a network part of the way keeps
    more of both than either end (WiSE-FT, arXiv 2109.01903).

    Raises:
        InputError: `part` is not within 0..1.
        WeightsError: `before` has a weight that `after` has not, or of another shape.
    """
    if not 0 <= part <= 1:
        raise InputError(f"part is {part}; it is between 0, the weights before, and 1, those after")
    old, new = (load_network(str(path), device="cpu", dtype="float32") for path in (before, after))
    weights = new.state_dict()
    for name, start in old.state_dict().items():
        if name not in weights or weights[name].shape != start.shape:
            raise WeightsError(f"{before} has {name!r} of shape {tuple(start.shape)}, and {after} has no such weight")
        weights[name].lerp_(start, 1 - part)
    return new
