"""Layers of other libraries in the place of the hybrid memory: the same attention inside chunks, another memory after.

- `deltanet`: a DeltaNet layer (arXiv 2406.06484) around the delta rule of fla (flash-linear-attention). Its kernels are
  Triton and need a card; the reference that it tests them by is plain PyTorch, token by token, and runs anywhere.
- `titans`: `NeuralMemory` of titans-pytorch (Titans, arXiv 2501.00663), with its own defaults.
- `gru`: no attention and no chunks, two layers of PyTorch's GRU alone, which change their state with every token.

The width of the MLPs, or of the GRU, makes up for the number of weights.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openloger.memory import Rotary
from openloger.transformer.attention import Block

HEADS = 4  # of a peer's memory
GRU_WIDTH = 128
MLP_RATIOS = {"deltanet": 7, "titans": 6}  # as many weights as the hybrid has, within 5 %


class PeerTransformer(nn.Module):
    """Takes the place of a `HybridTransformer` of two blocks."""

    def __init__(self, peer: str, *, width: int, heads: int, chunk: int) -> None:
        super().__init__()
        self.chunk = chunk
        self.blocks = nn.ModuleList(
            Block(width, heads, qk_norm=True, layer_scale=None, mlp_ratio=MLP_RATIOS[peer]) for _ in range(2)
        )
        make = {"deltanet": DeltaNet, "titans": titans}[peer]
        self.memories = nn.ModuleList(make(width, chunk) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.head_dim = width // heads

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        order = torch.arange(self.chunk, dtype=torch.float32)[:, None]
        rotary = Rotary.of(order, self.head_dim, base=10_000.0)
        for block, norm, memory in zip(self.blocks, self.norms, self.memories, strict=True):
            chunks = x.unflatten(1, (-1, self.chunk)).flatten(0, 1)
            x = block(chunks, rotary, causal=True).view(x.shape)
            read = memory(norm(x))
            x = x + (read if isinstance(read, Tensor) else read[0])
        return self.norm(x), None


class Recurrent(nn.Module):
    """Takes the place of a `HybridTransformer` of two blocks of width 64."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, GRU_WIDTH, num_layers=2, batch_first=True)
        self.proj = nn.Linear(GRU_WIDTH, width, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.proj(self.gru(x)[0]), None


class DeltaNet(nn.Module):
    """S ← S + β k (v − Sᵀ k)ᵀ, o = Sᵀ q, with q, k, v behind a causal convolution over four tokens and SiLU."""

    def __init__(self, width: int, _: int) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.convolution = nn.Conv1d(3 * width, 3 * width, 4, groups=3 * width, bias=False)
        self.to_beta = nn.Linear(width, HEADS)
        self.norm = nn.RMSNorm(width // HEADS, eps=1e-5)
        self.proj = nn.Linear(width, width, bias=False)
        self.delta_rule = _fla_reference().delta_rule_recurrence

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.convolution(F.pad(self.to_qkv(x).mT, (3, 0))).mT
        q, k, v = F.silu(mixed).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)  # (B, H, T, d)
        beta = self.to_beta(x).sigmoid().transpose(1, 2)
        o, _ = self.delta_rule(F.normalize(q, dim=-1), F.normalize(k, dim=-1), v, beta)
        return self.proj(self.norm(o).transpose(1, 2).flatten(2))


def titans(width: int, chunk: int) -> nn.Module:
    module: Any = importlib.import_module("titans_pytorch")
    memory: nn.Module = module.NeuralMemory(dim=width, chunk_size=chunk, heads=HEADS, dim_head=width // HEADS)
    for weight in memory.parameters():
        weight.data = weight.data.clone()  # some are one value seen many times, which no optimiser can write to
    return memory


def _fla_reference() -> ModuleType:
    """The file alone: the packages around it import Triton."""
    found = importlib.util.find_spec("fla")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("pip install --no-deps flash-linear-attention fla-core einops")
    file = Path(found.submodule_search_locations[0]) / "ops" / "delta_rule" / "naive.py"
    spec = importlib.util.spec_from_file_location("fla_delta_rule_reference", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
