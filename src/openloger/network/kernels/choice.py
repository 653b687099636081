"""The choice itself: a value that a network holds, and that its recordings keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from openloger.transformer.attention import BACKENDS


@dataclass(frozen=True)
class Kernels:
    """How a network's operations are computed where there is more than one way; every way is right up to rounding.

    What stands here is the default, which a measurement leaves only for what is clearly faster.
    """

    linear: Literal["onednn", "torch"] = "onednn"  # float32 products of transformers on x86 CPUs; torch's own are MKL's
    channels_last: bool = True  # the layout of convolutions' weights and maps
    threads: int | None = None  # torch's, beside decoding and writing; None: as `runtime.threads` has it
    attention: tuple[str, ...] = ()  # on a card, of `transformer.attention.BACKENDS`, the preferred first; (): torch's

    def __post_init__(self) -> None:
        """Raises ValueError for what none of them can be."""
        whole = self.threads is None or (type(self.threads) is int and self.threads > 0)
        known = self.linear in ("onednn", "torch") and set(self.attention) <= BACKENDS.keys()
        if not (known and whole and type(self.channels_last) is bool):
            raise ValueError(f"there are no kernels {self!r}")

    def recorded(self) -> dict[str, Any]:
        """What differs from the default, as plain JSON values for a recording's settings."""
        return {name: value for name, value in asdict(self).items() if value != getattr(Kernels(), name)}

    @staticmethod
    def of_recording(settings: Mapping[str, Any]) -> Kernels:
        """Those that a recording was made with; the inverse of `recorded`, whatever else the settings hold."""
        found = {field.name: settings[field.name] for field in fields(Kernels) if field.name in settings}
        found["attention"] = tuple(found.get("attention", ()))
        return Kernels(**found)
