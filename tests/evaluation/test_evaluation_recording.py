"""One recording against one truth: an exact estimate has no error in any form of truth; what does not fit is said."""

from __future__ import annotations

import json
from pathlib import Path

import known
import numpy as np
import pytest

from openloger.cli.evaluate import commands
from openloger.cli.evaluate import evaluate_recording as command
from openloger.datasets import open_dataset
from openloger.errors import InputError
from openloger.evaluation import GatherSettings, MeasureSettings, evaluate_recording, gather_placed, measure
from openloger.recording import Recording

BORDER = 2e-4  # AbsRel that the outermost half pixel costs, where the true map is finer than the estimate


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return known.recording(tmp_path_factory.mktemp("recording") / "out")


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return known.write_truth(tmp_path_factory.mktemp("truth") / "wall")


def test_an_exact_recording_has_no_error(exact: Recording, truth: Path) -> None:
    measured = evaluate_recording(exact, truth)
    numbers = measured.numbers()
    assert (numbers["frames"], numbers["matched"]) == (known.FRAMES, known.FRAMES)
    assert numbers["ate_rmse"] < 1e-7
    assert numbers["rotation_deg_rmse"] < 1e-4
    assert numbers["scale"] == pytest.approx(1 / known.SCALE, rel=1e-6)
    along = np.linalg.norm(np.diff(known.true_cameras()[:, :3, 3], axis=0), axis=1).sum()
    assert numbers["path_length"] == pytest.approx(along, rel=1e-6)
    assert numbers["depth_abs_rel"] < BORDER
    assert numbers["depth_scale"] == pytest.approx(1 / known.SCALE, rel=1e-5)
    assert numbers["depth_abs_rel_none"] == pytest.approx(1 - known.SCALE, rel=1e-4)
    assert numbers["depth_frames"] == known.FRAMES / 3
    assert numbers["ate_rmse_of_straight_line"] > 0.1
    assert numbers["depth_abs_rel_of_constant"] > 0.01
    assert measured.drift_meter is not None
    assert measured.drift_meter.overlaps == len(exact.windows) - 1


def test_sparse_depth_is_compared_at_its_own_pixels(exact: Recording, truth: Path, tmp_path: Path) -> None:
    depth = known.write_sparse_depth(tmp_path / "depth_mm.npz")
    found = evaluate_recording(exact, truth / "world_from_cam.txt", depth=depth)
    numbers = found.numbers()
    assert numbers["depth_abs_rel"] < 1e-4  # whole millimetres of 8 m; half a pixel beside would be 1e-3
    assert numbers["depth_pixels"] == 3 * known.HEIGHT * known.WIDTH
    assert evaluate_recording(exact, truth / "world_from_cam.txt").depth == {}


def test_depth_that_is_off_by_a_factor_in_places(tmp_path: Path, truth: Path) -> None:
    off = known.recording(tmp_path / "out", depth_factor=1.1)
    settings = MeasureSettings(alignment="se3", depth_alignment="none")
    numbers = evaluate_recording(off, truth, settings=settings).numbers()
    assert numbers["depth_abs_rel"] == pytest.approx(1 - 1.1 * known.SCALE, rel=1e-4)
    assert numbers["depth_abs_rel_sequence"] < BORDER
    assert numbers["scale"] == 1


def test_frames_are_matched_by_their_number_in_the_video(tmp_path: Path, truth: Path) -> None:
    every_second = known.recording(tmp_path / "out", indices=list(range(4, known.FRAMES, 2)))
    numbers = evaluate_recording(every_second, truth).numbers()
    assert numbers["matched"] == len(range(4, known.FRAMES, 2))
    assert numbers["ate_rmse"] < 1e-7
    assert numbers["depth_abs_rel"] < BORDER


def test_truth_by_time(exact: Recording, tmp_path: Path) -> None:
    cameras = known.true_cameras()
    from openloger.geometry import quaternion_wxyz_from_rotation

    wxyz = quaternion_wxyz_from_rotation(known.torch.from_numpy(cameras[:, :3, :3].copy())).numpy()
    rows = np.hstack([np.arange(known.FRAMES)[:, None] / 10 + 0.003, cameras[:, :3, 3], wxyz[:, [1, 2, 3, 0]]])
    keep = np.arange(known.FRAMES) != 7
    np.savetxt(tmp_path / "groundtruth.txt", rows[keep], header="timestamp tx ty tz qx qy qz qw", fmt="%.9f")
    numbers = evaluate_recording(exact, tmp_path / "groundtruth.txt").numbers()
    assert numbers["matched"] == known.FRAMES - 1
    assert numbers["ate_rmse"] < 1e-6
    rows[:, 0] += 1.7e9
    np.savetxt(tmp_path / "groundtruth.txt", rows, fmt="%.9f")
    with pytest.raises(InputError, match="clocks"):
        evaluate_recording(exact, tmp_path / "groundtruth.txt")


def test_a_dataset_sequence_is_truth_and_clouds_agree(exact: Recording, tmp_path: Path) -> None:
    known.write_truth(tmp_path / "wall", pictures=True)
    sequence = open_dataset("folder", tmp_path)["wall"]
    settings = MeasureSettings(gather=GatherSettings(cloud_points=400), cloud_thresholds=(0.01, 0.5))
    measured = evaluate_recording(exact, sequence, settings=settings)
    assert measured.cloud is not None
    assert measured.cloud.accuracy_mean < 0.25  # the true points are 0.25 apart on the wall
    assert measured.cloud.normal_consistency == pytest.approx(1, abs=1e-3)
    assert measured.cloud.thresholds[1].f_score > 0.97
    assert measured.numbers()["cloud_f_score_0.5"] == measured.cloud.thresholds[1].f_score


def test_windows_as_they_come_give_the_recordings_numbers(exact: Recording, truth: Path) -> None:
    from openloger.datasets import read_truth

    sequence = read_truth(truth / "world_from_cam.txt", depth=truth / "depth")
    streamed = measure(gather_placed(known.placed(), sequence)).numbers()
    recorded = evaluate_recording(exact, truth).numbers()
    assert streamed.keys() == recorded.keys()
    for name, value in recorded.items():
        if not name.startswith("confidence"):  # stored in 8 bits
            assert streamed[name] == (value if value is None else pytest.approx(value, rel=1e-3, abs=1e-6)), name
    glimpses = gather_placed(known.placed(), sequence).glimpses
    assert 3 <= len(glimpses) <= 6
    np.testing.assert_array_equal(glimpses[-1].rgb, known.picture(glimpses[-1].index).rgb)
    shown = glimpses[0].truth
    np.testing.assert_allclose(shown[5:-5, 5:-5], glimpses[0].estimated[5:-5, 5:-5] / known.SCALE, rtol=0.05)


# what does not fit


def test_truth_of_another_length(exact: Recording, tmp_path: Path) -> None:
    short = known.write_cameras(tmp_path / "short.txt", known.true_cameras()[:20])
    with pytest.raises(InputError, match="truth of this video") as caught:
        evaluate_recording(exact, short)
    assert "frame 20" in str(caught.value)
    assert str(short) in str(caught.value)
    longer = np.concatenate([known.true_cameras(), known.true_cameras()[:5]])  # a recording may be of the beginning
    numbers = evaluate_recording(exact, known.write_cameras(tmp_path / "long.txt", longer)).numbers()
    assert numbers["ate_rmse"] < 1e-7


def test_truth_that_is_not_there_or_damaged(exact: Recording, truth: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.txt"):
        evaluate_recording(exact, tmp_path / "nowhere.txt")
    with pytest.raises(InputError, match=r"world_from_cam\.txt"):
        evaluate_recording(exact, tmp_path)
    with pytest.raises(InputError, match=r"nowhere\.npz"):
        evaluate_recording(exact, truth / "world_from_cam.txt", depth=tmp_path / "nowhere.npz")
    bent = known.true_cameras()
    bent[3, 0, 0] += 0.5
    with pytest.raises(InputError, match="camera 3"):
        evaluate_recording(exact, known.write_cameras(tmp_path / "bent.txt", bent))


def test_a_camera_that_is_not_finite_is_not_measured(exact: Recording, tmp_path: Path) -> None:
    lost = known.true_cameras()
    lost[3, 0, 3], lost[5] = np.nan, -np.inf
    measured = evaluate_recording(exact, known.write_cameras(tmp_path / "lost.txt", lost))
    assert measured.matched == measured.frames - 2
    assert measured.absolute.translation.rmse < 1e-7


def test_too_few_frames(tmp_path: Path, truth: Path) -> None:
    two = known.recording(tmp_path / "two", indices=[0, 1])
    with pytest.raises(InputError, match=r"\b3\b.*\b2\b"):
        evaluate_recording(two, truth)


def test_depth_of_other_frames(tmp_path: Path, truth: Path) -> None:
    few = known.recording(tmp_path / "few", indices=[1, 2, 3, 4, 5])
    depth = known.write_sparse_depth(tmp_path / "depth_mm.npz")
    with pytest.raises(InputError, match=r"depth.*\b5\b"):
        evaluate_recording(few, truth / "world_from_cam.txt", depth=depth)


def test_clouds_without_intrinsics(exact: Recording, truth: Path, tmp_path: Path) -> None:
    cameras = known.write_cameras(tmp_path / "world_from_cam.txt", known.true_cameras())
    settings = MeasureSettings(gather=GatherSettings(cloud_points=100))
    with pytest.raises(InputError, match=r"intrinsics\.txt"):
        evaluate_recording(exact, cameras, depth=truth / "depth", settings=settings)


# the command


def test_the_command_prints_json(exact: Recording, truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    page = tmp_path / "page.html"
    depth = known.write_sparse_depth(tmp_path / "depth_mm.npz")
    command(exact.path, truth=truth / "world_from_cam.txt", depth=depth, html=page, json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["ate_rmse"] < 1e-7
    assert told["path_length"] > 3
    assert told["depth_abs_rel"] < 1e-4
    assert told["settings"]["alignment"] == "sim3"
    assert told["versions"]["torch"]
    assert set(told["sha256"]) == {"truth", "depth"}
    text = page.read_text()
    assert text.count("<svg") >= 3
    assert text.count("data:image/png;base64") == 9
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_command_prints_a_table(exact: Recording, truth: Path, capsys: pytest.CaptureFixture) -> None:
    command(exact.path, truth=truth)
    told = capsys.readouterr().out
    assert "ATE, RMSE" in told
    assert "30 of 30 frames have truth" in told


def test_commands_are_what_can_be_evaluated() -> None:
    assert list(commands())[:3] == ["recording", "kitti", "vbr"]
