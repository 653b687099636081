"""The folder of the page: its own files, the exported network, ONNX Runtime Web, and the settings of all of them."""

from __future__ import annotations

import html
import json
import shutil
from dataclasses import asdict, dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from openloger.errors import InputError
from openloger.export.selection import LEAST_EDGE, PointSelection
from openloger.network import OnnxNetwork
from openloger.network.exported import ExportDescription
from openloger.outputs import MANIFEST, check_place, damaged_file, is_ours, staged_folder
from openloger.pages import DEPTH_COLOURS, style
from openloger.version import __version__
from openloger.webdemo.runtime import Runtime

MADE_BY = "web-demo"
MOST_POINTS = 500_000  # 7.5 MB here, and as much where they are drawn
INDEX = "index.html"
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "img-src 'self' data:",
        "media-src 'self' blob:",  # a chosen video
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
_CLIPS = (".mp4", ".webm", ".mov", ".m4v")


@dataclass(frozen=True)
class DemoSettings:
    """`settings.json` of a page: what its modules need besides the network's own description."""

    openloger: str  # version
    about: str  # the network, in a sentence or two
    window: int  # frames
    patch: int  # pixels
    max_pixels: int  # of a frame at the network's size
    confidence_min: float  # 0..1
    least_edge: float  # of `usual_edge`
    most_points: int  # that the cloud keeps
    precision: str  # of the network's weights: "float32" or "int8"
    cpu_nodes: tuple[str, ...]  # of its graphs: what WebGPU does not have, by name
    depth_colours: tuple[tuple[int, int, int], ...]  # from near to far
    clip: str | None  # a file of the folder, to be tried


def write_web_demo(
    network: Path, out: Path, *, runtime: Runtime, clip: Path | None = None, overwrite: bool = False
) -> DemoSettings:
    """Write the page to the folder `out`: of a `network` folder that `export_network` wrote, and `runtime`.

    `clip` is a video that the page offers to try; it is copied. Returns the page's settings.

    Raises InputError for a clip that is missing or no video for a browser, for a network that is placed as the page
    cannot, and as `check_place` of `openloger.outputs`; WeightsError where `network` holds no whole network in ONNX.
    """
    check_place(out, made_by=MADE_BY, overwrite=overwrite, folder=True)
    if clip is not None:
        check_clip(clip)
    description = OnnxNetwork.load(network).description
    placement = description.network.placement
    if placement not in ("none", "se3", "sim3"):
        raise InputError(f"the page places windows by none, se3 or sim3, and {description.preset} by {placement}")
    selection = PointSelection()
    settings = DemoSettings(
        openloger=__version__,
        about=_about(description),
        window=description.window,
        patch=description.patch,
        max_pixels=description.network.max_pixels,
        confidence_min=selection.confidence_min,
        least_edge=LEAST_EDGE,
        most_points=MOST_POINTS,
        precision=description.precision,
        cpu_nodes=_cpu_nodes(network, description),
        depth_colours=DEPTH_COLOURS,
        clip=None if clip is None else f"clip{clip.suffix.lower()}",
    )
    with staged_folder(out, made_by=MADE_BY, overwrite=overwrite) as folder:
        _copy(resources.files("openloger.webdemo").joinpath("site"), folder)
        index = (folder / INDEX).read_text(encoding="utf-8")
        policy = html.escape(CONTENT_SECURITY_POLICY, quote=False)
        (folder / INDEX).write_text(index.replace("CONTENT_SECURITY_POLICY", policy), encoding="utf-8")
        (folder / "page.css").write_text(style(), encoding="utf-8")
        (folder / "settings.json").write_text(json.dumps(asdict(settings), indent=1) + "\n", encoding="utf-8")
        (folder / "runtime").mkdir()
        runtime.write(folder / "runtime")
        (folder / "network").mkdir()
        for name in (*description.files, "network.json"):
            shutil.copyfile(network / name, folder / "network" / name)
        if clip is not None and settings.clip is not None:
            shutil.copyfile(clip, folder / settings.clip)
    return settings


def check_clip(clip: Path) -> None:
    """Check that there is a file with a name as videos for a browser have it; raises InputError where there is none."""
    if clip.suffix.lower() not in _CLIPS or not clip.is_file():
        raise InputError(f"--clip {clip} is no file that ends in {', '.join(_CLIPS)}: give a video that browsers play")


def check_demo(folder: Path) -> None:
    """Check that a folder is a whole page that `write_web_demo` wrote; raises InputError where it is not."""
    if not (folder / MANIFEST).is_file() or not is_ours(folder / INDEX, made_by=MADE_BY):
        raise InputError(f"{folder} holds no page that `openloger {MADE_BY}` wrote: choose another folder")
    damaged = damaged_file(folder)
    if damaged is not None:
        raise InputError(
            f"{damaged} is missing, or has changed since it was written: write the page again (--overwrite)"
        )


def folder_bytes(folder: Path) -> int:
    """Of all files below it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _copy(source: Traversable, folder: Path) -> None:
    for entry in source.iterdir():
        if entry.is_file():
            (folder / entry.name).write_bytes(entry.read_bytes())


def _cpu_nodes(network: Path, description: ExportDescription) -> tuple[str, ...]:
    """Antialiased resizing, by which the encoder's positions fit a picture."""
    import onnx  # pyright: ignore[reportMissingImports]

    names: set[str] = set()
    for kind in description.inputs:
        graph: Any = onnx.load(network / f"{kind}.onnx", load_external_data=False).graph
        names |= {node.name for node in graph.node if any(one.name == "antialias" and one.i for one in node.attribute)}
    return tuple(sorted(names))


def _about(description: ExportDescription) -> str:
    """What the visitor should know of the network."""
    config = description.network
    size = f"{description.parameters / 1e6:.1f} million parameters, {description.precision}"
    return (
        f"The network is {description.preset}: {size}, pictures of about {config.max_pixels:,} pixels, windows of "
        f"{description.window} frames that share {description.overlap}. It was made for tests and toys, and its depth "
        "and path are coarse. The default network of the openloger program, compact, sees six times as many pixels and "
        "is much better; it cannot run in a browser yet."
        if description.preset == "pocket"
        else f"The network is {description.preset}: {size}, windows of {description.window} frames that share "
        f"{description.overlap}."
    )
