"""Addresses as they may be shown and kept: what may be secret in them is not in messages, recordings and reports."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

_IN_TEXT = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:)(/+)([^\s'\"]*[^\s'\":;,.)])")  # a path library makes // one /
_SMALL = re.compile(r"\d{1,3}")


def without_secrets(text: str) -> str:
    """An address as it may be shown; a path on this machine as it is."""
    scheme, sign, _ = text.partition("://")
    if not sign:
        return text
    try:
        return shown_address(urlsplit(text))
    except ValueError:
        return f"{scheme}://…"


def hide_secrets(text: str) -> str:
    """A message, with every address in it as it may be shown."""

    def shown(found: re.Match[str]) -> str:
        scheme, slashes, rest = found.groups()
        return scheme + slashes + without_secrets(f"{scheme}//{rest}").partition("//")[2]

    return _IN_TEXT.sub(shown, text)


def shown_address(parts: SplitResult) -> str:
    """The address without its password, its fragment, and the values after `?` but small numbers.

    A camera's channel is a small number; a token, a key or a PIN is not. A name without a password may be a token.
    """
    user, sign, place = parts.netloc.rpartition("@")
    netloc = f"{user.split(':')[0]}:…@{place}" if ":" in user else f"…@{place}" if sign else parts.netloc
    fields = (field.partition("=") for field in parts.query.split("&"))
    shown = (f"{name}={value if _SMALL.fullmatch(value) else '…'}" if equals else "…" for name, equals, value in fields)
    return parts._replace(netloc=netloc, query="&".join(shown) if parts.query else "", fragment="").geturl()


def host_and_path(text: str) -> str:
    """ "example.org/a/b.mp4" of an address; a path on this machine as it is."""
    if "://" not in text:
        return text
    place = text.partition("://")[2].partition("#")[0].partition("?")[0]
    host, slash, path = place.partition("/")
    return host.rpartition("@")[2] + slash + path
