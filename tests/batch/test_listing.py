"""Which videos a batch has, under which names and with which options."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pyarrow
import pyarrow.parquet
import pytest

from openloger import InputError
from openloger.batch import VideoOptions, list_videos
from openloger.batch.storage import Storage


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def listed(*sources: object) -> dict[str, str]:
    return {video.name: video.source for video in list_videos(map(str, sources))}


def test_a_folder_gives_its_videos_bags_and_folders_of_pictures(tmp_path, openloger_log):
    touch(tmp_path / "b.MOV", tmp_path / "day 2/a.mp4", tmp_path / "day 2/poses.bin", tmp_path / "walk.bag")
    touch(tmp_path / "shots/0001.png", tmp_path / "shots/0002.png", tmp_path / "shots/small/0001.png")
    touch(tmp_path / ".hidden/c.mp4", tmp_path / ".d.mp4", tmp_path / "readme.txt")
    assert listed(tmp_path) == {
        "b.MOV": f"{tmp_path}/b.MOV",
        "day-2/a.mp4": f"{tmp_path}/day 2/a.mp4",
        "shots": f"{tmp_path}/shots",
        "walk.bag": f"{tmp_path}/walk.bag",
    }
    assert openloger_log.messages == [f"{tmp_path}: left out, as they are no videos: 1 .bin"]


def test_a_folder_of_pictures_is_one_video(tmp_path):
    touch(tmp_path / "shots/0001.png")
    assert listed(tmp_path / "shots") == {"shots": f"{tmp_path}/shots"}


def test_a_glob_names_by_what_it_matches(tmp_path):
    touch(tmp_path / "x/1/rgb.mp4", tmp_path / "x/10/rgb.mp4", tmp_path / "x/2/rgb.mp4", tmp_path / "x/2/depth.mp4")
    assert list(listed(tmp_path / "x/*/rgb.mp4")) == ["1/rgb.mp4", "2/rgb.mp4", "10/rgb.mp4"]
    with pytest.raises(InputError, match="nothing matches"):
        listed(tmp_path / "x/*.mkv")


def test_a_list_is_relative_to_itself(tmp_path):
    (tmp_path / "all.txt").write_text("# archive\na.mp4\n\n../b/a.mp4\n/data/a.mp4\nmemory://c/a.mp4\nworld:street:7\n")
    assert listed(tmp_path / "all.txt") == {
        "a.mp4": f"{tmp_path}/a.mp4",
        "b/a.mp4": f"{tmp_path}/../b/a.mp4",
        "data/a.mp4": "/data/a.mp4",
        "c/a.mp4": "memory://c/a.mp4",
        "world-street-7": "world:street:7",
    }


def test_a_table_has_names_options_and_columns_for_the_index(tmp_path):
    (tmp_path / "all.csv").write_text(
        'source,name,stop,size,camera,meta_city\na.mp4,first,40,280x378,,Oslo\nb.mp4,,,,"pinhole:1,1,2,2",\n'
    )
    first, second = list_videos([str(tmp_path / "all.csv")], VideoOptions(stop=100, fps=5.0))
    assert (first.name, first.source, dict(first.kept)) == ("first", f"{tmp_path}/a.mp4", {"meta_city": "Oslo"})
    assert first.options == VideoOptions(stop=40, fps=5.0, size=(280, 378))
    assert (second.name, dict(second.kept)) == ("b.mp4", {})
    assert second.options == VideoOptions(stop=100, fps=5.0, camera="pinhole:1,1,2,2")


def test_parquet_and_csv_say_the_same(tmp_path):
    columns = {"source": ["/a.mp4", "/b.mp4"], "stop": [40.0, None], "fps": [None, 2.5]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "all.parquet")
    (tmp_path / "all.csv").write_text("source,stop,fps\n/a.mp4,40,\n/b.mp4,,2.5\n")
    assert list_videos([str(tmp_path / "all.parquet")]) == list_videos([str(tmp_path / "all.csv")])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("source,widow\na.mp4,3\n", "unknown columns widow"),
        ("path\na.mp4\n", "no column `source`"),
        ("source,stop\na.mp4,many\n", "row 1: stop is 'many': write a whole number"),
        ("source,size\na.mp4,280\n", "row 1: size '280': write HEIGHTxWIDTH"),
        ("source,lens\na.mp4,round\n", "row 1: lens 'round' is not known"),
        ("source,stop\n,3\n", "row 1: has no source"),
        ("source,name\na.mp4,x\nb.mp4,x\n", "would both be 'x'"),
        ("source,name\na.mp4,x\nb.mp4,x/y\n", "would lie in the recording 'x'"),
        ("source,name\na.mp4,../x\n", "is no relative path"),
        ("source,name\na.mp4,.openloger-batch/x\n", "is no relative path"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, table, message):
    (tmp_path / "all.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        listed(tmp_path / "all.csv")


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="there is no file or folder"):
        listed(tmp_path / "nothing")
    with pytest.raises(InputError, match="holds no video and no folder of pictures"):
        listed(tmp_path)
    with pytest.raises(InputError, match="is no file system that fsspec has"):
        listed("nowhere://x")


def test_other_file_systems_are_listed_like_this_one():
    system = fsspec.filesystem("memory")
    for path in ("/archive/a.mp4", "/archive/day/b.mp4", "/archive/shots/1.png", "/archive/all.txt"):
        system.pipe_file(path, b"day/b.mp4\n")
    assert listed("memory://archive") == {
        "a.mp4": "memory://archive/a.mp4",
        "day/b.mp4": "memory://archive/day/b.mp4",
        "shots": "memory://archive/shots",
    }
    assert listed("memory://archive/*/*.mp4") == {"day/b.mp4": "memory:///archive/day/b.mp4"}
    assert listed("memory://archive/all.txt") == {"day/b.mp4": "memory://archive/day/b.mp4"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX")
@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.parquet"])
def test_a_pipe_or_a_device_is_no_list(name, tmp_path):
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(InputError, match="a device, not a regular file"):
        listed(tmp_path / name)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="a named pipe, not a regular file"):
        listed(tmp_path / name)


def test_secrets_of_an_address_stay_where_they_are_used(tmp_path, monkeypatch):
    """A question mark in the web is no glob, either."""
    from fsspec.implementations.memory import MemoryFileSystem

    address = "https://user:hunter2@example.org/day/a.mp4?token=TOKEN&channel=1"
    system = MemoryFileSystem()
    monkeypatch.setattr("openloger.batch.listing.file_system", lambda place: (system, place))
    with pytest.raises(InputError, match=r"user:…@example.org/day/a.mp4\?token=…&channel=1'") as refused:
        listed(address)
    assert "hunter2" not in str(refused.value)
    (tmp_path / "a.txt").write_text(address)
    monkeypatch.undo()
    (video,) = list_videos([str(tmp_path / "a.txt")])
    assert video.source == address  # what is fetched
    assert video.name == "example.org/day/a.mp4"
    assert "TOKEN" not in video.request + video.shown_source
    assert "hunter2" not in video.request + video.shown_source
    (tmp_path / "a.txt").write_text(address.replace("TOKEN", "OTHER"))
    assert list_videos([str(tmp_path / "a.txt")])[0].request != video.request


def test_an_address_that_cannot_be_reached_is_named_without_its_secrets(tmp_path):
    pytest.importorskip("aiohttp")
    address = "http://me:password@127.0.0.1:9"
    with pytest.raises(InputError, match=r"http://me:…@127\.0\.0\.1:9/a\.mp4\?token=… cannot be reached \(.*\); check"):
        listed(f"{address}/a.mp4?token=abc")
    with pytest.raises(OSError, match="connect") as caught:
        Storage(f"{address}/out").read("index.parquet")
    assert caught.value.filename == "http://me:…@127.0.0.1:9/out/index.parquet"
