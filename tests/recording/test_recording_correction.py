"""Corrections beside a recording: applied to all that is read, in one place, and taken away again."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded_values import meta, placed_windows

from openloger.errors import RecordingError
from openloger.geometry import Sim3
from openloger.pipeline.resume import recording_to_resume
from openloger.recording import (
    CorrectionStep,
    Recording,
    add_correction,
    check_correctable,
    correction,
    create_recording,
    open_recording,
    undo_correction,
)
from openloger.recording.check import find_damage

FRAMES = 20


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    with create_recording(tmp_path / "walk", meta()) as writer:
        for window in placed_windows(FRAMES):
            writer.append(window)
        writer.finish()
    return open_recording(tmp_path / "walk")


def step(*frames: int, seed: int = 0, is_metric: bool = True) -> CorrectionStep:
    twists = 0.3 * torch.randn(len(frames), 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return CorrectionStep("test", frames, Sim3.exp(twists), is_metric, is_upright=False)


@pytest.mark.parametrize("frames", [(0,), (0, 7, 19), (3, 12)])
def test_everything_that_is_read_is_moved_together(recording: Recording, frames: tuple[int, ...]) -> None:
    correction = add_correction(recording.path, step(*frames))
    assert recording.refresh()
    before = open_recording(recording.path, corrected=False)
    moved = correction.at(np.arange(FRAMES))
    for number in (0, 5, 19):
        wanted = moved[number].apply(torch.from_numpy(before.points_world(number)).double())
        np.testing.assert_allclose(recording.points_world(number), wanted, rtol=1e-4, atol=1e-4)
        frame = recording.frame(number)
        np.testing.assert_array_equal(frame.world_from_cam, recording.world_from_cam[number])
        np.testing.assert_array_equal(frame.depth, recording.depth(number))
        np.testing.assert_allclose(frame.world_from_cam[:3, :3] @ frame.world_from_cam[:3, :3].T, np.eye(3), atol=1e-9)
    for one, raw in zip(recording.windows, before.windows, strict=True):
        at = correction.at(np.array([raw.first_frame]))
        np.testing.assert_allclose(one.world_from_window_matrix, at[0].matrix().numpy() @ raw.world_from_window_matrix)
        if one.disagreement is not None:
            assert raw.disagreement is not None
            assert one.disagreement.translation == pytest.approx(raw.disagreement.translation * float(at.scale[0]))
    np.testing.assert_array_equal(recording.intrinsics, before.intrinsics)


def test_nodes_are_met_and_no_frame_of_the_world_matters_between_them() -> None:
    one, gauge = step(0, 10, 25), step(0, seed=9).after_from_before[0]
    torch.testing.assert_close(one.at(np.array([0, 10, 25])).matrix(), one.after_from_before.matrix())
    torch.testing.assert_close(
        one.at(np.array([-5, 40])).matrix(), one.after_from_before[torch.tensor([0, 2])].matrix()
    )
    turned = CorrectionStep("test", one.frames, gauge @ one.after_from_before, True, is_upright=False)
    between = np.array([3, 14, 22])
    torch.testing.assert_close(turned.at(between).matrix(), (gauge @ one.at(between)).matrix())


def test_steps_add_up_and_the_last_one_is_taken_away(recording: Recording) -> None:
    recorded = recording.world_from_cam
    assert not recording.is_metric
    assert recording.unit == "units"
    add_correction(recording.path, step(0, seed=1))
    recording.refresh()
    first, kept = recording.world_from_cam, recording.correction
    assert recording.unit == "m"
    add_correction(recording.path, step(0, 9, seed=2, is_metric=False))
    recording.refresh()
    assert not recording.is_metric
    assert undo_correction(recording.path).frames == (0, 9)
    recording.refresh()
    np.testing.assert_array_equal(recording.world_from_cam, first)
    assert recording.correction is not kept
    undo_correction(recording.path)
    assert recording.refresh()
    np.testing.assert_array_equal(recording.world_from_cam, recorded)
    assert not (recording.path / "correction.json").exists()
    with pytest.raises(RecordingError, match="nothing to undo"):
        undo_correction(recording.path)


def test_a_run_goes_on_from_what_was_recorded(recording: Recording) -> None:
    recorded = recording.world_from_cam
    add_correction(recording.path, step(0))
    resumed = recording_to_resume(recording.path)
    assert resumed is not None
    np.testing.assert_array_equal(resumed.world_from_cam, recorded)
    create_recording(recording.path, meta(), overwrite=True).close()
    assert not (recording.path / "correction.json").exists()


def test_a_damaged_correction_is_named(recording: Recording) -> None:
    add_correction(recording.path, step(0, 9))
    file = recording.path / "correction.json"
    value = json.loads(file.read_text())
    value["steps"][0]["nodes"][0]["scale"] *= 2
    file.write_text(json.dumps(value))
    with pytest.raises(RecordingError, match=r"correction.json: cannot be read .*checksum.* take it away"):
        open_recording(recording.path)
    assert any("correction.json" in line for line in find_damage(recording.path))
    assert len(open_recording(recording.path, corrected=False).world_from_cam) == FRAMES


def test_no_correction_is_written_while_a_run_writes(recording: Recording) -> None:
    with (
        create_recording(recording.path, meta(), overwrite=True),
        pytest.raises(RecordingError, match="another run is writing"),
    ):
        add_correction(recording.path, step(0))


def test_a_step_is_written_behind_the_steps_that_it_was_computed_from_alone(recording: Recording) -> None:
    """Two commands at once: the second's result is of cameras that are others by now."""
    first = add_correction(recording.path, step(0, seed=1), behind=())
    with pytest.raises(RecordingError, match=r"another command has changed its correction.*give the command again"):
        add_correction(recording.path, step(0, seed=2), behind=())
    recording.refresh()
    assert len(recording.correction_texts) == 1
    stored = recording.correction
    assert stored is not None
    add_correction(recording.path, step(0, 9, seed=2), behind=stored.steps)
    undo_correction(recording.path)
    undo_correction(recording.path)
    with pytest.raises(RecordingError, match="another command"):
        add_correction(recording.path, step(0, seed=3), behind=first.steps)
    assert not (recording.path / "correction.json").exists()


def test_the_place_of_a_correction_is_tried_and_stays_as_it_is(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(recording.path.iterdir())
    check_correctable(recording.path)
    assert sorted(recording.path.iterdir()) == before
    with (
        create_recording(recording.path, meta(), overwrite=True),
        pytest.raises(RecordingError, match="another run is writing"),
    ):
        check_correctable(recording.path)

    def refused(path: Path, data: bytes) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(correction, "prepare", refused)
    with pytest.raises(RecordingError, match="Read-only file system"):
        check_correctable(recording.path)
