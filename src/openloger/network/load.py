"""A named network with its weights: from the box, a file, a folder or the Hugging Face hub."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch

from openloger.errors import InputError, WeightsError, in_a_line
from openloger.network.checkpoint import load_tensors, read_config, read_tensors
from openloger.network.kernels.calibration import calibrated
from openloger.network.kernels.use import use_kernels
from openloger.network.network import Network
from openloger.network.precision import resolve_dtype
from openloger.network.presets import PRESETS, preset

_log = logging.getLogger("openloger")
_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
_OUR_FILE = "model.safetensors"


@dataclass(frozen=True)
class PublishedWeights:
    """Where a preset's weights are published, and under what terms."""

    repository: str  # on the Hugging Face hub
    filename: str
    licence: str


_DERIVED = "none stated; derived from π³ (CC BY-NC 4.0)"
PUBLISHED = {
    "loger": PublishedWeights("Junyi42/LoGeR", "LoGeR/latest.pt", _DERIVED),
    "loger-star": PublishedWeights("Junyi42/LoGeR", "LoGeR_star/latest.pt", _DERIVED),
    "pi3": PublishedWeights("yyfz233/Pi3", _OUR_FILE, "CC BY-NC 4.0"),
    "pi3x": PublishedWeights("yyfz233/Pi3X", _OUR_FILE, "CC BY-NC 4.0"),
}
BOXED_LICENCE = "Apache-2.0"


def load_network(
    name: str,
    *,
    weights: str | Path | None = None,
    device: torch.device | str = "auto",
    dtype: torch.dtype | str = "auto",
) -> Network:
    """The network `name`, ready to run: a preset's, or a file, folder or hub id whose weights name the network.

    `weights`: a file (published `.pt`, or safetensors), a folder that holds one, a Hugging Face id (`user/repo`), or
    "random" for an untrained network; None takes what the box or the hub has for this preset.
    `device` "auto" picks CUDA, then MPS, then the CPU; `dtype` "auto" picks bfloat16 where the card multiplies in it or
    a measurement finds the processor faster in it, else float16 on CUDA and float32 elsewhere. The first load on a
    machine measures its kernels, for about three seconds (`kernels.calibrated`).

    Raises InputError for an unknown name, device or dtype, and WeightsError for weights that are missing or do not fit.
    """
    device = resolve_device(device)
    resolve_dtype(dtype, device)  # what is none is refused before anything is read
    if name not in PRESETS and weights is None and ("/" in name or Path(name).exists()):
        name, weights = _published_as(name), name
    path = None if str(weights) == "random" else find_weights(name, weights)
    if path is None:
        network = _untrained(name)
        _log.warning("%s runs with untrained (random) weights: what it reconstructs means nothing", name)
    else:
        network = _with_weights(name, path)
    calibration = calibrated(network.config, device)
    use_kernels(network, calibration.kernels)
    chosen = calibration.precision if dtype == "auto" else dtype
    network.set_precision(resolve_dtype(chosen, device))  # first, so that a card never holds the weights in float32
    return network.to(device).eval().requires_grad_(False)


def _published_as(repository: str) -> str:
    """The preset that a hub id stands for; "" where the weights themselves must name it."""
    return next((name for name, published in PUBLISHED.items() if published.repository == repository), "")


def find_weights(name: str, weights: str | Path | None) -> Path | None:
    """The weights file that a name and a `weights` argument stand for; None where the box has none for this preset.

    Downloads from the hub if need be, into its usual cache. Raises WeightsError.
    """
    if weights is None:
        preset(name)
        return _download(PUBLISHED[name].repository, PUBLISHED[name].filename) if name in PUBLISHED else boxed(name)
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        return _in_folder(path, name)
    if _HUB_ID.match(str(weights)) and path.suffix not in (".pt", ".pth", ".safetensors"):
        known = PUBLISHED.get(name)
        filename = known.filename if known and known.repository == str(weights) else _OUR_FILE
        return _download(str(weights), filename)
    raise WeightsError(f"there are no weights at {weights}: give a file, a folder, a hub id (user/repo) or 'random'")


def boxed(name: str) -> Path | None:
    """The weights that come with the package, where it has any for this preset."""
    path = Path(str(resources.files("openloger"))) / "weights" / f"{name}.safetensors"
    return path if path.is_file() else None


def cached(name: str) -> Path | None:
    """The weights of a preset that are on this machine already."""
    if name not in PUBLISHED:
        return boxed(name)
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(PUBLISHED[name].repository, PUBLISHED[name].filename)
    return Path(found) if isinstance(found, str) else None


def _in_folder(folder: Path, name: str) -> Path:
    wanted = [folder / _OUR_FILE, folder / f"{name}.safetensors"]
    if name in PUBLISHED:
        wanted += [folder / PUBLISHED[name].filename, folder / Path(PUBLISHED[name].filename).name]
    for path in wanted:
        if path.is_file():
            return path
    listed = ", ".join(str(path.relative_to(folder)) for path in wanted)
    raise WeightsError(f"{folder} holds none of {listed}")


def _download(repository: str, filename: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, filename))
    except LocalEntryNotFoundError as error:
        raise WeightsError(
            f"{repository}/{filename} is not on this machine and the hub cannot be reached: "
            "download it elsewhere and give its path with --weights, or use --network pocket, which is in the box"
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise WeightsError(f"the hub does not give {repository}/{filename}: {in_a_line(error)}") from error


def _untrained(name: str) -> Network:
    """The same random weights every time, so that even such a run can be repeated and resumed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network(preset(name))


def _with_weights(name: str, path: Path) -> Network:
    own = read_config(path)
    if own is None and not name:
        raise WeightsError(f"{path} does not name its network; name the preset, and give it as the weights")
    if own is not None and name not in ("", own.name):
        raise WeightsError(f"{path} holds the network {own.name!r}, not {name!r}; give that name")
    config = own or preset(name)
    try:
        with torch.device("meta"):
            network = Network(config)
    except (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError) as error:
        raise WeightsError(f"{path} has a network configuration that cannot be built: {in_a_line(error)}") from error
    tensors = read_tensors(path)
    for key in tensors:  # one by one into memory of their own: a mapped file may go away, and is aligned to nothing
        tensors[key] = tensors[key].to(torch.float32, copy=True)
    load_tensors(network, tensors, source=str(path))
    network.weights = path
    return network


def resolve_device(device: torch.device | str) -> torch.device:
    """The device that "auto" stands for here, or the one named; raises InputError where there is none of that name."""
    if str(device) != "auto":
        try:
            chosen = torch.device(device)
            torch.empty(0, device=chosen)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"device {str(device)!r} cannot be used here: {in_a_line(error)}") from error
        return chosen
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
