"""A network's blocks, one by one: compiled, or run a second time in the backward pass to save memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from openloger.memory.swa import SlidingWindowAttention
from openloger.memory.ttt import TestTimeTraining
from openloger.network import Network
from openloger.training.matching import matching_blocks
from openloger.transformer.attention import Block

_WHOLE = (Block, SlidingWindowAttention, TestTimeTraining)


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The transformer blocks and memory layers; what is a part of a memory layer comes with it."""
    inside: set[nn.Module] = set()
    for module in network.modules():
        if isinstance(module, _WHOLE) and module not in inside:
            inside |= set(module.modules())
            yield module


def recompute_blocks(network: nn.Module) -> None:
    """Keep of every block only what goes in; the backward pass runs it again (arXiv 1604.06174)."""
    for block in blocks(network):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)


def compile_blocks(network: Network) -> None:
    """torch.compile every transformer block for itself, but those that are listened to."""
    torch._dynamo.config.cache_size_limit = max(64, torch._dynamo.config.cache_size_limit)
    decoder = network.decoder.blocks
    listened = [decoder[number] for number in matching_blocks(len(decoder))]
    for block in blocks(network):
        if isinstance(block, Block) and block not in listened:
            block.compile()
