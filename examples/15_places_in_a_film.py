"""A long film: what was said in this room when it was shown before?

Rooms of rendered worlds are shown one after the other, each with a word, and then all again in another order and from
other frames, without it. The features of the frames are those of the network in the box, and stay as they are; what is
trained is a small network with the memory, on some rooms. It is asked about others, also in longer films.

python examples/15_places_in_a_film.py --steps 150
"""

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn

import openloger
from openloger.memory import HybridConfig, HybridTransformer

WORDS, STAY, AXES, WIDTH = 16, 8, 48, 64  # STAY: frames of a visit


class Film(nn.Module):
    """Features of frames and the words that go with them (0: none) in, logits of a word out."""

    def __init__(self) -> None:
        super().__init__()
        self.see, self.hear = nn.Linear(AXES, WIDTH), nn.Embedding(1 + WORDS, WIDTH)
        config = HybridConfig(
            width=WIDTH, heads=4, depth=1, chunk=4 * STAY, mlp_ratio=2, smeared_keys=True, together=16
        )
        self.trunk = HybridTransformer(config)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, features: Tensor, words: Tensor) -> Tensor:
        remembered, _ = self.trunk(self.see(features) + self.hear(words))
        return self.head(remembered)


def look(count: int, *, first: int) -> Tensor:
    """(room, visit, frame, feature): of each room two visits of eight frames, one between the frames of the other."""
    network = openloger.load_network("compact", device="cpu", dtype="float32")
    found = []
    for seed in range(first, first + count):
        world = openloger.worlds.World("rooms", seed=seed, size=(64, 80), fps=2, frames=2 * STAY)
        pictures = torch.from_numpy(np.stack([sample.rgb for sample in world.frames()]))
        features = network.place_descriptors(pictures.permute(0, 3, 1, 2).float() / 255)
        found.append(torch.stack([features[0::2], features[1::2]]))
    return torch.stack(found)


def principal_axes(rooms: Tensor) -> tuple[Tensor, Tensor]:
    """The mean feature, and what takes features to numbers of variance one."""
    every = rooms.flatten(0, 2)
    _, sizes, axes = torch.linalg.svd(every - every.mean(0), full_matrices=False)
    return every.mean(0), axes[:AXES].T / sizes[:AXES] * len(every) ** 0.5


def draw(rooms: Tensor, count: int, batch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Films of `count` rooms: features, words as they are said, and the words wanted in the second half."""
    films, words, wanted = [], [], []
    for _ in range(batch):
        chosen, order = torch.randperm(len(rooms))[:count], torch.randperm(count)
        now = int(torch.randint(0, 2, ()))  # which visit comes first
        films.append(torch.cat([rooms[chosen, now], rooms[chosen[order], 1 - now]]).flatten(0, 1))
        said = torch.randint(0, WORDS, (count,))
        words.append(torch.cat([1 + said, torch.zeros_like(said)]).repeat_interleave(STAY))
        wanted.append(said[order].repeat_interleave(STAY))
    return torch.stack(films), torch.stack(words), torch.stack(wanted)


def main(steps: int = 150, rooms: int = 40, seed: int = 0) -> None:
    """Train on films of eight rooms, and ask about other rooms, also in films of as many as there are.

    Args:
        steps: Of training; each has 16 films.
        rooms: To train on, and as many others to ask about; at least eight.
        seed: Of weights and films.
    """
    torch.manual_seed(seed)
    known, others = (look(rooms, first=first) for first in (0, rooms))
    mean, axes = principal_axes(known)
    known, others = (known - mean) @ axes, (others - mean) @ axes
    model = Film()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(steps):
        features, words, wanted = draw(known, 8, 16)
        loss = F.cross_entropy(model(features, words)[:, -wanted.shape[1] :].flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 25 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.2f}")
    for count in (8, rooms):
        with torch.no_grad():
            features, words, wanted = draw(others, count, 16)
            right = (model(features, words)[:, -wanted.shape[1] :].argmax(-1) == wanted).float().mean()
        print(f"{features.shape[1]} frames, {count} rooms: {100 * right:.0f} % right, by chance {100 / WORDS:.0f} %")


if __name__ == "__main__":
    tyro.cli(main)
