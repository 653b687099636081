"""Files that operating systems and archivers leave in folders, and that are nobody's data."""

from __future__ import annotations

_NAMES = {".ds_store", "thumbs.db", "desktop.ini", "__macosx", "@eadir", ".fseventsd", ".spotlight-v100", ".trashes"}


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name is clutter: `.DS_Store`, `Thumbs.db`, AppleDouble's `._NAME` and such."""
    return name.startswith("._") or name.lower() in _NAMES
