"""The version, on the ground floor: recordings and results are stamped with it."""

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
