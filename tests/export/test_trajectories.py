from __future__ import annotations

from pathlib import Path

import numpy as np
from evo.tools import file_interface
from stand_in import StandIn

from openloger.export import PointSelection, export_recording


def test_evo_reads_back_the_tum_trajectory(tmp_path: Path) -> None:
    recording = StandIn(50)
    export_recording(recording, "tum", tmp_path / "path.txt")
    path = file_interface.read_tum_trajectory_file(str(tmp_path / "path.txt"))
    np.testing.assert_array_equal(path.timestamps, recording.timestamps_s)
    np.testing.assert_array_equal(path.positions_xyz, recording.world_from_cam[:, :3, 3])
    np.testing.assert_allclose(path.poses_se3, recording.world_from_cam, atol=1e-14)


def test_evo_reads_back_the_kitti_trajectory(tmp_path: Path) -> None:
    recording = StandIn(50)
    export_recording(recording, "kitti", tmp_path / "path.txt")
    path = file_interface.read_kitti_poses_file(str(tmp_path / "path.txt"))
    np.testing.assert_array_equal(path.poses_se3, recording.world_from_cam)


def test_a_stride_thins_the_trajectory(tmp_path: Path) -> None:
    recording = StandIn(50)
    export_recording(recording, "tum", tmp_path / "path.txt", selection=PointSelection(frame_stride=20))
    path = file_interface.read_tum_trajectory_file(str(tmp_path / "path.txt"))
    np.testing.assert_array_equal(path.timestamps, recording.timestamps_s[::20])
