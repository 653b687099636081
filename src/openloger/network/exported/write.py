"""Writes an exported network: a graph for each kind of window, the memory to begin with, and a description."""

from __future__ import annotations

import importlib
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from openloger.errors import InputError, OpenlogerError
from openloger.network.checkpoint import write_tensors
from openloger.network.dense import DenseHeadsConfig
from openloger.network.exported.description import FORMAT, INITIAL_FILE, ExportDescription
from openloger.network.exported.onnx_network import OnnxNetwork
from openloger.network.exported.step import (
    FIRST,
    NEXT,
    STEADY,
    WindowStep,
    graph_outputs,
    initial_memory,
    named_outputs,
)
from openloger.network.hashing import weights_hash
from openloger.network.network import Network
from openloger.network.window import Window
from openloger.outputs import check_place, staged_folder
from openloger.runtime.compiler import OLDEST_TORCH, check_compiler
from openloger.shapes import Tensor
from openloger.version import install_command, versions

MADE_BY = "export-network"
OPSET = 18  # the first with antialiased resizing, by which the encoder's positions fit a picture
FORMS = ("onnx", "torch-export", "aot-inductor")
ENDINGS = {"onnx": ".onnx", "torch-export": ".pt2", "aot-inductor": ".pt2"}
MOST_APART = 1e-4  # relative, of float32 graphs from the network in torch
_CAN = "loger, loger-star, pi3, pi3x and pocket can"
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def export_network(
    network: Network,
    out: str | Path,
    *,
    to: str = "onnx",
    int8: bool = False,
    overlap: int | None = None,
    overwrite: bool = False,
) -> ExportDescription:
    """Write a network's window step to the folder `out`, and return what `network.json` there says.

    `to`: "onnx" (of opset `OPSET`, for `OnnxNetwork` and others), "torch-export" (for `torch.export.load`), or
    "aot-inductor" (machine code for processors like this one, which Python and C++ load). `int8` stores the matrices
    of linear layers in int8, a scale a column, and quantises what they multiply as it comes (ONNX). `overlap` is the
    number of frames that windows share, by default the network's own; it is fixed in the graphs.

    Raises InputError for a network that cannot be exported, where the extra or a C++ compiler is not installed, and as
    `check_place` of `openloger.outputs`; OpenlogerError where a float32 graph or machine code differs from the network
    by more than `MOST_APART`.
    """
    overlap = network.config.overlap if overlap is None else overlap
    check_export(network, to=to, int8=int8, overlap=overlap)
    path = Path(out)
    check_place(path, made_by=MADE_BY, overwrite=overwrite, folder=True)
    network = _plain(network)
    with staged_folder(path, made_by=MADE_BY, overwrite=overwrite) as folder:
        steps = {kind: WindowStep(network, kind=kind, overlap=overlap) for kind in _kinds(network, overlap)}
        write = _writer(to, int8=int8)
        with _quiet():
            for kind, step in steps.items():
                write(step, folder / f"{kind}{ENDINGS[to]}")
        write_tensors(initial_memory(network), folder / INITIAL_FILE)
        description = _describe(network, steps, folder, to=to, int8=int8, overlap=overlap)
        description.write(folder)
        if to == "onnx":
            _verify(network, folder, overlap=overlap, most=None if int8 else MOST_APART)
        elif to == "aot-inductor":
            _verify_compiled(steps, folder)
    return description


def check_export(network: Network, *, to: str = "onnx", int8: bool = False, overlap: int | None = None) -> None:
    """Check what `export_network` checks before it writes; raises InputError as it does, `out` aside."""
    config = network.config
    overlap = config.overlap if overlap is None else overlap
    if to not in FORMS:
        raise InputError(f"--to {to!r} is none of {', '.join(FORMS)}")
    if int8 and to != "onnx":
        raise InputError("--int8 goes with --to onnx")
    if isinstance(config.heads, DenseHeadsConfig):
        raise InputError(
            f"{config.name} cannot be exported: its geometric camera chooses edges by what it finds and solves linear "
            f"systems, for which ONNX has no operators; {_CAN}"
        )
    if config.memory is not None and config.memory.newton_schulz == "bfloat16":
        raise InputError(f"{config.name} updates its memory in bfloat16, which exported networks do not")
    if not 0 <= overlap < config.window:
        raise InputError(f"overlap {overlap} must be at least 0 and less than the window, {config.window}")
    if torch.__version__ < OLDEST_TORCH:
        raise InputError(f"exporting is tested with torch {OLDEST_TORCH} and later, not {torch.__version__}: update it")
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if to == "onnx" and missing:
        raise InputError(f"exporting to ONNX needs {', '.join(missing)}: {install_command('onnx')}")
    if to == "aot-inductor":
        check_compiler(torch.device("cpu"), instead="choose --to onnx or torch-export")


def _plain(network: Network) -> Network:
    """A copy in float32 on the CPU, not compiled."""
    with torch.device("meta"):
        plain = Network(network.config)
    plain.load_state_dict({name: one.float().cpu() for name, one in network.state_dict().items()}, assign=True)
    plain.weights = network.weights
    return plain.eval().requires_grad_(False)


def _writer(to: str, *, int8: bool) -> Callable[[WindowStep, Path], None]:
    onnx = _write_int8 if int8 else _write_onnx
    return {"onnx": onnx, "torch-export": _write_torch, "aot-inductor": _write_compiled}[to]


def _kinds(network: Network, overlap: int) -> Sequence[str]:
    """A network that carries nothing from window to window has first ones alone."""
    return (FIRST, STEADY) if overlap or network.config.memory is not None else (FIRST,)


@torch.no_grad()
def _traced(step: WindowStep) -> torch.export.ExportedProgram:
    examples = tuple(entry.example for entry in step.inputs)
    free = torch.export.Dim.DYNAMIC
    dims = tuple({n: free for n, dim in enumerate(entry.dims) if isinstance(dim, str)} for entry in step.inputs)
    return torch.export.export(step, examples, dynamic_shapes=(dims,), strict=False)


def _write_torch(step: WindowStep, path: Path) -> None:
    program = _traced(step).run_decompositions({})  # regions without autocast, which a file does not hold, are inlined
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # where the code lay
    torch.export.save(program, path)


@torch.no_grad()
def _write_compiled(step: WindowStep, path: Path) -> None:
    inductor: Any = importlib.import_module("torch._inductor")
    inductor.aoti_compile_and_package(_traced(step), package_path=str(path))


def _write_onnx(step: WindowStep, path: Path) -> None:
    written = torch.onnx.export(
        _traced(step),
        (),
        dynamo=True,
        opset_version=OPSET,
        input_names=[entry.name for entry in step.inputs],
        output_names=list(step.outputs),
        verbose=False,
    )
    assert written is not None
    written.save(path)
    _tidy(path, step)


def _write_int8(step: WindowStep, path: Path) -> None:
    whole = path.with_name(f"float32-{path.name}")
    _write_onnx(step, whole)
    _quantise(whole, path)
    for file in path.parent.glob(f"{whole.name}*"):
        file.unlink()


def _tidy(path: Path, step: WindowStep) -> None:
    """Give the free sizes of a graph the names of `GraphInput.dims`, which torch numbers (s12), and take out what torch
    notes of each node, where the code lay that it was traced from."""
    import onnx  # pyright: ignore[reportMissingImports]

    model: Any = onnx.load(path, load_external_data=False)
    names: dict[str, str] = {}
    for value, entry in zip(model.graph.input, step.inputs, strict=True):
        for dim, name in zip(value.type.tensor_type.shape.dim, entry.dims, strict=True):
            if isinstance(name, str):
                names.setdefault(dim.dim_param, name)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\bs\d+\b", lambda found: names.get(found[0], found[0]), dim.dim_param)
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.initializer, *model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    model.graph.ClearField("metadata_props")
    onnx.save(model, path)
    onnx.checker.check_model(path)


def _quantise(whole: Path, path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic  # pyright: ignore[reportMissingImports]

    quantise: Callable[..., None] = quantize_dynamic
    quantise(
        whole,
        path,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
    )


def _describe(
    network: Network, steps: dict[str, WindowStep], folder: Path, *, to: str, int8: bool, overlap: int
) -> ExportDescription:
    config = network.config
    return ExportDescription(
        format=FORMAT,
        preset=config.name,
        to=to,
        opset=OPSET if to == "onnx" else None,
        precision="int8" if int8 else "float32",
        overlap=overlap,
        window=config.window,
        patch=config.encoder.patch,
        parameters=network.parameter_count(),
        weights_sha256=network.weights_hash(),
        config=asdict(config),
        inputs={kind: {entry.name: list(entry.dims) for entry in step.inputs} for kind, step in steps.items()},
        outputs=list(graph_outputs(config, overlap=overlap)),
        files={file.name: weights_hash(file) for file in sorted(folder.iterdir())},
        versions=versions(),
    )


@torch.inference_mode()
def _verify(network: Network, folder: Path, *, overlap: int, most: float | None) -> None:
    """Two windows, of a size that was not traced, beside the network in torch."""
    exported, patch, frames = OnnxNetwork.load(folder), network.config.encoder.patch, overlap + 2
    images = torch.rand(1, frames, 3, 4 * patch, 3 * patch, generator=torch.Generator().manual_seed(0))
    theirs, ours = network.fresh_memory(), network.fresh_memory()
    for number in range(2):
        window = Window(images.roll(number, dims=1), frames, overlap)
        (wanted, theirs), (found, ours) = network(window, theirs), exported(window, ours)
        if most is not None:
            _check_near(network, named_outputs(wanted, theirs), named_outputs(found, ours), window=number, most=most)


@torch.inference_mode()
def _verify_compiled(steps: Mapping[str, WindowStep], folder: Path) -> None:
    """Each kind of window beside the network in torch, with the memory that the window before left."""
    inductor: Any = importlib.import_module("torch._inductor")
    memory: dict[str, Tensor] = {}
    for number, (kind, step) in enumerate(steps.items()):
        patch, frames = step.network.config.encoder.patch, step.overlap + 2
        images = torch.rand(1, frames, 3, 4 * patch, 3 * patch, generator=torch.Generator().manual_seed(number))
        roles = Window(images, frames, step.overlap).roles
        named = {entry.name: entry.example for entry in step.inputs} | memory | {"images": images, "roles": roles}
        given = [named[entry.name] for entry in step.inputs]
        found = inductor.aoti_load_package(str(folder / f"{kind}{ENDINGS['aot-inductor']}"))(*given)
        wanted = dict(zip(step.outputs, step(*given), strict=True))
        _check_near(step.network, wanted, dict(zip(step.outputs, found, strict=True)), window=number, most=MOST_APART)
        memory = {name.removeprefix(NEXT): tensor for name, tensor in wanted.items() if name.startswith(NEXT)}


def _check_near(
    network: Network, wanted: dict[str, Tensor], found: dict[str, Tensor], *, window: int, most: float
) -> None:
    apart = {name: _apart(wanted[name], found[name]) for name in wanted}
    worst = max(apart, key=lambda name: apart[name])
    if not apart[worst] <= most:
        raise OpenlogerError(
            f"the exported {network.config.name} is not the network: {worst} of window {window} differs by "
            f"{apart[worst]:.1e}, relative; nothing was written"
        )


def _apart(wanted: Tensor, found: Tensor) -> float:
    return float((wanted - found).norm() / wanted.norm())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the notes of the packages that trace, translate and quantise."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
