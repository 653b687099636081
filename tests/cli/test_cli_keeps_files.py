"""No command removes or changes a file that it did not write, `--overwrite` or not; each is asked here by its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from viewing import scenes

from openloger.cli import main
from openloger.datasets import write_folder
from openloger.outputs import MANIFEST
from openloger.recording import Recording
from openloger.worlds import World

EXPORTS = ["ply", "splat", "mesh", "las", "laz", "glb", "colmap", "nerfstudio", "tum", "kitti", "usd", "rerun"]
FOLDERS = {"colmap", "nerfstudio"}


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return scenes.write_recording(tmp_path_factory.mktemp("walk") / "walk", scenes.room(6, size=(24, 32)))


def typed(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    return path


def refuses(folder: Path, capsys: pytest.CaptureFixture[str], *words: str | Path) -> None:
    before = tree(folder)
    assert typed(*words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert "not replaced" in said or "exists" in said or "go on with it" in said
    assert tree(folder) == before


@pytest.mark.parametrize("to", EXPORTS)
def test_export(walk: Recording, to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "s"
    if to in FOLDERS:
        put(out / "images" / "DSC1.JPG")
        put(out / "sparse" / "0" / "cameras.bin")
        put(out / "transforms.json")
    else:
        put(out)
    refuses(tmp_path, capsys, "export", walk.path, "--to", to, "--out", out, "--overwrite")


@pytest.mark.parametrize("to", ["colmap", "ply"])
def test_an_export_that_was_worked_on(
    walk: Recording, to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "s"
    words = ("export", walk.path, "--to", to, "--out", out, "--max-points", "500")
    assert typed(*words) == 0
    assert typed(*words, "--overwrite") == 0
    if to in FOLDERS:
        (out / "sparse" / "0" / "points3D.txt").write_text("# edited\n")
    else:
        out.write_bytes(out.read_bytes()[:-1] + b"x")
    refuses(tmp_path, capsys, *words, "--overwrite")


def test_report_and_view(walk: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = put(tmp_path / "walk_report.html")
    refuses(tmp_path, capsys, "report", walk.path, "--out", page, "--overwrite")
    refuses(tmp_path, capsys, "view", walk.path, "--share", page, "--overwrite")
    page.unlink()
    put(tmp_path / "walk_scene.html")
    refuses(tmp_path, capsys, "report", walk.path, "--out", page, "--scene", "--overwrite")


def test_a_report_is_replaced_when_asked(
    walk: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openloger.viewing.report.page.TURNS", 8)  # quick to paint
    page = tmp_path / "page.html"
    assert typed("report", walk.path, "--out", page) == 0
    refuses(tmp_path, capsys, "report", walk.path, "--out", page)
    assert typed("report", walk.path, "--out", page, "--overwrite") == 0
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [MANIFEST, "page.html"]


@pytest.mark.parametrize("name", ["world_from_cam.txt", "video.mp4", "depth/000000.npy", "notes.txt"])
def test_worlds_render(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "street" / name)
    words = ("worlds", "render", "street", "--out", tmp_path / "street", "--frames", "1", "--size", "16", "24")
    refuses(tmp_path, capsys, *words)
    refuses(tmp_path, capsys, *words, "--overwrite")


def test_worlds_render_into_its_own_folder_with_a_note_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("worlds", "render", "street", "--out", tmp_path / "street", "--frames", "1", "--size", "16", "24")
    assert typed(*words) == 0
    put(tmp_path / "street" / "depth" / "notes.txt")
    capsys.readouterr()
    refuses(tmp_path, capsys, *words, "--overwrite")


def test_a_plain_folder_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that `write_folder` wrote for somebody's script are theirs."""
    write_folder(World("street", seed=1, size=(16, 24), fps=10.0, frames=1), tmp_path / "street", fps=10.0)
    refuses(tmp_path, capsys, "worlds", "render", "street", "--out", tmp_path / "street", "--overwrite")


@pytest.mark.parametrize("name", ["street-0.png", "street-0.mp4"])
def test_worlds_preview(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / name)
    refuses(tmp_path, capsys, "worlds", "preview", "street", "--out", tmp_path, "--frames", "1", "--overwrite")


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json", "metrics.jsonl"])
def test_train(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "run" / name)
    refuses(tmp_path, capsys, "train", "pocket", "--out", tmp_path / "run")
    refuses(tmp_path, capsys, "train", "pocket", "--out", tmp_path / "run", "--resume")


@pytest.mark.parametrize("name", ["results.json", "report.html"])
def test_evaluate_a_suite(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / name)
    words = ("evaluate", "worlds", "--network", "pocket", "--out", tmp_path)
    refuses(tmp_path, capsys, *words)
    refuses(tmp_path, capsys, *words, "--overwrite")


def test_evaluate_a_recording(walk: Recording, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = put(tmp_path / "page.html")
    words = ("evaluate", "recording", walk.path, "--truth", tmp_path / "truth.txt", "--html", page, "--overwrite")
    refuses(tmp_path, capsys, *words)


@pytest.mark.parametrize("name", ["results.json", "ablations.md", "ablations.png"])
def test_evaluate_ablations(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / name)
    refuses(tmp_path, capsys, "evaluate", "ablations", "--network", "pocket", "--out", tmp_path)


def test_bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = put(tmp_path / "results.json")
    for name in ("length", "stages", "presets", "twin", "soak"):
        refuses(tmp_path, capsys, "bench", name, "--out", out)
    refuses(tmp_path, capsys, "bench", "length", "--picture", out, "--overwrite")
