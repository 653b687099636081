"""Gaussian splats as 3DGS reads them, and LAS/LAZ as laspy reads it."""

from __future__ import annotations

from pathlib import Path

import laspy
import numpy as np
import pytest
from stand_in import StandIn

from openloger.errors import InputError
from openloger.export import PointSelection, export_recording, select_points
from openloger.export.las import Z_UP
from openloger.export.splat import SH_DEGREE_0, turned_from_z
from openloger.geometry.earth import GeoOrigin

PROPERTIES = (
    ["x", "y", "z", "nx", "ny", "nz"]
    + [f"f_dc_{i}" for i in range(3)]
    + [f"f_rest_{i}" for i in range(45)]
    + ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
)


def read_splats(path: Path) -> np.ndarray:
    """As 3DGS reads them: the order of properties from the header, then floats."""
    head, _, body = path.read_bytes().partition(b"end_header\n")
    lines = head.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert [line.split()[1:] for line in lines if line.startswith("property")] == [
        ["float", name] for name in PROPERTIES
    ]
    table = np.frombuffer(body, [(name, "<f4") for name in PROPERTIES])
    assert f"element vertex {len(table)}" in lines
    return table


def matrix(wxyz: np.ndarray) -> np.ndarray:
    w, x, y, z = wxyz
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def test_splats_lie_on_the_points_with_their_colour_size_and_opacity(tmp_path: Path) -> None:
    recording, selection = StandIn(2), PointSelection(pixel_stride=2)
    export_recording(recording, "splat", tmp_path / "a.ply", selection=selection)
    splats = read_splats(tmp_path / "a.ply")
    chunks = list(select_points(recording, selection))
    np.testing.assert_allclose(
        np.stack([splats[axis] for axis in "xyz"], 1), np.concatenate([c.points_world for c in chunks]), atol=1e-5
    )
    rgb = 255 * (0.5 + SH_DEGREE_0 * np.stack([splats[f"f_dc_{i}"] for i in range(3)], 1))
    np.testing.assert_allclose(rgb, np.concatenate([c.rgb for c in chunks]), atol=1e-3)
    opacity = 1 / (1 + np.exp(-splats["opacity"].astype(np.float64)))
    columns, rows = (chunks[0].pixels_xy - 0.5).astype(int).T
    confidence = recording.confidence(0)[rows, columns].clip(0.02, 0.98)
    np.testing.assert_allclose(opacity[: len(confidence)], confidence, atol=1e-4)
    footprint = recording.depth(0)[rows, columns] / np.sqrt(30 * 31)
    ratio = 2 * np.exp(splats["scale_0"][: len(footprint)]) / footprint
    assert 1.5 < np.median(ratio) < 2.5  # every second pixel of every second row
    np.testing.assert_allclose(splats["scale_2"] - splats["scale_0"], np.log(0.1), atol=1e-5)
    for one in splats[::97]:
        turn = matrix(np.array([one[f"rot_{i}"] for i in range(4)], np.float64))
        np.testing.assert_allclose(turn[:, 2], [one["nx"], one["ny"], one["nz"]], atol=1e-5)


def test_every_turn_takes_z_to_its_normal() -> None:
    normals = np.random.default_rng(0).normal(size=(50, 3))
    normals = np.concatenate([normals / np.linalg.norm(normals, axis=1, keepdims=True), np.eye(3), -np.eye(3)])
    for normal, wxyz in zip(normals, turned_from_z(normals), strict=True):
        np.testing.assert_allclose(matrix(wxyz)[:, 2], normal, atol=1e-12)


def test_splats_stand_for_voxels_where_points_do(tmp_path: Path) -> None:
    export_recording(StandIn(2), "splat", tmp_path / "a.ply", selection=PointSelection(voxel=0.5))
    np.testing.assert_allclose(np.exp(read_splats(tmp_path / "a.ply")["scale_0"]), 0.25, rtol=1e-5)


@pytest.mark.parametrize("kind", ["las", "laz"])
def test_laspy_reads_places_colours_confidence_and_times(kind: str, tmp_path: Path) -> None:
    recording = StandIn(3)
    export_recording(recording, kind, tmp_path / f"a.{kind}", selection=PointSelection(pixel_stride=3))
    chunks = list(select_points(recording, PointSelection(pixel_stride=3)))
    cloud = laspy.read(tmp_path / f"a.{kind}")
    points = np.concatenate([chunk.points_world for chunk in chunks])
    assert len(cloud.points) == len(points)
    assert cloud.header.scales[0] <= 1e-3
    np.testing.assert_allclose(cloud.xyz, points @ Z_UP.T, atol=cloud.header.scales[0])
    assert np.array_equal(
        np.stack([cloud.red, cloud.green, cloud.blue], 1) // 257, np.concatenate([c.rgb for c in chunks])
    )
    times = np.concatenate([np.full(len(chunk), recording.timestamps_s[chunk.frame]) for chunk in chunks])
    np.testing.assert_array_equal(np.asarray(cloud.gps_time), times)
    assert cloud.intensity.max() <= 65535
    assert cloud.header.mins[2] == pytest.approx((points @ Z_UP.T)[:, 2].min(), abs=1e-3)


def test_a_scene_that_las_cannot_hold_is_refused(tmp_path: Path) -> None:
    recording = StandIn(1, depth_scale=1e7)
    with pytest.raises(InputError, match="too far for LAS"):
        export_recording(recording, "las", tmp_path / "a.las")
    assert list(tmp_path.iterdir()) == []


def test_las_of_a_place_on_the_earth_has_its_coordinates_and_their_system(tmp_path: Path) -> None:
    class Placed(StandIn):
        is_metric, origin = True, GeoOrigin(-33.8568, 151.2153, 30.0)

    export_recording(Placed(2), "las", tmp_path / "a.las")
    with laspy.open(str(tmp_path / "a.las")) as file:
        crs, points = file.header.parse_crs(), file.read()
    assert crs is not None
    assert crs.to_epsg() == 32756
    from pyproj import Transformer

    to_degrees = Transformer.from_crs("EPSG:32756", "EPSG:4326", always_xy=True)
    world = np.concatenate([chunk.points_world for chunk in select_points(Placed(2))])
    longitude, latitude = to_degrees.transform(np.asarray(points.x), np.asarray(points.y))
    east, north = world[:, 0], world[:, 2]
    np.testing.assert_allclose((latitude + 33.8568) * 110_922, north, atol=0.01 * np.abs(world).max())
    np.testing.assert_allclose((longitude - 151.2153) * 92_528, east, atol=0.01 * np.abs(world).max())
    np.testing.assert_allclose(points.z, 30 - world[:, 1], atol=2e-3)
