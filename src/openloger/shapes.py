"""Shapes in the types: `Float[Tensor, "frame height width 3"]`.

The axis vocabulary is `batch frame height width token channel head`. The shapes are checked by jaxtyping while the
tests run (tests/shape_checks.py) and cost nothing otherwise: where jaxtyping is not installed, the names below
stand for the plain array type, so the numerical core runs with torch and numpy alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Float64, Int, UInt8
else:
    try:
        from jaxtyping import Bool, Float, Float32, Float64, Int, UInt8
    except ImportError:

        class _Unchecked:
            def __class_getitem__(cls, array_and_shape: tuple[type, str]) -> type:
                return array_and_shape[0]

        Bool = Float = Float32 = Float64 = Int = UInt8 = _Unchecked

__all__ = ["Bool", "Float", "Float32", "Float64", "Int", "Tensor", "UInt8"]
