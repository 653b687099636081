"""The results of a batch on disk: a small file a video while it runs, gathered into one Parquet index.

OUT/.openloger-batch/KEY.TIME.json    a result, written by the worker once the recording is whole
OUT/index.parquet                     a row a video; the small files that it contains are removed
"""

from __future__ import annotations

import io
import json
import logging
import types
import typing
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

from openloger.batch.storage import Storage
from openloger.batch.video import RESULTS_FOLDER, VideoResult
from openloger.errors import InputError, in_a_line
from openloger.version import install_command

INDEX_FILE = "index.parquet"
_MARK = b"openloger batch"
_log = logging.getLogger("openloger")


class Index:
    """The latest result of every video of an output folder."""

    def __init__(self, out: Storage) -> None:
        """Read what is there.

        Raises:
            InputError: there is an index that no batch wrote, or the package pyarrow is missing.
        """
        _pyarrow()
        self._out = out
        self._by_name: dict[str, VideoResult] = {}
        if (data := out.read(INDEX_FILE)) is not None:
            self._by_name = {result.name: result for result in read_index(data, out.at(INDEX_FILE))}
        self._gather()

    def get(self, name: str) -> VideoResult | None:
        return self._by_name.get(name)

    def add(self, result: VideoResult) -> None:
        """Take a result as the latest of its video."""
        self._by_name[result.name] = result

    def write(self) -> None:
        """Replace the index, with what workers have stored meanwhile.

        Raises:
            OSError: what the file system reported.
        """
        contained = self._gather()
        self._out.write(INDEX_FILE, _to_parquet(sorted(self._by_name.values(), key=lambda result: result.name)))
        for name in contained:
            self._out.remove(f"{RESULTS_FOLDER}/{name}")

    def _gather(self) -> list[str]:
        """Read the small files; their names. A newer result of a video replaces an older one."""
        names = [name for name in self._out.names(RESULTS_FOLDER) if name.endswith(".json")]
        read: list[str] = []
        for name in names:
            data = self._out.read(f"{RESULTS_FOLDER}/{name}")
            if data is None:
                continue
            try:
                result = _from_row(json.loads(data))
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                at = self._out.at(f"{RESULTS_FOLDER}/{name}")
                _log.warning("%s is no result of a video (%s); passed over: remove it", at, in_a_line(error))
                continue
            known = self._by_name.get(result.name)
            if known is None or known.finished_at_s < result.finished_at_s:
                self._by_name[result.name] = result
            read.append(name)
        return read


def read_index(data: bytes, name: str) -> list[VideoResult]:
    """The rows of an `index.parquet`.

    Raises:
        InputError: it is none that a batch wrote.
    """
    pyarrow, parquet = _pyarrow()
    try:
        table = parquet.read_table(io.BytesIO(data))
    except pyarrow.ArrowException as error:
        raise InputError(f"{name} is no Parquet file ({in_a_line(error)}); move it away") from error
    if _MARK not in (table.schema.metadata or {}):
        raise InputError(f"{name} was not written by `openloger batch`, so it is kept: give another --out")
    return [_from_row(row) for row in table.to_pylist()]


def _from_row(row: dict[str, Any]) -> VideoResult:
    """Of this version or an older one, which had fewer columns."""
    known = {field.name for field in fields(VideoResult)}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items() if name in known}
    return VideoResult(**values)  # pyright: ignore[reportArgumentType] - the columns have the fields' types


def _to_parquet(results: Iterable[VideoResult]) -> bytes:
    pyarrow, parquet = _pyarrow()
    schema = pyarrow.schema([pyarrow.field(name, kind) for name, kind in _columns(pyarrow)], metadata={_MARK: b"1"})
    rows = [asdict(result) for result in results]
    table = pyarrow.Table.from_pylist(rows, schema=schema)
    into = io.BytesIO()
    parquet.write_table(table, into, compression="zstd")
    return into.getvalue()


def _columns(pyarrow: Any) -> list[tuple[str, Any]]:
    """A column for each field, of the type that it is annotated with."""
    plain = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    columns = []
    for name, annotation in typing.get_type_hints(VideoResult).items():
        if typing.get_origin(annotation) is tuple:
            columns.append((name, pyarrow.list_(pyarrow.string())))
            continue
        options = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
        columns.append((name, plain[next(one for one in options if one is not type(None))]))
    return columns


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(f"the index needs the package pyarrow: {install_command('ray')}") from error
    return pyarrow, pyarrow.parquet
