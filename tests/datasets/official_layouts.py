"""Tiny folders in the layouts of the datasets, written from their descriptions, and what is true of them.

Every one films the same few cameras; the datasets' conventions are written out here by hand.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from datasets.parts import (
    CAMERA,
    FRAMES,
    HEIGHT,
    WIDTH,
    Made,
    cameras,
    corner_camera,
    depths,
    flat_pictures,
    numbers,
    pictures,
    rotation,
    save,
    text,
    xyzw,
)
from datasets.training_layouts import (
    arkitscenes,
    co3d,
    colmap,
    hypersim,
    omniworld,
    scannetpp,
    spring,
    unrealstereo4k,
    waymo,
)


def kitti(root: Path) -> Made:
    truth, rgb, times = cameras(), pictures(), np.arange(FRAMES) * 0.104
    fx, fy, cx, cy = CAMERA
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    cam2_from_cam0 = np.eye(4)
    cam2_from_cam0[:3, 3] = (0.06, -0.001, 0.003)
    cam0_from_scan = np.array([[0.0, -1, 0, 0.01], [0, 0, -1, -0.07], [1, 0, 0, -0.27], [0, 0, 0, 1]])
    depth = depths()
    sequence = root / "dataset" / "sequences" / "04"
    for number in range(FRAMES):
        save(sequence / "image_2" / f"{number:06d}.png", rgb[number])
        rows, columns = np.nonzero(depth[number])
        z = depth[number][rows, columns].astype(np.float64)
        cam2 = np.stack([(columns - cx) / fx * z, (rows - cy) / fy * z, z, np.ones_like(z)])
        behind = np.array([[0.0], [0.0], [-3.0], [1.0]])
        scan = np.linalg.inv(cam2_from_cam0 @ cam0_from_scan) @ np.hstack([cam2, behind])
        scan[3] = 0.5  # reflectance
        (sequence / "velodyne").mkdir(exist_ok=True)
        scan.T.astype(np.float32).tofile(sequence / "velodyne" / f"{number:06d}.bin")
    P2 = K @ cam2_from_cam0[:3]
    text(
        sequence / "calib.txt",
        f"P0: {numbers(np.hstack([K, np.zeros((3, 1))]))}",
        f"P2: {numbers(P2)}",
        f"Tr: {numbers(cam0_from_scan[:3])}",
    )
    text(sequence / "times.txt", *(f"{t:.6e}" for t in times))
    poses = truth @ cam2_from_cam0  # of camera 0
    text(root / "dataset" / "poses" / "04.txt", *(numbers(pose[:3]) for pose in poses))
    return Made(root, "04", truth, corner_camera(*CAMERA), depth, rgb, times)


def vbr(root: Path) -> Made:
    truth, rgb = cameras(), pictures()
    base_from_cam = np.eye(4)
    base_from_cam[:3, :3], base_from_cam[:3, 3] = rotation(np.array([0.1, -1.2, 0.4])), (0.2, 0.1, -0.3)
    sequence = root / "vbr_slam" / "campus_train0"
    start = np.datetime64("2023-02-15T15:01:12.250000000")
    stamps = start + np.arange(FRAMES) * np.timedelta64(100_000_000, "ns")
    for number in range(FRAMES):
        save(sequence / "camera_left" / "data" / f"{number:010d}.png", rgb[number])
    text(sequence / "camera_left" / "timestamps.txt", *map(str, stamps))
    times = stamps.astype(np.int64) / 1e9
    bases = truth @ np.linalg.inv(base_from_cam)
    rows = (f"{t:.9f} {numbers(b[:3, 3])} {numbers(xyzw(b[:3, :3]))}" for t, b in zip(times, bases, strict=True))
    text(sequence / "campus_train0_gt.txt", "#timestamp tx ty tz qx qy qz qw", *rows)
    text(
        sequence / "vbr_calib.yaml",
        "cam_l:",
        "  camera_model: pinhole",
        "  T_b:",
        *(f"  - [{', '.join(f'{value:.12g}' for value in row)}]" for row in base_from_cam),
        "  distortion_coeffs: [-0.1, 0.05, 0.0, 0.0]",
        f"  intrinsics: [{', '.join(map(str, CAMERA))}]",
        "  resolution: [1388, 700]",
        "  rostopic: /camera_left/image_raw",
        "cam_r:",
        "  intrinsics: [1.0, 1.0, 1.0, 1.0]",
    )
    none = np.zeros((FRAMES, 0, 0), dtype=np.float32)
    return Made(root, "vbr_slam/campus_train0", truth, corner_camera(*CAMERA), none, rgb, times)


def _rgbd(sequence: Path, poses: np.ndarray, depth: np.ndarray, rgb: np.ndarray) -> np.ndarray:
    times = 1305031102.175304 + np.arange(FRAMES) * 0.0333
    header = ("# color images", "# file: 'rgbd_dataset_freiburg1_xyz.bag'", "# timestamp filename")
    text(sequence / "rgb.txt", *header, *(f"{t:.6f} rgb/{t:.6f}.png" for t in times))
    text(sequence / "depth.txt", *header, *(f"{t + 0.004:.6f} depth/{t + 0.004:.6f}.png" for t in times))
    rows = [
        f"{t - 0.002:.4f} {numbers(p[:3, 3])} {numbers(xyzw(p[:3, :3]))}" for t, p in zip(times, poses, strict=True)
    ]
    text(sequence / "groundtruth.txt", *header, *rows)
    for number, t in enumerate(times):
        save(sequence / "rgb" / f"{t:.6f}.png", rgb[number])
        save(sequence / "depth" / f"{t + 0.004:.6f}.png", np.round(depth[number] * 5000).astype(np.uint16))
    return np.round(times, 6)


def tum(root: Path) -> Made:
    truth, depth, rgb = cameras(), depths(), pictures()
    name = "rgbd_dataset_freiburg2_desk"
    times = _rgbd(root / name, truth, depth, rgb)
    return Made(root, name, truth, corner_camera(520.9, 521.0, 325.1, 249.7), depth, rgb, times)


def eth3d(root: Path) -> Made:
    truth, depth, rgb = cameras(), depths(), pictures()
    times = _rgbd(root / "training" / "table_3", truth, depth, rgb)
    text(root / "training" / "table_3" / "calibration.txt", numbers(np.array(CAMERA)))
    return Made(root, "training/table_3", truth, corner_camera(*CAMERA), depth, rgb, times)


def bonn(root: Path) -> Made:
    truth, depth, rgb = cameras(), depths(), pictures()
    axes = np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    marker_from_cam = np.array(
        [[1.0157, 0.1828, -0.2389, 0.0113], [0.0009, -0.8431, -0.6413, -0.0098], [-0.3009, 0.6147, -0.8085, 0.0111]]
    )
    scale = np.linalg.norm(marker_from_cam[:, :3], axis=1).mean()
    rigid = np.vstack([marker_from_cam, (0, 0, 0, 1)])
    rigid[:3, :3] /= scale
    poses = axes @ truth @ np.linalg.inv(rigid) @ np.linalg.inv(axes)
    u, _, vt = np.linalg.svd(poses[:, :3, :3])
    poses[:, :3, :3] = u @ vt
    times = _rgbd(root / "rgbd_bonn_balloon", poses, depth, rgb)
    intrinsics = corner_camera(542.822841, 542.576870, 315.593520, 237.756098)
    return Made(root, "rgbd_bonn_balloon", truth, intrinsics, depth * np.float32(scale), rgb, times)


def seven_scenes(root: Path) -> Made:
    truth, depth, rgb = cameras(), depths(), pictures()
    sequence = root / "chess" / "seq-01"
    for number in range(FRAMES):
        stem = f"frame-{number:06d}"
        stored = np.round(depth[number] * 1000).astype(np.uint16)
        stored[0, 0] = 65535
        save(sequence / f"{stem}.color.png", rgb[number])
        save(sequence / f"{stem}.depth.png", stored)
        text(sequence / f"{stem}.pose.txt", *("\t ".join(f"{v: .7e}" for v in row) for row in truth[number]))
    intrinsics = np.array([[585.0, 0, 320], [0, 585, 240], [0, 0, 1]])
    return Made(root, "chess/seq-01", truth, intrinsics, depth, rgb, np.arange(FRAMES) / 30)


def scannet(root: Path) -> Made:
    truth, depth = cameras(12), depths(count=12)
    rgb = np.repeat(np.repeat(pictures(4, 4, 12)[:, :1, :1], 8, axis=1), 8, axis=2)  # one colour each, for JPEG's sake
    scene = root / "scans" / "scene0000_00"
    for number in range(12):
        save(scene / "color" / f"{number}.jpg", rgb[number])
        save(scene / "depth" / f"{number}.png", np.round(depth[number] * 1000).astype(np.uint16))
        text(scene / "pose" / f"{number}.txt", *(numbers(row) for row in truth[number]))
    fx, fy, cx, cy = CAMERA
    text(scene / "intrinsic" / "intrinsic_color.txt", f"{fx} 0 {cx} 0", f"0 {fy} {cy} 0", "0 0 1 0", "0 0 0 1")
    return Made(root, "scans/scene0000_00", truth, corner_camera(*CAMERA), depth, rgb, np.arange(12) / 30)


def sintel(root: Path) -> Made:
    truth, depth, rgb = cameras(), depths(), pictures()
    training = root / "training"
    fx, fy, cx, cy = CAMERA
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    for number in range(FRAMES):
        stem = f"frame_{number + 1:04d}"
        save(training / "final" / "alley_1" / f"{stem}.png", rgb[number])
        tag = struct.pack("<f", 202021.25)
        (training / "depth" / "alley_1").mkdir(parents=True, exist_ok=True)
        (training / "camdata_left" / "alley_1").mkdir(parents=True, exist_ok=True)
        body = struct.pack("<ii", WIDTH, HEIGHT) + depth[number].astype("<f4").tobytes()
        (training / "depth" / "alley_1" / f"{stem}.dpt").write_bytes(tag + body)
        body = K.astype("<f8").tobytes() + np.linalg.inv(truth[number])[:3].astype("<f8").tobytes()
        (training / "camdata_left" / "alley_1" / f"{stem}.cam").write_bytes(tag + body)
    return Made(root, "final/alley_1", truth, corner_camera(*CAMERA), depth, rgb, np.arange(FRAMES) / 24)


def _ned_rows(truth: np.ndarray) -> list[str]:
    """x forward, y right, z down, of a world and cameras with x right, y down, z forward."""
    ned_from_opencv = np.zeros((4, 4))
    ned_from_opencv[0, 2] = ned_from_opencv[1, 0] = ned_from_opencv[2, 1] = ned_from_opencv[3, 3] = 1
    poses = ned_from_opencv @ truth @ np.linalg.inv(ned_from_opencv)
    return [f"{numbers(pose[:3, 3])} {numbers(xyzw(pose[:3, :3]))}" for pose in poses]


def tartanair(root: Path) -> Made:
    truth, depth, rgb = cameras(), depths(), pictures()
    path = root / "abandonedfactory" / "Easy" / "P000"
    text(path / "pose_left.txt", *_ned_rows(truth))
    (path / "depth_left").mkdir()
    for number in range(FRAMES):
        save(path / "image_left" / f"{number:06d}_left.png", rgb[number])
        np.save(path / "depth_left" / f"{number:06d}_left_depth.npy", np.where(depth[number] > 0, depth[number], 10000))
    intrinsics = np.array([[320.0, 0, 320], [0, 320, 240], [0, 0, 1]])
    return Made(root, "abandonedfactory/Easy/P000", truth, intrinsics, depth, rgb, np.arange(FRAMES) / 10)


def tartanair_v2(root: Path) -> Made:
    truth, depth, rgb = cameras(), depths(), pictures()
    path = root / "Office" / "Data_easy" / "P003"
    text(path / "pose_lcam_front.txt", *_ned_rows(truth))
    for number in range(FRAMES):
        blue, green, red, alpha = np.moveaxis(depth[number].astype("<f4")[..., None].view(np.uint8), -1, 0)
        save(path / "image_lcam_front" / f"{number:06d}_lcam_front.png", rgb[number])
        save(
            path / "depth_lcam_front" / f"{number:06d}_lcam_front_depth.png",
            np.stack([red, green, blue, alpha], axis=-1),
        )
    intrinsics = np.array([[320.0, 0, 320], [0, 320, 320], [0, 0, 1]])
    return Made(root, "Office/Data_easy/P003", truth, intrinsics, depth, rgb, np.arange(FRAMES) / 10)


def vkitti2(root: Path) -> Made:
    truth, depth = cameras(), depths()
    rgb = np.repeat(np.repeat(pictures(1, 1), 8, axis=1), 8, axis=2)
    variation = root / "Scene01" / "clone"
    extrinsic, intrinsic = ["frame cameraID r1,1 r1,2 r1,3 t1 r2,1 …"], ["frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]"]
    for number in range(FRAMES):
        stored = np.where(depth[number] > 0, np.round(depth[number] * 100), 65535).astype(np.uint16)
        save(variation / "frames" / "rgb" / "Camera_0" / f"rgb_{number:05d}.jpg", rgb[number])
        save(variation / "frames" / "depth" / "Camera_0" / f"depth_{number:05d}.png", stored)
        for camera in (0, 1):
            moved = truth[number].copy()
            moved[:3, 3] += 0.5 * camera * moved[:3, 0]
            extrinsic.append(f"{number} {camera} {numbers(np.linalg.inv(moved))}")
            intrinsic.append(f"{number} {camera} {numbers(np.array(CAMERA))}")
    text(variation / "extrinsic.txt", *extrinsic)
    text(variation / "intrinsic.txt", *intrinsic)
    return Made(root, "Scene01/clone", truth, corner_camera(*CAMERA), depth, rgb, np.arange(FRAMES) / 10)


def euroc(root: Path) -> Made:
    truth, rgb = cameras(), pictures()[..., :1]
    body_from_cam = np.eye(4)
    body_from_cam[:3, :3], body_from_cam[:3, 3] = rotation(np.array([0.3, 0.1, 1.5])), (-0.02, -0.06, 0.01)
    mav0 = root / "MH_01_easy" / "mav0"
    start = 1403636579763555584
    stamps = [start + number * 50_000_000 for number in range(FRAMES)]
    for number, stamp in enumerate(stamps):
        save(mav0 / "cam0" / "data" / f"{stamp}.png", rgb[number, ..., 0])
    listed = ("#timestamp [ns],filename\r", *(f"{stamp},{stamp}.png\r" for stamp in stamps))
    text(mav0 / "cam0" / "data.csv", *listed)
    text(
        mav0 / "cam0" / "sensor.yaml",
        "# Default notation for transformations:",
        "sensor_type: camera",
        "T_BS:",
        "  cols: 4",
        "  rows: 4",
        f"  data: [{', '.join(f'{value:.12g}' for value in body_from_cam.flat)}]",
        "rate_hz: 20",
        "resolution: [752, 480]",
        f"intrinsics: [{', '.join(map(str, CAMERA))}] #fu, fv, cu, cv",
        "distortion_model: radial-tangential",
        "distortion_coefficients: [-0.28, 0.07, 0.0002, 1.8e-05]",
    )
    bodies = truth @ np.linalg.inv(body_from_cam)
    rows = []
    for stamp, body in zip(stamps, bodies, strict=True):
        x, y, z, w = xyzw(body[:3, :3])
        values = [*body[:3, 3], w, x, y, z, *np.zeros(9)]
        rows.append(f"{stamp},{','.join(f'{value:.9f}' for value in values)}")
    text(mav0 / "state_groundtruth_estimate0" / "data.csv", "#timestamp, p_RS_R_x [m], …", *rows)
    times = np.array([stamp / 1e9 for stamp in stamps])
    none = np.zeros((FRAMES, 0, 0), dtype=np.float32)
    return Made(root, "MH_01_easy", truth, corner_camera(*CAMERA), none, np.repeat(rgb, 3, axis=3), times)


def plain(root: Path) -> Made:
    truth, depth, rgb = cameras(), depths(), pictures()
    times = np.arange(FRAMES) / 12
    text(root / "walk" / "world_from_cam.txt", *(numbers(camera) for camera in truth))
    text(root / "walk" / "timestamps.txt", *(f"{t:.12f}" for t in times))
    text(root / "walk" / "intrinsics.txt", "7 0 3.75", "0 6.5 3.25", "0 0 1")
    (root / "walk" / "depth").mkdir()
    for number in range(FRAMES):
        save(root / "walk" / "rgb" / f"{number:06d}.png", rgb[number])
        np.save(root / "walk" / "depth" / f"{number:06d}.npy", depth[number])
    return Made(root, "walk", truth, corner_camera(*CAMERA), depth, rgb, times)


def packed(root: Path) -> Made:
    """What `datasets pack` makes of flat pictures in a plain folder."""
    from openloger.datasets import open_dataset, pack_dataset

    made, rgb = plain(root / "raw"), flat_pictures()
    for number, path in enumerate(sorted((root / "raw" / made.name / "rgb").iterdir())):
        save(path, rgb[number])
    pack_dataset(open_dataset("folder", root / "raw"), root / "packed")
    return Made(root / "packed", made.name, made.world_from_cam, made.intrinsics, made.depth, rgb, made.timestamps_s)


LAYOUTS: dict[str, tuple[str, Callable[[Path], Made]]] = {
    "kitti": ("kitti", kitti),
    "vbr": ("vbr", vbr),
    "tum": ("tum", tum),
    "eth3d": ("eth3d", eth3d),
    "bonn": ("bonn", bonn),
    "7scenes": ("7scenes", seven_scenes),
    "scannet": ("scannet", scannet),
    "sintel": ("sintel", sintel),
    "tartanair": ("tartanair", tartanair),
    "tartanair-v2": ("tartanair", tartanair_v2),
    "vkitti2": ("vkitti2", vkitti2),
    "euroc": ("euroc", euroc),
    "arkitscenes": ("arkitscenes", arkitscenes),
    "scannetpp": ("scannetpp", scannetpp),
    "hypersim": ("hypersim", hypersim),
    "spring": ("spring", spring),
    "co3d": ("co3d", co3d),
    "omniworld": ("omniworld", omniworld),
    "waymo": ("waymo", waymo),
    "unrealstereo4k": ("unrealstereo4k", unrealstereo4k),
    "colmap": ("colmap", colmap),
    "packed": ("packed", packed),
    "folder": ("folder", plain),
}
