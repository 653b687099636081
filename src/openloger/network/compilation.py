"""torch.compile by region: blocks, memory layers and pixel heads, one after the other, so that equal ones share code.

A whole network would be traced anew for every depth; its 80 blocks have four shapes. Elementwise work (norms, scales,
rotary positions, the learning rates of memory) is fused and stays in the precision of its inputs between two products.
"""

from __future__ import annotations

from torch import nn

from openloger.memory.swa import SlidingWindowAttention
from openloger.memory.ttt import TestTimeTraining
from openloger.network.heads import PixelHead
from openloger.network.network import Network
from openloger.network.pi3x import ConvolutionalPointHead
from openloger.runtime.compiler import allow_variants, check_compiler
from openloger.transformer.attention import Block

REGIONS = (Block, TestTimeTraining, SlidingWindowAttention, PixelHead, ConvolutionalPointHead)


def compile_regions(network: Network, *, backend: str = "inductor") -> Network:
    """Compile the regions of a network, in place, when they are first run; returns it.

    The first window of each new shape then takes long (minutes on a slow CPU), and later runs on the machine find the
    code in a cache (TORCHINDUCTOR_CACHE_DIR, by default in ~/.cache/openloger). Results agree with those of the network
    as it was up to rounding.

    Raises InputError where torch.compile does not work here: an older torch, no C++ compiler, no Triton on a card.
    """
    check_compiler(network.device, backend=backend, instead="run without --compile")
    allow_variants()
    for module in regions(network):
        module.compile(backend=backend)
    network.compiled = True
    return network


def regions(module: nn.Module, kinds: tuple[type[nn.Module], ...] = REGIONS) -> list[nn.Module]:
    """The outermost modules of these kinds within a module."""
    found: list[nn.Module] = []
    for child in module.children():
        found += [child] if isinstance(child, kinds) else regions(child, kinds)
    return found
