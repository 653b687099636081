"""OpenEXR pictures against the format's own library, and damage of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openloger.datasets.exr import read_exr
from openloger.errors import InputError

OpenEXR = pytest.importorskip("OpenEXR", reason="the oracle of our reader")
PIXELS = np.random.default_rng(2).normal(3, 9, (37, 23)).astype(np.float32)  # two whole chunks of ZIP, and a part


def written(path: Path, channels: dict[str, np.ndarray], **header: object) -> Path:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    OpenEXR.File(header, channels).write(str(path))
    return path


@pytest.mark.parametrize("codec", ["NO_COMPRESSION", "ZIPS_COMPRESSION", "ZIP_COMPRESSION"])
@pytest.mark.parametrize("kind", [np.float32, np.float16, np.uint32])
def test_what_its_library_writes_is_read(tmp_path: Path, codec: str, kind: type) -> None:
    pixels = np.abs(PIXELS).astype(kind)
    pixels[:16] = 0  # a chunk that ZIP makes smaller; noise it leaves as it is
    path = written(tmp_path / "a.exr", {"Y": pixels}, compression=getattr(OpenEXR, codec))
    assert read_exr(path).dtype == np.float32
    np.testing.assert_array_equal(read_exr(path), pixels.astype(np.float32))
    np.testing.assert_array_equal(OpenEXR.File(str(path)).channels()["Y"].pixels, pixels)


def test_a_window_that_begins_elsewhere(tmp_path: Path) -> None:
    window = (np.array([5, -7], dtype=np.int32), np.array([5 + 22, -7 + 36], dtype=np.int32))
    path = written(tmp_path / "a.exr", {"Z": PIXELS}, dataWindow=window, displayWindow=window)
    np.testing.assert_array_equal(read_exr(path), PIXELS)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    piz = written(tmp_path / "piz.exr", {"Y": PIXELS}, compression=OpenEXR.PIZ_COMPRESSION)
    with pytest.raises(InputError, match=r"piz\.exr.*compression is PIZ; write it with ZIP"):
        read_exr(piz)
    tiles = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
    with pytest.raises(InputError, match=r"tiles\.exr.*scan lines"):
        read_exr(written(tmp_path / "tiles.exr", {"Y": PIXELS}, **tiles))
    with pytest.raises(InputError, match=r"two\.exr.*channels Y, Z, where one is wanted"):
        read_exr(written(tmp_path / "two.exr", {"Y": PIXELS, "Z": PIXELS}))
    (tmp_path / "words.exr").write_text("once upon a time")
    with pytest.raises(InputError, match=r"words\.exr.*begin"):
        read_exr(tmp_path / "words.exr")
    with pytest.raises(InputError, match=r"nowhere\.exr is missing"):
        read_exr(tmp_path / "nowhere.exr")


def test_damage_is_one_line_or_other_numbers(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.exr", {"Y": np.round(PIXELS)}).read_bytes()
    draw, said = np.random.default_rng(0), []
    path = tmp_path / "b.exr"
    for number in range(300):
        data = bytearray(whole)
        for _ in range(3):
            data[int(draw.integers(400 if number % 2 else len(data)))] = int(draw.integers(256))
        path.write_bytes(data[: int(draw.integers(len(data)))] if number % 3 == 0 else data)
        try:
            assert read_exr(path).size
        except InputError as error:
            said.append(str(error))
    assert len(said) > 100
    assert all("b.exr" in one and "\n" not in one for one in said)
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"b\.exr"):
            read_exr(path)
