"""Written values are read back: every quantity, every dtype, fitted, known and fixed cameras."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import recorded_values as values
import torch
import zarr
from packaging.version import Version

from openloger.errors import RecordingError
from openloger.geometry import intrinsics_matrix, project
from openloger.outputs.atomic import PARTIAL_SUFFIX
from openloger.recording import Cost, Recording, RecordingMeta, create_recording, open_recording
from openloger.values import Disagreement, PlacedWindow

FRAMES = 45  # some chunks, the last in part


def record(path: Path, meta: RecordingMeta, placed: list[PlacedWindow]) -> Recording:
    with create_recording(path, meta) as writer:
        for window in placed:
            writer.append(window)
        writer.finish()
    return open_recording(path)


@pytest.mark.parametrize(("dtype", "precision"), [("float16", 2.0**-11), ("float32", 0.0)])
def test_every_quantity_comes_back(tmp_path: Path, dtype: str, precision: float) -> None:
    recording = record(tmp_path / "out", values.meta(depth_dtype=dtype), values.placed_windows(FRAMES))
    assert len(recording) == recording.frame_count == FRAMES
    assert recording.complete
    assert recording.meta == values.meta(depth_dtype=dtype)
    assert recording.source_index.tolist() == list(range(FRAMES))
    for i, frame in enumerate(recording):
        assert frame.number == frame.source_index == i
        assert frame.name == values.picture(i).name
        assert frame.timestamp_s == values.picture(i).timestamp_s
        np.testing.assert_array_equal(frame.rgb, values.picture(i).rgb)
        np.testing.assert_array_equal(frame.world_from_cam, values.world_from_cam(i).numpy())
        np.testing.assert_allclose(frame.depth, values.depth(i).numpy(), rtol=precision)
        np.testing.assert_allclose(frame.confidence, values.confidence(i).numpy(), atol=0.5 / 255 + 1e-7)
        np.testing.assert_allclose(frame.intrinsics, values.intrinsics(i).numpy(), atol=1e-3)


def test_points_follow_from_depth_intrinsics_and_camera_up_to_the_residual(tmp_path: Path) -> None:
    placed = values.placed_windows(FRAMES)
    noisy = [replace(p, points_cam=_disturbed(p.points_cam, seed=p.number)) for p in placed]
    recording = record(tmp_path / "out", values.meta(depth_dtype="float32"), noisy)
    assert 0.01 < recording.residual_px.max() < 1
    for p in noisy:
        for row in range(p.final_count):
            i = p.frames[row].index
            points, mine = p.points_cam[row], torch.from_numpy(recording.points_cam(i))
            torch.testing.assert_close(mine[..., 2], points[..., 2])
            camera = torch.from_numpy(recording.intrinsics[i]).float()
            miss = (project(points, camera) - project(mine, camera)).norm(dim=-1)
            weight = p.confidence[row].flatten()[miss.flatten().argsort()].cumsum(0)
            median = miss.flatten().sort().values[torch.searchsorted(weight, weight[-1] / 2)]
            assert median == pytest.approx(recording.residual_px[i], rel=0.02)
            world = p.world_from_cam[row][:3, :3] @ mine.double()[..., None] + p.world_from_cam[row][:3, 3:]
            np.testing.assert_allclose(recording.points_world(i), world[..., 0].numpy(), atol=1e-5)


def _disturbed(points: torch.Tensor, *, seed: int) -> torch.Tensor:
    noise = 0.01 * torch.randn(points.shape, generator=torch.Generator().manual_seed(seed))
    return points + noise * torch.tensor([1.0, 1.0, 0.0])


def given_camera(intrinsics_px: tuple[float, ...]) -> list[PlacedWindow]:
    focal, principal = torch.tensor(intrinsics_px, dtype=torch.float64).split(2)
    return values.placed_windows(20, known_intrinsics=intrinsics_matrix(focal, principal))


def test_known_intrinsics_replace_the_fit_and_say_by_how_much_they_miss(tmp_path: Path) -> None:
    known = (2 * values.FOCAL_PX, 2 * values.FOCAL_PX, values.WIDTH / 2, values.HEIGHT / 2)
    recording = record(tmp_path / "out", values.meta(known_intrinsics_px=known), given_camera(known))
    assert recording.meta.known_intrinsics is not None
    np.testing.assert_array_equal(recording.intrinsics, np.broadcast_to(recording.meta.known_intrinsics, (20, 3, 3)))
    assert recording.residual_px.min() > 1  # twice the focal length doubles each pixel's distance from the centre
    right = (values.FOCAL_PX, values.FOCAL_PX, values.WIDTH / 2, values.HEIGHT / 2)
    recording = record(tmp_path / "right", values.meta(known_intrinsics_px=right), given_camera(right))
    assert recording.residual_px[0] < 1e-3


def test_a_fixed_lens_has_one_camera_fitted_to_all_frames_and_its_residual(tmp_path: Path) -> None:
    placed = values.placed_windows(20)
    blind = replace(placed[-1], confidence_logit=torch.full_like(placed[-1].confidence_logit, -torch.inf))
    recording = record(tmp_path / "out", values.meta(lens="fixed"), [*placed[:-1], blind])
    seen = 20 - blind.final_count
    focal_px = np.array([values.intrinsics(i)[0, 0].item() for i in range(seen)])
    assert recording.lens_fit is not None
    np.testing.assert_array_equal(
        recording.intrinsics, np.broadcast_to(recording.lens_fit.intrinsics.numpy(), (20, 3, 3))
    )
    assert focal_px.min() < recording.intrinsics[0, 0, 0] < focal_px.max()
    assert not np.isfinite(recording.residual_px[seen:]).any()
    least, most = recording.residual_px[:seen].min(), recording.residual_px[:seen].max()
    assert 0 < least < recording.lens_fit.residual_px < most < 0.1  # px: 0.06 of focal length over half an image
    assert record(tmp_path / "varying", values.meta(), placed).lens_fit is None


def test_windows_keep_their_numbers(tmp_path: Path) -> None:
    placed = values.placed_windows(20)
    cost = Cost(seconds=0.5, waiting_s=0.125, peak_memory_bytes=1 << 33, device="cpu")
    with create_recording(tmp_path / "out", values.meta()) as writer:
        writer.append(placed[0])
        writer.append(placed[1], cost=cost)
    first, second = open_recording(tmp_path / "out").windows
    assert (first.number, first.first_frame, first.frame_count, first.final_count) == (0, 0, 8, 5)
    assert (second.number, second.first_frame, second.frame_count, second.final_count) == (1, 5, 8, 5)
    assert (first.metric_scale, second.metric_scale) == (2.5, None)
    assert (first.disagreement, second.disagreement) == (None, Disagreement(0.01, 0.2, 0.03))
    assert (first.cost, second.cost) == (None, cost)
    np.testing.assert_allclose(second.world_from_window_matrix, placed[1].world_from_window.matrix().numpy())


def test_depth_outside_float16_is_put_on_its_end_counted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    far = values.placed_windows(12)[0]
    far.points_cam[1, 0, 0] = torch.tensor([0.0, 0.0, 1e6])
    far.points_cam[2, 0, :2] = torch.tensor([0.0, 0.0, 1e-7])
    far.points_cam[-1] *= 1e7  # of the overlap: not this window's to write
    with caplog.at_level(logging.WARNING):
        recording = record(tmp_path / "out", values.meta(), [far])
    assert recording.windows[0].clipped_pixels == 3
    assert recording.depth(1)[0, 0] == 65504
    assert recording.depth(2)[0, 0] == pytest.approx(2.0**-14)
    assert "3 depths" in caplog.text
    assert "float32" in caplog.text
    recording = record(tmp_path / "wide", values.meta(depth_dtype="float32"), [far])
    assert recording.windows[0].clipped_pixels == 0
    assert recording.depth(1)[0, 0] == 1e6


@pytest.mark.parametrize("name", ["points_cam", "confidence_logit", "world_from_cam"])
def test_a_prediction_that_is_not_finite_is_refused_and_nothing_of_it_counts(tmp_path: Path, name: str) -> None:
    good, bad = values.placed_windows(14)[:2]
    getattr(bad, name)[2].view(-1)[0] = torch.nan
    with create_recording(tmp_path / "out", values.meta()) as writer:
        writer.append(good)
        with pytest.raises(RecordingError, match=f"window 1: {name.removesuffix('_logit')}"):
            writer.append(bad)
        with pytest.raises(RecordingError, match="--resume"):
            writer.append(bad)
    assert len(open_recording(tmp_path / "out")) == good.final_count


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    with (
        create_recording(tmp_path / "out", values.meta()) as writer,
        pytest.raises(RecordingError, match=r"frame 0 .*20×30.*12×16"),
    ):
        writer.append(values.placed_windows(9, size=(20, 30))[0])


def test_a_window_that_keeps_nothing_back_for_itself_is_written_as_no_frames(tmp_path: Path) -> None:
    placed = values.placed_windows(12)
    recording = record(tmp_path / "out", values.meta(), [placed[0], replace(placed[1], final_count=0)])
    assert len(recording) == placed[0].final_count
    assert [window.final_count for window in recording.windows] == [5, 0]


def test_any_zarr_reader_sees_arrays_of_exactly_the_committed_length(tmp_path: Path) -> None:
    recording = record(tmp_path / "out", values.meta(), values.placed_windows(FRAMES))
    group = zarr.open_group(tmp_path / "out" / "arrays.zarr", mode="r")
    shapes = {name: array.shape for name, array in group.arrays()}
    assert shapes == {
        "depth": (FRAMES, 12, 16),
        "confidence": (FRAMES, 12, 16),
        "rgb": (FRAMES, 12, 16, 3),
        "world_from_cam": (FRAMES, 4, 4),
        "intrinsics": (FRAMES, 3, 3),
        "residual_px": (FRAMES,),
        "timestamp_s": (FRAMES,),
        "source_index": (FRAMES,),
    }
    np.testing.assert_array_equal(
        np.asarray(dict(group.arrays())["depth"][FRAMES - 1]).astype(np.float32), recording.depth(44)
    )


@pytest.mark.skipif(
    Version(numcodecs.__version__) < Version("0.16"),
    reason="zarr passes Blosc the size of an item from numcodecs 0.16 on",
)
def test_chunks_are_to_the_byte_what_zarr_would_write(tmp_path: Path) -> None:
    record(tmp_path / "out", values.meta(), values.placed_windows(FRAMES))
    written = tmp_path / "out" / "arrays.zarr"
    twin = tmp_path / "twin.zarr"
    for metadata in written.rglob("zarr.json"):
        (twin / metadata.relative_to(written)).parent.mkdir(parents=True, exist_ok=True)
        (twin / metadata.relative_to(written)).write_bytes(metadata.read_bytes())
    for name, array in zarr.open_group(written, mode="r").arrays():
        with zarr.config.set({"array.write_empty_chunks": True}):
            zarr.open_array(twin / name, mode="r+")[:] = array[:]
    chunks = [file.relative_to(written) for file in written.rglob("c.*")]
    assert len(chunks) == 3 * 3 + 5  # 16 pictures a chunk, 256 rows of numbers
    for chunk in chunks:
        assert (written / chunk).read_bytes() == (twin / chunk).read_bytes(), chunk


def test_a_commit_interns_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython's table of interned names grows with each, even once it is gone: by megabytes in a run of hours."""
    interned: list[str] = []
    real = sys.intern
    first, *others = values.placed_windows(FRAMES)
    with create_recording(tmp_path / "out", values.meta()) as writer:
        writer.append(first)  # names of the recording's own files, which stay
        monkeypatch.setattr(sys, "intern", lambda text: interned.append(text) or real(text))
        assert Path("a.name").name in interned  # by pathlib
        for window in others:
            writer.append(window)
        monkeypatch.undo()
    ours = [name for name in interned if name.startswith("c.") or name.endswith(PARTIAL_SUFFIX)]
    assert ours == []


def test_a_chunk_is_compressed_once_it_is_full(tmp_path: Path) -> None:
    """Before that it is stored, so that no window pays for the frames before it; readers see no difference."""
    with create_recording(tmp_path / "out", values.meta()) as writer:
        for window in values.placed_windows(FRAMES):
            writer.append(window)
        folder = tmp_path / "out" / "arrays.zarr" / "depth"
        full, stored = (folder / name for name in ("c.0.0.0", f"c.{FRAMES // 16}.0.0"))
        raw = 16 * values.HEIGHT * values.WIDTH * 2
        assert full.stat().st_size < raw < stored.stat().st_size
        before = open_recording(tmp_path / "out").depth(FRAMES - 1)
        writer.finish()
    assert stored.stat().st_size < raw
    np.testing.assert_array_equal(open_recording(tmp_path / "out").depth(FRAMES - 1), before)
