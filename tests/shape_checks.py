"""An import hook that checks types and shapes of every function of a package while the tests run.

jaxtyping's own hook prepares three wrappers of each function at import, and binds and checks the arguments of each call
twice; that was more than half of the time of many tests. Here a function is prepared when it is first called, and
beartype checks arguments and result once, within one scope of jaxtyping, so that axes of one name agree over both.
Functions without an annotation are left as they are. Fields of dataclasses are checked once they are constructed, so
that a `__post_init__` refuses first what it is there to refuse.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import is_dataclass
from functools import wraps
from typing import Any, get_type_hints

from beartype import beartype
from beartype.door import die_if_unbearable
from jaxtyping import jaxtyped

_DECORATOR = f"__import__({__name__!r}).checked"


def install(package: str) -> None:
    """Check what is imported of `package` from here on."""
    sys.meta_path.insert(0, _Finder(package))


def checked(function: Any) -> Any:
    """A function or a dataclass, whose arguments and result are checked; anything else as it is."""
    if inspect.isclass(function):
        init = vars(function).get("__init__")
        if is_dataclass(function) and init is not None and not hasattr(init, "__wrapped__"):  # one that is generated
            function.__init__ = _checking_fields(init)
        return function
    if not isinstance(function, types.FunctionType) or not function.__annotations__:
        return function
    prepared: Callable[..., Any] | None = None

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        nonlocal prepared
        if prepared is None:
            prepared = _prepared(function)
        return prepared(*args, **kwargs)

    return call


def _checking_fields(init: types.FunctionType) -> Callable[..., None]:
    hints: dict[str, Any] | None = None

    @wraps(init)
    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        nonlocal hints
        init(self, *args, **kwargs)
        if hints is None:
            hints = {name: _resolved(hint, init) for name, hint in init.__annotations__.items() if hasattr(self, name)}
        with jaxtyped("context"):
            for name, hint in hints.items():
                die_if_unbearable(getattr(self, name), hint, exception_prefix=f"{type(self).__qualname__}.{name} ")

    return construct


def _prepared(function: types.FunctionType) -> Callable[..., Any]:
    hints = {name: _resolved(hint, function) for name, hint in function.__annotations__.items()}
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
        return jaxtyped(function, typechecker=beartype)  # its result is what it returns at once, not what it yields
    copy = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__, copy.__annotations__ = function.__kwdefaults__, hints
    copy.__qualname__, copy.__module__ = function.__qualname__, function.__module__
    checking = beartype(copy)
    if not any("jaxtyping" in repr(hint) for hint in hints.values()):
        return checking

    def in_scope(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with jaxtyped("context"):
            return checking(*args, **kwargs)

    return in_scope


def _resolved(hint: Any, function: types.FunctionType) -> Any:
    """The type that an annotation names; Any where the name is for type checkers alone, or local."""

    def holder() -> None: ...

    holder.__annotations__ = {"hint": hint}
    try:
        return get_type_hints(holder, function.__globals__, include_extras=True)["hint"]
    except Exception:  # noqa: BLE001 - whatever a name that cannot be resolved raises
        return Any


class _Finder:
    """Of the package's modules; others are found as ever."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.package and not name.startswith(f"{self.package}."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> types.CodeType:
        """Compiled anew each time: what Python caches on disk is of the plain source."""
        path = self.get_filename(fullname)
        tree = ast.parse(importlib.util.decode_source(self.get_data(path)), path)
        for node in _statements(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                at = 0 if isinstance(node, ast.ClassDef) else len(node.decorator_list)  # dataclass, then checks
                node.decorator_list.insert(at, _decorator_at(node))
        return compile(tree, path, "exec", dont_inherit=True)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All below a statement. Expressions, most of a tree, define no functions that are checked."""
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for statement in getattr(node, block, ()):
            yield statement
            yield from _statements(statement)


def _decorator_at(node: ast.AST) -> ast.expr:
    decorator = ast.parse(_DECORATOR, mode="eval").body
    for part in ast.walk(decorator):
        ast.copy_location(part, node)
    return decorator
