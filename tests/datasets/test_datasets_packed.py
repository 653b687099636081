"""Packed sequences: what was packed comes back, packing goes on where it was cut, and damage is named."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tarfile
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import official_layouts as layouts
from datasets import parts
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from openloger.cli import main
from openloger.datasets import DATASETS, DatasetFolder, PackOptions, frames_at, open_dataset, pack_dataset
from openloger.datasets.packed import crc32_of, decode_depth, depth_error, encode_depth
from openloger.errors import InputError
from openloger.outputs import MANIFEST, staging

SMALL = PackOptions(threads=2, shard_bytes=1)  # every sequence a shard of its own


def walks(root: Path, count: int = 3) -> DatasetFolder:
    """Plain folders walk-0, walk-1, …, which differ."""
    for number in range(count):
        made = layouts.plain(root / f"part-{number}")
        made.folder.joinpath(made.name).rename(root / f"walk-{number}")
        (root / f"part-{number}").rmdir()
        parts.save(root / f"walk-{number}" / "rgb" / "000000.png", np.full((6, 8, 3), 60 * number, np.uint8))
    return open_dataset("folder", root)


@pytest.fixture
def source(tmp_path: Path) -> DatasetFolder:
    (tmp_path / "raw").mkdir()
    return walks(tmp_path / "raw")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}


def read_everything(folder: Path) -> int:
    """The number of depth maps."""
    return sum(
        frame.depth is not None and frame.rgb.ndim == 3
        for _, sequence in open_dataset("packed", folder).items()
        for frame in frames_at(sequence, range(5))
    )


@pytest.mark.parametrize("name", layouts.LAYOUTS)
def test_every_dataset_comes_back(tmp_path: Path, name: str) -> None:
    dataset, make = layouts.LAYOUTS[name]
    made = make(tmp_path)
    whole = open_dataset(dataset, made.folder)
    if dataset == "packed":
        with pytest.raises(InputError, match="is packed already"):
            pack_dataset(whole, tmp_path / "again")
        return
    pack_dataset(whole, tmp_path / "out", PackOptions(threads=1))
    packed = open_dataset("packed", tmp_path / "out")
    assert list(packed) == list(whole)
    assert packed.depth == whole.depth
    before, after = whole[made.name], packed[made.name]
    assert after.length == before.length
    for index in range(len(made.rgb)):
        old, new = before[index], after[index]
        np.testing.assert_array_equal(new.world_from_cam, old.world_from_cam)
        np.testing.assert_array_equal(new.intrinsics, old.intrinsics)
        assert new.timestamp_s == old.timestamp_s
        assert new.rgb.shape == old.rgb.shape
        if old.depth is None or not (old.depth > 0).any():
            assert new.depth is None
        elif old.depth.shape == old.rgb.shape[:2]:
            known = old.depth > 0
            np.testing.assert_array_equal(new.depth > 0, known)
            low, high = float(old.depth[known].min()), float(old.depth[known].max())
            np.testing.assert_allclose(new.depth[known], old.depth[known], rtol=depth_error(low, high) + 1e-6)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(2.0**-20, 2.0**30, width=32), min_size=1, max_size=40))
def test_depth_is_off_by_no_more_than_is_stated(values: list[float]) -> None:
    depth = np.array([[*values, 0.0, np.nan, -1.0]], dtype=np.float32)
    codes, low, high = encode_depth(depth)
    found = decode_depth(codes, low, high)
    known = depth > 0
    np.testing.assert_array_equal(found > 0, known)
    assert (np.abs(found[known] / depth[known] - 1) <= depth_error(low, high) + 3e-7).all()


def test_the_error_that_is_stated() -> None:
    assert depth_error(0.1, 100.0) < 5.5e-5
    assert depth_error(2.0, 2.0) == 0


def test_large_pictures_are_bounded_and_their_lens_with_them(tmp_path: Path) -> None:
    made = layouts.plain(tmp_path / "raw")
    picture = np.kron(np.arange(48).reshape(6, 8), np.ones((20, 20))).astype(np.uint8) * 5
    for path in sorted((tmp_path / "raw" / made.name / "rgb").iterdir()):
        parts.save(path, np.stack([picture] * 3, -1))
    for path in sorted((tmp_path / "raw" / made.name / "depth").iterdir()):
        np.save(path, (1 + picture / 10).astype(np.float32))
    K = np.array([[90.0, 0, 70], [0, 95, 66], [0, 0, 1]])
    parts.text(tmp_path / "raw" / made.name / "intrinsics.txt", "90 95 70 66")
    pack_dataset(open_dataset("folder", tmp_path / "raw"), tmp_path / "out", PackOptions(pixels=4800))
    frame = open_dataset("packed", tmp_path / "out")[made.name][0]
    assert frame.rgb.shape == (60, 80, 3)
    assert frame.depth.shape == (60, 80)
    np.testing.assert_allclose(frame.intrinsics, np.diag([0.5, 0.5, 1]) @ K)
    np.testing.assert_allclose(frame.depth[5::10, 5::10], 1 + picture[10::20, 10::20] / 10, rtol=1e-4)
    np.testing.assert_allclose(frame.rgb[5::10, 5::10, 0].astype(int), picture[10::20, 10::20], atol=6)


def test_it_goes_on_where_it_was_cut(source: DatasetFolder, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    pack_dataset(source, whole, SMALL)
    assert len(list(whole.glob("shard-*.tar"))) == 3

    def interrupt(progress) -> None:
        if progress.frames == 8:  # within the second sequence
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_dataset(source, cut, replace(SMALL, on_progress=interrupt))
    assert sorted(contents(cut)) == ["packed.json", "shard-00000.json", "shard-00000.tar"]
    (cut / "shard-00000.json").unlink()  # as if killed between the two files of a shard
    with pytest.raises(InputError, match=r"exists: choose another path"):
        pack_dataset(source, cut, SMALL)
    assert pack_dataset(source, cut, replace(SMALL, existing="resume")).before == 0
    assert contents(cut) == contents(whole)
    again = pack_dataset(source, cut, replace(SMALL, existing="resume"))
    assert (again.sequences, again.before, again.frames) == (3, 3, 0)
    with pytest.raises(InputError, match=r"quality=95.*not as.*quality=80"):
        pack_dataset(source, cut, replace(SMALL, existing="resume", quality=80))
    assert pack_dataset(source, cut, replace(SMALL, existing="overwrite", quality=80)).frames == 15


def test_only_what_is_proved_to_be_ours_is_replaced(source: DatasetFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pack_dataset(source, out, SMALL)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt is not what `datasets pack` wrote"):
        pack_dataset(source, out, replace(SMALL, existing="overwrite"))
    (out / "notes.txt").unlink()
    (out / "shard-00001.json").unlink()
    (out / "shard-00001.tar").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"shard-00001\.tar is not what"):
        pack_dataset(source, out, replace(SMALL, existing="resume"))
    assert (out / "shard-00001.tar").read_bytes() == b"mine"


def test_a_sequence_that_cannot_be_read_is_left_out_whole(source: DatasetFolder, tmp_path: Path) -> None:
    (source.folder / "walk-1" / "rgb" / "000003.png").write_bytes(b"no picture")
    said = []
    options = PackOptions(threads=1, on_failure=lambda name, reason: said.append((name, reason)))
    summary = pack_dataset(source, tmp_path / "out", options)
    assert (summary.sequences, summary.failed) == (2, ("walk-1",))
    assert said[0][0] == "walk-1"
    assert "000003.png" in said[0][1]
    packed = open_dataset("packed", tmp_path / "out")
    assert list(packed) == ["walk-0", "walk-2"]
    assert len(list(packed["walk-2"])) == 5
    parts.save(source.folder / "walk-1" / "rgb" / "000003.png", parts.pictures()[3])
    pack_dataset(source, tmp_path / "out", PackOptions(threads=1, existing="resume"))
    assert list(open_dataset("packed", tmp_path / "out")) == ["walk-0", "walk-1", "walk-2"]


def test_a_shard_is_an_archive_for_others(source: DatasetFolder, tmp_path: Path) -> None:
    pack_dataset(source, tmp_path / "out", PackOptions())
    with tarfile.open(tmp_path / "out" / "shard-00000.tar") as archive:
        names = archive.getnames()
        assert names[:3] == ["00000/000000.jpg", "00000/000000.depth.png", "00000/000001.jpg"]
        assert names[-1] == "00002/sequence.npz"
        picture = archive.extractfile("00002/000000.jpg")
        assert picture is not None
        np.testing.assert_allclose(np.asarray(Image.open(picture)), 120, atol=1)
        table = archive.extractfile("00001/sequence.npz")
        assert table is not None
        with zipfile.ZipFile(io.BytesIO(table.read())) as arrays:
            assert arrays.testzip() is None


def test_damage_names_the_shard_and_the_sequence(source: DatasetFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pack_dataset(source, out, PackOptions())
    assert read_everything(out) == 15
    path, listed = out / "shard-00000.tar", json.loads((out / "shard-00000.json").read_text())
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        places = {member.name: member.offset_data for member in archive.getmembers()}
    for member, said in (
        ("00001/000002.jpg", "frame 2 of sequence 'walk-1'"),
        ("00001/000004.depth.png", "frame 4 of sequence 'walk-1'"),
        ("00002/sequence.npz", "sequence 'walk-2'"),
    ):
        damaged = bytearray(whole)
        damaged[places[member] + 30] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=rf"shard-00000\.tar is damaged: {said}"):
            read_everything(out)
    path.write_bytes(whole[: places["00001/000000.jpg"]])
    packed = open_dataset("packed", out)
    assert len(list(packed["walk-0"])) == 5
    with pytest.raises(InputError, match=r"shard-00000\.tar is damaged: sequence 'walk-1'"):
        _ = packed["walk-1"]
    path.unlink()
    with pytest.raises(InputError, match=r"shard-00000\.tar cannot be read"):
        _ = packed["walk-0"]
    listed["sequences"][0]["frames"] = 4
    (out / "shard-00000.json").unlink()
    (out / "shard-00000.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match=r"shard-00000\.json is damaged \(its checksum is another\)"):
        open_dataset("packed", out)


def test_frames_at_reads_alone_what_lies_alone(source: DatasetFolder, tmp_path: Path, monkeypatch) -> None:
    pack_dataset(source, tmp_path / "out", PackOptions())
    sequence = open_dataset("packed", tmp_path / "out")["walk-1"]
    read = []
    kind = type(sequence.source.pieces[0])
    whole = kind.read
    monkeypatch.setattr(kind, "read", lambda piece: read.append(piece.frame) or whole(piece))
    found = [(frame.index, frame.rgb.shape) for frame in frames_at(sequence, range(0, 5, 3))]
    assert found == [(0, (6, 8, 3)), (3, (6, 8, 3))]
    assert read == [0, 3]
    raw = source["walk-1"]
    for old, new in zip(frames_at(raw, range(1, 5, 2)), frames_at(sequence, range(1, 5, 2)), strict=True):
        assert (old.index, old.timestamp_s) == (new.index, new.timestamp_s)
        np.testing.assert_allclose(old.depth, new.depth, rtol=1e-4)


def test_the_reader_is_among_the_datasets() -> None:
    assert DATASETS["packed"].title == "packed sequences"


@pytest.mark.parametrize("existing", ["resume", "overwrite"])
def test_one_run_at_a_time_packs_into_a_folder(source: DatasetFolder, tmp_path: Path, existing: str) -> None:
    said = []

    def begin_another(progress) -> None:
        if progress.frames == 8:
            with pytest.raises(InputError, match="another run is packing into it") as error:
                pack_dataset(source, tmp_path / "out", replace(SMALL, existing=existing))
            said.append(error)

    pack_dataset(source, tmp_path / "out", replace(SMALL, on_progress=begin_another))
    assert said
    assert read_everything(tmp_path / "out") == 15
    assert pack_dataset(source, tmp_path / "out", replace(SMALL, existing=existing)).sequences == 3


def test_a_shard_without_its_archive_is_not_taken_for_packed(source: DatasetFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pack_dataset(source, out, SMALL)
    (out / "shard-00001.tar").unlink()
    with pytest.raises(InputError, match=r"shard-00001\.tar is missing: .*remove shard-00001\.json too"):
        pack_dataset(source, out, replace(SMALL, existing="resume"))
    (out / "shard-00001.json").unlink()
    assert pack_dataset(source, out, replace(SMALL, existing="resume")).frames == 5
    assert read_everything(out) == 15


@pytest.mark.parametrize(
    "lie",
    [
        {"bytes": 10**18},
        {"bytes": -1},
        {"place": -1},
        {"place": 2**70},
        {"frames": 10**9},
        {"frames": 2.5},
        {"name": 3},
    ],
    ids=str,
)
def test_a_shard_that_lies_about_its_sizes_is_refused(source: DatasetFolder, tmp_path: Path, lie: dict) -> None:
    pack_dataset(source, tmp_path / "out", PackOptions())
    path = tmp_path / "out" / "shard-00000.json"
    listed = json.loads(path.read_text())["sequences"]
    listed[0] |= lie
    path.write_text(json.dumps({"crc32": crc32_of(listed), "sequences": listed}))
    with pytest.raises(InputError, match=r"shard-00000\.(tar|json)"):
        _ = open_dataset("packed", tmp_path / "out")["walk-0"]


@pytest.mark.parametrize("lie", ["no archive", "no table", "objects", "shape", "place", "length", "depth", "swapped"])
def test_tables_that_lie_are_refused(source: DatasetFolder, tmp_path: Path, lie: str) -> None:
    pack_dataset(source, tmp_path / "out", PackOptions())
    path, shard = (tmp_path / "out" / f"shard-00000.{ending}" for ending in ("json", "tar"))
    listed, content = json.loads(path.read_text())["sequences"], shard.read_bytes()
    first = listed[0]["place"]
    with np.load(io.BytesIO(content[first : first + listed[0]["bytes"]])) as archive:
        tables = dict(archive)
    if lie == "no table":
        del tables["crc32"]
    elif lie == "objects":
        tables["timestamp_s"] = np.array([{}] * 5)
    elif lie == "shape":
        tables["world_from_cam"] = tables["world_from_cam"][:2]
    elif lie == "place":
        tables["place"][:, 0, 0] = -(2**62)
    elif lie == "length":
        tables["place"][:, 0, 1] = 2**62
    elif lie == "depth":
        tables["depth_range"][:] = (0, np.inf)
    elif lie == "swapped":  # a picture where depth should be
        tables["place"], tables["crc32"] = tables["place"][:, ::-1], tables["crc32"][:, ::-1]
    saved = io.BytesIO()
    np.savez(saved, **tables)
    table = b"no archive" if lie == "no archive" else saved.getvalue()
    listed[0] |= {"place": len(content), "bytes": len(table), "crc32": zlib.crc32(table)}
    shard.write_bytes(content + table)
    path.write_text(json.dumps({"crc32": crc32_of(listed), "sequences": listed}))
    with pytest.raises(InputError, match=r"shard-00000\.tar"):
        read_everything(tmp_path / "out")


@pytest.mark.parametrize("values", [[505917632.0, 557045824.0], list(np.linspace(7.0, 7.0001, 40)), [3.0, 3.0000002]])
def test_depth_within_a_narrow_range_is_kept(values: list[float]) -> None:
    depth = np.array([values], dtype=np.float32)
    codes, low, high = encode_depth(depth)
    np.testing.assert_allclose(decode_depth(codes, low, high), depth, rtol=depth_error(low, high) + 3e-7)
    assert codes.max() == 65535


@pytest.mark.parametrize("size", ["nan", "inf", "0", "-1"])
def test_what_is_no_size_of_a_shard_is_refused(tmp_path: Path, size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["datasets", "pack", "folder", str(tmp_path), "-o", str(tmp_path / "out"), "--shard-gb", size])
    assert ended.value.code == 2
    assert f"--shard-gb {size} is no size of a shard" in capsys.readouterr().err


KILLED = """
import os, signal, sys
from pathlib import Path
from openloger.datasets import PackOptions, open_dataset, pack_dataset

def die(progress):
    if progress.frames == 8:
        os.kill(os.getpid(), signal.SIGKILL)

options = PackOptions(threads=1, shard_bytes=1, on_progress=die)
pack_dataset(open_dataset("folder", sys.argv[1]), Path(sys.argv[2]), options)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_what_a_kill_left_is_taken_away_and_nothing_else(source: DatasetFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(source.folder), str(out)]
    assert subprocess.run(command, check=False, timeout=200).returncode == -signal.SIGKILL
    (draft,) = out.glob(".openloger-partial-*")
    assert [path.name for path in draft.iterdir()] == ["shard-00001.tar"]
    others = [out / ".openloger-partial-datasets-pack-abcdefg1", out / ".openloger-partial-export-ply-abcdefgh"]
    for other, name in zip(others, ["notes.txt", "shard-00001.tar"], strict=True):
        other.mkdir()
        (other / name).write_text("not of a killed pack")
    summary = pack_dataset(source, out, replace(SMALL, existing="resume"))
    assert (summary.sequences, summary.before) == (3, 1)
    assert sorted(out.glob(".openloger-partial-*")) == sorted(others)
    assert [len(list(other.iterdir())) for other in others] == [1, 1]
    assert read_everything(out) == 15


def test_of_two_runs_that_begin_a_pack_at_once_one_is_refused(source, tmp_path: Path, monkeypatch) -> None:
    out, record = tmp_path / "out", staging.record_file

    def meanwhile(path: Path, **rest) -> None:
        """The other run begins, and ends, between the last look at the place and the move there."""
        monkeypatch.setattr(staging, "record_file", record)
        pack_dataset(source, out, SMALL)
        record(path, **rest)

    monkeypatch.setattr(staging, "record_file", meanwhile)
    with pytest.raises(InputError, match=r"packed\.json exists: choose another path"):
        pack_dataset(source, out, replace(SMALL, quality=80))
    assert read_everything(out) == 15
    assert json.loads((out / "packed.json").read_text())["quality"] == 95
    assert pack_dataset(source, out, replace(SMALL, existing="resume")).before == 3


def test_sequences_of_one_name_in_two_shards_are_refused(source: DatasetFolder, tmp_path: Path) -> None:
    """As where shards of two packs are put into one folder."""
    out = tmp_path / "out"
    pack_dataset(source, out, SMALL)
    for ending in ("json", "tar"):
        (out / f"shard-00007.{ending}").write_bytes((out / f"shard-00001.{ending}").read_bytes())
    with pytest.raises(InputError, match=r"shard-00007\.json and .*shard-00001\.json both have sequence 'walk-1'"):
        open_dataset("packed", out)


def test_shards_that_lie_elsewhere_are_read_through_their_links(source: DatasetFolder, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    pack_dataset(source, out, SMALL)
    elsewhere.mkdir()
    for path in (out / "shard-00001.tar", out / "shard-00002.tar", out / "shard-00002.json"):
        path.rename(elsewhere / path.name)
        path.symlink_to(elsewhere / path.name)
    assert read_everything(out) == 15
    assert pack_dataset(source, out, replace(SMALL, existing="resume")).before == 3
    (out / "shard-00001.json").unlink()
    with pytest.raises(InputError, match=r"shard-00001\.tar is not what `datasets pack` wrote"):
        pack_dataset(source, out, replace(SMALL, existing="resume"))
    with pytest.raises(InputError, match=r"is not what `datasets pack` wrote"):
        pack_dataset(source, out, replace(SMALL, existing="overwrite"))
    assert len(list(elsewhere.iterdir())) == 3
    (elsewhere / "shard-00002.tar").unlink()
    (elsewhere / "shard-00001.tar").unlink()
    with pytest.raises(InputError, match=r"shard-00002\.tar is missing"):
        pack_dataset(source, out, replace(SMALL, existing="resume"))
