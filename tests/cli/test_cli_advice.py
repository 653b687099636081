"""The lines at the end of a run."""

from __future__ import annotations

from pathlib import Path

from openloger.cli.advice import about, next_step


def test_the_model_in_the_box_says_what_it_is() -> None:
    said = about("compact", size=(144, 192))
    assert said is not None
    assert "144×192 pixels" in said
    assert "--network loger" in said
    assert about("loger", size=(48, 64)) is None


def test_what_to_do_next() -> None:
    assert next_step(Path("walk"), complete=True) == "look at it: openloger view walk"
    assert "--resume" in next_step(Path("walk"), complete=False)
