"""Mutations of a file's bytes: those that disks, networks and people make, and those of an attacker.

A mutation is drawn from a `random.Random`, so that its seed makes it again.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_EXTREMES = [
    b"0",
    b"-1",
    b"1e999",
    b"-1e999",
    b"NaN",
    b"nan",
    b"inf",
    b"9" * 30,
    b"0.5",
    b"1e-320",
    b"4294967296",
    b"x",
]
_VALUES: list[Any] = [None, True, -1, 0.5, 10**30, 1e300, "", "\0", "x" * 5000, [], {}, [[]], {"a": None}]


def flip_bits(data: bytes, draw: random.Random) -> bytes:
    """One to eight bits."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 8)):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut_off(data: bytes, draw: random.Random) -> bytes:
    """As a copy that was broken off."""
    return data[: draw.randrange(len(data))]


def lose_blocks(data: bytes, draw: random.Random) -> bytes:
    """Zeros where a block was, as after a crash of the system."""
    begin = draw.randrange(len(data))
    length = draw.choice([16, 512, 4096])
    return data[:begin] + bytes(min(length, len(data) - begin)) + data[begin + length :]


def remove_some(data: bytes, draw: random.Random) -> bytes:
    """A piece from the middle."""
    begin = draw.randrange(len(data))
    return data[:begin] + data[begin + draw.randint(1, 64) :]


def repeat_some(data: bytes, draw: random.Random) -> bytes:
    """A piece twice."""
    begin = draw.randrange(len(data))
    piece = data[begin : begin + draw.randint(1, 256)]
    return data[:begin] + piece + data[begin:]


def put_noise(data: bytes, draw: random.Random) -> bytes:
    """Random bytes over a piece."""
    begin = draw.randrange(len(data))
    length = min(draw.randint(1, 64), len(data) - begin)
    return data[:begin] + draw.randbytes(length) + data[begin + length :]


def extreme_field(data: bytes, draw: random.Random) -> bytes:
    """A field of two or four bytes as large as it can be, or zero: sizes and counts of binary files."""
    width = draw.choice([2, 4, 8])
    if len(data) <= width:
        return bytes(len(data))
    begin = (
        draw.randrange(min(len(data), 4096) - width + 1) if draw.random() < 0.7 else draw.randrange(len(data) - width)
    )
    return data[:begin] + draw.choice([b"\xff", b"\0", b"\x7f", b"\x80"]) * width + data[begin + width :]


def extreme_number(data: bytes, draw: random.Random) -> bytes:
    """A number written in a text, replaced by one that nobody expects."""
    found = list(_NUMBER.finditer(data))
    if not found:
        return flip_bits(data, draw)
    one = draw.choice(found)
    return data[: one.start()] + draw.choice(_EXTREMES) + data[one.end() :]


def shuffle_lines(data: bytes, draw: random.Random) -> bytes:
    """A line removed, repeated, exchanged with another, or emptied."""
    lines = data.split(b"\n")
    a, b = draw.randrange(len(lines)), draw.randrange(len(lines))
    kind = draw.randrange(4)
    if kind == 0:
        del lines[a]
    elif kind == 1:
        lines.insert(b, lines[a])
    elif kind == 2:
        lines[a], lines[b] = lines[b], lines[a]
    else:
        lines[a] = b""
    return b"\n".join(lines)


def other_encoding(data: bytes, draw: random.Random) -> bytes:
    """Changes that editors and systems make to texts."""
    return draw.choice(
        [b"\xef\xbb\xbf" + data, data.replace(b"\n", b"\r\n"), data.replace(b" ", b"\t"), data + b"\xff"]
    )


def change_json(data: bytes, draw: random.Random) -> bytes:
    """A value somewhere in the JSON (or in a line of it), replaced by one of another kind, removed, or nested deep."""
    lines = data.split(b"\n")
    number = draw.randrange(len(lines))
    for attempt in (data, lines[number]):
        try:
            value = json.loads(attempt)
        except ValueError:
            continue
        text = json.dumps(_changed(value, draw)).encode()
        if draw.random() < 0.03:
            text = b"[" * 100_000 + text
        return text if attempt is data else b"\n".join([*lines[:number], text, *lines[number + 1 :]])
    return flip_bits(data, draw)


def _changed(value: Any, draw: random.Random) -> Any:
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        if draw.random() < 0.1:
            return {name: held for name, held in value.items() if name != key}
        return value | {key: _changed(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        place = draw.randrange(len(value))
        return [*value[:place], _changed(value[place], draw), *value[place + 1 :]]
    return draw.choice(_VALUES)


BINARY: tuple[Mutation, ...] = (
    flip_bits, cut_off, lose_blocks, remove_some, repeat_some, put_noise, extreme_field, extreme_field,
)  # fmt: skip
TEXT: tuple[Mutation, ...] = (
    flip_bits, cut_off, remove_some, put_noise, extreme_number, extreme_number, shuffle_lines, other_encoding,
)  # fmt: skip
JSON: tuple[Mutation, ...] = (*TEXT, change_json, change_json, change_json)


def mutate(data: bytes, draw: random.Random, mutations: tuple[Mutation, ...]) -> bytes:
    """One mutation, or (one time in four) several."""
    for _ in range(draw.choice([1, 1, 1, draw.randint(2, 5)])):
        if data:
            data = draw.choice(mutations)(data, draw)
    return data
