"""The memory in a network of your own: a text of letters, and what was said long ago.

A sequence names a value for each of some keys, goes on with noise, and asks for them at its end. Trained at one
length, it is asked at sixteen times that: for this it is to write no noise into its memory, which has a small cost.

python examples/08_memory.py --steps 200
"""

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

from openloger.memory import HybridConfig, HybridTransformer, written

KEYS, VALUES, NOISE, PAIRS = 16, 16, 8, 4


class Recall(nn.Module):
    """Tokens in, logits of a value out."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(KEYS + VALUES + NOISE, width)
        config = HybridConfig(
            width=width, heads=2, chunk=16, ttt_head_dim=16, mlp_ratio=2, smeared_keys=True, together=4
        )
        self.trunk = HybridTransformer(config)
        self.head = nn.Linear(width, VALUES)

    def forward(self, tokens: Tensor) -> Tensor:
        features, _ = self.trunk(self.embed(tokens))
        return self.head(features[:, -PAIRS:])


def draw(batch: int, length: int) -> tuple[Tensor, Tensor]:
    """Tokens: a key, its value, and so on, noise, the keys in another order. And their values, which are wanted."""
    keys = torch.rand(batch, KEYS).argsort(1)[:, :PAIRS]
    values = torch.randint(0, VALUES, (batch, PAIRS))
    noise = torch.randint(KEYS + VALUES, KEYS + VALUES + NOISE, (batch, length - 3 * PAIRS))
    order = torch.rand(batch, PAIRS).argsort(1)
    pairs = torch.stack([keys, KEYS + values], dim=-1).flatten(1)
    return torch.cat([pairs, noise, keys.gather(1, order)], dim=1), values.gather(1, order)


def main(steps: int = 200, length: int = 64, seed: int = 0) -> None:
    """Train, and ask at growing lengths.

    Args:
        steps: Of training; each has 16 sequences.
        length: Tokens of a sequence in training.
        seed: Of weights and sequences.
    """
    torch.manual_seed(seed)
    model = Recall()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        tokens, values = draw(16, length)
        with written(model) as amounts:
            loss = F.cross_entropy(model(tokens).flatten(0, 1), values.flatten())
        optimizer.zero_grad()
        (loss + 0.1 * torch.stack(amounts).mean()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.2f}")
    for longer in (length, 4 * length, 16 * length):
        with torch.no_grad():
            tokens, values = draw(32, longer)
            right = (model(tokens).argmax(-1) == values).float().mean()
        print(f"{longer} tokens: {100 * right:.0f} % right, by chance {100 / VALUES:.0f} %")


if __name__ == "__main__":
    tyro.cli(main)
