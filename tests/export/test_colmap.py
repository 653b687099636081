from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest
from PIL import Image
from stand_in import HEIGHT, WIDTH, StandIn, pixels_of

from openloger.errors import InputError
from openloger.export import PointSelection, export_recording, select_points
from openloger.export.selection import trusted_pixels


def read(folder: Path, kind: str) -> pycolmap.Reconstruction:
    model = pycolmap.Reconstruction()
    getattr(model, f"read_{kind}")(str(folder / "sparse" / "0"))
    return model


@pytest.fixture(params=["binary", "text"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def sees(recording: StandIn, frame: int, points: np.ndarray) -> np.ndarray:
    """Whether a frame's own trusted depth is the points' to 5 %, point by point."""
    world_from_cam, K, depth = recording.world_from_cam[frame], recording.intrinsics[frame], recording.depth(frame)
    trusted = trusted_pixels(depth, recording.confidence(frame), PointSelection())
    found = []
    for x, y, z in (points - world_from_cam[:3, 3]) @ world_from_cam[:3, :3]:
        column, row = K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]
        inside = z > 0 and 0 <= column < WIDTH and 0 <= row < HEIGHT
        place = (int(row), int(column)) if inside else (0, 0)
        found.append(inside and trusted[place] and abs(depth[place] - z) <= 0.05 * z)
    return np.array(found)


@pytest.mark.parametrize("fixed_lens", [False, True])
def test_pycolmap_reads_back_equal_cameras_poses_and_points(tmp_path: Path, kind: str, fixed_lens: bool) -> None:
    recording = StandIn(fixed_lens=fixed_lens)
    written = export_recording(recording, "colmap", tmp_path / "model")
    assert written == [tmp_path / "model" / "images", tmp_path / "model" / "sparse"]
    model = read(tmp_path / "model", kind)
    assert len(model.cameras) == (1 if fixed_lens else 5)
    assert len(model.images) == 5
    for number, (K, transform) in enumerate(zip(recording.intrinsics, recording.world_from_cam, strict=True)):
        image = model.images[number + 1]
        assert image.name == f"frame_{number:06d}.jpg"
        camera = model.cameras[image.camera_id]
        assert (camera.width, camera.height, camera.model.name) == (WIDTH, HEIGHT, "PINHOLE")
        np.testing.assert_array_equal(camera.calibration_matrix(), K)
        world_from_cam = np.vstack([image.cam_from_world().inverse().matrix(), [0, 0, 0, 1]])
        np.testing.assert_allclose(world_from_cam, transform, atol=1e-14)
    chunks = list(select_points(recording))
    points = np.concatenate([chunk.points_world for chunk in chunks]).astype(np.float64)
    seen = np.stack([sees(recording, frame, points) for frame in range(5)])
    for frame, chunk in enumerate(chunks):  # a frame sees its own
        first = sum(map(len, chunks[:frame]))
        seen[frame, first : first + len(chunk)] = True
    twice = np.flatnonzero(seen.sum(0) > 1)
    assert 0 < len(twice) == len(model.points3D)
    np.testing.assert_array_equal([model.points3D[i + 1].xyz for i in range(len(twice))], points[twice])
    for number, point in enumerate(twice, start=1):
        images = sorted(element.image_id - 1 for element in model.points3D[number].track.elements)
        assert images == np.flatnonzero(seen[:, point]).tolist()


def test_pycolmap_projects_each_point_to_the_pixel_that_it_came_from(tmp_path: Path, kind: str) -> None:
    export_recording(StandIn(), "colmap", tmp_path / "model", selection=PointSelection(pixel_stride=2))
    model = read(tmp_path / "model", kind)
    for point in model.points3D.values():
        ((frame,), (xy,)) = pixels_of(point.color[None])
        (seen,) = (seen for seen in point.track.elements if seen.image_id == frame + 1)
        image = model.images[seen.image_id]
        np.testing.assert_array_equal(image.points2D[seen.point2D_idx].xy, xy)
        np.testing.assert_allclose(image.project_point(point.xyz), xy, atol=1e-9)


def test_binary_is_what_pycolmap_finds_by_itself(tmp_path: Path) -> None:
    export_recording(StandIn(), "colmap", tmp_path / "model")
    assert pycolmap.Reconstruction(str(tmp_path / "model" / "sparse" / "0")).num_reg_images() == 5


def test_pictures_are_the_recordings(tmp_path: Path) -> None:
    recording = StandIn(frame_count=6, height=64, width=80)
    export_recording(recording, "colmap", tmp_path / "model", selection=PointSelection(frame_stride=2))
    names = sorted(file.name for file in (tmp_path / "model" / "images").iterdir())
    assert names == ["frame_000000.jpg", "frame_000002.jpg", "frame_000004.jpg"]
    for name, frame in zip(names, (0, 2, 4), strict=True):
        with Image.open(tmp_path / "model" / "images" / name) as picture:
            difference = np.asarray(picture).astype(int) - recording.rgb(frame)
        assert np.abs(difference).max() <= 3
    assert {image.name for image in read(tmp_path / "model", "binary").images.values()} == set(names)


def source_frames(folder: Path, *, size: tuple[int, int], count: int = 5) -> Path:
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", size).save(folder / f"shot_{number:03d}.png")
    return folder


def test_source_pictures_are_referred_to_at_their_size(tmp_path: Path, kind: str) -> None:
    source = source_frames(tmp_path / "source", size=(3 * WIDTH, 4 * HEIGHT))
    written = export_recording(StandIn(), "colmap", tmp_path / "model", images=source)
    assert written == [tmp_path / "model" / "sparse"]
    model = read(tmp_path / "model", kind)
    assert [model.images[i].name for i in range(1, 6)] == [f"shot_{number:03d}.png" for number in range(5)]
    for point in list(model.points3D.values())[::7]:
        ((frame,), (xy,)) = pixels_of(point.color[None])
        (seen,) = (seen for seen in point.track.elements if seen.image_id == frame + 1)
        image = model.images[seen.image_id]
        camera = model.cameras[image.camera_id]
        assert (camera.width, camera.height) == (3 * WIDTH, 4 * HEIGHT)
        np.testing.assert_allclose(image.points2D[seen.point2D_idx].xy, xy * [3, 4])
        np.testing.assert_allclose(image.project_point(point.xyz), xy * [3, 4], atol=1e-9)


def test_source_pictures_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    source = source_frames(tmp_path / "source", size=(40, 30), count=4)
    with pytest.raises(InputError, match=r"shot_004.png.*not exist"):
        export_recording(StandIn(), "colmap", tmp_path / "model", images=source)
    Image.new("RGB", (30, 40)).save(source / "shot_004.png")
    with pytest.raises(InputError, match=r"shot_004.png.*30 x 40.*shot_000.png.*40 x 30"):
        export_recording(StandIn(), "colmap", tmp_path / "model", images=source)
    turned = Image.new("RGB", (40, 30))
    turned.getexif()[0x0112] = 6
    turned.save(source / "shot_004.png", exif=turned.getexif())
    with pytest.raises(InputError, match=r"shot_004.png.*EXIF orientation 6"):
        export_recording(StandIn(), "colmap", tmp_path / "model", images=source)
    (source / "shot_004.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"shot_004.png"):
        export_recording(StandIn(), "colmap", tmp_path / "model", images=source)
    assert not (tmp_path / "model").exists()


def test_names_that_text_cannot_hold_are_refused(tmp_path: Path) -> None:
    recording = StandIn(1)
    recording.names[0] = "my shot.png"
    Image.new("RGB", (8, 6)).save(tmp_path / "my shot.png")
    with pytest.raises(InputError, match=r"'my shot\.png'"):
        export_recording(recording, "colmap", tmp_path / "model", images=tmp_path)


def test_skewed_intrinsics_are_refused(tmp_path: Path) -> None:
    recording = StandIn()
    recording.intrinsics[:, 0, 1] = 0.5
    with pytest.raises(InputError, match=r"skew \(0.5\)"):
        export_recording(recording, "colmap", tmp_path / "model")
