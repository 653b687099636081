"""`openloger export-network`: a network as graphs that run without this package."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openloger.cli.terminal import printable
from openloger.network import export_network as write
from openloger.network import load_network


def export_network(
    network: tyro.conf.Positional[str],
    /,
    *,
    to: Literal["onnx", "torch-export", "aot-inductor"] = "onnx",
    int8: bool = False,
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    weights: str | None = None,
    overlap: int | None = None,
    overwrite: bool = False,
    json: bool = False,
) -> int:
    """Write a network's window step as graphs, with the memory as inputs and outputs, for edge devices and browsers.

    `openloger reconstruct VIDEO --network FOLDER` runs a folder in ONNX Runtime; see docs/edge.md.

    Args:
        network: loger, loger-star, pi3, pi3x or pocket; compact has parts that cannot be exported.
        to: onnx needs openloger[onnx]; torch-export is for torch.export.load; aot-inductor, which
            needs a C++ compiler, is machine code for processors like this one.
        int8: Store the matrices in a quarter of the size, at some cost in quality (ONNX).
        out: The folder to write. By default in this folder, as pocket-onnx or pocket-onnx-int8.
        weights: A file, a folder, a Hugging Face id (user/repo), or "random". By default what the box or the hub has.
        overlap: Frames that neighbouring windows share, which is fixed in the graphs. By default the network's own.
        overwrite: Replace an earlier export; a folder with anything that openloger did not write is kept.
        json: Print what network.json says.
    """
    loaded = load_network(network, weights=weights, device="cpu", dtype="float32")
    name = "-".join((loaded.config.name, to, *(["int8"] if int8 else [])))
    path = Path(name) if out is None else out
    description = write(loaded, path, to=to, int8=int8, overlap=overlap, overwrite=overwrite)
    if json:
        print(json_module.dumps(asdict(description)))
        return 0
    for file in ("network.json", *description.files):
        print(printable(path / file))
    return 0
