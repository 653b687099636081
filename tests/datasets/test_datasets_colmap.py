"""COLMAP reconstructions: as openloger and as pycolmap write them; distortion, several cameras and models, damage."""

from __future__ import annotations

import shutil
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from export.stand_in import StandIn
from PIL import Image

from openloger.datasets import open_dataset
from openloger.errors import InputError
from openloger.export import export_recording
from openloger.geometry.camera_models import CameraModel
from openloger.geometry.views import view_intrinsics

HEIGHT, WIDTH = 48, 64


def keep(folder: Path, ending: str) -> None:
    for path in (folder / "sparse" / "0").iterdir():
        if path.suffix != ending:
            path.unlink()


@pytest.mark.parametrize("ending", [".bin", ".txt"])
@pytest.mark.parametrize("fixed_lens", [False, True])
def test_what_was_exported_is_read_back(tmp_path: Path, ending: str, fixed_lens: bool) -> None:
    recording = StandIn(frame_count=12, height=HEIGHT, width=WIDTH, fixed_lens=fixed_lens)
    export_recording(recording, "colmap", tmp_path / "model")
    keep(tmp_path / "model", ending)
    sequence = open_dataset("colmap", tmp_path)["model"]
    assert sequence.length == 12
    model = pycolmap.Reconstruction()
    getattr(model, "read_binary" if ending == ".bin" else "read_text")(str(tmp_path / "model" / "sparse" / "0"))
    points: dict[int, list[np.ndarray]] = defaultdict(list)  # that each image sees
    for point in model.points3D.values():
        for image_id in {element.image_id for element in point.track.elements}:
            points[image_id].append(point.xyz)
    for frame in sequence:
        truth = sequence[frame.index]
        np.testing.assert_allclose(truth.world_from_cam, recording.world_from_cam[frame.index], atol=1e-6)
        np.testing.assert_allclose(truth.intrinsics, recording.intrinsics[frame.index], atol=1e-6)
        assert np.abs(frame.rgb.astype(int) - recording.rgb(frame.index)).max() <= 3
        assert truth.depth is not None
        expected = np.full((HEIGHT, WIDTH), np.inf)
        seen = points[frame.index + 1]
        to_cam = np.linalg.inv(recording.world_from_cam[frame.index])
        for x, y, z in np.array(seen) @ to_cam[:3, :3].T + to_cam[:3, 3]:
            column, row, _ = recording.intrinsics[frame.index] @ (x / z, y / z, 1)
            if 0 <= row < HEIGHT and 0 <= column < WIDTH:
                expected[int(row), int(column)] = min(z, expected[int(row), int(column)])
        assert len(seen) > 200
        differs = np.abs(truth.depth - np.where(np.isfinite(expected), expected, 0)) > 1e-5
        assert differs.mean() < 0.01  # points that fall on the border of two pixels go either way
        apart = np.abs(truth.depth / recording.depth(frame.index) - 1)[truth.depth > 0]
        assert apart.max() < 0.06  # as the exporter takes frames to agree


@cache
def rendered(camera: CameraModel, size: tuple[int, int]) -> np.ndarray:
    """A picture whose red and green are its pixels' rays: 255 (x / z + 1) / 2 and 255 (y / z + 1) / 2."""
    fine = np.linspace(-1, 1, 1601)
    x, y = np.meshgrid(fine, fine)
    import torch

    rays = torch.from_numpy(np.stack([x, y, np.ones_like(x)], -1))
    pixel = camera.project(rays, size=size).numpy()
    picture = np.zeros((*size, 3))
    count = np.zeros(size)
    inside = np.isfinite(pixel).all(-1) & (pixel >= 0).all(-1) & (pixel < (size[1], size[0])).all(-1)
    j, i = np.floor(pixel[inside]).astype(int).T
    np.add.at(picture, (i, j, 0), 127.5 * (x[inside] + 1))
    np.add.at(picture, (i, j, 1), 127.5 * (y[inside] + 1))
    np.add.at(count, (i, j), 1)
    return np.round(picture / np.maximum(count, 1)[..., None]).astype(np.uint8)


MODELS = {
    "SIMPLE_RADIAL": [60.0, 33.0, 23.0, -0.12],
    "RADIAL": [60.0, 33.0, 23.0, -0.12, 0.01],
    "OPENCV": [60.0, 61.0, 33.0, 23.0, -0.12, 0.01, 1e-3, -2e-3],
    "FULL_OPENCV": [60.0, 61.0, 33.0, 23.0, -0.12, 0.01, 1e-3, -2e-3, 1e-3, 1e-3, 0.0, 0.0],
    "OPENCV_FISHEYE": [60.0, 61.0, 33.0, 23.0, 0.02, -0.01, 0.0, 0.0],
    "RADIAL_FISHEYE": [60.0, 33.0, 23.0, 0.02, -0.01],
    "PINHOLE": [60.0, 61.0, 33.0, 23.0],
    "SIMPLE_PINHOLE": [60.0, 33.0, 23.0],
}


def by_pycolmap(folder: Path, models: dict[str, str], *, binary: bool) -> pycolmap.Reconstruction:
    """A reconstruction of pictures by their names, each by the camera of the model given; three points in all."""
    from openloger.frames.lenses.colmap_cameras import colmap_camera

    model = pycolmap.Reconstruction()
    ids = {}
    for number, kind in enumerate(sorted(set(models.values())), start=3):
        ids[kind] = number
        model.add_camera_with_trivial_rig(
            pycolmap.Camera(camera_id=number, model=kind, width=WIDTH, height=HEIGHT, params=MODELS[kind])
        )
    image_ids = {}
    for number, (name, kind) in enumerate(models.items()):
        image_ids[name] = 100 - number
        points = pycolmap.Point2DList([pycolmap.Point2D(np.array([1.0, 2.0])) for _ in range(3)])
        image = pycolmap.Image(name=name, camera_id=ids[kind], image_id=100 - number, points2D=points)
        turn = pycolmap.Rotation3d(np.array([0.02 * number, -0.03 * number, 0.01 * number]))
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(turn, np.array([0.1 * number, 0, 0.05])))
        line = f"1 {kind} {WIDTH} {HEIGHT} {' '.join(map(str, MODELS[kind]))}"
        camera = colmap_camera("", line)
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rendered(camera, (HEIGHT, WIDTH))).save(folder / "images" / name)
    for number, xyz in enumerate([(0.2, 0.1, 3.0), (-0.4, 0.3, 4.0), (0.1, -0.5, 2.5)]):
        track = pycolmap.Track()
        for name in models:
            track.add_element(image_ids[name], number)
        model.add_point3D(np.array(xyz), track, np.zeros(3, np.uint8))
    (folder / "sparse" / "0").mkdir(parents=True)
    (model.write_binary if binary else model.write_text)(str(folder / "sparse" / "0"))
    return model


@pytest.mark.parametrize("binary", [True, False])
def test_pictures_of_many_cameras_become_views(tmp_path: Path, binary: bool) -> None:
    names = {f"cam{number}/{10 - number}.png": kind for number, kind in enumerate(MODELS)}
    model = by_pycolmap(tmp_path / "scene", names, binary=binary)
    sequence = open_dataset("colmap", tmp_path)["scene"]
    ordered = sorted(names)
    views = {image.name: image for image in model.images.values()}
    for frame in sequence:
        truth = sequence[frame.index]
        image = views[ordered[frame.index]]
        world_from_cam = np.vstack([image.cam_from_world().inverse().matrix(), [0, 0, 0, 1]])
        np.testing.assert_allclose(truth.world_from_cam, world_from_cam, atol=1e-9)
        K = truth.intrinsics
        assert K is not None
        i, j = np.mgrid[0:HEIGHT, 0:WIDTH]
        ray = np.stack([(j + 0.5 - K[0, 2]) / K[0, 0], (i + 0.5 - K[1, 2]) / K[1, 1]], -1)
        red_green = 127.5 * (ray + 1)
        off = np.abs(frame.rgb[..., :2] - red_green)[2:-2, 2:-2]
        assert off.mean() < 0.6, names[image.name]  # of 2.1 levels a pixel
        assert off.max() < 3
        assert truth.depth is not None
        assert (truth.depth > 0).sum() == 3
        for point in model.points3D.values():
            x, y, z = image.cam_from_world() * point.xyz
            at = truth.depth[int(K[1, 1] * y / z + K[1, 2]), int(K[0, 0] * x / z + K[0, 2])]
            assert at == pytest.approx(z, rel=1e-6)
    np.testing.assert_array_equal(sequence[5].rgb, list(sequence)[5].rgb)


def test_a_distorted_camera_is_the_view_of_geometry(tmp_path: Path) -> None:
    by_pycolmap(tmp_path, {"a.png": "OPENCV"}, binary=True)
    fx, fy, cx, cy, *rest = MODELS["OPENCV"]
    expected = view_intrinsics(CameraModel("opencv", (fx, fy, cx, cy, *rest)), (HEIGHT, WIDTH))
    np.testing.assert_allclose(open_dataset("colmap", tmp_path)["."][0].intrinsics, expected.numpy())


def test_every_place_of_a_model_is_found_once(tmp_path: Path) -> None:
    by_pycolmap(tmp_path / "made", {"a.png": "PINHOLE"}, binary=True)
    model, pictures = tmp_path / "made" / "sparse" / "0", tmp_path / "made" / "images"
    places = {
        "flat": ("", "images"),
        "deep/sparse-only": ("sparse", "images"),
        "dense": ("dense/sparse", "dense/images"),
    }
    for scene, (place, images) in places.items():
        shutil.copytree(model, tmp_path / "all" / scene / place, dirs_exist_ok=True)
        shutil.copytree(pictures, tmp_path / "all" / scene / images)
    shutil.copytree(tmp_path / "made", tmp_path / "all" / "split")
    shutil.copytree(model, tmp_path / "all" / "split" / "sparse" / "1")
    shutil.copytree(model, tmp_path / "all" / "split" / "dense" / "sparse")  # the same once more, without pictures
    opened = open_dataset("colmap", tmp_path / "all")
    assert list(opened) == ["deep/sparse-only", "dense", "flat", "split", "split/sparse/1"]
    for _, sequence in opened.items():
        assert [frame.index for frame in sequence] == [0]
    for given in ("flat", "split", "split/sparse/0", "dense/dense"):
        assert open_dataset("colmap", tmp_path / "all" / given)["."].length == 1


def test_a_turned_phone_is_read_as_colmap_reads_it(tmp_path: Path) -> None:
    by_pycolmap(tmp_path, {"a.png": "PINHOLE"}, binary=True)
    upright = open_dataset("colmap", tmp_path)["."][0].rgb
    path = tmp_path / "images" / "a.png"
    for orientation in (3, 6):
        with Image.open(path) as picture:
            exif = picture.getexif()
            exif[0x0112] = orientation
            picture.copy().save(path, exif=exif)
        np.testing.assert_array_equal(open_dataset("colmap", tmp_path)["."][0].rgb, upright)


def test_smaller_copies_of_the_pictures_have_smaller_cameras(tmp_path: Path) -> None:
    by_pycolmap(tmp_path, {"a.png": "OPENCV", "b.png": "PINHOLE"}, binary=True)
    full = open_dataset("colmap", tmp_path)["."]
    (tmp_path / "images_4").mkdir()
    for name in ("a.png", "b.png"):
        with Image.open(tmp_path / "images" / name) as picture:
            picture.resize((WIDTH // 4, HEIGHT // 4)).save(tmp_path / "images_4" / name)
    shutil.rmtree(tmp_path / "images")
    small = open_dataset("colmap", tmp_path)["."]
    for number in range(2):
        assert small[number].rgb.shape == (HEIGHT // 4, WIDTH // 4, 3)
        K, K_small = full[number].intrinsics, small[number].intrinsics
        assert K is not None
        np.testing.assert_allclose(
            K_small, np.diag([0.25, 0.25, 1]) @ K, rtol=1e-2
        )  # a view without border is narrower
    np.testing.assert_allclose(small[1].intrinsics, np.diag([0.25, 0.25, 1]) @ full[1].intrinsics)
    Image.new("RGB", (WIDTH // 4, HEIGHT // 2)).save(tmp_path / "images_4" / "b.png")
    with pytest.raises(InputError, match="no smaller copy"):
        open_dataset("colmap", tmp_path)["."]


def test_points_may_be_absent(tmp_path: Path) -> None:
    by_pycolmap(tmp_path, {"a.png": "PINHOLE"}, binary=True)
    (tmp_path / "sparse" / "0" / "points3D.bin").unlink()
    frame = open_dataset("colmap", tmp_path)["."][0]
    assert frame.depth is None
    assert frame.world_from_cam is not None


def test_what_is_damaged_or_missing_is_named(tmp_path: Path) -> None:
    by_pycolmap(tmp_path, {"a.png": "PINHOLE", "b/c d.png": "OPENCV"}, binary=True)
    model = tmp_path / "sparse" / "0"
    whole = {path: path.read_bytes() for path in model.iterdir()}

    def opened() -> None:
        assert open_dataset("colmap", tmp_path)["."][0].depth is not None

    opened()
    for name in ("cameras", "images", "points3D"):
        path = model / f"{name}.bin"
        for cut in (4, len(whole[path]) // 2, len(whole[path]) - 1):
            path.write_bytes(whole[path][:cut])
            with pytest.raises(InputError, match=rf"{name}\.bin is cut short"):
                opened()
        path.write_bytes(whole[path])
    (tmp_path / "images" / "b" / "c d.png").rename(tmp_path / "images" / "away.png")
    with pytest.raises(InputError, match=r"lacks 1 of the model's 2 pictures, b/c d\.png"):
        opened()
    (tmp_path / "images" / "away.png").rename(tmp_path / "images" / "b" / "c d.png")
    cameras = bytearray(whole[model / "cameras.bin"])
    cameras[12:16] = (7).to_bytes(4, "little")
    (model / "cameras.bin").write_bytes(cameras)
    with pytest.raises(InputError, match=r"model number 7 .*image_undistorter"):
        opened()
    (model / "cameras.bin").write_bytes(whole[model / "cameras.bin"])
    Image.new("RGB", (WIDTH // 2, HEIGHT // 2)).save(tmp_path / "images" / "a.png")
    with pytest.raises(InputError, match="64×48 pixels, and these have 32×24"):
        _ = open_dataset("colmap", tmp_path)["."][0].rgb
