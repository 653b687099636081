"""What the layouts do not show: other forms, masks, distortion, damage, and what must not be mistaken."""

from __future__ import annotations

import builtins
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from datasets import official_layouts as layouts
from datasets import parts
from PIL import Image

from openloger.datasets import DATASETS, open_dataset
from openloger.datasets.hypersim import pinhole, ray_matrix
from openloger.errors import InputError


def test_hypersim_of_a_tilted_camera_has_depth_and_no_pinhole(tmp_path: Path) -> None:
    made = layouts.hypersim(tmp_path)
    table = tmp_path / "metadata_camera_parameters.csv"
    head, row = (line.split(",") for line in table.read_text().splitlines())
    tilted = dict(zip(head, row, strict=True)) | {"M_cam_from_uv_20": "0.05", "M_cam_from_uv_21": "-0.1"}
    parts.text(table, ",".join(head), ",".join(tilted[name] for name in head))
    frame = open_dataset("hypersim", tmp_path)[made.name][1]
    assert frame.intrinsics is None
    assert frame.depth is not None
    rays = ray_matrix({name: float(value) for name, value in tilted.items() if name != "scene_name"})
    i, j = 4, 5
    ray = rays @ [j + 0.5, i + 0.5, 1]
    K, z = made.intrinsics, made.depth[1, i, j]
    distance = z * np.linalg.norm([(j + 0.5 - K[0, 2]) / K[0, 0], (i + 0.5 - K[1, 2]) / K[1, 1], 1])
    assert frame.depth[i, j] == pytest.approx(distance * ray[2] / np.linalg.norm(ray), rel=1e-5)
    assert pinhole(rays) is None


def test_a_wall_of_hypersim_is_flat(tmp_path: Path) -> None:
    """A plane seen aslant: its points lie in it only where distances along rays became depths."""
    made = layouts.hypersim(tmp_path)
    K = made.intrinsics
    y, x = np.mgrid[: parts.HEIGHT, : parts.WIDTH] + 0.5
    ray = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones_like(x)], -1)
    normal = np.array([0.3, -0.2, 1.0])
    points = ray * (3 / (ray @ normal))[..., None]
    path = tmp_path / "ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0002.depth_meters.hdf5"
    path.unlink()
    parts.hdf5(path, "dataset", np.linalg.norm(points, axis=-1))
    depth = open_dataset("hypersim", tmp_path)[made.name][2].depth
    assert depth is not None
    np.testing.assert_allclose((ray * depth[..., None]) @ normal, 3, rtol=1e-6)


def test_hypersim_without_its_table_of_cameras_is_refused(tmp_path: Path) -> None:
    made = layouts.hypersim(tmp_path)
    (tmp_path / "metadata_camera_parameters.csv").unlink()
    with pytest.raises(InputError, match="contrib/mikeroberts3000"):
        open_dataset("hypersim", tmp_path)[made.name]


@pytest.mark.parametrize("file", ["metadata_camera_parameters.csv", "ai_001_001/_detail/metadata_scene.csv"])
def test_decimal_commas_of_hypersim_are_not_taken_for_columns(tmp_path: Path, file: str) -> None:
    made = layouts.hypersim(tmp_path)
    text = (tmp_path / file).read_text()
    (tmp_path / file).write_text(re.sub(r"(?<=\d)\.(?=\d)", ",", text))
    with pytest.raises(InputError, match=r"0\.5 for 0,5"):
        open_dataset("hypersim", tmp_path)[made.name]


@pytest.mark.parametrize("size", [(2 * parts.HEIGHT, 2 * parts.WIDTH), (parts.HEIGHT, parts.WIDTH)])
def test_the_sky_of_spring_has_no_depth(tmp_path: Path, size: tuple[int, int]) -> None:
    made = layouts.spring(tmp_path)
    mask = np.zeros(size, np.uint8)
    mask[: size[0] // 2] = 255
    parts.save(tmp_path / "train/0001/maps/skymap_left/skymap_left_0002.png", mask)
    depth = open_dataset("spring", tmp_path)[made.name][1].depth
    np.testing.assert_allclose(depth[parts.HEIGHT :], made.depth[1, parts.HEIGHT :], rtol=1e-5)
    assert not depth[: parts.HEIGHT].any()


def test_co3d_with_unequal_scales_and_without_cameras(tmp_path: Path) -> None:
    made = layouts.co3d(tmp_path)
    path = tmp_path / "apple" / "frame_annotations.jgz"
    frames = json.loads(gzip.decompress(path.read_bytes()))
    short = parts.HEIGHT
    for frame in frames:
        view = frame["viewpoint"]
        view["intrinsics_format"] = "ndc_norm_image_bounds"
        for name in ("focal_length", "principal_point"):
            view[name][0] *= short / parts.WIDTH
    frames[0]["viewpoint"] = None  # the last frame: they are in reverse
    path.write_bytes(gzip.compress(json.dumps(frames).encode()))
    sequence = open_dataset("co3d", tmp_path)[made.name]
    np.testing.assert_allclose(sequence[0].intrinsics, made.intrinsics)
    assert sequence[parts.FRAMES - 1].world_from_cam is None
    frames[1]["viewpoint"]["intrinsics_format"] = "screen"
    path.write_bytes(gzip.compress(json.dumps(frames).encode()) + b"")
    with pytest.raises(InputError, match="'screen'"):
        open_dataset("co3d", tmp_path)[made.name]
    for damage in (b"", b"no gzip", gzip.compress(b"{]"), gzip.compress(b"[1]"), gzip.compress(b"[]")[:-9]):
        path.write_bytes(damage)
        with pytest.raises(InputError, match=r"frame_annotations\.jgz"):
            open_dataset("co3d", tmp_path)[made.name]


def test_rendered_depth_of_scannetpp_is_undistorted_with_its_pictures(tmp_path: Path) -> None:
    """Depth that grows with the picture's own brightness does so in the view."""
    made = layouts.scannetpp(tmp_path)
    capture = tmp_path / made.name
    lens = "1 OPENCV_FISHEYE 64 48 30 30 32 24 0.02 0.01 0 0"
    parts.text(capture / "colmap" / "cameras.txt", lens)
    ramp = np.broadcast_to(np.arange(64) * 3 + 20, (48, 64)).astype(np.uint8)
    Image.fromarray(ramp).convert("RGB").save(capture / "resized_images" / "DSC00001.JPG", quality=100)
    parts.save(capture / "render_depth" / "DSC00001.png", ramp.astype(np.uint16) * 10)
    frame = open_dataset("scannetpp", tmp_path)[made.name][0]
    assert frame.depth is not None
    off = frame.rgb[..., 0].astype(float) - frame.depth * 100
    assert np.abs(off).max() < 4  # a pixel is 3
    assert np.ptp(frame.depth[24]) < np.ptp(ramp[24]) * 0.0101  # the view is narrower
    parts.save(capture / "render_depth" / "DSC00001.png", ramp[:8].astype(np.uint16))
    with pytest.raises(InputError, match=r"DSC00001\.png is \(8, 64\)"):
        _ = open_dataset("scannetpp", tmp_path)[made.name][0].depth


def test_arkit_cameras_lie_between_the_rows_and_lenses_are_those_nearest(tmp_path: Path) -> None:
    made = layouts.arkitscenes(tmp_path)
    video = tmp_path / made.name
    rows = (video / "lowres_wide.traj").read_text().splitlines()
    (video / "lowres_wide.traj").write_text("\n".join(rows[::2]))
    for path in sorted((video / "lowres_wide_intrinsics").iterdir())[1:]:
        path.unlink()
    sequence = open_dataset("arkitscenes", tmp_path)[made.name]
    between = (made.world_from_cam[0, :3, 3] + made.world_from_cam[2, :3, 3]) / 2
    np.testing.assert_allclose(sequence[1].world_from_cam[:3, 3], between, atol=1e-6)
    np.testing.assert_allclose(sequence[4].intrinsics, made.intrinsics)


@pytest.mark.parametrize("dataset", ["hypersim", "spring"])
def test_hdf5_says_what_it_needs_and_what_is_damaged(
    tmp_path: Path, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = layouts.LAYOUTS[dataset][1](tmp_path)
    for path in sorted(tmp_path.rglob("*.hdf5")) + sorted(tmp_path.rglob("*.dsp5")):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match=path.name):
            _ = [open_dataset(dataset, tmp_path)[made.name][n].depth for n in range(parts.FRAMES)]
        path.write_bytes(whole)
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "h5py":
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"h5py.*hdf5"):
        _ = open_dataset(dataset, tmp_path)[made.name][0].depth


def test_only_exact_depth_is_called_clean() -> None:
    clean = {name for name, reader in DATASETS.items() if reader.depth.clean}
    assert clean == {"sintel", "tartanair", "vkitti2", "scannetpp", "hypersim", "spring", "omniworld", "unrealstereo4k"}
    assert not DATASETS["colmap"].depth.metric
    assert {name for name, reader in DATASETS.items() if reader.depth.holes_are_sky} == {"tartanair", "vkitti2"}
