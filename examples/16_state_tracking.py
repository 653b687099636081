"""What the memory is not for: a state that every token changes, here whether the ones so far are odd.

The memory is written once a chunk, and keeps what it is given; a recurrent network computes a new state with every
token. The same training teaches a GRU the task, also at longer sequences, and leaves the hybrid network near a coin.
For such states put a recurrent layer beside the memory.

python examples/16_state_tracking.py --steps 300
"""

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from openloger.memory import HybridConfig, HybridTransformer

WIDTH = 64


class Hybrid(nn.Module):
    """Bits in, logits of even and odd after each."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(2, WIDTH)
        config = HybridConfig(width=WIDTH, heads=2, chunk=8, ttt_head_dim=16, mlp_ratio=2, smeared_keys=True)
        self.trunk = HybridTransformer(config)
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, bits: Tensor) -> Tensor:
        features, _ = self.trunk(self.embed(bits))
        return self.head(features)


class Recurrent(nn.Module):
    """The same, with a state that each bit changes."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(2, WIDTH)
        self.trunk = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, bits: Tensor) -> Tensor:
        features, _ = self.trunk(self.embed(bits))
        return self.head(features)


def draw(batch: int, length: int) -> tuple[Tensor, Tensor]:
    """Bits, and after each whether the ones so far are odd."""
    bits = torch.randint(0, 2, (batch, length))
    return bits, bits.cumsum(1) % 2


def train(model: nn.Module, *, steps: int, length: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        bits, odd = draw(32, length)
        loss = F.cross_entropy(model(bits).flatten(0, 1), odd.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def main(steps: int = 300, length: int = 16, seed: int = 0) -> None:
    """Train both, and ask at growing lengths.

    Args:
        steps: Of training; each has 32 sequences.
        length: Bits of a sequence in training.
        seed: Of weights and sequences.
    """
    for name, build in (("hybrid", Hybrid), ("recurrent", Recurrent)):
        torch.manual_seed(seed)
        model = build()
        train(model, steps=steps, length=length)
        for longer in (length, 4 * length, 16 * length):
            with torch.no_grad():
                bits, odd = draw(32, longer)
                right = (model(bits).argmax(-1) == odd).float().mean()
            print(f"{name}, {longer} bits: {100 * right:.0f} % right, by chance 50 %")


if __name__ == "__main__":
    tyro.cli(main)
