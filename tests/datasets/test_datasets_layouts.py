"""Every reader on a tiny folder in its dataset's official layout: cameras, intrinsics, depth, pictures, times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets.official_layouts import LAYOUTS
from datasets.parts import Made

from openloger.datasets import DATASETS, Sequence, open_dataset
from openloger.errors import InputError
from openloger.values import Frame, FrameSource


@pytest.fixture(params=LAYOUTS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Made]:
    dataset, make = LAYOUTS[request.param]
    return dataset, make(tmp_path)


def test_every_reader_has_a_layout_here() -> None:
    assert {dataset for dataset, _ in LAYOUTS.values()} == set(DATASETS)


def test_a_reader_finds_what_is_true(made: tuple[str, Made]) -> None:
    dataset, truth = made
    opened = open_dataset(dataset, truth.folder)
    assert list(opened) == [truth.name]
    sequence = opened[truth.name]
    assert isinstance(sequence, Sequence)
    assert isinstance(sequence, FrameSource)
    assert sequence.length == len(truth.rgb)
    for number in range(len(truth.rgb)):
        frame = sequence[number]
        np.testing.assert_allclose(frame.world_from_cam, truth.world_from_cam[number], atol=2e-4)
        np.testing.assert_array_equal(frame.world_from_cam, sequence.world_from_cam(number))
        np.testing.assert_allclose(frame.intrinsics, truth.intrinsics, atol=1e-9)
        assert frame.timestamp_s == pytest.approx(truth.timestamps_s[number], abs=1e-6)
        assert frame.index == number


def test_depth_and_its_mask(made: tuple[str, Made]) -> None:
    dataset, truth = made
    sequence = open_dataset(dataset, truth.folder)[truth.name]
    for number, depth in enumerate(truth.depth):
        frame = sequence[number]
        if depth.size == 0:
            assert frame.depth is None
            assert frame.valid is None
            continue
        assert frame.depth.dtype == np.float32
        np.testing.assert_allclose(frame.depth, depth, atol=2e-4)
        np.testing.assert_array_equal(frame.valid, depth > 0)
        assert not frame.valid.all()


def test_pictures_come_in_order_and_from_anywhere(made: tuple[str, Made]) -> None:
    dataset, truth = made
    sequence = open_dataset(dataset, truth.folder)[truth.name]
    frames = list(sequence)
    assert [frame.index for frame in frames] == list(range(len(truth.rgb)))
    assert all(isinstance(frame, Frame) for frame in frames)
    for frame, rgb, time_s in zip(frames, truth.rgb, truth.timestamps_s, strict=True):
        np.testing.assert_allclose(frame.rgb.astype(int), rgb.astype(int), atol=3)  # JPEG
        assert frame.timestamp_s == pytest.approx(time_s, abs=1e-6)
    assert [frame.index for frame in sequence.frames(3)] == list(range(3, len(truth.rgb)))
    np.testing.assert_array_equal(sequence[2].rgb, frames[2].rgb)
    with pytest.raises(IndexError):
        sequence[len(truth.rgb)]


def test_a_sequence_folder_itself_may_be_given(made: tuple[str, Made]) -> None:
    dataset, truth = made
    if dataset in {
        "kitti",
        "vbr",
        "sintel",
        "vkitti2",
        "hypersim",
        "co3d",
        "omniworld",
        "scannetpp",
        "waymo",
        "packed",
    }:
        pytest.skip("its sequences need what lies beside them")
    opened = open_dataset(dataset, truth.folder / truth.name)
    assert list(opened) == ["."]
    assert opened["."].name == truth.name.rpartition("/")[2]
    assert opened["."].length == len(truth.rgb)


def test_the_wrong_folder_is_said_to_be(made: tuple[str, Made], tmp_path: Path) -> None:
    dataset, truth = made
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty.*laid out"):
        open_dataset(dataset, tmp_path / "empty")
    with pytest.raises(InputError, match="nowhere"):
        open_dataset(dataset, tmp_path / "nowhere")
    with pytest.raises(InputError, match="'other'"):
        open_dataset(dataset, truth.folder, sequences=["other"])
    with pytest.raises(InputError, match=r"'kity'.*kitti, vbr"):
        open_dataset("kity", truth.folder)
