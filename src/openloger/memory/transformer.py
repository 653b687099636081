"""A small transformer for sequences of any length, whose time is linear in it and whose memory does not grow."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from openloger.errors import InputError
from openloger.memory.block import HybridBlock, HybridConfig
from openloger.memory.state import HybridMemory, Memory
from openloger.shapes import Bool, Float, Tensor


class HybridTransformer(nn.Module):
    """`depth` hybrid blocks and a norm over features of a sequence, chunk by chunk: `y, memory = model(x, memory)`.

    A sequence may come at once or in parts: parts of whole chunks give what the whole gives. A part that ends inside a
    chunk ends that chunk, too; to go on token by token, give the unfinished chunk again with each new token, and
    the memory of the last finished one: causal outputs do not depend on tokens that are still to come.

    Cost: O(T·(chunk·C + C²)) for T tokens and each block; between calls it holds one chunk a block and the fast
    weights. In training, activations of all chunks are held, back to where the gradient is cut.

    Example:
        >>> model = HybridTransformer(HybridConfig(width=64, heads=4))
        >>> y, memory = model(torch.randn(2, 1000, 64))
        >>> y, memory = model(torch.randn(2, 1000, 64), memory.detach())
    """

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(HybridBlock(config, layer=layer) for layer in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self,
        x: Float[Tensor, "batch token channel"],
        memory: Memory | None = None,
        *,
        valid: Bool[Tensor, "batch token"] | None = None,
        positions: Float[Tensor, "token axis"] | None = None,
        truncate: int | None = None,
    ) -> tuple[Float[Tensor, "batch token channel"], Memory | HybridMemory]:
        """Features of all tokens, and the memory after them.

        Args:
            x: Any number of tokens; they are cut into chunks of `config.chunk`, and the last may be shorter.
            memory: What the call before returned; None at the start of the sequences.
            valid: False for padding at the end of rows, where sequences differ in length.
            positions: (y, x) of each token, for positions "2d".
            truncate: Cut the gradient before every `truncate`-th chunk of this call; None: it reaches to the first.

        Raises:
            InputError: for features of another width, a memory of another number of sequences, `valid` or `positions`
                that do not fit the tokens, padding that is not at the end of its row, or a `truncate` below 1.
        """
        self._check(x, memory, valid=valid, positions=positions, truncate=truncate)
        state = HybridMemory() if memory is None else memory
        outputs: list[Tensor] = []
        for part, chunks in self._parts(x.shape[1], truncate, padded=valid is not None):
            if truncate is not None and part.start and part.start // self.config.chunk % truncate == 0:
                state = state.detach()
            y = x[:, part]
            rows = None if valid is None else valid[:, part]
            places = None if positions is None else positions[part]
            for block in self.blocks:
                y, state = block(y, state, valid=rows, positions=places, chunks=chunks)
            outputs.append(y)
        return self.norm(torch.cat(outputs, dim=1) if outputs else x), state

    def _check(
        self,
        x: Tensor,
        memory: HybridMemory | None,
        *,
        valid: Tensor | None,
        positions: Tensor | None,
        truncate: int | None,
    ) -> None:
        if x.ndim != 3 or x.shape[2] != self.config.width:
            raise InputError(f"features of shape {tuple(x.shape)} are not (batch, token, {self.config.width})")
        batch, tokens = x.shape[:2]
        if memory is not None and memory.batch not in (None, batch):
            raise InputError(f"a memory of {memory.batch} sequences does not go with {batch}: see `HybridMemory.rows`")
        if valid is not None and (valid.dtype != torch.bool or valid.shape != x.shape[:2]):
            raise InputError(f"`valid` is {valid.dtype} of {tuple(valid.shape)}, not torch.bool of {(batch, tokens)}")
        if valid is not None and bool((valid[:, 1:] & ~valid[:, :-1]).any()):
            raise InputError("`valid` has padding before a token: padding stands at the end of a row")
        if positions is not None and len(positions) != tokens:
            raise InputError(f"{len(positions)} positions do not go with {tokens} tokens")
        if truncate is not None and truncate < 1:
            raise InputError(f"truncate={truncate}: the gradient is cut before every chunk (1) or more seldom")

    def _parts(self, tokens: int, truncate: int | None, *, padded: bool) -> Iterator[tuple[slice, int]]:
        """Tokens that are computed at once, with the number of their chunks: none spans a cut of the gradient."""
        chunk = self.config.chunk
        whole = tokens // chunk
        most = 1 if padded else self.config.together
        number = 0
        while number < whole:
            left = whole if truncate is None else truncate - number % truncate
            count = min(most, left, whole - number)
            yield slice(number * chunk, (number + count) * chunk), count
            number += count
        if tokens % chunk:
            yield slice(whole * chunk, tokens), 1
