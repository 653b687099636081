"""Long videos: was this place seen before, when, and how many rooms were entered? With the memory, and with less.

A film is cut from visits of rooms of rendered worlds, eight frames each. A room is visited twice at most, and the
second time between the frames of the first; how often a film returns is its own. A film has sixteen chapters, whose
titles, of sixteen in any order, stand on every frame. After each frame the network answers one question: in which
chapter was this place seen before, if it was? It gets frozen features of the frame, and the title. Rooms of the films
that are asked about are in none that is trained on, and the longer of these films have eight times as many visits.

At the last frame of visits, of known places those of at least eight visits ago, which no window reaches,

- `seen`: of a known and a new place, how often the known one is found the more likely to be known; chance is a half;
- `when`: how often the chapter is right, of known places; chance is a sixteenth;
- `rooms`: the error of the number of rooms entered, counted by the probabilities of never, of all visits.

    python benchmarks/memory/places.py --variants hybrid swa full --seeds 0 1 2 --out places.jsonl
    python benchmarks/memory/places.py --report places.jsonl
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import fitting
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openloger import load_network
from openloger.memory import HybridConfig, HybridTransformer
from openloger.worlds import World

VARIANTS = {"hybrid": ("ttt", "swa"), "ttt": ("ttt",), "swa": ("swa",), "windows": (), "full": ()}
FEATURES = ("colours", "network")
AXES = 48  # principal ones of the features, which the network gets
STAY = 8  # frames of a visit
APART = 4  # visits between the two of a room, at least: a chunk's
FAR = 8  # visits ago, beyond every window
CHAPTERS = 16
GRID = (4, 5)  # cells whose mean colours are features
Visit = tuple[int, int | None]  # the room, and the visit at which it was before


class Films(NamedTuple):
    features: Tensor  # (film, frame, feature)
    titles: Tensor  # (film, frame) of the chapter, from 1
    answers: Tensor  # (film, frame): 0 never, else the title of the chapter in which the place was seen before
    ago: Tensor  # (film, frame) visits since then; 0 where never


class Model(nn.Module):
    """Features of frames and titles to logits of never and of the titles."""

    def __init__(self, variant: str, given: argparse.Namespace) -> None:
        super().__init__()
        self.embed = nn.Linear(AXES, given.width)
        self.title = nn.Embedding(1 + CHAPTERS, given.width)
        config = HybridConfig(
            width=given.width,
            heads=4,
            depth=1,
            chunk=10**9 if variant == "full" else given.chunk,
            kinds=VARIANTS[variant],
            mlp_ratio=2,
            smeared_keys=True,
            together=16,
        )
        self.trunk = HybridTransformer(config)
        self.head = nn.Linear(given.width, 1 + CHAPTERS)

    def forward(self, features: Tensor, titles: Tensor) -> Tensor:
        return self.head(self.trunk(self.embed(features) + self.title(titles) / 2)[0])


def rooms(kind: str, count: int, *, first: int, kept: Path) -> Tensor:
    """(room, visit, frame, feature) of two visits to each; rendered once and kept."""
    file = kept / f"{kind}-{first}-{count}.pt"
    if not file.exists():
        kept.mkdir(parents=True, exist_ok=True)
        pictures = (_pictures(first + room) for room in range(count))
        network = load_network("compact", device="cpu", dtype="float32") if kind == "network" else None
        found = [network.place_descriptors(x).clone() if network else _colours(x) for x in pictures]
        torch.save(torch.stack([torch.stack([x[0::2], x[1::2]]) for x in found]), file)
    return torch.load(file)


def _pictures(seed: int) -> Tensor:
    world = World("rooms", seed=seed, size=(64, 80), fps=2, frames=2 * STAY)
    return torch.from_numpy(np.stack([sample.rgb for sample in world.frames()])).permute(0, 3, 1, 2).float() / 255


def _colours(pictures: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(pictures, GRID).flatten(1)


def whitened(trained: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
    """On the principal axes of the rooms that are trained on, each of variance one."""
    every = trained.flatten(0, 2)
    _, sizes, axes = torch.linalg.svd(every - every.mean(0), full_matrices=False)
    onto = axes[:AXES].T / sizes[:AXES] * len(every) ** 0.5
    return (trained - every.mean(0)) @ onto, (asked - every.mean(0)) @ onto


def visited(pool: int, visits: int, generator: torch.Generator) -> list[Visit]:
    """A film; of rooms that wait for their second visit, every octave of waiting is as likely."""
    fresh = torch.randperm(pool, generator=generator).tolist()
    returns = 0.25 + 0.5 * float(torch.rand((), generator=generator))
    first, shown = dict[int, int](), list[Visit]()
    while len(shown) < visits:
        by_octave = defaultdict[int, list[int]](list)
        for room, at in first.items():
            if (gap := len(shown) - at) >= APART:
                by_octave[int(math.log2(gap / APART))].append(room)
        if by_octave and (float(torch.rand((), generator=generator)) < returns or not fresh):
            ready = list(by_octave.values())[int(torch.randint(len(by_octave), (), generator=generator))]
            room = ready[int(torch.randint(len(ready), (), generator=generator))]
            shown.append((room, first.pop(room)))
        else:
            room = fresh.pop()
            first[room] = len(shown)
            shown.append((room, None))
    return shown


def films(known: Tensor, visits: int, count: int, generator: torch.Generator) -> Films:
    drawn = [visited(len(known), visits, generator) for _ in range(count)]
    frames = torch.stack([_frames(known, film, generator) for film in drawn])
    titles = 1 + torch.rand(count, CHAPTERS, generator=generator).argsort(1).repeat_interleave(visits // CHAPTERS, 1)
    before = torch.tensor([[-1 if at is None else at for _, at in film] for film in drawn])
    answers = titles.gather(1, before.clamp(min=0)).where(before >= 0, 0)
    ago = (torch.arange(visits) - before).where(before >= 0, 0)
    return Films(frames, *(of.repeat_interleave(STAY, dim=1) for of in (titles, answers, ago)))


def _frames(known: Tensor, film: list[Visit], generator: torch.Generator) -> Tensor:
    """Which visit of a room comes first is drawn: else a network can learn it by heart and needs no memory."""
    swapped = torch.randint(0, 2, (len(known),), generator=generator).tolist()
    return torch.cat([known[room, swapped[room] ^ int(before is not None)] for room, before in film])


def train(model: Model, known: Tensor, given: argparse.Namespace, seed: int) -> float:
    """Processor seconds of the training."""
    generator = torch.Generator().manual_seed(seed)

    def draw_loss() -> Tensor:
        drawn = films(known, given.visits, given.batch, generator)
        logits, again = model(drawn.features, drawn.titles), drawn.answers > 0
        when = F.cross_entropy(logits[again][:, 1:], drawn.answers[again] - 1)
        return when + 0.3 * F.cross_entropy(logits.flatten(0, 1), drawn.answers.flatten())

    return fitting.fit(model, draw_loss, steps=given.steps, lr=given.lr, write_cost=given.write_cost)


@torch.no_grad()
def evaluate(model: Model, known: Tensor, visits: int, count: int) -> dict[str, float]:
    asked = films(known, visits, count, torch.Generator().manual_seed(1_000_003))
    logits = model(asked.features, asked.titles)
    logits, answers, ago = (of[:, STAY - 1 :: STAY] for of in (logits, asked.answers, asked.ago))
    never, right = logits.softmax(-1)[..., 0], 1 + logits[..., 1:].argmax(-1) == answers
    entered = (answers == 0).sum(1).float()
    new, far = answers == 0, ago >= FAR
    new[:, :APART] = False  # all are new there
    result = {
        "seen": (never[far][:, None] < never[new]).float().mean().item(),
        "when": right[far].float().mean().item(),
        "rooms": ((never.sum(1) - entered).abs() / entered).mean().item(),
        "rooms, guessed": ((entered.mean() - entered).abs() / entered).mean().item(),
    }
    for low in (FAR * 2**n for n in range(8)):
        if (there := (ago >= low) & (ago < 2 * low)).any():
            result[f"when, {low} to {2 * low - 1} visits ago"] = right[there].float().mean().item()
    return result


def measure(variant: str, seed: int, given: argparse.Namespace) -> None:
    torch.manual_seed(seed)
    model = Model(variant, given)
    print(f"{variant}, seed {seed}: {sum(p.numel() for p in model.parameters())} parameters", flush=True)
    pools = (rooms(given.features, given.pool, first=n * given.pool, kept=given.kept) for n in range(2))
    trained, asked = whitened(*pools)
    row = {"variant": variant, "seed": seed, "train_s": train(model, trained, given, seed)}
    row |= {name: getattr(given, name) for name in ("features", "steps", "lr", "write_cost", "chunk")}
    for visits in (given.visits, 8 * given.visits):
        result = evaluate(model, asked, visits, given.asked)
        fitting.append_row(given.out, {**row, "frames": STAY * visits, "result": result})
        shown = ", ".join(f"{name} {100 * value:.1f} %" for name, value in result.items())
        print(f"  {STAY * visits} frames: {shown}", flush=True)


def report(given: argparse.Namespace) -> None:
    """Tables by length, of every question: mean and spread over seeds."""
    questions: dict[str, fitting.Cells] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in fitting.rows(given.report):
        for question, value in row["result"].items():
            questions[question][row["variant"]][row["frames"]].append(value)
    for question, cells in questions.items():
        print(f"\n{question}\n\n{fitting.table(cells, partial(fitting.spread, digits=1, scale=100))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=("hybrid", "swa", "windows", "full"))
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--features", choices=FEATURES, default="network", help="of frames; none is trained")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--visits", type=int, default=16, help="of a film in training, a multiple of 16")
    parser.add_argument("--pool", type=int, default=104, help="rooms to train on, and as many others to ask about")
    parser.add_argument("--asked", type=int, default=32, help="films of a measurement")
    parser.add_argument("--chunk", type=int, default=32)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--write-cost", type=float, default=0.0)
    parser.add_argument("--kept", type=Path, default=Path("rooms"), help="folder of the rendered rooms' features")
    parser.add_argument("--out", type=Path, default=Path("places.jsonl"))
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.report is not None:
        report(given)
        return
    for seed in given.seeds:
        for variant in given.variants:
            measure(variant, seed, given)


if __name__ == "__main__":
    main()
