"""`network.json` of an exported network: what it is, and what its graphs take and give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from openloger.errors import WeightsError
from openloger.network.checkpoint import config_from_dict
from openloger.network.network import NetworkConfig

FILE = "network.json"
INITIAL_FILE = "initial_memory.safetensors"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ExportDescription:
    """All that a program needs to know to run the graphs."""

    format: int
    preset: str
    to: str  # one of `write.FORMS`
    opset: int | None  # of ONNX
    precision: str  # of the weights: "float32" or "int8"
    overlap: int  # frames that neighbouring windows share, fixed in the graphs
    window: int  # frames that it is made for; any other number runs, too
    patch: int  # pixels: height and width are multiples of it
    parameters: int
    weights_sha256: str | None  # of the file that the weights were read from; None: they are random
    config: Mapping[str, Any]  # NetworkConfig
    inputs: Mapping[str, Mapping[str, list[int | str]]]  # by graph, input: sizes, and the names of free ones
    outputs: list[str]
    files: Mapping[str, str]  # name and SHA-256
    versions: Mapping[str, str]  # of what wrote it

    @property
    def network(self) -> NetworkConfig:
        return config_from_dict(self.config, source=FILE)

    def write(self, folder: Path) -> None:
        """As JSON."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def is_exported(path: str | Path) -> bool:
    """Whether a folder holds an exported network."""
    return "\0" not in str(path) and (Path(path).expanduser() / FILE).is_file()


def read_description(folder: Path) -> ExportDescription:
    """Raises WeightsError where a folder holds no exported network, or one of another version."""
    path = folder / FILE
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{folder} holds no exported network: {path.name}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is damaged: it is not JSON ({error}); export it again") from error
    names = {field.name for field in fields(ExportDescription)}
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT or set(values) != names:
        raise WeightsError(f"{path} is of format {found!r}, and this version reads {FORMAT}: export the network again")
    return ExportDescription(**values)
