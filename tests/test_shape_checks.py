"""The checks of shapes and types that all other tests run under: each kind of breach is found."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import shape_checks
import torch
from beartype.roar import BeartypeCallHintViolation

SOURCE = """
from __future__ import annotations
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
import numpy as np
from openloger.shapes import Float32, Tensor, UInt8
if TYPE_CHECKING:
    from nowhere import Unknown

def scaled(a: Float32[Tensor, "row column"], b: Float32[Tensor, "row"]) -> Float32[Tensor, "column row"]:
    return a.mT if b[0] >= 0 else a

def of_size(side: int) -> Float32[Tensor, "side side"]:
    return __import__("torch").zeros(side, side + (side > 3))

def for_checkers(value: Unknown, count: int = 0) -> Unknown:
    return value

def walk(count: int) -> Iterator[int]:
    yield from range(count)

@lru_cache(maxsize=8)
def kept(count: int) -> int:
    return str(count) if count > 9 else count

@dataclass(frozen=True)
class Pair:
    rgb: UInt8[np.ndarray, "height width 3"]
    depth: Float32[Tensor, "height width"]

    @property
    def size(self) -> tuple[int, int]:
        return "none" if self.rgb[0, 0, 0] else self.rgb.shape[:2]

    @staticmethod
    def grey(value: int, /, *, side: int = 2) -> Pair:
        return Pair(np.full((side, side, 3), value, np.uint8), __import__("torch").zeros(side, side))

def outer(rows: int) -> int:
    def inner(a: Float32[Tensor, "row column"]) -> Float32[Tensor, "row"]:
        return a[:, 0] if rows else a[0, :]
    return len(inner(__import__("torch").zeros(2, 3)))
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder: Path = tmp_path_factory.mktemp("package")
    (folder / "checked_package.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    before = list(sys.meta_path)
    shape_checks.install("checked_package")
    yield importlib.import_module("checked_package")
    sys.meta_path[:] = before
    sys.path.remove(str(folder))
    del sys.modules["checked_package"]


def test_what_fits_passes(module: ModuleType) -> None:
    assert module.scaled(torch.zeros(2, 3), torch.zeros(2)).shape == (3, 2)
    assert module.scaled(torch.zeros(4, 5), b=torch.zeros(4)).shape == (5, 4)  # axes are bound for one call alone
    assert module.for_checkers("anything") == "anything"
    assert list(module.walk(3)) == [0, 1, 2]
    assert (module.kept(1), module.outer(1)) == (1, 2)
    assert module.Pair.grey(0, side=3).size == (3, 3)


@pytest.mark.parametrize(
    "breach",
    [
        lambda module: module.scaled(torch.zeros(2, 3, 1), torch.zeros(2)),  # number of axes
        lambda module: module.scaled(torch.zeros(2, 3).double(), torch.zeros(2)),  # dtype
        lambda module: module.scaled(torch.zeros(2, 3), torch.zeros(3)),  # an axis of two arguments
        lambda module: module.scaled(torch.zeros(2, 3), -torch.ones(2)),  # an axis of argument and result
        lambda module: module.of_size(4),  # twice in the result
        lambda module: module.for_checkers("anything", count="x"),
        lambda module: module.walk("x"),
        lambda module: module.kept(10),
        lambda module: module.outer(0),  # a function in a function
        lambda module: module.Pair(np.zeros((2, 2, 3), np.uint8), torch.zeros(2, 3)),
        lambda module: module.Pair(np.zeros((2, 2, 3), np.float32), torch.zeros(2, 2)),
        lambda module: module.Pair.grey(1).size,
        lambda module: module.Pair.grey("x"),
    ],
)
def test_a_breach_is_found(module: ModuleType, breach) -> None:
    with pytest.raises((BeartypeCallHintViolation, TypeError)):  # jaxtyping's TypeCheckError is a TypeError
        breach(module)


def test_openloger_is_checked() -> None:
    from openloger.geometry import unproject

    with pytest.raises(BeartypeCallHintViolation):
        unproject(torch.zeros(2, 3), torch.zeros(3, 2))
