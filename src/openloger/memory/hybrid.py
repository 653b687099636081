"""Memory layers after chosen blocks of any transformer, as LoGeR (arXiv 2603.03269) puts them into a decoder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from torch import nn

from openloger.memory.state import Memory
from openloger.memory.swa import SlidingWindowAttention
from openloger.memory.ttt import TestTimeTraining
from openloger.shapes import Float, Tensor
from openloger.transformer.attention import Rotary
from openloger.transformer.share import WindowShare

MEMORY_KINDS = ("ttt", "swa")  # of layers


@dataclass(frozen=True)
class MemoryConfig:
    """Which blocks are followed by which memory layer; where both follow one block, TTT comes first."""

    ttt_after: tuple[int, ...]
    swa_after: tuple[int, ...]
    ttt_head_dim: int
    mlp_ratio: int = 4  # expansion of the fast network and of the SWA block's MLP
    ttt_pre_norm: bool = True
    newton_schulz: str = "auto"  # "bfloat16" as published, "float32", or "auto": the precision of everything around it


class HybridLayers(nn.Module):
    """Memory layers to put between the blocks of a transformer that exists; with closed gates it stays what it was.

    Each kind is numbered along the blocks; the numbers are those of `HybridMemory`.
    """

    def __init__(self, config: MemoryConfig, *, width: int, heads: int, layer_scale: float) -> None:
        super().__init__()
        self._ttt_after = {block: layer for layer, block in enumerate(config.ttt_after)}
        self._swa_after = {block: layer for layer, block in enumerate(config.swa_after)}
        self.ttt = nn.ModuleList(
            TestTimeTraining(
                width,
                head_dim=config.ttt_head_dim,
                expansion=config.mlp_ratio,
                pre_norm=config.ttt_pre_norm,
                newton_schulz=config.newton_schulz,
            )
            for _ in config.ttt_after
        )
        self.swa = nn.ModuleList(
            SlidingWindowAttention(width, heads, mlp_ratio=config.mlp_ratio, layer_scale=layer_scale)
            for _ in config.swa_after
        )

    def has_layer_after(self, block: int) -> bool:
        return block in self._ttt_after or block in self._swa_after

    def forward(
        self,
        tokens: Float[Tensor, "batch token channel"],
        memory: Memory,
        *,
        block: int,
        rotary: Rotary,
        disabled: Collection[str] = (),
        learns: bool = True,
        count: int | None = None,
        share: WindowShare | None = None,
    ) -> tuple[Float[Tensor, "batch token channel"], Memory]:
        """All tokens of a window after block `block`, with the memory applied: TTT first, then SWA.

        Where it `learns` nothing, as no window follows, the fast weights in the memory are those that came in. Only
        then may tokens be padding: those after the first `count`. With a `share` the tokens are of this process'
        frames, and the memory is of all of the window's.
        """
        assert count is None or not learns, "padding would be learned"
        if block in self._ttt_after and "ttt" not in disabled:
            layer = self._ttt_after[block]
            tokens, weights = self.ttt[layer](tokens, memory.fast_weights.get(layer), learns=learns, share=share)
            if learns:
                memory = replace(memory, fast_weights={**memory.fast_weights, layer: weights})
        if block in self._swa_after and "swa" not in disabled:
            layer = self._swa_after[block]
            tokens, own = self.swa[layer](tokens, rotary, memory.keys_values.get(layer), count=count, share=share)
            memory = replace(memory, keys_values={**memory.keys_values, layer: own})
        return tokens, memory
