"""360° video as a rig, through the main job: one recording of all views, resumed, exported, measured and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import openloger
from openloger import InputError, RecordingError, RunOptions
from openloger.cli.info import info
from openloger.corrections import close_loops
from openloger.evaluation.gather import gather_recording
from openloger.export import SourceFrames, export_recording
from openloger.export.selection import PointSelection, fitting_stride
from openloger.geometry.views import CameraRig
from openloger.network import Network
from openloger.recording import Recording
from openloger.viewing.report.summary import summarise

RIG = "equirect:rig,4,100"
VIEWS, INSTANTS = 4, 14  # windows of 6 that share 2: 4 final instants each


@pytest.fixture(scope="module")
def network() -> Network:
    return openloger.load_network("pocket", weights="random", device="cpu")


@pytest.fixture(scope="module")
def panoramas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth pictures that move to the right, as files."""
    folder = tmp_path_factory.mktemp("panoramas")
    coarse = np.random.default_rng(0).integers(0, 256, (8, 16, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize((160, 80), Image.Resampling.BICUBIC))
    for number in range(INSTANTS):
        Image.fromarray(np.roll(picture, 2 * number, axis=1)).save(folder / f"p_{number:03d}.png")
    return folder


def run(source: Path, out: Path, network: Network, *, camera: str | None = RIG, **options: object) -> Recording:
    settings = RunOptions(camera=camera, depth_dtype="float32", **options)  # type: ignore[arg-type]
    return openloger.reconstruct(source, out, network=network, window=6, overlap=2, size=(24, 32), options=settings)


@pytest.fixture(scope="module")
def recording(network: Network, panoramas: Path, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return run(panoramas, tmp_path_factory.mktemp("rig") / "out", network)


def test_a_recording_holds_all_views_of_every_instant(recording: Recording) -> None:
    assert recording.complete
    assert (len(recording), recording.views) == (VIEWS * INSTANTS, VIEWS)
    assert recording.names[:5] == (*(f"p_000_view{n}.png" for n in range(4)), "p_001_view0.png")
    assert recording.source_index.tolist() == [n // VIEWS for n in range(VIEWS * INSTANTS)]
    assert (np.ptp(recording.intrinsics, axis=0) == 0).all()
    assert recording.intrinsics[0, 0, 0] == pytest.approx(16 / np.tan(np.deg2rad(50)))
    assert recording.meta.camera == CameraRig.ring(4, 100.0).text
    assert summarise(recording).left_out == 0


def test_views_have_one_centre_and_their_known_rotations(recording: Recording) -> None:
    cameras = recording.world_from_cam.reshape(INSTANTS, VIEWS, 4, 4)
    assert (np.ptp(cameras[..., :3, 3], axis=1) == 0).all()
    rig = CameraRig.ring(4, 100.0).rig_from_view.numpy()
    of_rig = cameras[..., :3, :3] @ rig.transpose(0, 2, 1)
    assert np.abs(of_rig - of_rig[:, :1]).max() < 1e-6
    assert np.abs(of_rig[0, 0] - np.eye(3)).max() < 1e-6  # the world has the axes of the first panorama
    assert (cameras[0, 0, :3, 3] == 0).all()


@pytest.mark.parametrize("windows_done", [1, 2])
def test_a_rig_resumed_equals_uncut(
    windows_done: int, recording: Recording, network: Network, panoramas: Path, one_thread: None, tmp_path: Path
) -> None:
    whole, seen = run(panoramas, tmp_path / "whole", network), []
    cut = {"on_progress": seen.append, "should_stop": lambda: len(seen) == windows_done}
    first = run(panoramas, tmp_path / "cut", network, **cut)
    assert len(first) == windows_done * 4 * VIEWS
    with pytest.raises(RecordingError, match="was made with views 4, not 1"):
        run(panoramas, tmp_path / "cut", network, camera=None, existing="resume")
    with pytest.raises(RecordingError, match="camera 'equirect"):
        run(panoramas, tmp_path / "cut", network, camera="equirect:rig,4,95", existing="resume")
    rest = run(panoramas, tmp_path / "cut", network, existing="resume")
    assert rest.names == whole.names
    assert np.array_equal(rest.world_from_cam, whole.world_from_cam)
    for frame in range(len(whole)):
        assert np.array_equal(rest.depth(frame), whole.depth(frame))
        assert np.array_equal(rest.rgb(frame), whole.rgb(frame))


def test_one_panorama_is_a_rig_that_stands_still(network: Network, panoramas: Path, tmp_path: Path) -> None:
    frames = openloger.open_frames(str(panoramas), stop=1)
    settings = RunOptions(camera=RIG)
    one = openloger.reconstruct(frames, tmp_path / "one", network=network, window=6, size=(24, 32), options=settings)
    assert (len(one), one.complete) == (VIEWS, True)
    assert (one.world_from_cam[:, :3, 3] == 0).all()
    assert all(np.isfinite(one.depth(view)).all() for view in range(VIEWS))


def test_info_has_the_instants_and_that_the_lens_is_known(
    recording: Recording, capsys: pytest.CaptureFixture[str]
) -> None:
    info(recording.path)
    told = " ".join(capsys.readouterr().out.split())
    assert f"{VIEWS * INSTANTS} ({INSTANTS} instants of {VIEWS} views) of 24×32 pixels" in told
    assert "known lens" in told


def test_a_rig_without_its_state_is_not_continued(network: Network, panoramas: Path, tmp_path: Path) -> None:
    seen = []
    cut = run(panoramas, tmp_path / "cut", network, on_progress=seen.append, should_stop=lambda: len(seen) == 2)
    cut.state_path.write_bytes(b"none")
    with pytest.raises(RecordingError, match="a rig's run cannot be continued without it: start over with --overwrite"):
        run(panoramas, tmp_path / "cut", network, existing="resume")


def test_colmap_has_all_views_with_one_camera(recording: Recording, tmp_path: Path) -> None:
    export_recording(recording, "colmap", tmp_path / "colmap")
    model = tmp_path / "colmap" / "sparse" / "0"
    assert len([line for line in (model / "cameras.txt").read_text().splitlines() if line[0] != "#"]) == 1
    assert len(list((tmp_path / "colmap" / "images").iterdir())) == VIEWS * INSTANTS


def test_full_size_pictures_are_the_views_of_the_right_panoramas(recording: Recording, tmp_path: Path) -> None:
    selection = PointSelection(frame_stride=5)
    export_recording(recording, "nerfstudio", tmp_path / "out", images=SourceFrames(), selection=selection)
    transforms = json.loads((tmp_path / "out" / "transforms.json").read_text())
    assert (transforms["h"], transforms["w"]) == recording.meta.source_size
    for number, frame in enumerate(transforms["frames"]):
        picture = Image.open(tmp_path / "out" / frame["file_path"]).resize((32, 24), Image.Resampling.LANCZOS)
        recorded = recording.rgb(5 * number).astype(int)
        others = [np.abs(recording.rgb(n).astype(int) - np.asarray(picture)).mean() for n in range(20)]
        assert np.abs(recorded - np.asarray(picture)).mean() < 6
        assert 5 * number >= 20 or int(np.argmin(others)) == 5 * number


def test_what_a_rig_cannot_do_is_said_in_a_line(recording: Recording, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="whose loops are not closed; reconstruct one direction"):
        close_loops(recording)
    with pytest.raises(InputError, match=r"frame_stride 2 leaves out the same views .*, as 3"):
        export_recording(recording, "ply", tmp_path / "a.ply", selection=PointSelection(frame_stride=2))
    with pytest.raises(InputError, match="4 views of a rig have no files of their own"):
        export_recording(recording, "colmap", tmp_path / "b", images=tmp_path)
    assert [fitting_stride(recording, stride) for stride in (1, 2, 3, 4, 6)] == [1, 3, 3, 5, 7]


def test_an_instant_is_measured_once_by_the_first_view(recording: Recording) -> None:
    world = openloger.worlds.World("rooms", seed=0, size=(24, 32), frames=INSTANTS)
    matched = gather_recording(recording, world)
    assert matched.index.tolist() == list(range(INSTANTS))
    assert np.array_equal(matched.estimated, recording.world_from_cam[::VIEWS])
