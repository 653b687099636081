"""Permitted imports, read from the source: one table, no circles, nothing foreign where a bare machine runs.

The rules are shown to bite on a small synthetic tree, each broken once.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "openloger"

PYTHON_FOLDERS = ("src", "tests", "benchmarks", "examples")
LONGEST = 450  # lines of a file

GROUND = {"shapes", "errors", "version"}  # free to all
ROOMS = {
    "geometry": set[str](),
    "runtime": set[str](),  # threads, memory, progress, background work: nothing of the reconstruction itself
    "outputs": {"runtime"},  # files that are whole, and proof of which are ours
    "values": {"geometry"},  # what travels between the rooms
    "transformer": set(),  # blocks, attention, rotary positions
    "memory": {"transformer"},  # for any sequence: of images it holds nothing
    "network": {"geometry", "transformer", "memory", "outputs", "runtime"},  # exported networks are folders of files
    "worlds": {"geometry", "runtime"},
    "frames": {"values", "runtime", "worlds", "geometry"},
    "datasets": {"values", "frames", "geometry", "outputs"},  # one decoder of videos, with its care for damage
    "diagnostics": {"values", "geometry"},  # whether a video suits reconstruction, and its result can be believed
    "recording": {"values", "geometry", "outputs", "runtime", "diagnostics"},
    "streaming": {"values", "runtime", "memory", "network", "frames", "geometry"},
    "pages": set(),  # self-contained HTML
    "evaluation": {"values", "runtime", "recording", "datasets", "geometry", "pages", "outputs"},  # against the truth
    "export": {"values", "recording", "frames", "geometry", "outputs"},  # pictures are opened in one place
    "viewing": {"recording", "export", "geometry", "pages", "outputs"},  # it exports what is seen
    "webdemo": {"network", "export", "outputs", "pages", "viewing"},  # a page with an exported network in it
    "corrections": {  # measured from outside, or where a camera comes back; applied by recording
        *("values", "runtime", "network", "streaming"),
        *("recording", "datasets", "frames", "geometry"),
    },
    "training": {
        *("runtime", "transformer", "memory", "network", "streaming"),
        *("worlds", "datasets", "geometry", "outputs"),
    },
    "pipeline": {"values", "geometry", "runtime", "frames", "network", "streaming", "recording", "outputs"},
    "batch": {"values", "frames", "network", "recording", "pipeline", "export", "viewing", "outputs"},  # many videos
}
ALLOWED = {
    **ROOMS,
    **{name: set[str]() for name in GROUND},
    "__init__": set(ROOMS) - {"training", "evaluation", "datasets", "pages", "geometry"},
    "benchmarking": set(ROOMS),  # it measures the main job and its parts
    "cli": {*ROOMS, "benchmarking"},
    "__main__": {"cli"},
}
INNER_ROOMS = {  # of rooms that have rooms: what may import what below them; "" is the room's own files
    "frames": {"": set[str](), "live": {""}, "lenses": {""}},
    "viewing": {"scene": set[str](), "browser": {"scene"}, "report": {"scene"}, "": {"scene", "browser", "report"}},
}
BARE_ROOMS = set(ALLOWED) - {"cli", "__main__"}  # `import openloger` and all that it can reach
BARE_PACKAGES = {"torch", "numpy", "safetensors"}
SHAPED = {"Bool", "Float", "Float32", "Float64", "Int", "UInt8"}


@dataclass(frozen=True)
class Import:
    where: str  # file:line, for the message
    importer: str  # room or root file
    imported: str  # room or root file of ours, or the top name of a foreign package
    ours: bool
    at_import_time: bool  # not under TYPE_CHECKING, nor in a try that catches ImportError


def test_imports_go_down_the_table() -> None:
    assert edges_outside_table(SOURCE) == []


def test_imports_within_a_room_go_down_its_table() -> None:
    assert edges_outside_inner_table(SOURCE) == []


def test_rooms_form_no_circle() -> None:
    assert circle(imports_under(SOURCE)) is None
    assert circle([Import("table", a, b, ours=True, at_import_time=True) for a in ALLOWED for b in ALLOWED[a]]) is None


def test_bare_rooms_load_with_torch_numpy_and_safetensors() -> None:
    assert foreign_in_bare_rooms(imports_under(SOURCE)) == []


def test_one_word_shapes_stay_text() -> None:
    assert unquoted_shapes(SOURCE) == []


def test_no_two_public_classes_share_a_name() -> None:
    assert shared_class_names(SOURCE) == {}


def test_a_shared_class_name_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "frames/a.py: class Picture: ...\nclass _Own: ...")
    plant(tmp_path, "worlds/a.py: class Picture: ...\nclass _Own: ...")
    assert shared_class_names(tmp_path) == {"Picture": ["frames/a.py", "worlds/a.py"]}


def test_every_file_can_be_read_in_one_sitting() -> None:
    assert long_files(SOURCE.parent.parent) == []


def test_a_long_file_is_found(tmp_path: Path) -> None:
    for lines in (LONGEST, LONGEST + 1):
        (tmp_path / "tests").mkdir(exist_ok=True)
        (tmp_path / "tests" / f"test_{lines}.py").write_text("x = 1\n" * lines)
    assert long_files(tmp_path) == [f"tests/test_{LONGEST + 1}.py"]


def test_pictures_are_opened_in_one_place() -> None:
    textures = "worlds/photos.py"  # PNGs of an installed package; worlds lie below the room of frames
    assert image_openings(SOURCE) == ["frames/image_file.py", textures]


def test_another_opening_of_pictures_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "datasets/a.py: import PIL.Image\nimage = PIL.Image.open('a.png')")
    plant(tmp_path, "export/a.py: from PIL import Image as I\nimage = I.open('a.png')")
    plant(tmp_path, "frames/a.py: import webbrowser\nwebbrowser.open('a.html')")
    assert image_openings(tmp_path) == ["datasets/a.py", "export/a.py"]


def test_files_are_renamed_in_one_place() -> None:
    assert renamings(SOURCE) == ["runtime/platform.py"]  # which waits where Windows refuses


def test_another_renaming_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "batch/a.py: import os\nos.replace('a', 'b')")
    plant(tmp_path, "export/a.py: from pathlib import Path\nPath('a').rename('b')")
    plant(tmp_path, "training/a.py: partial.replace(path)")
    plant(tmp_path, "frames/a.py: 'a'.replace('a', 'b')\nrename(before, after)")
    assert renamings(tmp_path) == ["batch/a.py", "export/a.py", "training/a.py"]


BREACHES = {
    "network/net.py: from openloger.streaming import stream": "network imports streaming",
    "geometry/cameras.py: from ..frames.frame import Frame": "geometry imports frames",
    "memory/block.py: from openloger.network.window import Window": "memory imports network",
    "geometry/lazy.py: def f():\n    from openloger import network": "geometry imports network",
    "worlds/hidden.py: def f():\n    import openloger.datasets.tum as tum": "worlds imports datasets",
    "export/ply.py: from openloger.export import mesh\nimport openloger.cli.main": "export imports cli",
    "pipeline/reconstruct.py: from openloger import cli": "pipeline imports cli",
    "recording/write.py: import openloger": "recording imports __init__",
    "recording/meta.py: from openloger import Stream": "recording imports __init__",
    "errors.py: from openloger.geometry import SE3": "errors imports geometry",
    "helpers.py: import math": "helpers has no row in the table",
    "viewing/a.py: if True:\n    from openloger.training import loop": "viewing imports training",
}


@pytest.mark.parametrize(("breach", "said"), BREACHES.items())
def test_an_edge_outside_the_table_is_found(tmp_path: Path, breach: str, said: str) -> None:
    plant(tmp_path, breach)
    found = edges_outside_table(tmp_path)
    assert len(found) == 1
    assert found[0].endswith(said)
    assert found[0].startswith(breach.partition(":")[0])


INNER_BREACHES = {
    "frames/open.py: from openloger.frames.live.source import open_live": "frames imports frames.live",
    "viewing/scene/a.py: from openloger.viewing.browser import server": "viewing.scene imports viewing.browser",
    "viewing/report/a.py: from openloger.viewing import notebook": "viewing.report imports viewing",
}


@pytest.mark.parametrize(("breach", "said"), INNER_BREACHES.items())
def test_an_edge_outside_an_inner_table_is_found(tmp_path: Path, breach: str, said: str) -> None:
    for name in ("frames/live", "viewing/scene", "viewing/browser"):
        (tmp_path / name).mkdir(parents=True)
    plant(tmp_path, breach)
    assert [found.partition(": ")[2] for found in edges_outside_inner_table(tmp_path)] == [said]


GOOD = [
    "cli/main.py: import tyro\nimport openloger.pipeline\nfrom openloger import streaming",
    "__init__.py: from openloger.pipeline.reconstruct import reconstruct",
    "__main__.py: from openloger.cli import main",
    "pipeline/reconstruct.py: from openloger.streaming import Stream\nfrom openloger.recording import create_recording",
    "streaming/stream.py: from openloger.network import Network\nfrom . import windows\nfrom .windows import plan",
    "network/motion/flow.py: from ..encoder import Encoder\nfrom ...geometry import SE3\nimport torch.nn",
    "recording/meta.py: from openloger import errors, version\ndef f():\n    import zarr",
    "worlds/fast.py: try:\n    import triton\nexcept ImportError:\n    triton = None\ndef f():\n    import PIL",
    "training/log.py: from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import rich\nimport json, numpy as np",
]


def test_good_manners_pass(tmp_path: Path) -> None:
    for line in GOOD:
        plant(tmp_path, line)
    imports = imports_under(tmp_path)
    assert len(imports) > len(GOOD)
    assert edges_outside_table(tmp_path) == []
    assert circle(imports) is None
    assert foreign_in_bare_rooms(imports) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "network/a.py: import openloger.frames")
    plant(tmp_path, "frames/a.py: from openloger import worlds")
    assert circle(imports_under(tmp_path)) is None
    plant(tmp_path, "worlds/a.py: def f():\n    from ..network import presets")
    assert circle(imports_under(tmp_path)) == ["frames", "worlds", "network", "frames"]


@pytest.mark.parametrize(
    "breach",
    [
        "geometry/a.py: import scipy.linalg",
        "worlds/a.py: class A:\n    from PIL import Image",
        "training/a.py: try:\n    import rich\nexcept ValueError:\n    pass",
        "network/a.py: if True:\n    import huggingface_hub",
    ],
)
def test_a_foreign_package_in_a_bare_room_is_found(tmp_path: Path, breach: str) -> None:
    plant(tmp_path, breach)
    assert len(foreign_in_bare_rooms(imports_under(tmp_path))) == 1


def test_an_unquoted_shape_is_found(tmp_path: Path) -> None:
    plant(tmp_path, 'geometry/a.py: x: Float[Tensor, frame]\ny: Float[Tensor, " frame"]\nz: Float[Tensor, ""]')
    assert unquoted_shapes(tmp_path) == ["geometry/a.py:1"]


def plant(root: Path, line: str) -> None:
    """Writes "path: code" below `root`."""
    path, _, code = line.partition(": ")
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(code + "\n")


def imports_under(root: Path) -> list[Import]:
    return [found for path in sorted(root.rglob("*.py")) for found in _imports_of(path.relative_to(root), root)]


def edges_outside_table(root: Path) -> list[str]:
    rooms = {_room(path.relative_to(root)): path.relative_to(root).as_posix() for path in sorted(root.rglob("*.py"))}
    unknown = [f"{where}: {room} has no row in the table" for room, where in rooms.items() if room not in ALLOWED]
    edges = [i for i in imports_under(root) if i.ours and i.imported not in {i.importer, *GROUND}]
    outside = [
        f"{i.where}: {i.importer} imports {i.imported}" for i in edges if i.imported not in ALLOWED.get(i.importer, ())
    ]
    return unknown + list(dict.fromkeys(outside))  # once for a line that takes several names


def edges_outside_inner_table(root: Path) -> list[str]:
    found = []
    for room, table in INNER_ROOMS.items():
        for path in sorted((root / room).rglob("*.py")):
            inside = path.relative_to(root / room).parts
            importer = inside[0] if len(inside) > 1 else ""
            for node, _ in _import_nodes(ast.parse(path.read_text()), at_import_time=True):
                for module in _modules(node, path.relative_to(root)):
                    if module[:2] != ["openloger", room]:
                        continue
                    imported = module[2] if (root / room / module[2]).is_dir() else ""
                    if imported != importer and imported not in table[importer]:
                        names = [f"{room}.{inner}".rstrip(".") for inner in (importer, imported)]
                        where = f"{path.relative_to(root).as_posix()}:{node.lineno}"
                        found.append(f"{where}: {names[0]} imports {names[1]}")
    return found


def circle(imports: list[Import]) -> list[str] | None:
    """The first circle of rooms, its start named twice, or None."""
    below: dict[str, set[str]] = {}
    for edge in imports:
        if edge.ours and edge.imported not in {edge.importer, *GROUND}:
            below.setdefault(edge.importer, set()).add(edge.imported)

    def search(path: list[str]) -> list[str] | None:
        for name in sorted(below.get(path[-1], ())):
            if name in path:
                return [*path[path.index(name) :], name]
            if found := search([*path, name]):
                return found
        return None

    return next(filter(None, (search([start]) for start in sorted(below))), None)


def foreign_in_bare_rooms(imports: list[Import]) -> list[str]:
    return [
        f"{i.where}: {i.importer} needs {i.imported} to be imported"
        for i in imports
        if i.importer in BARE_ROOMS and not i.ours and i.at_import_time and i.imported not in BARE_PACKAGES
    ]


def unquoted_shapes(root: Path) -> list[str]:
    """Where `Float[Tensor, frame]` lost its quotes: such a shape cannot be resolved and is silently not checked."""
    return [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in sorted(root.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in SHAPED
        if isinstance(node.slice, ast.Tuple) and not isinstance(node.slice.elts[-1], ast.Constant)
    ]


def shared_class_names(root: Path) -> dict[str, list[str]]:
    """Names of public classes that are defined more than once, and the files that define them."""
    files: dict[str, list[str]] = {}
    for path in sorted(root.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                files.setdefault(node.name, []).append(path.relative_to(root).as_posix())
    return {name: found for name, found in files.items() if len(found) > 1}


def long_files(root: Path) -> list[str]:
    """Python files of the project with more than `LONGEST` lines."""
    files = (path for folder in PYTHON_FOLDERS for path in sorted((root / folder).rglob("*.py")))
    return [str(path.relative_to(root)) for path in files if len(path.read_text().splitlines()) > LONGEST]


def image_openings(root: Path) -> list[str]:
    """Files that call `PIL.Image.open`, under whatever name."""
    found = []
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text())
        aliases = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "PIL"
            for alias in node.names
            if alias.name == "Image"
        }
        callers = {f"{name}.open" for name in {*aliases, "PIL.Image", "Image"}}
        if any(isinstance(node, ast.Call) and ast.unparse(node.func) in callers for node in ast.walk(tree)):
            found.append(path.relative_to(root).as_posix())
    return found


def renamings(root: Path) -> list[str]:
    """Files that call a method `rename`, or `replace` of a single argument (a text's has two), or those of `os`."""

    def renames(node: ast.AST) -> bool:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            return False
        of_os = ast.unparse(node.func) == "os.replace"
        one_path = len(node.args) == 1 and not node.keywords
        return node.func.attr == "rename" or (node.func.attr == "replace" and (of_os or one_path))

    trees = ((path, ast.parse(path.read_text())) for path in sorted(root.rglob("*.py")))
    return [path.relative_to(root).as_posix() for path, tree in trees if any(map(renames, ast.walk(tree)))]


def _imports_of(path: Path, root: Path) -> Iterator[Import]:
    importer = _room(path)
    for node, at_import_time in _import_nodes(ast.parse((root / path).read_text()), at_import_time=True):
        for module in _modules(node, path):
            ours = module[0] == "openloger"
            name = _ours(module[1:], root) if ours else module[0]
            if ours or name not in sys.stdlib_module_names:
                yield Import(f"{path.as_posix()}:{node.lineno}", importer, name, ours, at_import_time)


def _room(path: Path) -> str:
    return path.stem if len(path.parts) == 1 else path.parts[0]


def _import_nodes(node: ast.AST, *, at_import_time: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node, at_import_time
    excused: list[ast.stmt] = []
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        excused = node.body
    if isinstance(node, ast.Try) and any(
        "ImportError" in ast.dump(handler.type or ast.Pass()) for handler in node.handlers
    ):
        excused = node.body
    within = at_import_time and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _import_nodes(child, at_import_time=within and child not in excused)


def _modules(node: ast.Import | ast.ImportFrom, path: Path) -> list[list[str]]:
    """Dotted names, as lists, that a statement reaches for; `from a import b` reaches for a.b."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".") for alias in node.names]
    base = node.module.split(".") if node.module else []
    if node.level:
        package = ["openloger", *path.parts[:-1]]
        base = package[: len(package) - node.level + 1] + base
    return [[*base, alias.name] for alias in node.names]


def _ours(below: list[str], root: Path) -> str:
    """The room or root file of openloger.<below>; a name that is neither comes from the root itself."""
    known = below and (below[0] in ALLOWED or (root / below[0]).is_dir() or (root / f"{below[0]}.py").is_file())
    return below[0] if known else "__init__"
