"""A network's blocks, one by one: compiled, or run a second time in the backward pass to save memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from openloger.memory.swa import SlidingWindowAttention
from openloger.memory.ttt import TestTimeTraining
from openloger.network import Network
from openloger.network.compilation import regions
from openloger.runtime.compiler import allow_variants
from openloger.training.matching import matching_blocks
from openloger.transformer.attention import Block


def blocks(network: nn.Module) -> list[nn.Module]:
    """The transformer blocks and memory layers; what is a part of a memory layer comes with it."""
    return regions(network, (Block, SlidingWindowAttention, TestTimeTraining))


def recompute_blocks(network: nn.Module) -> None:
    """Keep of every block only what goes in; the backward pass runs it again (arXiv 1604.06174).

    Of a block that no gradient goes through nothing is kept anyway.
    """
    for block in blocks(network):
        block.forward = partial(_recomputed, block, block.forward)


def _recomputed(block: nn.Module, forward: Callable[..., Any], *given: Any, **named: Any) -> Any:
    into = (*block.parameters(), *given, *named.values())
    if not any(isinstance(value, Tensor) and value.requires_grad for value in into):
        return forward(*given, **named)
    return checkpoint(forward, *given, use_reentrant=False, preserve_rng_state=False, **named)


def compile_blocks(network: Network) -> None:
    """torch.compile every transformer block for itself, but those that are listened to."""
    allow_variants()
    decoder = network.decoder.blocks
    listened = [decoder[number] for number in matching_blocks(len(decoder))]
    for block in blocks(network):
        if isinstance(block, Block) and block not in listened:
            block.compile()
