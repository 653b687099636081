"""A source whose frames pass through a function of iterators: resizing, a thread that reads ahead, a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from openloger.values import Frame, FrameSource


@dataclass(frozen=True)
class FramesThrough:
    """A FrameSource: `through` of the frames of `source`, which gives `each` for one of them."""

    source: FrameSource
    through: Callable[[Iterator[Frame]], Iterator[Frame]]
    each: int = field(default=1, kw_only=True)

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def length(self) -> int | None:
        length = self.source.length
        return None if length is None else length * self.each

    @property
    def bad_frames(self) -> list[tuple[int, str]]:
        """(index, reason) of the frames that could not be decoded so far."""
        return list(getattr(self.source, "bad_frames", []))

    def frames(self, first: int = 0) -> Iterator[Frame]:
        return self.through(self.source.frames(first))

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()


def sources_within(source: object) -> Iterator[object]:
    """A source, and the sources that it takes its frames from, the innermost last."""
    yield source
    while hasattr(source, "source"):
        source = getattr(source, "source")  # noqa: B009
        yield source
