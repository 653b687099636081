"""Addresses as they may be shown and kept: what may be secret in them is not in messages, recordings and reports."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

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


def shown_address(parts: SplitResult) -> str:
    """The address without its password, its fragment, and the values after `?` but small numbers.

    A camera's channel is a small number; a token, a key or a PIN is not.
    """
    user, _, place = parts.netloc.rpartition("@")
    netloc = f"{user.split(':')[0]}:…@{place}" if ":" in user else parts.netloc
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
