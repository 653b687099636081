"""The version, on the ground floor: recordings and results are stamped with it."""

__version__ = "0.1.0"
