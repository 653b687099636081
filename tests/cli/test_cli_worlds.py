"""`openloger worlds`: what it writes is a dataset like any other, and its pictures hold something."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openloger import worlds
from openloger.cli import main
from openloger.datasets import open_dataset


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


@pytest.mark.parametrize("pictures", ["mp4", "png"])
def test_a_rendered_world_reads_back_as_a_dataset(pictures, tmp_path):
    out = tmp_path / "rooms"
    arguments = ("--seed", "3", "--frames", "4", "--size", "48", "64", "--pictures", pictures)
    assert run("worlds", "render", "rooms", "-o", out, *arguments) == 0
    ((_, sequence),) = open_dataset("folder", out).items()
    world = worlds.World("rooms", seed=3, size=(48, 64), fps=10)
    assert sequence.length == 4
    for i, frame in enumerate(sequence):
        sample = world[i]
        tolerance = 0 if pictures == "png" else 40  # 8×8 blocks of a codec on a sharp little picture
        assert np.abs(frame.rgb.astype(int) - sample.rgb).mean() <= tolerance
        assert np.allclose(sequence.world_from_cam(i), sample.world_from_cam)
        depth = np.load(out / "depth" / f"{i:06d}.npy").astype(np.float32)
        assert np.abs(depth - sample.depth).max() <= 1e-3 * sample.depth.max()


def test_a_folder_is_replaced_only_when_asked_and_only_its_own(tmp_path, capsys):
    out = tmp_path / "clutter"
    arguments = ("worlds", "render", "clutter", "-o", out, "--frames", "2", "--size", "16", "24")
    assert run(*arguments) == 0
    assert run(*arguments) == 2
    assert "exists: choose another path, or give --overwrite" in capsys.readouterr().err
    assert run(*arguments, "--overwrite") == 0
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "monday.txt").write_text("rain")
    assert run(*arguments[:3], "-o", tmp_path / "diary", "--frames", "1", "--overwrite") == 2
    assert (tmp_path / "diary" / "monday.txt").read_text() == "rain"


def test_a_preview_is_a_sheet_and_a_video(tmp_path):
    assert run("worlds", "preview", "street", "-o", tmp_path, "--frames", "3", "--rows", "2", "--size", "32", "48") == 0
    sheet = np.asarray(Image.open(tmp_path / "street-0.png"))
    assert sheet.shape == (2 * 32 + 64, 4 * 48, 3)
    assert all(sheet[:64, column * 48 : (column + 1) * 48].std() > 5 for column in range(3))
    assert (sheet[64:] > 80).any()  # the path
    assert (tmp_path / "street-0.mp4").stat().st_size > 500


def test_an_unknown_family(tmp_path, capsys):
    assert run("worlds", "preview", "jungle", "-o", tmp_path) == 2
    assert "rooms" in capsys.readouterr().err
