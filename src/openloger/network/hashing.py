"""What identifies weights: the SHA-256 of their file."""

from __future__ import annotations

import hashlib
from pathlib import Path


def weights_hash(path: Path) -> str:
    """The SHA-256 of a weights file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
