"""openloger turns long videos into 3-D: one pass, no optimisation afterwards, memory that does not grow."""

__version__ = "0.1.0"
