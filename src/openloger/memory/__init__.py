"""Hybrid memory for long sequences: exact for what is near, compressed for the whole, and bounded.

The layers of LoGeR (arXiv 2603.03269) for any sequence: the reconstruction network is made of these very classes.

- `TestTimeTraining`: fast weights that learn the sequence while it runs; `SlidingWindowAttention`: the previous chunk.
- `HybridBlock`: attention inside a chunk and both memories; `HybridTransformer`: a stack of them over any length.
- `HybridLayers`: memory layers to put after blocks of a transformer that exists.
- `written`: how much chunks write into the fast weights, for a cost in training that keeps old memories.
- `HybridMemory`: the state, a value: `y, memory = layer(x, memory)`. Nothing of a sequence stays in a module.
"""

from openloger.memory.block import HybridBlock, HybridConfig
from openloger.memory.hybrid import MEMORY_KINDS, HybridLayers, MemoryConfig
from openloger.memory.state import HybridMemory
from openloger.memory.swa import SlidingWindowAttention
from openloger.memory.transformer import HybridTransformer
from openloger.memory.ttt import FastWeights, TestTimeTraining
from openloger.memory.writing import written
from openloger.transformer.attention import KeysValues, Rotary

__all__ = [
    "MEMORY_KINDS",
    "FastWeights",
    "HybridBlock",
    "HybridConfig",
    "HybridLayers",
    "HybridMemory",
    "HybridTransformer",
    "KeysValues",
    "MemoryConfig",
    "Rotary",
    "SlidingWindowAttention",
    "TestTimeTraining",
    "written",
]
