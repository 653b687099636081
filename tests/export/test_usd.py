from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from pxr import Usd, UsdGeom
from stand_in import HEIGHT, WIDTH, StandIn, pixels_of

from openloger.errors import InputError
from openloger.export import export_recording


def srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("ending", [".usdc", ".usda"])
def test_usds_own_frustum_projects_the_points_to_their_pixels(tmp_path: Path, ending: str) -> None:
    export_recording(StandIn(), "usd", tmp_path / f"scene{ending}")
    stage = Usd.Stage.Open(str(tmp_path / f"scene{ending}"))
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert not UsdGeom.StageHasAuthoredMetersPerUnit(stage)  # no scale is known
    points = UsdGeom.Points(stage.GetPrimAtPath("/reconstruction/points"))
    positions = np.array(points.GetPointsAttr().Get())
    colours = np.rint(255 * srgb(np.array(points.GetDisplayColorPrimvar().Get()))).astype(np.uint8)
    frames, xy = pixels_of(colours)
    camera = UsdGeom.Camera(stage.GetPrimAtPath("/reconstruction/camera"))
    for frame in range(5):
        frustum = camera.GetCamera(frame).frustum
        clip_from_world = frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix()  # of row vectors
        seen = positions[frames == frame]
        clip = np.c_[seen, np.ones(len(seen))] @ np.array(clip_from_world)
        assert (clip[:, 3] > 0).all()
        x, y = clip[:, 0] / clip[:, 3], clip[:, 1] / clip[:, 3]  # -1..1, y up
        back = np.stack([(x + 1) / 2 * WIDTH, (1 - y) / 2 * HEIGHT], -1)
        np.testing.assert_allclose(back, xy[frames == frame], atol=1e-4)


def test_time_runs_as_in_the_video(tmp_path: Path) -> None:
    export_recording(StandIn(), "usd", tmp_path / "scene.usdc")
    stage = Usd.Stage.Open(str(tmp_path / "scene.usdc"))
    assert stage.GetTimeCodesPerSecond() == pytest.approx(30, rel=1e-6)
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == pytest.approx((0, 4), abs=1e-4)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(InputError, match=r"pip install '.*\[usd\]'"):
        export_recording(StandIn(), "usd", tmp_path / "scene.usdc")


def test_a_name_that_usd_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scene\.blend.*USD"):
        export_recording(StandIn(), "usd", tmp_path / "scene.blend")


def test_units_are_metres_where_the_scale_is_known(tmp_path: Path) -> None:
    class Metric(StandIn):
        is_metric, origin = True, None

    export_recording(Metric(), "usd", tmp_path / "a.usda")
    assert UsdGeom.GetStageMetersPerUnit(Usd.Stage.Open(str(tmp_path / "a.usda"))) == 1
