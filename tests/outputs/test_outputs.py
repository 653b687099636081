"""Results are whole or not there, and nothing that openloger did not write is ever replaced."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from openloger.errors import InputError
from openloger.outputs import (
    MANIFEST,
    atomic,
    check_place,
    damaged_file,
    is_ours,
    record_folder,
    remove_folder,
    replace_file,
    replace_folder,
    staged_file,
    staged_folder,
    write_output,
)


def put(path: Path, text: str = "mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def make_folder(path: Path, *, overwrite: bool = False, text: str = "a") -> None:
    with staged_folder(path, made_by="tests", overwrite=overwrite) as draft:
        put(draft / "images" / "0.jpg", text)
        put(draft / "model.txt", text)


def tree(path: Path) -> dict[str, str]:
    return {str(one.relative_to(path)): one.read_text() for one in sorted(path.rglob("*")) if one.is_file()}


def test_a_file_that_was_written_is_ours_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_output(path, "one", made_by="tests")
    assert is_ours(path, made_by="tests")
    assert not is_ours(path, made_by="another command")
    write_output(path, "two", made_by="tests", overwrite=True)
    assert path.read_text() == "two"
    path.write_text("2wo")  # as long as before
    assert not is_ours(path, made_by="tests")
    with pytest.raises(InputError, match=r"page\.html.*`tests`.*move it away"):
        write_output(path, "three", made_by="tests", overwrite=True)
    assert path.read_text() == "2wo"


@pytest.mark.parametrize("name", ["page.html", "né\udcff.html", "a b\n.html"])
def test_the_users_file_is_never_replaced(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / name)
    with pytest.raises(InputError, match="--overwrite"):
        write_output(path, "ours", made_by="tests")
    with pytest.raises(InputError, match="`tests`"):
        write_output(path, "ours", made_by="tests", overwrite=True)
    assert tree(tmp_path) == {name: "mine"}


def test_a_place_that_is_taken_while_the_output_is_made_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "page.html"

    def write_late() -> None:
        with staged_file(path, made_by="tests") as draft:
            put(draft, "ours")
            put(path)

    with pytest.raises(InputError, match="exists"):
        write_late()
    assert tree(tmp_path) == {"page.html": "mine"}


def test_a_place_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    put(tmp_path / "a.html")
    for place in (tmp_path / "a.html" / "b.html", tmp_path / ("n" * 300), Path("/proc/1/x.html"), tmp_path / "a\0b"):
        with pytest.raises(InputError, match=r"cannot (write|read)"):
            write_output(place, "three", made_by="tests")


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    link, target = tmp_path / "link.html", tmp_path / "disk" / "page.html"
    target.parent.mkdir()
    write_output(target, "one", made_by="tests")
    link.symlink_to(target)
    write_output(link, "two", made_by="tests", overwrite=True)
    assert link.is_symlink()
    assert target.read_text() == "two"


def test_a_folder_is_replaced_by_what_it_was_made_by(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_folder(out)
    inode = out.stat().st_ino
    with pytest.raises(InputError, match="out exists"):
        make_folder(out)
    make_folder(out, overwrite=True, text="b")
    assert [text for name, text in tree(out).items() if name != MANIFEST] == ["b", "b"]
    assert out.stat().st_ino == inode  # a mount, or somebody's working directory, stays
    assert os.listdir(tmp_path) == ["out"]
    make_folder(out, overwrite=True, text="c")
    assert damaged_file(out) is None


@pytest.mark.parametrize("name", ["images/DSC1.JPG", "notes.txt", "images/sub/a", MANIFEST + ".bak"])
@pytest.mark.parametrize("link", [False, True])
def test_a_folder_with_a_file_of_the_user_is_never_touched(tmp_path: Path, name: str, link: bool) -> None:
    out = tmp_path / "out"
    make_folder(out)
    if link:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).symlink_to(put(tmp_path / "elsewhere"))
    else:
        put(out / name)
    before = tree(tmp_path)
    with pytest.raises(InputError, match=rf"{name}.*`tests`"):
        make_folder(out, overwrite=True)
    assert tree(tmp_path) == before


def test_folders_named_like_ours_with_the_users_files_are_never_touched(tmp_path: Path) -> None:
    put(tmp_path / "out" / "images" / "0.jpg")
    with pytest.raises(InputError, match=r"0\.jpg.*`tests`"):
        make_folder(tmp_path / "out", overwrite=True)
    assert tree(tmp_path) == {"out/images/0.jpg": "mine"}


def test_a_folder_that_was_edited_is_never_touched(tmp_path: Path) -> None:
    make_folder(tmp_path / "out")
    put(tmp_path / "out" / "model.txt", "z")
    with pytest.raises(InputError, match=r"model\.txt"):
        make_folder(tmp_path / "out", overwrite=True)
    assert tree(tmp_path)["out/model.txt"] == "z"


def test_another_output_inside_a_folder_counts_as_the_users(tmp_path: Path) -> None:
    make_folder(tmp_path / "out")
    write_output(tmp_path / "out" / "cloud.ply", "points", made_by="export ply")
    with pytest.raises(InputError, match=r"cloud\.ply"):
        make_folder(tmp_path / "out", overwrite=True)


def test_an_empty_folder_is_taken_and_clutter_does_not_count(tmp_path: Path) -> None:
    out = tmp_path / "out"
    put(out / ".DS_Store")
    make_folder(out)
    put(out / "images" / "Thumbs.db")
    put(out / "images" / "._0.jpg")
    make_folder(out, overwrite=True, text="b")
    assert tree(out)["images/0.jpg"] == "b"


def test_a_failure_while_moving_puts_everything_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    make_folder(out)
    before, rename = tree(out), os.rename
    left: list[int] = []

    def fail_once(source: Path, target: Path) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise OSError(28, "No space left on device")
        rename(source, target)

    for failing in range(1, 7):
        left[:] = [failing]
        monkeypatch.setattr(os, "rename", fail_once)
        with pytest.raises(InputError, match=r"out.*No space left"):
            make_folder(out, overwrite=True, text="b")
        monkeypatch.undo()
        assert tree(out) == before


def test_a_file_and_a_folder_do_not_take_each_others_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"file is a file.*folder"):
        make_folder(put(tmp_path / "file"), overwrite=True)
    with pytest.raises(InputError, match=r"is a folder.*one file"):
        write_output(tmp_path, "x", made_by="tests", overwrite=True)


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, b"[1, 2]\n{}\nnull\n" + b"[" * 100_000, b'{"file": "page.html"'])
def test_a_damaged_manifest_proves_nothing_and_takes_new_lines(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "page.html"
    write_output(path, "one", made_by="tests")
    (tmp_path / MANIFEST).write_bytes(damage)
    with pytest.raises(InputError, match="`tests`"):
        check_place(path, made_by="tests", overwrite=True)
    write_output(tmp_path / "other.html", "two", made_by="tests")
    assert is_ours(tmp_path / "other.html", made_by="tests")


def test_a_manifest_that_names_files_elsewhere_reaches_none_of_them(tmp_path: Path) -> None:
    secret = put(tmp_path / "secret")
    out = tmp_path / "out"
    make_folder(out)
    record_folder(tmp_path, made_by="tests")
    lines = (tmp_path / MANIFEST).read_text().replace('"secret"', '"../secret"')
    (out / MANIFEST).write_text((out / MANIFEST).read_text() + lines)
    remove_folder(out, made_by="tests")
    assert secret.read_text() == "mine"
    assert not out.exists()


def test_a_long_job_keeps_what_is_not_its_own(tmp_path: Path, openloger_log: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "weights.bin"
    for text in ("one", "two"):
        with replace_file(path, made_by="tests") as draft:
            draft.write_text(text)
    assert not openloger_log.records
    for number in (1, 2):
        put(path, f"mine {number}")
        with replace_file(path, made_by="tests") as draft:
            draft.write_text("three")
        assert path.read_text() == "three"
        assert (tmp_path / f"weights.bin.kept-{number}").read_text() == f"mine {number}"
    assert "kept as weights.bin.kept-2" in openloger_log.text


def test_a_long_job_keeps_folders_that_are_not_its_own(tmp_path: Path) -> None:
    put(tmp_path / "step" / "mine.txt")
    for text in ("one", "two"):
        with replace_folder(tmp_path / "step", made_by="tests") as draft:
            put(draft / "state", text)
    assert (tmp_path / "step" / "state").read_text() == "two"
    assert tree(tmp_path / "step.kept-1") == {"mine.txt": "mine"}


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path / "out")
    assert damaged_file(tmp_path / "out") is None
    put(tmp_path / "out" / "model.txt", "b")
    assert damaged_file(tmp_path / "out") == tmp_path / "out" / "model.txt"


def test_a_folder_that_cannot_be_listed_is_neither_passed_over_nor_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails once left files out of the list, and the user's out of the check."""
    real = os.scandir

    def failing(path: str | os.PathLike[str] | int) -> object:
        if not isinstance(path, int) and os.path.basename(os.fspath(path)) == "images":
            raise OSError(errno.EIO, os.strerror(errno.EIO), os.fspath(path))
        return real(path)

    make_folder(tmp_path / "s")
    put(tmp_path / "s" / "images" / "mine.jpg")
    before = tree(tmp_path / "s")
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", failing)
        with pytest.raises(InputError, match=r"cannot read .*s, which is to be replaced"):
            make_folder(tmp_path / "s", overwrite=True, text="b")
        with pytest.raises(InputError, match="nothing of it was kept"):
            make_folder(tmp_path / "new")
    assert tree(tmp_path / "s") == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("within", [False, True])
def test_a_place_that_nothing_can_be_written_to_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within: bool
) -> None:
    """The system is asked, as root may write to every folder that is not mounted to be read alone."""
    locked = tmp_path / "locked"
    locked.mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and access(path, mode))
    check_place(tmp_path / "free" / "out", made_by="tests", folder=True)
    with pytest.raises(InputError, match=r"cannot write .*locked is read-only.*choose another path"):
        check_place(locked if within else locked / "new" / "out", made_by="tests", folder=True)
    with pytest.raises(InputError, match=r"cannot write .*locked is read-only"):
        check_place(locked / "page.html", made_by="tests")


def test_two_runs_do_not_exchange_the_entries_of_one_folder_at_once(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    out = tmp_path / "out"
    make_folder(out)
    before = tree(tmp_path)
    other = os.open(out, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    try:
        with pytest.raises(InputError, match="out: another run is writing there"):
            make_folder(out, overwrite=True, text="b")
        assert tree(tmp_path) == before
    finally:
        os.close(other)
    make_folder(out, overwrite=True, text="b")
    assert [text for name, text in tree(out).items() if name != MANIFEST] == ["b", "b"]


def test_the_disk_has_the_name_of_every_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder that is new is flushed into its parent, after it is made."""
    flushed: list[Path] = []
    monkeypatch.setattr(atomic, "sync_folder", lambda folder: flushed.append(Path(folder)))
    atomic.make_folder(tmp_path / "a" / "b")
    assert sorted(flushed) == [tmp_path, tmp_path / "a"]
    flushed.clear()
    atomic.make_folder(tmp_path / "a" / "b")
    assert flushed == []
