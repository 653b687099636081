"""The page's modules in node, with values in and values out."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SITE = Path(__file__).parents[2] / "src" / "openloger" / "webdemo" / "site"


class Node:
    """Runs JavaScript beside the page's modules; numpy arrays go in as nested lists."""

    def __init__(self, folder: Path) -> None:
        self._program = shutil.which("node")
        if self._program is None:
            pytest.skip("no node: apt-get install nodejs")
        self._folder = folder
        for module in SITE.glob("*.js"):
            shutil.copy(module, folder)
        (folder / "package.json").write_text('{"type": "module"}')

    def __call__(self, imports: str, body: str, given: Any = None) -> Any:
        """What the body returns of `given`; `imports` is as "{ a, b } from 'module.js'; …", without the word."""
        lines = ["import " + one.strip().replace("'", "'./", 1) + ";" for one in imports.split(";")]
        script = "\n".join(
            [
                *lines,
                "let text = ''; for await (const part of process.stdin) text += part;",
                f"const run = async (given) => {{ {body} }};",
                "process.stdout.write(JSON.stringify(await run(JSON.parse(text))));",
            ]
        )
        (self._folder / "main.js").write_text(script)
        done = subprocess.run(
            [str(self._program), "main.js"],
            cwd=self._folder,
            input=json.dumps(given, default=_listed),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def _listed(value: Any) -> Any:
    assert isinstance(value, np.ndarray | np.generic), type(value)
    return value.tolist()
