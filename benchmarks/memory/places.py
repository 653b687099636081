"""Long videos: was this place seen before? From frozen features, with the memory, with windows, with all in sight.

A film is cut from visits of rooms of rendered worlds, eight frames each: half of them show a room that was not in the
film before, half one that was at least eight visits ago, in other frames. After each frame the network says which.
Features are the mean colours of a grid of 4×5 cells, nothing learned. Rooms of the films that are asked about are in
none that is trained on, and these films are four times as long.

Accuracy is the mean over visits to new rooms and to known ones, at the last frame of a visit: chance is a half.

    python benchmarks/memory/places.py --variants hybrid swa full --seeds 0 1 2 --out places.jsonl
"""

from __future__ import annotations

import argparse
from pathlib import Path

import fitting
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openloger.memory import HybridConfig, HybridTransformer
from openloger.worlds import World

VARIANTS = {"hybrid": ("ttt", "swa"), "ttt": ("ttt",), "swa": ("swa",), "full": ()}
STAY = 8  # frames of a visit
APART = 8  # visits between the two of a room, at least
GRID = (4, 5)
Film = tuple[Tensor, Tensor]  # (frame, feature), and for every frame whether its room was visited before


class Model(nn.Module):
    """Features of frames to the logit of a place seen before."""

    def __init__(self, variant: str, width: int, chunk: int) -> None:
        super().__init__()
        self.embed = nn.Linear(3 * GRID[0] * GRID[1], width)
        config = HybridConfig(
            width=width,
            heads=4,
            chunk=10**9 if variant == "full" else chunk,
            kinds=VARIANTS[variant],
            ttt_head_dim=16,
            mlp_ratio=2,
            together=16,
        )
        self.trunk = HybridTransformer(config)
        self.head = nn.Linear(width, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.trunk(self.embed(features))[0])[..., 0]


def rooms(count: int, *, first: int, kept: Path) -> Tensor:
    """(room, frame, feature) of two visits to each; rendered once and kept."""
    file = kept / f"rooms-{first}-{count}.pt"
    if not file.exists():
        kept.mkdir(parents=True, exist_ok=True)
        torch.save(torch.stack([_features(first + room) for room in range(count)]), file)
    return torch.load(file)


def _features(seed: int) -> Tensor:
    world = World("rooms", seed=seed, size=(32, 40), fps=2, frames=2 * STAY)
    frames = np.stack([sample.rgb for sample in world.frames()])
    colours = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    return (F.adaptive_avg_pool2d(colours, GRID).flatten(1) - 0.5) / 0.2


def film(known: Tensor, visits: int, generator: torch.Generator) -> Film:
    """A room is visited twice at most; new ones are taken as long as there are any."""
    fresh = torch.randperm(len(known), generator=generator).tolist()
    waiting, shown = list[tuple[int, int]](), list[tuple[int, bool]]()  # room and visit, room and whether it is known
    while len(shown) < visits:
        ready = [place for place in waiting if place[1] + APART <= len(shown)]
        again = bool(torch.rand((), generator=generator) < 0.5)
        if ready and (again or not fresh):
            place = ready[int(torch.randint(len(ready), (), generator=generator))]
            waiting.remove(place)
            shown.append((place[0], True))
        else:
            waiting.append((fresh.pop(), len(shown)))
            shown.append((waiting[-1][0], False))
    features = torch.cat([known[room, STAY * again : STAY * again + STAY] for room, again in shown])
    return features, torch.tensor([again for _, again in shown]).repeat_interleave(STAY)


def films(known: Tensor, visits: int, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    drawn = [film(known, visits, generator) for _ in range(rows)]
    return torch.stack([features for features, _ in drawn]), torch.stack([again for _, again in drawn])


def train(model: Model, known: Tensor, given: argparse.Namespace, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw_loss() -> Tensor:
        features, again = films(known, given.visits, given.batch, generator)
        return F.binary_cross_entropy_with_logits(model(features), again.float())

    fitting.fit(model, draw_loss, steps=given.steps, lr=given.lr, write_cost=given.write_cost)


@torch.no_grad()
def accuracy(model: Model, known: Tensor, visits: int, rows: int) -> float:
    """Of visits after the first `APART`, which are new without exception."""
    features, again = films(known, visits, rows, torch.Generator().manual_seed(1_000_003))
    last = slice(STAY * APART + STAY - 1, None, STAY)
    guessed, wanted = (model(features) > 0)[:, last], again[:, last]
    return ((guessed & wanted).sum() / wanted.sum() + (~guessed & ~wanted).sum() / (~wanted).sum()).item() / 2


def measure(variant: str, seed: int, given: argparse.Namespace) -> None:
    torch.manual_seed(seed)
    model = Model(variant, given.width, given.chunk)
    print(f"{variant}, seed {seed}: {sum(p.numel() for p in model.parameters())} parameters", flush=True)
    trained = rooms(given.pool, first=0, kept=given.kept)
    asked = rooms(given.pool, first=given.pool, kept=given.kept)
    train(model, trained, given, seed)
    for visits in (given.visits, 4 * given.visits):
        row = {"variant": variant, "seed": seed, "frames": STAY * visits, "steps": given.steps}
        row["accuracy"] = accuracy(model, asked, visits, given.asked)
        fitting.append_row(given.out, row)
        print(f"  {row['frames']} frames: {100 * row['accuracy']:.1f} %", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=("hybrid", "swa", "full"))
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--visits", type=int, default=32, help="of a film in training")
    parser.add_argument("--pool", type=int, default=80, help="rooms to train on, and as many others to ask about")
    parser.add_argument("--asked", type=int, default=8, help="films of a measurement")
    parser.add_argument("--chunk", type=int, default=16)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--write-cost", type=float, default=0.0)
    parser.add_argument("--kept", type=Path, default=Path("rooms"), help="folder of the rendered rooms' features")
    parser.add_argument("--out", type=Path, default=Path("places.jsonl"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    for seed in given.seeds:
        for variant in given.variants:
            measure(variant, seed, given)


if __name__ == "__main__":
    main()
