"""The numbered examples, the very files, as they are typed: in a folder of their own, at a small size."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from corrections.true_recordings import Walk, record, walk
from PIL import Image

import openloger
from openloger.datasets import write_folder

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A folder with one short labelled video, `walk`."""
    folder = tmp_path_factory.mktemp("labelled")
    write_folder(openloger.worlds.World("street", seed=8, size=(64, 80), fps=4, frames=16), folder / "walk", fps=4.0)
    return folder


@pytest.fixture(scope="module")
def video(labelled):
    return str(labelled / "walk" / "video.mp4")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs an example by its number; gives what it printed."""

    def run_file(number: str, *arguments: str) -> str:
        (path,) = EXAMPLES.glob(f"{number}_*.py")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        capsys.readouterr()
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return run_file


def test_every_example_is_run_here():
    tests = Path(__file__).read_text(encoding="utf-8")
    names = [path.name for path in sorted(EXAMPLES.glob("*.py"))]
    assert [name.split("_")[0] for name in names] == [f"{number:02d}" for number in range(1, len(names) + 1)]
    assert all(f'run("{name[:2]}"' in tests for name in names)


def test_masks(run, tmp_path, video):
    told = run("10", "--video", video, "--out", "masks")
    assert "75% of a frame gives points: the depth of the rest is 0.0" in told
    assert "with noise under the mask: the same depth and the same path" in told


def test_quick_start(run, tmp_path, video):
    told = run("01", "--video", video, "--out", "quick")
    assert "16 frames, 128×160, complete" in told
    recording = openloger.open_recording(tmp_path / "quick" / "recording")
    assert recording.complete
    assert len(recording) == 16
    cloud = (tmp_path / "quick" / "cloud.ply").read_bytes()
    assert int(cloud.split(b"element vertex ")[1].split()[0]) > 1000  # of 20,480 pixels, a fourth of them taken


def test_own_loop(run, video):
    told = run("02", "--video", video, "--cut-after", "1")
    assert "window 0: frames 0 to 7, the first" in told
    assert "window 1: frames 6 to 13, depth" in told
    assert told.index("cut; the state is") < told.index("window 1")
    assert "16 cameras" in told


def test_a_cut_loop_equals_a_whole_one(run, video):
    """The path that the example tells of does not depend on where it was cut."""
    paths = {run("02", "--video", video, "--cut-after", cut).splitlines()[-1] for cut in ("1", "9")}
    assert len(paths) == 1


def test_nerfstudio_and_colmap(run, tmp_path, video):
    told = run("03", "--video", video, "--out", "splat")
    assert "8 cameras of 80×64 pixels" in told  # the video's size, not the network's
    for written in ("nerfstudio", "colmap"):
        pictures = list((tmp_path / "splat" / written / "images").iterdir())
        assert [np.asarray(Image.open(picture)).shape for picture in pictures] == [(64, 80, 3)] * 8
    assert any((tmp_path / "splat" / "colmap" / "sparse").rglob("points3D.*"))
    assert (tmp_path / "splat" / "splats.ply").read_bytes().startswith(b"ply\n")


def test_live_camera(run):
    told = run("04", "--seconds", "1", "--fps", "5")
    assert "frame " in told
    assert " s ago: at (" in told
    assert "nan" not in told


def test_evaluate(run, labelled):
    told = run("05", "--frames", "9")
    assert "street: 9 of 9 frames have truth" in told
    assert "the same depth everywhere" in told
    assert "walk: 16 of 16 frames have truth" in run("05", "--data", str(labelled))


def test_fine_tune(run, tmp_path, labelled):
    told = run("06", "--data", str(labelled), "--steps", "2", "--batch", "2")
    assert "12 frames" in told
    run_folder = tmp_path / "out" / "fine-tune" / "run"
    assert (run_folder / "checkpoints" / "latest").read_text() == "step-00000002"
    tuned = openloger.load_network("pocket", weights=run_folder / "weights.safetensors", dtype="float32").state_dict()
    boxed = openloger.load_network("pocket", dtype="float32").state_dict()
    moved = [float((tuned[name] - boxed[name]).abs().max()) for name in boxed]
    assert 0 < max(moved) < 0.1  # from the weights in the box, and not far


def test_labelled_worlds(run, tmp_path):
    from PIL import Image

    told = run("07", "--later", "3")
    assert float(told.split(" %")[0]) > 50
    assert int(told.splitlines()[1].split()[0]) < 10
    assert np.asarray(Image.open(tmp_path / "out" / "labelled.png")).shape == (160, 4 * 224, 3)


def test_memory(run):
    told = run("08", "--steps", "2", "--length", "16")
    assert "step 1: loss" in told
    assert "256 tokens: " in told


def test_long_text(run, tmp_path):
    (tmp_path / "text.txt").write_text("what was said once is said again, and then once more\n" * 60, encoding="utf-8")
    told = run("14", "--text", "text.txt", "--steps", "2", "--length", "64")
    assert "step 1: " in told
    assert "held out, as one stream: " in told
    assert "held out, with its memory dropped every 256 bytes: " in told


def test_places_in_a_film(run):
    told = run("15", "--steps", "2", "--rooms", "9")
    assert "step 1: loss" in told
    assert "128 frames, 8 rooms: " in told
    assert "144 frames, 9 rooms: " in told


def test_state_tracking(run):
    told = run("16", "--steps", "2")
    assert "hybrid, 16 bits: " in told
    assert "hybrid, 256 bits: " in told
    assert "recurrent, 256 bits: " in told


def test_loops(run, tmp_path):
    """Two laps with a drift, which the network closes; then one, where there is nothing to close."""
    numbers = [*range(48), *range(5, 37)]
    lap = walk("rooms", 3, 48)
    two_laps = Walk(tuple(lap.samples[number] for number in numbers), lap.recorded_from_true)
    record(two_laps, tmp_path / "two", window=4, growth=0.06, swerve=0.1)
    told = run("11", "--recording", "two", "--network", "compact")
    assert "loops: scale ×" in told
    assert int(told.split(" closures move")[0].splitlines()[-1]) >= 2
    assert told.splitlines()[-1] == "taken away, the path is as before"
    record(lap, tmp_path / "one", window=4)
    assert "nothing to close" in run("11", "--recording", "one", "--network", "compact")


def test_metres(run):
    told = run("09", "--video", "world:street:3?frames=16&size=64x80")
    recorded, corrected, undone = (line for line in told.splitlines() if ": scale" not in line and line[0] != " ")
    assert recorded.endswith("units")
    assert " m, depth up to" in corrected
    assert undone.removeprefix("taken away: ") == recorded.removeprefix("as recorded: ")
    assert "depth: scale ×" in told


def test_lenses(run, tmp_path):
    from PIL import Image

    told = run("12", "--frames", "4")
    assert "px of the 192 recorded\nthe same in all frames" in told
    picture = np.asarray(Image.open(tmp_path / "out" / "lenses" / "view.png")).astype(int)
    assert picture.shape == (240, 640, 3)
    filmed, view = picture[:, :320], picture[:, 320:]
    centre = (slice(100, 140), slice(140, 180))
    assert np.abs(filmed - view)[centre].mean() < np.abs(filmed - view).mean()  # a lens bends the margins most
    assert len(openloger.open_recording(tmp_path / "out" / "lenses" / "recording")) == 4


def test_surfaces(run, tmp_path, video):
    told = run("13", "--video", video, "--out", "surfaces")
    assert [line.split(":")[0] for line in told.splitlines()] == ["mesh", "splat", "laz"]
    assert "in units" in told
    for name, begins in (("mesh.glb", b"glTF"), ("splats.ply", b"ply\n"), ("points.laz", b"LASF")):
        assert (tmp_path / "surfaces" / name).read_bytes().startswith(begins)


def test_ros_bag(run, tmp_path):
    told = run("17", "--frames", "9")
    assert "9 frames of /camera/front/image_raw/compressed" in told
    assert "path.tum: from 1790000000.000 to 1790000000.800 s since 1970" in told
    front = openloger.open_recording(tmp_path / "out" / "ros-bag" / "recording").rgb(0).astype(int)
    run("17", "--bag", "out/ros-bag/drive", "--topic", "/camera/rear/image_raw/compressed", "--out", "rear")
    rear = openloger.open_recording(tmp_path / "rear" / "recording")
    assert np.abs(rear.rgb(8) - front).mean() < 3 < np.abs(rear.rgb(0) - front).mean()  # it drives backwards
