"""The frame of a page and its parts. Text is escaped here; what is declared as HTML goes in as it is."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import resources

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # no characters of HTML; a terminal obeys them


@dataclass(frozen=True)
class Tile:
    """One number that is worth a glance."""

    name: str
    value: str
    note: str = ""


def document(title: str, body: Sequence[str], *, about: str = "", foot: str = "") -> str:
    """The whole page: the title with a line about it, the parts (HTML), and a last line.

    What is no character, as in names that are not UTF-8, is a question mark, and so are control characters of names.
    """
    title_html = html.escape(title)
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{title_html}</title><style>{style()}</style></head>'
        f"<body><main><header><h1>{title_html}</h1>{_paragraph(about, 'about')}</header>"
        f"{''.join(body)}{_paragraph(foot, 'foot')}</main></body></html>\n"
    )
    return _CONTROL.sub("?", page).encode(errors="replace").decode()


def style() -> str:
    """The style sheet of every page."""
    return resources.files("openloger.pages").joinpath("page.css").read_text(encoding="utf-8")


def section(title: str, body: Sequence[str], *, note: str = "") -> str:
    """A heading, a line about what follows, and the parts (HTML)."""
    return f"<section><h2>{html.escape(title)}</h2>{_paragraph(note, 'note')}{''.join(body)}</section>"


def row(parts: Sequence[str], kind: str = "plots") -> str:
    """Parts (HTML) side by side as far as there is room; `kind` is a class of the style sheet."""
    return f'<div class="{kind}">{"".join(parts)}</div>'


def figure(picture: str, caption: str = "") -> str:
    """A picture (HTML) with words under it."""
    caption_html = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{picture}{caption_html}</figure>"


def tiles(shown: Sequence[Tile]) -> str:
    """Numbers, large, each under its name."""
    cells = "".join(
        f"<div><dt>{html.escape(tile.name)}</dt><dd>{html.escape(tile.value)}"
        f"{f'<small>{html.escape(tile.note)}</small>' if tile.note else ''}</dd></div>"
        for tile in shown
    )
    return f'<dl class="tiles">{cells}</dl>'


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, ours: Collection[int] = (), kind: str = "", note: str = ""
) -> str:
    """The header (none of it: no header), then the rows; those whose numbers are in `ours` stand out."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    head = f"<thead><tr>{head}</tr></thead>" if any(header) else ""
    lines = []
    for number, cells in enumerate(rows):
        line = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr class="ours">{line}</tr>' if number in ours else f"<tr>{line}</tr>")
    opened = f'<table class="{kind}">' if kind else "<table>"
    return f'<div class="wide">{opened}{head}<tbody>{"".join(lines)}</tbody></table></div>{_paragraph(note, "note")}'


def code(text: str) -> str:
    """Commands, to be copied."""
    return f"<pre>{html.escape(text)}</pre>"


def _paragraph(text: str, kind: str) -> str:
    return f'<p class="{kind}">{html.escape(text)}</p>' if text else ""
