"""Masks beside exported pictures: at their size, by the names that COLMAP and nerfstudio expect."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from PIL import Image
from test_full_pictures import LENS, SIZE, SMALL, clip, main_exit, model_of, record

from openloger.errors import InputError
from openloger.export import SourceFrames, export_recording
from openloger.frames.lenses import read_camera
from openloger.geometry import pixel_grid, unproject
from openloger.geometry.views import view_intrinsics, view_map

__all__ = ["clip"]
FRAMES = 3


def hidden() -> np.ndarray:
    """The lowest rows, and a square that moves."""
    masked = np.zeros((FRAMES, *SMALL), bool)
    masked[:, 24:] = True
    for frame in range(FRAMES):
        masked[frame, 5:11, 4 + 6 * frame : 12 + 6 * frame] = True
    return masked


def mask_of(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        assert picture.mode == "L"
        mask = np.asarray(picture)
    assert set(np.unique(mask)) == {0, 255}
    return mask == 255


@pytest.mark.parametrize("full", [False, True])
def test_colmap_finds_a_mask_by_the_name_of_each_picture(clip: Path, tmp_path: Path, full: bool) -> None:
    images = SourceFrames() if full else None
    written = export_recording(record(clip, hidden=hidden()), "colmap", tmp_path / "model", images=images)
    assert [entry.name for entry in written] == ["images", "masks", "sparse"]
    names = sorted(image.name for image in model_of(tmp_path / "model").images.values())
    assert sorted(file.name for file in (tmp_path / "model" / "masks").iterdir()) == [f"{name}.png" for name in names]
    factor = 2 if full else 1
    for frame, name in enumerate(names):
        expected = np.kron(~hidden()[frame], np.ones((factor, factor), bool))
        np.testing.assert_array_equal(mask_of(tmp_path / "model" / "masks" / f"{name}.png"), expected)
        with Image.open(tmp_path / "model" / "images" / name) as picture:
            assert picture.size == expected.shape[::-1]


def test_colmap_extracts_no_features_under_them(clip: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for file in sorted(clip.iterdir()):
        noise = generator.integers(0, 256, (*SIZE, 3), np.uint8)
        Image.fromarray(noise).resize((SIZE[1] // 4, SIZE[0] // 4)).resize(SIZE[::-1]).save(file)
    export_recording(record(clip, hidden=hidden()), "colmap", tmp_path / "model", images=SourceFrames())
    counts = []
    for masks in (None, tmp_path / "model" / "masks"):
        reader = pycolmap.ImageReaderOptions() if masks is None else pycolmap.ImageReaderOptions(mask_path=str(masks))
        database = tmp_path / f"{masks is None}.db"
        pycolmap.extract_features(
            str(database), str(tmp_path / "model" / "images"), reader_options=reader, device=pycolmap.Device.cpu
        )
        with pycolmap.Database.open(str(database)) as opened:
            images = sorted(opened.read_all_images(), key=lambda image: image.name)
            found = [opened.read_keypoints(image.image_id)[:, :2] for image in images]
        under = [np.kron(hidden()[frame], np.ones((2, 2), bool)) for frame in range(FRAMES)]
        counts.append(sum(int(mask[y, x]) for mask, xys in zip(under, found, strict=True) for x, y in xys.astype(int)))
        assert all(len(xys) for xys in found)
    without, masked = counts
    assert without > 0
    assert masked == 0


def test_every_frame_of_nerfstudio_has_one(clip: Path, tmp_path: Path) -> None:
    recording = record(clip, hidden=hidden())
    assert main_exit(["export", str(recording.path), "--to", "nerfstudio", "--out", str(tmp_path / "scene")]) == 0
    transforms = json.loads((tmp_path / "scene" / "transforms.json").read_text())
    for frame, entry in enumerate(transforms["frames"]):
        mask = mask_of(tmp_path / "scene" / entry["mask_path"])
        assert mask.shape == (transforms["h"], transforms["w"])
        np.testing.assert_array_equal(mask, ~hidden()[frame])


def test_where_sizes_do_not_divide_what_is_hidden_in_part_is_hidden(clip: Path, tmp_path: Path) -> None:
    """Pictures of another size than the recording's, that are there already."""
    recording = record(clip, hidden=hidden())
    files = tmp_path / "files"
    files.mkdir()
    for name in recording.names:
        Image.new("RGB", (57, 43)).save(files / name)
    export_recording(recording, "nerfstudio", tmp_path / "scene", images=files)
    mask = mask_of(tmp_path / "scene" / "masks" / f"{recording.names[1]}.png")
    assert mask.shape == (43, 57)
    for row, column in np.ndindex(mask.shape):
        rows = slice(row * 30 // 43, -(-(row + 1) * 30 // 43))
        columns = slice(column * 40 // 57, -(-(column + 1) * 40 // 57))
        assert mask[row, column] == (not hidden()[1, rows, columns].any())


def test_those_of_distorted_pictures_are_distorted(clip: Path, tmp_path: Path) -> None:
    lens = read_camera(LENS)
    recording = record(clip, camera=LENS, hidden=hidden())
    export_recording(recording, "colmap", tmp_path / "model", images=clip)
    mask = mask_of(tmp_path / "model" / "masks" / f"{recording.names[0]}.png")
    assert mask.shape == SIZE
    seen = view_map(lens, SIZE, to_size=SMALL).numpy()  # where each recorded pixel's middle lies in the picture
    columns, rows = np.moveaxis(seen.astype(int), -1, 0)
    agree = mask[rows, columns] == ~hidden()[0]
    inner = ~(np.diff(hidden()[0], axis=0, prepend=False) | np.diff(hidden()[0], axis=1, prepend=False))
    assert agree[inner].mean() > 0.99
    wrong = mask[rows.clip(0, SMALL[0]), columns.clip(0, SMALL[1])] == ~hidden()[0]  # so that the line above can fail
    assert wrong.mean() < 0.9
    rays = unproject(torch.ones(SIZE, dtype=torch.float64), view_intrinsics(lens, SIZE))
    inside = lens.project(rays, size=SIZE)
    assert float(inside[..., 1].max()) < SIZE[0] - 1  # the picture has rows under the view's lowest, which are hidden
    assert not mask[-1].any()
    grid = pixel_grid(*SIZE, dtype=torch.float64)
    assert bool(torch.isfinite(lens.unproject(grid, size=SIZE)).all())


def test_a_run_without_masks_has_none(clip: Path, tmp_path: Path) -> None:
    recording = record(clip)
    export_recording(recording, "colmap", tmp_path / "model")
    export_recording(recording, "nerfstudio", tmp_path / "scene")
    assert not (tmp_path / "model" / "masks").exists()
    assert not (tmp_path / "scene" / "masks").exists()
    assert "mask_path" not in (tmp_path / "scene" / "transforms.json").read_text()


def test_a_mask_never_leaves_the_export(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = record(clip, hidden=hidden())
    monkeypatch.setattr(type(recording), "names", ("../clip/shot_2.png", "../clip/shot_4.png", "../clip/shot_6.png"))
    with pytest.raises(InputError, match=r"named after '\.\./clip/shot_2\.png'"):
        export_recording(recording, "nerfstudio", tmp_path / "scene", images=clip)
    assert not (tmp_path / "scene").exists()
