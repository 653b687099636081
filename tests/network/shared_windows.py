"""Started by test_share: python shared_windows.py OUT. A video of which four processes share the windows.

In groups of four, then of two; what each of them has in the end is written to OUT. They are forked, so that torch is
imported once.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.multiprocessing import start_processes

from openloger.network import Network, Window
from openloger.training.blocks import recompute_blocks
from openloger.training.rehearse import small_shape
from openloger.transformer.share import WindowShare

PROCESSES = 4
SIZES = (4, 2)  # of groups
FRAMES, SIZE, OVERLAP = 9, 5, 2  # of four processes the first encodes nothing in later windows, the last has none of
# the last window's three frames
CASES = ["loger", "loger-star", "pi3"]
RECOMPUTED = "loger-star"


def small_network(name: str) -> Network:
    """With open gates, so that the memory counts."""
    torch.manual_seed(5)
    small = small_shape(name)
    memory = None if small.memory is None else replace(small.memory, ttt_after=(0, 2), swa_after=(2,))
    shape = replace(small, decoder=replace(small.decoder, depth=4), memory=memory)
    network = Network(shape).train()
    for part, weight in network.named_parameters():
        if part.endswith("gate.bias"):
            torch.nn.init.constant_(weight, 1.0)
    if name == RECOMPUTED:
        recompute_blocks(network)
    return network


def run(network: Network, group: dist.ProcessGroup | None) -> dict[str, torch.Tensor]:
    """Predictions of all windows, the memory after them, a loss of it all and its gradient."""
    patch = network.config.encoder.patch
    images = torch.rand(2, FRAMES, 3, 2 * patch, 3 * patch, generator=torch.Generator().manual_seed(7))
    memory, out, loss = network.fresh_memory(), {}, torch.zeros(())
    for first in range(0, FRAMES - OVERLAP, SIZE - OVERLAP):
        part = images[:, first : first + SIZE]
        share = None if group is None else WindowShare.among(group, part.shape[1])
        window = Window(part, SIZE, OVERLAP, share=share)
        prediction, memory = network(window, memory)
        for field in ("world_from_cam", "points_cam", "confidence_logit"):
            value = out[f"prediction.{first}.{field}"] = getattr(prediction, field)
            loss = loss + (value * torch.linspace(0, 1, value.numel()).view_as(value)).mean()
    out |= {f"memory.{name}": value for name, value in memory.to_tensors().items()}
    out["loss"] = loss
    network.zero_grad()
    loss.backward()
    out |= {f"gradient.{name}": weight.grad for name, weight in network.named_parameters() if weight.grad is not None}
    return {name: value.detach().contiguous() for name, value in out.items()}


def groups() -> Iterator[tuple[int, dist.ProcessGroup]]:
    """Of every size the one that this process is in."""
    for size in SIZES:
        made = [dist.new_group(list(range(first, first + size))) for first in range(0, PROCESSES, size)]
        yield size, made[dist.get_rank() // size]


def main(rank: int, out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out / 'meeting'}", rank=rank, world_size=PROCESSES)
    for size, group in groups():
        for name in CASES:
            found = run(small_network(name), group)
            gradients = [value for part, value in sorted(found.items()) if part.startswith("gradient.")]
            mean = torch.cat([gradient.flatten() for gradient in gradients])  # as DDP and FSDP take it
            dist.all_reduce(mean)
            parts = (mean / PROCESSES).split([gradient.numel() for gradient in gradients])
            for gradient, own in zip(gradients, parts, strict=True):
                gradient.copy_(own.view_as(gradient))
            save_file(found, out / f"{name}-{size}-{rank}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    start_processes(main, args=(Path(sys.argv[1]),), nprocs=PROCESSES, start_method="fork")
