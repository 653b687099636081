"""`openloger networks`: the presets, their weights and their licences."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict, dataclass

import torch

from openloger.cli.terminal import print_table
from openloger.network import PRESETS, Network, preset
from openloger.network.load import BOXED_LICENCE, PUBLISHED, cached


@dataclass(frozen=True)
class PresetListing:
    """A preset in the list."""

    name: str
    parameters: int
    window: int
    max_pixels: int
    weights: str  # where they come from
    licence: str
    here: str | None  # their path on this machine


def networks(*, json: bool = False) -> None:
    """List the networks: size, where their weights come from, under what licence, and whether they are here.

    Args:
        json: For programs.
    """
    rows = [_listed(name) for name in PRESETS]
    if json:
        print(json_module.dumps([asdict(row) for row in rows]))
        return
    from rich.table import Table

    table = Table("network", "parameters", "window", "pixels", "weights", "licence of the weights", "here")
    for row in rows:
        size = f"{row.parameters / 1e6:.1f} M"
        table.add_row(
            row.name, size, str(row.window), str(row.max_pixels), row.weights, row.licence, "yes" if row.here else "no"
        )
    print_table(table)


def _listed(name: str) -> PresetListing:
    config = preset(name)
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in Network(config).parameters())
    published, here = PUBLISHED.get(name), cached(name)
    return PresetListing(
        name=name,
        parameters=parameters,
        window=config.window,
        max_pixels=config.max_pixels,
        weights=f"{published.repository}: {published.filename}" if published else "in the box" if here else "untrained",
        licence=published.licence if published else BOXED_LICENCE,
        here=None if here is None else str(here),
    )
