"""A byte model of long documents: bits per byte by the place in the document, with the memory and with windows alone.

The text is six novels of Jane Austen, which are in the public domain, as Debian ships them: `apt-get install
r-cran-janeaustenr`, or `apt-get download`, `dpkg-deb -x`, and `--package FOLDER`. Five are trained on, and the one that
is `--held-out` is read in long parts. A model without memory gains nothing from what it read before its windows; so
what counts is how the difference between variants grows with the place.

    python benchmarks/memory/text.py --variants hybrid swa windows --seeds 0 1 2 --out text.jsonl
    python benchmarks/memory/text.py --report text.jsonl --picture docs/images/memory-text.png
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import math
import struct
import zlib
from collections import defaultdict
from functools import partial
from pathlib import Path

import fitting
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openloger.memory import HybridConfig, HybridTransformer

VARIANTS = {"hybrid": ("ttt", "swa"), "ttt": ("ttt",), "swa": ("swa",), "windows": ()}
NOVELS = ("emma", "mansfieldpark", "northangerabbey", "persuasion", "prideprejudice", "sensesensibility")
PACKAGE = Path("/usr/lib/R/site-library/janeaustenr")
_INTEGERS, _STRINGS, _STRING = 13, 16, 9  # types of R's serialisation


class Model(nn.Module):
    """Bytes to logits of the next one."""

    def __init__(self, variant: str, given: argparse.Namespace) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, given.width)
        config = HybridConfig(
            width=given.width,
            heads=4,
            chunk=given.chunk,
            kinds=VARIANTS[variant],
            ttt_head_dim=16,
            smeared_keys=True,
            together=16,
        )
        self.trunk = HybridTransformer(config)
        self.head = nn.Linear(given.width, 256)

    def forward(self, given: Tensor) -> Tensor:
        return self.head(self.trunk(self.embedding(given))[0])


def novels(package: Path) -> dict[str, Tensor]:
    """The bytes of every novel. R keeps each as zlib data, a vector of lines, at an offset that an index names."""
    data = (package / "data" / "Rdata.rdb").read_bytes()
    places = _places(gzip.decompress((package / "data" / "Rdata.rdx").read_bytes()))
    texts = {}
    for name, (start, length) in places.items():
        lines = _lines(zlib.decompress(data[start + 4 : start + length]))  # four bytes of the length it will have
        texts[name] = torch.frombuffer(bytearray(b"\n".join(lines)), dtype=torch.uint8).long()
    return texts


def _places(index: bytes) -> dict[str, tuple[int, int]]:
    """Of the index only: pairs of integers in the order of the novels."""
    mark, pairs, at = struct.pack(">ii", _INTEGERS, 2), [], 0
    while (at := index.find(mark, at)) >= 0:
        pairs.append(struct.unpack_from(">ii", index, at + 8))
        at += 16
    return dict(zip(NOVELS, pairs, strict=False))


def _lines(serialised: bytes) -> list[bytes]:
    """All strings of the one vector of strings."""
    at = serialised.index(struct.pack(">i", _STRINGS), 14)
    (count,) = struct.unpack_from(">i", serialised, at + 4)
    at += 8
    lines = []
    for _ in range(count):
        flags, length = struct.unpack_from(">ii", serialised, at)
        assert flags & 0xFF == _STRING, f"no string at {at}"
        lines.append(serialised[at + 8 : at + 8 + length])
        at += 8 + length
    return lines


def train(model: Model, text: Tensor, given: argparse.Namespace, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw_loss() -> Tensor:
        starts = torch.randint(0, len(text) - given.length - 1, (given.batch,), generator=generator)
        rows = text[starts[:, None] + torch.arange(given.length + 1)]
        return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())

    fitting.fit(model, draw_loss, steps=given.steps, lr=given.lr, write_cost=given.write_cost)


@torch.no_grad()
def bits(model: Model, document: Tensor) -> Tensor:
    """Of every byte but the first."""
    logits = model(document[None, :-1])[0]
    return F.cross_entropy(logits, document[1:], reduction="none") / math.log(2)


def measure(variant: str, seed: int, texts: dict[str, Tensor], given: argparse.Namespace) -> None:
    torch.manual_seed(seed)
    model = Model(variant, given)
    print(f"{variant}, seed {seed}: {sum(p.numel() for p in model.parameters())} parameters", flush=True)
    train(model, torch.cat([text for name, text in texts.items() if name != given.held_out]), given, seed)
    document = texts[given.held_out]
    count = given.read * (len(document) // given.read)
    parts = torch.stack([bits(model, part) for part in document[:count].view(-1, given.read)]).mean(0)
    edges = [0, *(2**n for n in range(8, 30) if 2**n < given.read), given.read - 1]
    by_place = {end: parts[start:end].mean().item() for start, end in itertools.pairwise(edges)}
    row = {"variant": variant, "seed": seed, "steps": given.steps, "chunk": given.chunk, "bits": by_place}
    fitting.append_row(given.out, row)
    print("  " + ", ".join(f"to {end}: {value:.3f}" for end, value in by_place.items()), flush=True)


def report(given: argparse.Namespace) -> None:
    """Bits per byte by place, mean and spread over seeds; with `--picture`, as curves."""
    cells: fitting.Cells = defaultdict(lambda: defaultdict(list))
    for row in fitting.rows(given.report):
        for end, value in row["bits"].items():
            cells[row["variant"]][int(end)].append(value)
    print(fitting.table(cells, partial(fitting.spread, digits=3)))
    if given.picture is not None:
        fitting.draw(cells, given.picture, x="bytes since the start, up to", y="bits per byte")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, default=PACKAGE, help="the R package janeaustenr")
    parser.add_argument("--held-out", choices=NOVELS, default="persuasion")
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=("hybrid", "swa", "windows"))
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=1024, help="bytes of a sequence in training")
    parser.add_argument("--read", type=int, default=16384, help="bytes of the parts that the held-out novel is read in")
    parser.add_argument("--chunk", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--write-cost", type=float, default=0.0)
    parser.add_argument("--out", type=Path, default=Path("text.jsonl"))
    parser.add_argument("--report", type=Path)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.report is not None:
        report(given)
        return
    texts = novels(given.package)
    for seed in given.seeds:
        for variant in given.variants:
            measure(variant, seed, texts, given)


if __name__ == "__main__":
    main()
