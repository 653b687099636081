"""A handful of numbers for many errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openloger.errors import InputError
from openloger.shapes import Float64


@dataclass(frozen=True)
class Summary:
    """Of errors ≥ 0, in their unit."""

    rmse: float
    mean: float
    median: float
    maximum: float
    count: int

    @staticmethod
    def of(errors: Float64[np.ndarray, " error"]) -> Summary:
        """Raises InputError where there are none, or one is not a number."""
        if len(errors) == 0:
            raise InputError("there is nothing to summarise: no errors were measured")
        if not np.isfinite(errors).all():
            raise InputError(f"{int((~np.isfinite(errors)).sum())} of {len(errors)} errors are not finite numbers")
        return Summary(
            rmse=float(np.sqrt(np.mean(np.square(errors)))),
            mean=float(np.mean(errors)),
            median=float(np.median(errors)),
            maximum=float(np.max(errors)),
            count=len(errors),
        )
