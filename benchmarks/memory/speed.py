"""Seconds of the hybrid memory against full attention, by length: the same small transformer, one thread, by turns.

Both are `HybridTransformer`s of two blocks; full attention is one chunk of everything, without memory layers. Each turn
runs every variant once, so that other work on the machine slows all of them; the ratio is the median over turns.

    python benchmarks/memory/speed.py --width 128 --chunk 256 --lengths 2048 8192 32768 --turns 5
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import fitting
import torch

from openloger.memory import HybridConfig, HybridTransformer


def models(given: argparse.Namespace) -> dict[str, HybridTransformer]:
    torch.manual_seed(0)
    plain = HybridConfig(width=given.width, heads=given.heads, mlp_ratio=2, smeared_keys=True, chunk=given.chunk)
    return {
        "hybrid": HybridTransformer(replace(plain, together=max(1, given.together // given.chunk))),
        "hybrid, chunk by chunk": HybridTransformer(plain),
        "full": HybridTransformer(replace(plain, chunk=max(given.lengths), kinds=())),
    }


@torch.no_grad()
def seconds(model: HybridTransformer, x: torch.Tensor) -> float:
    began = time.perf_counter()
    model(x)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--heads", type=int, default=2, help="of attention")
    parser.add_argument("--chunk", type=int, default=256)
    parser.add_argument("--together", type=int, default=4096, help="tokens whose chunks are computed at once")
    parser.add_argument("--lengths", nargs="+", type=int, default=(2048, 8192, 32768))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON lines")
    given = parser.parse_args()
    torch.set_num_threads(1)
    compared = models(given)
    print(f"width {given.width}, {given.heads} heads, chunks of {given.chunk}: medians of {given.turns} turns")
    for length in given.lengths:
        x = torch.randn(1, length, given.width)
        for model in compared.values():
            seconds(model, x[:, : 2 * given.chunk])
        turns = [{name: seconds(model, x) for name, model in compared.items()} for _ in range(given.turns)]
        row = {name: statistics.median(turn[name] for turn in turns) for name in compared}
        ratio = statistics.median(turn["full"] / turn["hybrid"] for turn in turns)
        shown = ", ".join(f"{name} {value:.2f} s" for name, value in row.items())
        print(f"  {length}: {shown}; full / hybrid {ratio:.2f}", flush=True)
        if given.out is not None:
            shape = {"width": given.width, "heads": given.heads, "chunk": given.chunk, "length": length}
            fitting.append_row(given.out, {**shape, **row, "ratio": ratio, "turns": given.turns})


if __name__ == "__main__":
    main()
