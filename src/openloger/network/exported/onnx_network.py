"""An exported network in ONNX Runtime: `prediction, memory = network(window, memory)`, without torch in between.

Tensors come and go as torch's, since a stream places windows with them; they share memory with ONNX Runtime's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from openloger.errors import InputError, WeightsError, in_a_line
from openloger.geometry import nearest_rotation
from openloger.network.exported.description import INITIAL_FILE, ExportDescription, read_description
from openloger.network.exported.step import FIRST, METRIC, NEXT, OUTPUTS, STEADY
from openloger.network.hashing import weights_hash
from openloger.network.network import NetworkConfig
from openloger.network.places import place_of_overlap
from openloger.network.video_memory import VideoMemory
from openloger.network.window import Window, WindowPrediction
from openloger.shapes import Float, Int, Tensor
from openloger.version import install_command

_FAST_WEIGHTS = "fast_weights."


class OnnxNetwork:
    """A network that `export_network` wrote, for a stream, or one window after another.

    It takes windows of any number of frames and any whole patches, one video at a time, without masks, and its memory
    layers all run. State is laid out as the network's in torch, so that either goes on where the other stopped.
    """

    def __init__(self, folder: Path, description: ExportDescription, *, threads: int | None = None) -> None:
        """`OnnxNetwork.load` checks a folder first."""
        self.folder = folder
        self.description = description
        self._config = description.network
        self._threads = threads
        self._initial = load_file(folder / INITIAL_FILE)

    @staticmethod
    def load(folder: str | Path, *, threads: int | None = None) -> OnnxNetwork:
        """The network in a folder; `threads` of ONNX Runtime are by default as many as torch has at the first window.

        Raises InputError where ONNX Runtime is not installed, and WeightsError where the folder holds no network in
        ONNX, one of another version, or files that are not those that were written.
        """
        try:
            import onnxruntime  # noqa: F401  # pyright: ignore[reportMissingImports, reportUnusedImport]
        except ImportError:
            raise InputError(f"running an exported network needs onnxruntime: {install_command('onnx')}") from None
        folder = Path(folder).expanduser()
        description = read_description(folder)
        if description.to != "onnx":
            raise WeightsError(f"{folder} holds a network for {description.to}, not for ONNX Runtime: export it again")
        for name, wanted in description.files.items():
            if not (folder / name).is_file():
                raise WeightsError(f"{folder} lacks {name}: export the network again")
            if weights_hash(folder / name) != wanted:
                raise WeightsError(f"{folder / name} is not the file that was exported: export the network again")
        try:
            network = OnnxNetwork(folder, description, threads=threads)
        except SafetensorError as error:
            raise WeightsError(f"{folder / INITIAL_FILE} is damaged: {error}") from error
        return network

    @property
    def config(self) -> NetworkConfig:
        return self._config

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def takes_padding(self) -> bool:
        """No: any number of frames runs as it is."""
        return False

    def carried_place(self, memory: VideoMemory, size: tuple[int, int]) -> Float[Tensor, " number"] | None:
        """As `places.place_of_overlap`."""
        return place_of_overlap(memory.overlap_features, size=size, patch=self.config.encoder.patch)

    def weights_hash(self) -> str | None:
        """The SHA-256 of the weights file that was exported."""
        return self.description.weights_sha256

    def run_settings(self) -> dict[str, Any]:
        """The precision of the weights, and what runs them."""
        return {"precision": self.description.precision, "runtime": "onnx"}

    def parameter_count(self) -> int:
        return self.description.parameters

    def __call__(
        self, window: Window, memory: VideoMemory | None = None, *, disabled: Collection[str] = ()
    ) -> tuple[WindowPrediction, VideoMemory]:
        """As `Network.forward`; raises InputError for what the graphs do not have."""
        before = VideoMemory() if memory is None else memory
        self._check(window, before, disabled)
        held = before.to_tensors()
        given = self._initial | held | {"images": window.images, "roles": window.roles}
        kind = STEADY if STEADY in self._graphs and self._wanted(STEADY) <= set(given) else FIRST
        outputs = [name for name in self.description.outputs if not (window.last and _is_learned(name))]
        found = self._run(kind, {name: given[name] for name in self._wanted(kind)}, outputs)
        after = {name.removeprefix(NEXT): tensor for name, tensor in found.items() if name.startswith(NEXT)}
        if window.last:  # none follows, so the fast weights learn nothing from it
            after |= {name: tensor for name, tensor in held.items() if name.startswith(_FAST_WEIGHTS)}
        prediction = WindowPrediction(**{name: found[name] for name in OUTPUTS}, metric_scale=found.get(METRIC))
        return _rigid(prediction) if window.rigid else prediction, VideoMemory.from_tensors(after)

    def _check(self, window: Window, before: VideoMemory, disabled: Collection[str]) -> None:
        name, patch = self.config.name, self.config.encoder.patch
        height, width = window.images.shape[-2:]
        if window.overlap != self.description.overlap:
            raise InputError(
                f"overlap {window.overlap}: {name} was exported for windows that share {self.description.overlap} "
                "frames; export it again with --overlap"
            )
        for level in before.overlap_features:
            if level.shape[1] != window.overlap:
                raise InputError(f"the memory has {level.shape[1]} frames of the window before, not {window.overlap}")
        if disabled:
            raise InputError(f"without {', '.join(disabled)}: an exported network runs all of its memory layers")
        if window.used is not None or window.padding:
            raise InputError(f"an exported network takes neither masks nor padding: use {name} itself")
        if len(window.images) != 1:
            raise InputError(f"a batch of {len(window.images)}: an exported network takes one window at a time")
        if height % patch or width % patch:
            raise InputError(f"frames of {width}×{height} do not divide into patches of {patch}: resize them first")

    def _wanted(self, kind: str) -> set[str]:
        return set(self.description.inputs[kind])

    def _run(self, kind: str, given: Mapping[str, Tensor], outputs: list[str]) -> dict[str, Tensor]:
        options, session = self._graphs[kind]
        arrays = {name: _array(tensor) for name, tensor in given.items()}
        found = session.run(outputs, arrays, options)
        return {name: torch.from_numpy(array) for name, array in zip(outputs, found, strict=True)}

    @cached_property
    def _graphs(self) -> dict[str, tuple[Any, Any]]:
        """Run options and session of each kind of window; made at the first, when torch's threads are settled."""
        import onnxruntime  # pyright: ignore[reportMissingImports]
        from onnxruntime.capi.onnxruntime_pybind11_state import (  # pyright: ignore[reportMissingImports]
            Fail,
            InvalidGraph,
            InvalidProtobuf,
            NoSuchFile,
            NotImplemented,
        )

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self._threads or torch.get_num_threads()
        settings.log_severity_level = 3
        run = onnxruntime.RunOptions()
        run.only_execute_path_to_fetches = True  # a last window's update is not computed
        found: dict[str, tuple[Any, Any]] = {}
        for kind, wanted in self.description.inputs.items():
            path = self.folder / f"{kind}.onnx"
            try:
                session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
            except (Fail, InvalidGraph, InvalidProtobuf, NoSuchFile, NotImplemented) as error:
                raise WeightsError(f"{path} cannot be loaded by ONNX Runtime: {in_a_line(error)}") from error
            names = {one.name for one in session.get_inputs()}, {one.name for one in session.get_outputs()}
            if names != (set(wanted), set(self.description.outputs)):
                raise WeightsError(f"{path} does not take and give what {self.folder} says: export the network again")
            found[kind] = run, session
        return found


def _array(tensor: Tensor) -> Float[np.ndarray, "..."] | Int[np.ndarray, "..."]:
    """In float32, where a network in torch left its state in another precision."""
    return np.ascontiguousarray((tensor.float() if tensor.is_floating_point() else tensor).detach().numpy())


def _is_learned(name: str) -> bool:
    return name.startswith(NEXT + _FAST_WEIGHTS)


def _rigid(prediction: WindowPrediction) -> WindowPrediction:
    """With rotations in place of the nine numbers of the graph."""
    world_from_cam = prediction.world_from_cam.clone()
    world_from_cam[..., :3, :3] = nearest_rotation(world_from_cam[..., :3, :3])
    return replace(prediction, world_from_cam=world_from_cam)
