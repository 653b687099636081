"""The files that keep calibrations: one for each processor or card, its instructions, the versions and the network.

They lie in `kernels` of the user's cache folder. A file that is damaged or cannot be read counts as none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from openloger.network.network import NetworkConfig
from openloger.outputs import write_atomically
from openloger.runtime.platform import cache_folder, processor_name, read_bytes
from openloger.runtime.threads import free_threads
from openloger.version import __version__

FORMAT = 1
_FLAGS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")


def identity(config: NetworkConfig, device: torch.device) -> dict[str, Any]:
    """All that a measurement depends on, as plain JSON values."""
    able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    own = {"cudnn": torch.backends.cudnn.version()} if device.type == "cuda" else {"threads": free_threads()}
    return own | {
        "format": FORMAT,
        "openloger": __version__,
        "torch": torch.__version__,
        "device": processor_name() if device.type == "cpu" else torch.cuda.get_device_name(device),
        "instructions": sorted(name for name, there in able.items() if there is True),
        "limited_to": {name: os.environ[name] for name in _FLAGS if name in os.environ},
        "network": repr(config),
    }


def file_of(identity: Mapping[str, Any]) -> Path:
    """Where the calibration of an identity is kept."""
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "kernels" / f"{digest[:32]}.json"


def read(identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is kept for it; None where nothing is, or it is damaged."""
    try:
        content = json.loads(read_bytes(file_of(identity)))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.get("identity") != identity:
        return None
    found = content.get("calibration")
    return found if isinstance(found, dict) else None


def write(identity: Mapping[str, Any], calibration: Mapping[str, Any]) -> str | None:
    """Keep it; the reason where that is not possible."""
    content = {"identity": identity, "calibration": calibration}
    try:
        write_atomically(file_of(identity), json.dumps(content, indent=1).encode())
    except OSError as error:
        return f"{error.filename or file_of(identity)}: {error.strerror or error}"
    return None
