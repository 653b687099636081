"""A byte model of long texts: train it, then read one as a stream, with its memory and without.

Without data of your own it reads the pages of this documentation; the last tenth is not trained on.

python examples/14_long_text.py --text novel.txt --steps 500
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from openloger.memory import HybridConfig, HybridMemory, HybridTransformer

DOCS = Path(__file__).resolve().parents[1] / "docs"


class ByteModel(nn.Module):
    """Bytes in, logits of the next byte out; the memory goes along."""

    def __init__(self, width: int = 64, chunk: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, width)
        config = HybridConfig(width=width, heads=4, chunk=chunk, ttt_head_dim=16, smeared_keys=True, together=16)
        self.trunk = HybridTransformer(config)
        self.head = nn.Linear(width, 256)

    def forward(self, read: Tensor, memory: HybridMemory | None = None) -> tuple[Tensor, HybridMemory]:
        features, after = self.trunk(self.embed(read), memory)
        return self.head(features), after


def bits(logits: Tensor, wanted: Tensor) -> Tensor:
    """Of each byte, mean."""
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten()) / math.log(2)


def train(model: ByteModel, text: Tensor, *, steps: int, length: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(steps):
        starts = torch.randint(0, len(text) - length, (8, 1))
        rows = text[starts + torch.arange(length + 1)]
        loss = bits(model(rows[:, :-1])[0], rows[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 0 or step == steps - 1:
            print(f"step {step}: {loss.item():.2f} bits a byte")


@torch.no_grad()
def read(model: ByteModel, text: Tensor, *, part: int, forgetful: bool) -> float:
    """Bits a byte of a text that comes in parts, as from a file or a socket."""
    memory, found = None, list[float]()
    for start in range(0, len(text) - part, part):
        logits, memory = model(text[None, start : start + part], None if forgetful else memory)
        found.append(bits(logits, text[None, start + 1 : start + part + 1]).item())
    return sum(found) / len(found)


def main(text: Path | None = None, steps: int = 100, length: int = 512, seed: int = 0) -> None:
    """Train, and read what was held out.

    Args:
        text: A long text; the pages of the documentation if none is given.
        steps: Of training; each has 8 sequences.
        length: Bytes of a sequence in training.
        seed: Of weights and sequences.
    """
    torch.manual_seed(seed)
    files = sorted(DOCS.glob("*.md")) if text is None else [text]
    known = torch.frombuffer(bytearray(b"\n".join(file.read_bytes() for file in files)), dtype=torch.uint8).long()
    model, cut = ByteModel(), len(known) * 9 // 10
    train(model, known[:cut], steps=steps, length=length)
    for forgetful in (False, True):
        shown = "with its memory dropped every 256 bytes" if forgetful else "as one stream"
        print(f"held out, {shown}: {read(model, known[cut:], part=256, forgetful=forgetful):.3f} bits a byte")


if __name__ == "__main__":
    tyro.cli(main)
