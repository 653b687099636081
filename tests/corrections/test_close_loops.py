"""Loops are closed where the camera comes back, and nothing where it does not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from true_recordings import Walk, record, walk

from openloger import cli
from openloger.cli import close_loops as cli_close_loops
from openloger.corrections import Alignment, apply, close_loops, undo
from openloger.corrections.loops import may_meet, solve_loops
from openloger.corrections.places import Places, likely_pairs
from openloger.corrections.revisits import (
    Agreement,
    Revisit,
    Revisits,
    Visit,
    agreement_of,
    medium_detail,
    place_visit,
    placements,
)
from openloger.errors import InputError
from openloger.geometry import SE3, Sim3
from openloger.network import Network, load_network
from openloger.recording import CorrectionStep, Recording, add_correction, create_recording, open_recording

FRAMES, PLACE = 48, 4  # of a lap, and of a window
LAP = tuple(range(FRAMES))


def double(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.fixture(scope="module")
def lap() -> Walk:
    return walk("rooms", 3, FRAMES)


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network("compact", device="cpu")


def visit(made: Walk, frames: range) -> Visit:
    """As it is in the true world."""
    samples = [made.samples[frame] for frame in frames]
    rgb = torch.from_numpy(np.stack([sample.rgb for sample in samples])).float()
    return Visit(
        np.array(frames),
        SE3.from_matrix(torch.from_numpy(np.stack([sample.world_from_cam for sample in samples]))),
        torch.from_numpy(np.stack([sample.intrinsics for sample in samples])),
        torch.from_numpy(np.stack([np.where(sample.valid, sample.depth, 0) for sample in samples])),
        medium_detail(rgb.mean(-1)),
    )


def moved_visit(one: Visit, moved: Sim3) -> Visit:
    cameras = (moved @ Sim3.from_se3(one.world_from_cam)).rigid
    return replace(one, world_from_cam=cameras, depth=one.depth * float(moved.scale))


def test_a_visit_is_placed_exactly_by_what_a_window_has_of_it(lap: Walk) -> None:
    one = visit(lap, range(4))
    true = Sim3.exp(double(3, 1, -2, 0.3, 0.9, -0.2, 0.7))
    window = moved_visit(one, true.inverse())
    found = place_visit(one, window.world_from_cam, window.depth)
    torch.testing.assert_close(found.world_from_window.matrix(), true.matrix(), rtol=1e-5, atol=1e-5)
    assert found.agrees
    bent = window.world_from_cam.translation + 0.5 * one.middle_depth * torch.eye(4, 3, dtype=torch.float64)
    assert not place_visit(one, SE3(window.world_from_cam.rotation, bent), window.depth).agrees


def test_a_visit_of_which_a_window_has_two_frames_astray_is_placed_by_the_others(lap: Walk) -> None:
    one = visit(lap, range(4))
    true = Sim3.exp(double(3, 1, -2, 0.3, 0.9, -0.2, 0.7))
    window = moved_visit(one, true.inverse())
    rotation, centres = window.world_from_cam.rotation.clone(), window.world_from_cam.translation.clone()
    rotation[1] = SE3.exp(double(0, 0, 0, 0, 0.5, 0)).rotation @ rotation[1]
    centres[2] += 0.5 * window.middle_depth
    (found,) = placements(one, SE3(rotation, centres), window.depth)
    torch.testing.assert_close(found.world_from_window.matrix(), true.matrix(), rtol=1e-5, atol=1e-5)
    centres[0] -= 0.5 * window.middle_depth
    assert placements(one, SE3(rotation, centres), window.depth) == [], "no two frames are left that agree"
    assert len(placements(one, window.world_from_cam, window.depth)) == 1, "all of them, once"


def test_surfaces_agree_under_the_true_drift_alone(lap: Walk) -> None:
    one, near, elsewhere = visit(lap, range(4)), visit(lap, range(1, 5)), visit(lap, range(30, 34))
    true = Sim3.exp(double(2, 0, 1, 0, 0.3, 0, 0.1))
    later = moved_visit(near, true.inverse())
    assert agreement_of(one, later, true).refusal is None
    swapped = agreement_of(later, one, true.inverse())
    assert swapped.refusal is None
    assert agreement_of(one, later, true @ Sim3.exp(double(0, 0, 0, 0, 0.2, 0, 0))).refusal is not None
    # Another place, laid exactly where the first is: surfaces may agree, the pictures do not.
    over = Sim3.from_se3(one.world_from_cam[0] @ elsewhere.world_from_cam[0].inverse())
    assert agreement_of(one, elsewhere, over).refusal is not None


@pytest.mark.parametrize(
    ("overlap", "inliers", "likeness", "refusal"),
    [
        (0.4, 0.65, 0.65, None),
        (0.4, 0.4, 0.95, None),  # depth of one visit is soft
        (0.3, 0.9, 0.95, "little in common"),
        (0.4, 0.55, 0.8, "surfaces do not agree"),
        (0.4, 0.3, 0.95, "surfaces do not agree"),
        (0.4, 0.65, 0.5, "pictures do not agree"),
    ],
)
def test_surfaces_and_pictures_decide_together(
    overlap: float, inliers: float, likeness: float, refusal: str | None
) -> None:
    found = Agreement(overlap, inliers, likeness)
    assert found.refusal == refusal
    assert (found.strength >= 1) == (refusal is None)


def test_pairs_are_the_most_alike_once_each() -> None:
    at = np.array([0.0, 1, 2, 3, 10, 11, 12, 13])
    angle = np.deg2rad([0, 40, 80, 120, 1, 42, 170, 260])
    descriptor = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    places = Places(np.arange(8), np.arange(1, 9), descriptor)
    far = at[None] - at[:, None] >= 5.0
    found = list(likely_pairs(places, far, least_likeness=0.9, apart=1))
    assert [(one.first, one.second) for one in found] == [(0, 4), (1, 5)]
    assert found[0].likeness == pytest.approx(np.cos(np.deg2rad(1)), abs=1e-6)
    wide = list(likely_pairs(places, far, least_likeness=0.9, apart=2))
    assert [(one.first, one.second) for one in wide] == [(0, 4)]
    assert not list(likely_pairs(places, np.zeros_like(far), least_likeness=0.9, apart=1))


def test_places_meet_within_what_the_path_may_have_drifted() -> None:
    cameras = np.tile(np.eye(4), (4, 1, 1))
    cameras[:, 0, 3] = 0, 1, 3, 0.5
    cameras[2, :3, :3] = cameras[2, :3, [2, 1, 0]].T  # looks along x: as far off as drift alone cannot turn it
    along = np.array([0.0, 1, 10, 20])
    found = may_meet(cameras, along, 1.0)
    assert found[0, 3]
    assert not found[0, 1]  # one visit
    assert not found[0, 2]  # 90 degrees off
    assert not found.T[np.triu_indices(4)].any()  # the later one is second
    cameras[3, 0, 3] = 6.0
    assert not may_meet(cameras, along, 1.0)[0, 3]


def test_closures_spread_the_drift_over_the_path_and_a_false_one_does_not() -> None:
    true, drifted = circles(0.0), circles(0.004)
    later = range(60, 120, 5)
    drifts = [Sim3.from_se3(SE3.from_matrix(drifted[at - 60] @ torch.linalg.inv(drifted[at]))) for at in later]
    seen = Agreement(1.0, 1.0, 1.0)
    revisits = [Revisit(at - 60, at, one, seen, 0.1) for at, one in zip(later, drifts, strict=True)]
    false = Revisit(20, 95, Sim3.exp(double(9, 0, 4, 0, 1, 0, 0)), seen, 0.1)
    moved, weights, left = solve_loops(drifted.numpy(), range(120), [*revisits, false])
    after = (moved @ Sim3.from_se3(SE3.from_matrix(drifted))).translation
    assert weights[:-1].min() > 0.9
    assert weights[-1] < 1e-3
    assert left[:-1].max() < 0.5
    before = (drifted - true)[:, :3, 3].norm(dim=-1)
    assert (after - true[:, :3, 3]).norm(dim=-1).max() < 0.4 * before.max()


def circles(swerve: float) -> torch.Tensor:
    """Two rounds of 60 cameras each; `swerve` radians more at each step."""
    step = SE3.exp(double(0, 0, 1, 0, 2 * np.pi / 60 + swerve, 0))
    cameras = [SE3.identity(dtype=torch.float64)]
    for _ in range(119):
        cameras.append(cameras[-1] @ step)
    return torch.stack([camera.matrix() for camera in cameras])


def in_windows(made: Walk, numbers: tuple[int, ...], path: Path) -> Recording:
    samples = tuple(made.samples[number] for number in numbers)
    return record(Walk(samples, made.recorded_from_true), path, window=PLACE)


@pytest.fixture(scope="module")
def two_laps(lap: Walk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lap, and from its fifth frame again."""
    return in_windows(lap, (*LAP, *LAP[5:37]), tmp_path_factory.mktemp("laps") / "two").path


def drift(recording: Recording) -> None:
    """Everything grows and turns along the path."""
    frames = np.arange(0, len(recording), PLACE)
    share = torch.from_numpy(frames / len(recording))
    twist = torch.zeros(len(frames), 7, dtype=torch.float64)
    twist[:, 4], twist[:, 6], twist[:, 0] = 0.1 * share, 0.06 * share, 0.2 * share
    add_correction(recording.path, CorrectionStep("drift", tuple(frames.tolist()), Sim3.exp(twist), False, False))
    recording.refresh()


def test_a_second_lap_closes_on_the_first_and_can_be_undone(two_laps: Path, network: Network, tmp_path: Path) -> None:
    recording = open_recording(shutil.copytree(two_laps, tmp_path / "laps"))
    true = recording.world_from_cam
    drift(recording)
    drifted, done = recording.world_from_cam, []
    assert gap(drifted, true) > 0.1
    found = close_loops(recording, network=network, on_progress=done.append)
    assert found.used >= 2
    assert done
    for first, second in found.step.details["closures"]:
        assert abs((second - FRAMES + 5) - first) <= 3  # frames of one place, by the truth
    assert not found.step.is_metric
    np.testing.assert_array_equal(recording.world_from_cam, drifted)  # not applied yet
    depth = recording.depth(70)
    apply(recording, found)
    assert gap(recording.world_from_cam, true) < gap(drifted, true) / 3
    assert recording.depth(70).mean() < depth.mean()
    undo(recording)
    np.testing.assert_array_equal(recording.world_from_cam, drifted)


def gap(cameras: np.ndarray, true: np.ndarray) -> float:
    """Of frame 60, which is frame 17 again, in its own frame."""
    motion, wanted = np.linalg.inv(cameras[17]) @ cameras[60], np.linalg.inv(true[17]) @ true[60]
    return float(np.linalg.norm(motion[:3, 3] - wanted[:3, 3]))


def test_a_path_that_does_not_come_back_has_nothing_to_close(lap: Walk, network: Network, tmp_path: Path) -> None:
    recording = in_windows(lap, LAP, tmp_path / "one")
    with pytest.raises(InputError, match="nothing to close"):
        close_loops(recording, network=network)
    assert recording.correction is None


def test_a_network_that_is_unknown_or_another_is_named(two_laps: Path, tmp_path: Path) -> None:
    recording = open_recording(shutil.copytree(two_laps, tmp_path / "laps"))
    with pytest.raises(InputError, match="'truth'"):
        close_loops(recording)
    for name, text in (("pocket", "other weights"), ("nothing", "--network")):
        meta = json.loads((recording.path / "meta.json").read_text())
        meta.pop("crc32c", None)
        (recording.path / "meta.json").write_text(json.dumps(meta | {"network": name}))
        with pytest.raises(InputError, match=text):
            close_loops(open_recording(recording.path))


def test_the_command_takes_a_correction_away_alone(two_laps: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["close-loops", str(two_laps), "--undo", "--dry-run"])
    assert ended.value.code == 2
    assert "--undo goes alone" in capsys.readouterr().err


class Passes:
    """Pairs that the network is given; Ctrl-C comes after `most`."""

    def __init__(self) -> None:
        self.given: list[tuple[range, range]] = []
        self.most: int | None = None

    def begin(self, most: int | None = None) -> None:
        self.given, self.most = [], most


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    counted, verify = Passes(), Revisits.verify

    def counting(self: Revisits, first: range, second: range) -> Revisit | str:
        if len(counted.given) == counted.most:
            raise KeyboardInterrupt
        counted.given.append((first, second))
        return verify(self, first, second)

    monkeypatch.setattr(Revisits, "verify", counting)
    return counted


def test_a_search_that_was_cut_goes_on_to_the_same_result(
    two_laps: Path, network: Network, tmp_path: Path, passes: Passes
) -> None:
    recording = open_recording(shutil.copytree(two_laps, tmp_path / "laps"))
    drift(recording)
    whole, wanted = close_loops(recording, network=network), passes.given
    kept = recording.path / "loops.json"
    assert not kept.exists()
    passes.begin(most=2)
    with pytest.raises(KeyboardInterrupt):
        close_loops(recording, network=network)
    assert kept.exists()
    assert passes.given == wanted[:2]
    passes.begin()
    again = close_loops(open_recording(recording.path), network=network)
    assert passes.given == wanted[2:]
    assert again.step.details == whole.step.details
    assert torch.equal(again.step.after_from_before.matrix(), whole.step.after_from_before.matrix())
    assert not kept.exists()


@pytest.mark.parametrize("harm", ["moved", "damaged"])
def test_what_was_verified_of_another_path_or_is_damaged_is_not_taken(
    two_laps: Path, network: Network, tmp_path: Path, passes: Passes, harm: str
) -> None:
    recording = open_recording(shutil.copytree(two_laps, tmp_path / "laps"))
    passes.begin(most=1)
    with pytest.raises(KeyboardInterrupt):
        close_loops(recording, network=network)
    verified = passes.given
    kept = recording.path / "loops.json"
    if harm == "moved":
        drift(recording)
    else:
        kept.write_text(kept.read_text().replace('"first": ', '"first": 1'))
    passes.begin(most=1)
    with pytest.raises(KeyboardInterrupt):
        close_loops(recording, network=network)
    assert passes.given == verified


def test_a_disk_that_refuses_costs_the_search_nothing(
    two_laps: Path, network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recording = open_recording(shutil.copytree(two_laps, tmp_path / "laps"))
    drift(recording)

    def full(path: Path, data: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("openloger.recording.files.write_atomically", full)
    assert close_loops(recording, network=network).used >= 2
    assert [record.message for record in caplog.records if "a pass that is cut starts over" in record.message] == [
        f"{recording.path / 'loops.json'}: No space left on device; a pass that is cut starts over"
    ]


def test_loops_are_not_searched_for_where_they_could_not_be_written(
    two_laps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The search takes minutes; --dry-run writes nothing and needs no place."""
    path = shutil.copytree(two_laps, tmp_path / "laps")
    searched = []

    def search(recording: Recording, **_: object) -> Alignment:
        searched.append(recording.path)
        raise InputError("nothing to close")

    monkeypatch.setattr(cli_close_loops, "find_loops", search)
    with create_recording(path, open_recording(path).meta, overwrite=True), pytest.raises(SystemExit):
        cli.main(["close-loops", str(path)])
    assert "another run is writing" in capsys.readouterr().err
    assert searched == []
    with pytest.raises(SystemExit):
        cli.main(["close-loops", str(path), "--dry-run"])
    assert searched == [path]
