"""Recall over long sequences: a tiny transformer with hybrid memory, with parts of it, with none, with all in sight.

Three tasks of made-up tokens, learned at one length and asked at longer ones:

- `recall` (multi-query associative recall, Zoology, arXiv 2312.04927): pairs of a key and a value, then noise, then all
  keys; the value of each is to be given. Chance is one in the number of values.
- `needle`: one pair somewhere in the noise, asked for at the end.
- `parity`: whether the number of ones so far is odd, after every bit: a state that is tracked, not a fact that is kept.

Every variant is the same network without a part: `windows` has attention inside chunks alone, `full` one chunk of all;
`deltanet` and `titans` have other libraries' layers in place of the memory, where these are installed, and `gru` is
recurrent and nothing else (`peers.py`).
Seconds are processor seconds of one thread, so that other work on the machine does not count.

    python benchmarks/memory/recall.py --task recall --variants hybrid windows --seeds 0 --out recall.jsonl
    python benchmarks/memory/recall.py --report recall.jsonl --picture recall.png
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

import fitting
import torch
import torch.nn.functional as F
from peers import MLP_RATIOS, PeerTransformer, Recurrent
from torch import Tensor, nn

from openloger.memory import HybridConfig, HybridTransformer

KEYS, VALUES, NOISE = 16, 16, 8
ASKED = 16  # at the end of a sequence of `recall`
VOCABULARY = KEYS + VALUES + NOISE
VARIANTS = {"hybrid": ("ttt", "swa"), "ttt": ("ttt",), "swa": ("swa",), "windows": (), "full": ()}
PEERS = (*MLP_RATIOS, "gru")
TASKS = ("recall", "needle", "parity")
Batch = tuple[Tensor, Tensor]  # tokens, and the answer wanted after each; −1 where nothing is asked


class Model(nn.Module):
    """Tokens to logits of the next answer."""

    def __init__(self, variant: str, *, width: int, chunk: int, published: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.trunk = _trunk(variant, width=width, chunk=chunk, published=published)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.trunk(self.embedding(tokens))[0])


def _trunk(variant: str, *, width: int, chunk: int, published: bool) -> nn.Module:
    if variant == "gru":
        return Recurrent(width)
    if variant in PEERS:
        return PeerTransformer(variant, width=width, heads=2, chunk=chunk)
    return HybridTransformer(
        HybridConfig(
            width=width,
            heads=2,
            depth=2,
            chunk=10**9 if variant == "full" else chunk,
            kinds=VARIANTS[variant],
            ttt_head_dim=width // 4,
            mlp_ratio=2,
            scaled_steps=not published,
            smeared_keys=not published,
            together=max(1, 4096 // chunk),
        )
    )


def draw(task: str, *, batch: int, length: int, pairs: int, generator: torch.Generator) -> Batch:
    if task == "parity":
        bits = torch.randint(0, 2, (batch, length), generator=generator)
        return bits, bits.cumsum(1) % 2
    pairs = 1 if task == "needle" else pairs
    tokens = torch.randint(KEYS + VALUES, VOCABULARY, (batch, length), generator=generator)
    answers = torch.full((batch, length), -1)
    keys = torch.rand(batch, KEYS, generator=generator).argsort(1)[:, :pairs]
    values = KEYS + torch.randint(0, VALUES, (batch, pairs), generator=generator)
    asked = 1 if task == "needle" else ASKED
    order = torch.randint(0, pairs, (batch, asked), generator=generator)
    room = (length - pairs) // 2 if task == "needle" else pairs * 2  # two places a slot; a needle may be anywhere
    slots = torch.rand(batch, room, generator=generator).argsort(1)[:, :pairs] * 2
    tokens.scatter_(1, slots, keys).scatter_(1, slots + 1, values)
    tokens[:, -asked:] = keys.gather(1, order)
    answers[:, -asked:] = values.gather(1, order)
    return tokens, answers


def train(model: Model, task: str, given: argparse.Namespace, seed: int) -> float:
    """Processor seconds of the training."""
    generator = torch.Generator().manual_seed(seed)

    def draw_loss() -> Tensor:
        tokens, answers = draw(task, batch=given.batch, length=given.length, pairs=given.pairs, generator=generator)
        asked = answers >= 0
        return F.cross_entropy(model(tokens)[asked], answers[asked])

    return fitting.fit(model, draw_loss, steps=given.steps, lr=given.lr, write_cost=given.write_cost)


@torch.no_grad()
def evaluate(model: Model, task: str, given: argparse.Namespace, length: int) -> tuple[float, float]:
    """Share of right answers, and processor seconds a sequence."""
    rows = max(1, min(given.rows, given.rows * 4096 // length))
    pairs = 1 if task == "needle" else given.pairs
    generator = torch.Generator().manual_seed(1_000_003)
    right, asked, seconds, sequences = 0, 0, 0.0, 0
    while asked < (given.rows if task != "parity" else 1):
        tokens, answers = draw(task, batch=rows, length=length, pairs=pairs, generator=generator)
        began = time.process_time()
        guesses = model(tokens).argmax(-1)
        seconds += time.process_time() - began
        counts = answers >= 0
        right += int((guesses == answers)[counts].sum())
        asked += int(counts.sum())
        sequences += rows
    return right / asked, seconds / sequences


def measure(variant: str, seed: int, given: argparse.Namespace) -> None:
    torch.manual_seed(seed)
    model = Model(variant, width=given.width, chunk=given.chunk, published=given.published)
    name = f"{variant}-published" if given.published else variant
    print(f"{given.task}, {name}, seed {seed}: {sum(p.numel() for p in model.parameters())} parameters", flush=True)
    train_s = train(model, given.task, given, seed)
    for length in given.lengths:
        if variant == "full" and length > given.full_limit:
            break
        accuracy, seconds = evaluate(model, given.task, given, length)
        row = {
            "task": given.task,
            "variant": name,
            "seed": seed,
            "length": length,
            "trained_at": given.length,
            "accuracy": accuracy,
            "seconds": seconds,
            "train_s": train_s,
            "steps": given.steps,
            "chunk": given.chunk,
            "write_cost": given.write_cost,
        }
        fitting.append_row(given.out, row)
        print(f"  {length}: {100 * accuracy:.1f} %, {seconds:.3f} s a sequence", flush=True)


def report(given: argparse.Namespace) -> None:
    """Accuracy by length as a table, mean and spread over seeds; with `--picture`, as curves."""
    tasks: dict[str, fitting.Cells] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in fitting.rows(given.report):
        tasks[row["task"]][row["variant"]][row["length"]].append(row["accuracy"])
    for task, cells in tasks.items():
        print(f"\n{task}\n\n{fitting.table(cells, partial(fitting.spread, digits=1, scale=100))}")
        if given.picture is not None:
            file = given.picture.with_stem(f"{given.picture.stem}-{task}")
            fitting.draw(cells, file, x="tokens", y="right answers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="recall")
    parser.add_argument("--variants", nargs="+", choices=(*VARIANTS, *PEERS), default=tuple(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=64, help="tokens of a sequence in training")
    parser.add_argument("--lengths", nargs="+", type=int, default=(64, 256, 1024, 4096, 16384, 65536))
    parser.add_argument("--full-limit", type=int, default=32768, help="no longer ones with full attention")
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--rows", type=int, default=64, help="sequences, at least as many answers, of a measurement")
    parser.add_argument("--chunk", type=int, default=16)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--write-cost", type=float, default=0.1, help="of fast weights that change, beside the loss")
    parser.add_argument("--published", action="store_true", help="steps of one length, as in LaCT and LoGeR")
    parser.add_argument("--out", type=Path, default=Path("recall.jsonl"))
    parser.add_argument("--report", type=Path)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.report is not None:
        report(given)
    else:
        for seed in given.seeds:
            for variant in given.variants:
                measure(variant, seed, given)


if __name__ == "__main__":
    main()
