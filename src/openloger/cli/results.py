"""Results of a measurement: a table or JSON on standard output, and a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openloger.cli.terminal import print_table
from openloger.evaluation.page import Section, page
from openloger.evaluation.report import TableRows, rich_table
from openloger.outputs import replace_file

MADE_BY = "evaluate"


def write_page(
    path: Path, title: str, sections: Sequence[Section], tables: Sequence[tuple[str, TableRows]], made: dict[str, Any]
) -> None:
    """A page of measurements at a path that `check_place` accepted before anything was measured."""
    shown = {key: value for key, value in made.items() if key not in {"sequences", "published"}}
    text = page(title, sections, tables=tables, made_with=json.dumps(shown, indent=2))
    with replace_file(path, made_by=MADE_BY) as draft:
        draft.write_text(text, encoding="utf-8")


def show(what: TableRows | Any, title: str) -> None:
    if not isinstance(what, TableRows):
        print(json.dumps(what))
        return

    print_table(rich_table(what, title))
