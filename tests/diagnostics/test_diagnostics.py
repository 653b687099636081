"""Each fault of an input or a result is found where it is, and nothing is found where all is well."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from placed_windows import placed_window
from torch.testing import assert_close
from viewing import scenes

import openloger
from openloger.cli import main
from openloger.cli.advice import warnings
from openloger.diagnostics import (
    Finding,
    Lens,
    WindowMeasures,
    doubt_of_centre,
    findings,
    measure,
    measures_from_json,
)
from openloger.diagnostics.measures import THUMBNAIL, brightness_thumbnails
from openloger.frames.identity import identity
from openloger.geometry import unproject
from openloger.recording import open_recording
from openloger.recording.lines import LineFile
from openloger.recording.windows import window_from_json, window_to_json
from openloger.values import Disagreement, Frame, PlacedWindow
from openloger.viewing import report_page

SIZE = (48, 64)
LENS = Lens(source_size=SIZE, size=SIZE)
SEEN = 0.8


@pytest.fixture(scope="module")
def shots() -> list[scenes.Shot]:
    return scenes.room(240, size=SIZE)[:12]


def placed(shots: Sequence[scenes.Shot], *, final_count: int | None = None, **others: object) -> PlacedWindow:
    depth = torch.from_numpy(np.stack([shot.depth for shot in shots])).clamp_min(0.05)
    intrinsics = torch.from_numpy(np.stack([shot.intrinsics for shot in shots]))
    points = unproject(depth, intrinsics.float())
    return placed_window(
        [Frame(shot.rgb, 2 * place, place / 10, shot.name) for place, shot in enumerate(shots)],  # every second one
        torch.from_numpy(np.stack([shot.world_from_cam for shot in shots])),
        points,
        torch.full(points.shape[:3], SEEN),
        final_count=final_count,
        **others,
    )


@pytest.mark.parametrize("size", [(48, 64), (51, 47), (280, 504)])
def test_thumbnails_are_the_means_that_torch_has(size: tuple[int, int]) -> None:
    rgbs = np.random.default_rng(0).integers(0, 256, (3, *size, 3), dtype=np.uint8)
    slow = F.adaptive_avg_pool2d(torch.from_numpy(rgbs).double().mean(-1) / 255, THUMBNAIL)
    fast = brightness_thumbnails([Frame(rgb, place, 0.0, "") for place, rgb in enumerate(rgbs)])
    assert_close(fast.double(), slow, rtol=0, atol=1e-6)


def found(window: PlacedWindow, lens: Lens = LENS) -> dict[str, str]:
    return told([measure(window)], lens)


def told(
    windows: Sequence[WindowMeasures], lens: Lens = LENS, disagreements: Sequence[Disagreement] = ()
) -> dict[str, str]:
    lines = findings(windows, disagreements, lens)
    assert all("\n" not in line.text for line in lines)
    return {line.kind: line.text for line in lines}


def test_nothing_is_found_where_all_is_well(shots: list[scenes.Shot]) -> None:
    assert found(placed(shots)) == {}


def test_nothing_is_found_where_nothing_was_measured() -> None:
    assert findings([], [], LENS) == ()


def test_blank_frames_are_named(shots: list[scenes.Shot]) -> None:
    grey = [replace(shot, rgb=np.full_like(shot.rgb, 7)) for shot in shots]
    changed = [*shots[:4], *grey[4:6], *shots[6:]]
    said = found(placed(changed))
    assert said == {"blank frames": "frames 8 and 10 are blank or black: their cameras and depth are guesses"}
    one = found(placed([*shots[:5], grey[5], *shots[6:]]))
    assert one == {"blank frames": "frame 10 is blank or black: its camera and depth are guesses"}
    assert "blank frames" not in found(placed(changed, final_count=4))  # the next window writes them


def test_sand_seen_from_near_and_far_is_not_blank(shots: list[scenes.Shot]) -> None:
    sand = next(iter(openloger.open_frames("world:terrain:990000?frames=1&size=120x160"))).rgb
    window = placed(shots)
    for rgb in (sand, np.tile(sand, (3, 3, 1))):
        same = replace(window, frames=tuple(replace(frame, rgb=rgb) for frame in window.frames))
        assert "blank frames" not in found(same)
        dark = replace(window, frames=tuple(replace(frame, rgb=rgb // 16) for frame in window.frames))
        assert "blank frames" in found(dark)


@pytest.mark.parametrize(("deviation", "blank"), [(2.0, True), (10.0, False)])
def test_noise_in_darkness_is_blank_and_sand_is_not(shots: list[scenes.Shot], deviation: float, blank: bool) -> None:
    """Neither has anything to see in a thumbnail; sand from near has texture."""
    noise = np.random.default_rng(0).normal(40, deviation, shots[0].rgb.shape[:2])
    rgb = np.repeat(noise.clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)
    rgb = np.tile(rgb, (6, 6, 1))  # thumbnails average what is so fine
    window = placed(shots)
    window = replace(window, frames=tuple(replace(frame, rgb=rgb) for frame in window.frames))
    assert ("blank frames" in found(window)) == blank


def test_a_cut_is_named_by_the_frame_after_it(shots: list[scenes.Shot]) -> None:
    other = [_half_dark(shot) for shot in shots]
    said = found(placed([*shots[:7], *other[7:]]))
    assert said["cut"].startswith("cut before frame 14: ")
    assert "camera jump" not in said


def _half_dark(shot: scenes.Shot) -> scenes.Shot:
    rgb = shot.rgb.copy()
    rgb[:, : rgb.shape[1] // 2] //= 8
    return replace(shot, rgb=rgb)


def test_a_brighter_picture_is_no_cut(shots: list[scenes.Shot]) -> None:
    dim = [replace(shot, rgb=shot.rgb // 2 + (0 if place < 6 else 120)) for place, shot in enumerate(shots)]
    assert found(placed([replace(shot, rgb=shot.rgb.astype(np.uint8)) for shot in dim])) == {}


def test_a_cut_at_the_seam_of_two_windows_is_found(shots: list[scenes.Shot]) -> None:
    other = [_half_dark(shot) for shot in shots]
    assert found(placed([*shots[:7], *other[7:]], final_count=7))["cut"].startswith("cut before frame 14: ")


def test_a_jump_of_the_camera_is_named(shots: list[scenes.Shot]) -> None:
    moved = [_moved(shot, 3.0 if place >= 5 else 0.0) for place, shot in enumerate(shots)]
    assert found(placed(moved))["camera jump"].startswith("the camera jumps before frame 10: ")


def _moved(shot: scenes.Shot, metres: float) -> scenes.Shot:
    world_from_cam = shot.world_from_cam.copy()
    world_from_cam[0, 3] += metres
    return replace(shot, world_from_cam=world_from_cam)


@pytest.mark.parametrize("wobble", [0.0, 0.01])
def test_a_camera_that_stands_still_is_said_to_see_no_depth(shots: list[scenes.Shot], wobble: float) -> None:
    still = [_moved(shots[0], wobble * (place % 2)) for place in range(12)]
    assert "the camera hardly moves" in found(placed(still))["no motion"]


def test_of_a_single_picture_no_motion_is_expected(shots: list[scenes.Shot]) -> None:
    assert "no motion" not in found(placed(shots[:1]))


def test_one_window_that_moves_is_enough(shots: list[scenes.Shot]) -> None:
    still, moving = (measure(placed(one)) for one in ([shots[0]] * 12, shots))
    assert "no motion" in told([still, still])
    assert told([still, moving]) == {}


def known(shot: scenes.Shot, factor: float) -> np.ndarray:
    intrinsics = shot.intrinsics.copy()
    intrinsics[:2] *= factor
    return intrinsics


def test_a_known_lens_of_another_size_is_said(shots: list[scenes.Shot]) -> None:
    """As --intrinsics of 1920 pixels for a video of 960: focal length and principal point twice too large."""
    for factor in (1.0, 2.0):
        camera = known(shots[0], factor)
        lens = replace(LENS, known_intrinsics=camera, source_size=(480, 640))
        said = found(placed(shots, known_intrinsics=torch.from_numpy(camera)), lens)
        assert said.keys() == ({"known lens"} if factor > 1 else set())
    assert said["known lens"].startswith("the principal point given lies 50 % of the diagonal from the centre")
    assert "as in pictures of 1280×960 pixels: check that --camera is for pictures of 640×480" in said["known lens"]


@pytest.mark.parametrize(
    ("centre", "said"),
    [
        ((320.0, 240.0), None),
        ((400.0, 300.0), None),  # a tenth of the picture off
        ((480.0, 360.0), "lies 25 % of the diagonal from the centre, as in pictures of 960×720 pixels: check"),
        ((160.0, 120.0), "lies 25 % of the diagonal from the centre, as in pictures of 320×240 pixels: check"),
        ((52.0, 240.0), "lies 34 % of the diagonal from the centre: check"),
        ((0.0, 0.0), "lies 50 % of the diagonal from the centre: check"),
    ],
)
def test_a_principal_point_far_from_the_centre_names_the_pictures_that_it_fits(
    centre: tuple[float, float], said: str | None
) -> None:
    camera = np.array([[500, 0, centre[0]], [0, 500, centre[1]], [0, 0, 1]]) * np.array([[0.1], [0.1], [1.0]])
    doubt = doubt_of_centre(Lens(source_size=(480, 640), size=(48, 64), known_intrinsics=camera))
    assert (doubt is None) == (said is None)
    assert (said or "") in (doubt or "")


def test_pictures_that_show_a_circle_alone_are_said_to_be_a_fisheyes(shots: list[scenes.Shot]) -> None:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    radius = np.hypot(rows - SIZE[0] / 2, columns - SIZE[1] / 2) / (SIZE[0] / 2)
    noise = np.random.default_rng(0).integers(0, 4, (*SIZE, 3), np.uint8)  # of a sensor in darkness
    for largest, expected in ((1.0, True), (1.3, False)):
        cut = [replace(shot, rgb=np.where(radius[..., None] < largest, shot.rgb, noise)) for shot in shots]
        measures = measure(_pictures_of(cut))
        assert ("bright circle" in told([measures])) == expected
        assert "bright circle" not in told([measures], replace(LENS, known_intrinsics=known(shots[0], 1.0)))
    assert measures_from_json({name: value for name, value in asdict(measures).items() if name != "rim"}).rim is None


def test_pictures_that_move_as_a_fisheyes_are_said_to(shots: list[scenes.Shot]) -> None:
    """By the median over the windows that were judged."""
    for errors, expected in (([0.5], True), ([0.5, 0.6, 1.1], True), ([0.5, 0.95, 1.1], False), ([None], False)):
        windows = [measure(placed(shots, fisheye_error=error)) for error in errors]
        assert ("fisheye lens" in told(windows)) == expected
    stored = {name: value for name, value in asdict(windows[0]).items() if name != "fisheye"}
    assert measures_from_json(stored).fisheye is None


def test_dark_corners_of_wide_and_of_high_pictures_are_no_circle(shots: list[scenes.Shot]) -> None:
    """A phone's upright video between black bars, and a film between two."""
    for rows, columns in ((slice(None), slice(18, 46)), (slice(8, 40), slice(None))):
        shown = np.zeros((*SIZE, 1), bool)
        shown[rows, columns] = True
        assert told([measure(_pictures_of([replace(shot, rgb=shot.rgb * shown) for shot in shots]))]) == {}


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_known_focal_length_that_the_pictures_contradict_is_said(shots: list[scenes.Shot], factor: float) -> None:
    camera = shots[0].intrinsics.copy()
    camera[[0, 1], [0, 1]] *= factor
    said = found(placed(shots, known_intrinsics=torch.from_numpy(camera)), replace(LENS, known_intrinsics=camera))
    assert f"the focal length given is {factor:.2g} times what the pictures suggest" in said["known lens"]


def test_views_that_the_network_takes_for_narrower_ones_are_not_a_lens_to_check(shots: list[scenes.Shot]) -> None:
    camera = shots[0].intrinsics.copy()
    camera[[0, 1], [0, 1]] *= 0.5
    lens = replace(LENS, known_intrinsics=camera, is_view=True)
    said = found(placed(shots, known_intrinsics=torch.from_numpy(camera)), lens)["known lens"]
    across, taken = (2 * np.degrees(np.arctan(SIZE[1] / 2 / focal)) for focal in (camera[0, 0], 2 * camera[0, 0]))
    assert f"the views are {across:.0f}° across, and the network takes them for views of {taken:.0f}°" in said
    assert "check" not in said


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_known_focal_length_is_compared_with_what_the_network_predicted(
    shots: list[scenes.Shot], factor: float
) -> None:
    """The points of such a network lie on the rays of the camera given, whatever it is."""
    camera = shots[0].intrinsics.copy()
    predicted = float(camera[0, 0])
    camera[[0, 1], [0, 1]] *= factor
    lens, given = replace(LENS, known_intrinsics=camera), torch.from_numpy(camera)
    window = placed(shots, known_intrinsics=given, predicted_focal_px=predicted)
    window = replace(window, points_cam=unproject(window.depth, given.float()))
    said = found(window, lens)["known lens"]
    assert f"the focal length given is {factor:.2g} times what the pictures suggest" in said
    assert found(replace(window, predicted_focal_px=1.2 * factor * predicted), lens) == {}
    dark = replace(window, frames=tuple(replace(frame, rgb=0 * frame.rgb) for frame in window.frames))
    assert "known lens" not in found(dark, lens)  # what is predicted of nothing is a guess


def test_a_network_that_predicts_a_lens_keeps_its_own_beside_the_one_given(shots: list[scenes.Shot]) -> None:
    network = openloger.load_network("compact", weights="random", device="cpu", dtype="float32")
    own, given = (
        next(openloger.Stream(network, size=SIZE, window=3, overlap=1).run([s.rgb for s in shots[:4]], **known))
        for known in ({}, {"known_intrinsics_px": (300.0, 300.0, SIZE[1] / 2, SIZE[0] / 2)})
    )
    assert own.predicted_focal_px == pytest.approx(given.predicted_focal_px)
    assert measure(given).focal_ratio == pytest.approx(given.predicted_focal_px / 300)


def test_points_of_a_fisheye_are_said_to_fit_no_pinhole(shots: list[scenes.Shot]) -> None:
    """158° over the diagonal."""
    window = placed(shots)
    ray = window.points_cam / window.points_cam[..., 2:]
    radius = ray[..., :2].norm(dim=-1, keepdim=True).clamp_min(1e-6)
    bent = torch.cat([ray[..., :2] / radius * (1.8 * radius).clamp_max(1.45).tan(), ray[..., 2:]], dim=-1)
    fisheye = replace(window, points_cam=bent * window.points_cam[..., 2:])
    assert "no pinhole camera explains the points" in found(fisheye)["no pinhole camera"]


def test_panoramas_are_recognised_by_their_seam_and_by_what_the_file_says(shots: list[scenes.Shot]) -> None:
    size = (480, 960)
    wrapped = [replace(shot, rgb=np.concatenate([shot.rgb, shot.rgb[:, ::-1]], axis=1)) for shot in shots]
    turned = [replace(shot, rgb=np.roll(shot.rgb, 7 * k, axis=1)) for k, shot in enumerate(_with_texture(wrapped))]
    assert "360°" in told([measure(_pictures_of(turned))], replace(LENS, source_size=size))["spherical pictures"]
    window = measure(_pictures_of(wrapped))
    assert "360°" in told([window], replace(LENS, source_size=size))["spherical pictures"]
    assert "spherical pictures" not in told([window], LENS)
    plain = measure(placed(shots))
    assert "spherical pictures" not in told([plain], replace(LENS, source_size=size))  # phones have such pictures
    assert "spherical pictures" in told([plain], replace(LENS, is_spherical=True))


def _with_texture(shots: Sequence[scenes.Shot]) -> list[scenes.Shot]:
    """Stripes that close at the seam, as fine as what real panoramas show."""
    wave = 60 * np.sin(2 * np.pi * 5 * np.arange(shots[0].rgb.shape[1]) / shots[0].rgb.shape[1])
    bright = [np.clip(shot.rgb + wave[None, :, None], 0, 255).astype(np.uint8) for shot in shots]
    return [replace(shot, rgb=rgb) for shot, rgb in zip(shots, bright, strict=True)]


def _pictures_of(shots: Sequence[scenes.Shot]) -> PlacedWindow:
    window = placed([replace(shot, rgb=shot.rgb[:, : SIZE[1]]) for shot in shots])
    return replace(window, frames=tuple(replace(f, rgb=s.rgb) for f, s in zip(window.frames, shots, strict=True)))


def test_low_confidence_is_said(shots: list[scenes.Shot]) -> None:
    window = placed(shots)
    unsure = replace(window, confidence_logit=torch.full_like(window.confidence_logit, -4.0))
    assert "confidence is low (0.02 in the median)" in found(unsure)["low confidence"]


def test_windows_that_disagree_are_said(shots: list[scenes.Shot]) -> None:
    window = measure(placed(shots))
    small, large = Disagreement(0.02, 0.3, 0.1), Disagreement(0.4, 9.0, 0.1)
    assert told([window], disagreements=[small, small, large]) == {}
    assert "by 40 % of the depth and 9.0°" in told([window], disagreements=[small, large, large])["windows disagree"]


def test_windows_of_few_frames_are_measured(shots: list[scenes.Shot]) -> None:
    for count in (1, 2, 3):
        assert told([measure(placed(shots[:count]))]).keys() <= {"no motion"}
        measure(placed(shots[:count], final_count=0))


def test_measures_travel_through_json(shots: list[scenes.Shot]) -> None:
    for window in (placed(shots), placed(shots[:1]), placed([replace(shots[0], rgb=0 * shots[0].rgb)] * 4)):
        measures = measure(window)
        assert measures_from_json(json.loads(json.dumps(asdict(measures), allow_nan=False))) == measures


def test_a_finding_is_a_pair() -> None:
    assert Finding("cut", "…")._asdict() == {"kind": "cut", "text": "…"}


def test_what_is_found_is_told_by_info_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shots = scenes.room(6, size=(24, 32))
    shots[2:4] = [replace(shot, rgb=0 * shot.rgb) for shot in shots[2:4]]
    recording = scenes.write_recording(tmp_path / "walk", shots)
    line = "frames 2 to 3 are blank or black: their cameras and depth are guesses"
    assert Finding("blank frames", line) in recording.findings
    assert f"warning: {line}" in warnings(recording)
    for arguments in ([], ["--json"]):
        with pytest.raises(SystemExit):
            main(["info", str(recording.path), *arguments])
        assert line in capsys.readouterr().out
    assert f"Blank frames: {line}." in report_page(recording)


def test_an_old_recording_has_no_findings(tmp_path: Path) -> None:
    recording = scenes.write_recording(tmp_path / "walk", [replace(shot, rgb=0 * shot.rgb) for shot in scenes.room(3)])
    old = [replace(window, measures=None) for window in recording.windows]
    for window in old:
        assert window_from_json(json.loads(json.dumps(window_to_json(window)))) == window
    assert recording.findings
    lines = LineFile(recording.path / "windows.jsonl", key="row", checked=True)
    lines.cut(0)
    lines.append({"row": row, **window_to_json(window)} for row, window in enumerate(old))
    assert open_recording(recording.path).findings == ()


@pytest.mark.parametrize("mark", [b"GSpherical:Spherical>true", b"sv3d\0\0\0\x0dsvhd", b"GPano:ProjectionType"])
def test_a_file_that_says_360_is_believed(mark: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (32, 24)).save(path)
    assert not identity(openloger.open_frames(path))["spherical"]
    with path.open("ab") as file:
        file.write(mark)
    assert identity(openloger.open_frames(path))["spherical"]
