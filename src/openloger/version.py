"""The version, on the ground floor: recordings and results are stamped with it. And how the package was installed."""

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """Of this package and what it computes with."""
    import platform

    import numpy as np
    import torch

    return {
        "openloger": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def install_command(extra: str) -> str:
    """The shell command that installs an optional part of this package, quoted for every shell with quotes.

    openloger is in no package index: by its name alone, a package of somebody else could come. So it names the folder
    that this one runs or was installed from; pip takes the name for the installed package where that folder has gone.
    """
    import json
    from importlib import metadata
    from pathlib import Path
    from urllib.parse import unquote, urlsplit

    folder = Path(__file__).parents[2]
    try:
        origin = metadata.distribution("openloger").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        origin = None
    if origin is not None:
        folder = Path(unquote(urlsplit(json.loads(origin)["url"]).path))
    where = folder if (folder / "pyproject.toml").is_file() else "openloger"
    return f"pip install '{where}[{extra}]'"
