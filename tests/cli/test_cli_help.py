"""The help comes without torch, and says what the commands say of themselves."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import openloger
from openloger.cli import Command, commands

HELP = """
import sys
import openloger
from openloger.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
heavy = {"torch", "numpy", "PIL", "av", "zarr"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_the_list_of_commands_imports_none_of_them() -> None:
    said = subprocess.run([sys.executable, "-c", HELP, "--help"], capture_output=True, text=True, check=True).stdout
    for name in commands():
        assert f"• {name} " in said
    assert "Write a recording in another program's format" in said


@pytest.mark.parametrize("command", [entry for entry in commands().values() if isinstance(entry, Command)])
def test_a_command_is_listed_by_its_own_docstring(command: Command) -> None:
    assert command.about == inspect.getdoc(command.load())


def test_every_public_name_is_there_when_it_is_used() -> None:
    for name in openloger.__all__:
        assert getattr(openloger, name) is not None
        assert name in dir(openloger)
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_the_kind'"):
        openloger.nothing_of_the_kind  # noqa: B018
