"""The layouts of data for training, as `official_layouts.py` has those of the benchmarks."""

from __future__ import annotations

import gzip
import json
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
    exr,
    flat_pictures,
    hdf5,
    numbers,
    pictures,
    save,
    text,
    xyzw,
)


def arkitscenes(root: Path) -> Made:
    truth, depth, rgb = cameras(), depths(), pictures()
    video = root / "Training" / "47333462"
    times = 5234.1 + 0.1 * np.arange(FRAMES)
    fx, fy, cx, cy = CAMERA
    rows = []
    for number, t in enumerate(times):
        stem = f"47333462_{t:.3f}"
        save(video / "lowres_wide" / f"{stem}.png", rgb[number])
        save(video / "lowres_depth" / f"{stem}.png", np.round(depth[number] * 1000).astype(np.uint16))
        lens = f"{WIDTH} {HEIGHT} {fx} {fy} {cx + 0.5} {cy + 0.5}"
        text(video / "lowres_wide_intrinsics" / f"47333462_{t + 0.001:.3f}.pincam", lens)
        cam_from_world = np.linalg.inv(truth[number])
        x, y, z, w = xyzw(cam_from_world[:3, :3])
        sine = np.linalg.norm([x, y, z])
        turn = np.array([x, y, z]) * (2 * np.arctan2(sine, w) / sine if sine else 2.0)
        rows.append(f"{t:.6f} {numbers(turn)} {numbers(cam_from_world[:3, 3])}")
    text(video / "lowres_wide.traj", *rows)
    return Made(root, "Training/47333462", truth, corner_camera(*CAMERA), depth, rgb, np.round(times, 3))


def scannetpp(root: Path) -> Made:
    truth, depth, rgb = cameras(), depths(), flat_pictures()
    capture = root / "data" / "0a5c013435" / "dslr"
    fx, fy, cx, cy = CAMERA
    lens = f"1 PINHOLE {WIDTH} {HEIGHT} {fx} {fy} {cx + 0.5} {cy + 0.5}"
    text(capture / "colmap" / "cameras.txt", lens)
    images = []
    for number in range(FRAMES):
        stem, cam_from_world = f"DSC{number + 1:05d}", np.linalg.inv(truth[number])
        pose = [*np.roll(xyzw(cam_from_world[:3, :3]), 1).tolist(), *cam_from_world[:3, 3].tolist()]
        images += [f"{number + 7} {' '.join(map(repr, pose))} 1 {stem}.JPG", ""]
        save(capture / "resized_images" / f"{stem}.jpg", rgb[number])
        (capture / "resized_images" / f"{stem}.jpg").rename(capture / "resized_images" / f"{stem}.JPG")
        save(capture / "render_depth" / f"{stem}.png", np.round(depth[number] * 1000).astype(np.uint16))
    text(capture / "colmap" / "images.txt", *images)  # beside points3D.txt, which is not read
    times = np.arange(FRAMES) / 30
    return Made(root, "data/0a5c013435/dslr", truth, corner_camera(*CAMERA), depth, rgb, times)


def hypersim(root: Path) -> Made:
    truth, depth, rgb = cameras(), depths(), flat_pictures()
    scene = root / "ai_001_001"
    metres = 0.0254
    K = corner_camera(*CAMERA)
    pixel_from_uv = np.array([[WIDTH / 2, 0, WIDTH / 2], [0, -HEIGHT / 2, HEIGHT / 2], [0, 0, 1]])
    up_and_back = np.diag([1.0, -1, -1])
    M = up_and_back @ np.linalg.inv(K) @ pixel_from_uv
    names = [f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3)]
    head = ",".join(["scene_name", "settings_output_img_width", "settings_output_img_height", *names])
    text(
        root / "metadata_camera_parameters.csv",
        head,
        f"ai_001_001,{WIDTH},{HEIGHT},{','.join(map(repr, M.ravel().tolist()))}",
    )
    text(scene / "_detail" / "metadata_scene.csv", "parameter_name,parameter_value", f"meters_per_asset_unit,{metres}")
    cam = scene / "_detail" / "cam_00"
    hdf5(cam / "camera_keyframe_orientations.hdf5", "dataset", truth[:, :3, :3] @ up_and_back)
    hdf5(cam / "camera_keyframe_positions.hdf5", "dataset", truth[:, :3, 3] / metres)
    for number in range(FRAMES):
        distance = np.full((HEIGHT, WIDTH), np.nan)
        for i, j in np.argwhere(depth[number] > 0):
            ray = np.array([(j + 0.5 - K[0, 2]) / K[0, 0], (i + 0.5 - K[1, 2]) / K[1, 1], 1])
            distance[i, j] = np.linalg.norm(ray * depth[number, i, j])
        geometry = scene / "images" / "scene_cam_00_geometry_hdf5"
        hdf5(geometry / f"frame.{number:04d}.depth_meters.hdf5", "dataset", distance.astype(np.float32))
        save(scene / "images" / "scene_cam_00_final_preview" / f"frame.{number:04d}.tonemap.jpg", rgb[number])
    return Made(root, "ai_001_001/cam_00", truth, K, depth, rgb, np.arange(FRAMES) / 30)


def spring(root: Path) -> Made:
    truth, rgb = cameras(), pictures()
    depth = depths(2 * HEIGHT, 2 * WIDTH)  # at twice the size of the pictures
    scene = root / "train" / "0001"
    fx, fy, cx, cy = CAMERA
    for number in range(FRAMES):
        save(scene / "frame_left" / f"frame_left_{number + 1:04d}.png", rgb[number])
        with np.errstate(divide="ignore"):
            hdf5(scene / "disp1_left" / f"disp1_left_{number + 1:04d}.dsp5", "disparity", fx * 0.065 / depth[number])
    text(scene / "cam_data" / "intrinsics.txt", *[f"{fx} {fy} {cx + 0.5} {cy + 0.5}"] * FRAMES)
    text(scene / "cam_data" / "extrinsics.txt", *(numbers(np.linalg.inv(camera)) for camera in truth))
    return Made(root, "train/0001", truth, corner_camera(*CAMERA), depth, rgb, np.arange(FRAMES) / 24)


def co3d(root: Path) -> Made:
    truth, depth, rgb = cameras(), depths().astype(np.float16).astype(np.float32), flat_pictures()
    sequence = "apple/110_13051_23361"
    half, (fx, fy, cx, cy) = min(HEIGHT, WIDTH) / 2, CAMERA
    left_and_up = np.diag([-1.0, -1, 1])
    frames = []
    for number in range(FRAMES):
        cam_from_world = np.linalg.inv(truth[number])
        name = f"frame{number + 1:06d}"
        image, png = f"{sequence}/images/{name}.jpg", f"{sequence}/depths/{name}.jpg.geometric.png"
        mask = f"{sequence}/depth_masks/{name}.png"
        save(root / image, rgb[number])
        stored = np.where(depth[number] > 0, depth[number] * 2, 7.0).astype(np.float16)  # outside the mask is no depth
        save(root / png, stored.view(np.uint16))
        save(root / mask, ((depth[number] > 0) * 255).astype(np.uint8))
        viewpoint = {
            "R": (left_and_up @ cam_from_world[:3, :3]).T.tolist(),
            "T": (left_and_up @ cam_from_world[:3, 3]).tolist(),
            "focal_length": [fx / half, fy / half],
            "principal_point": [(WIDTH / 2 - cx - 0.5) / half, (HEIGHT / 2 - cy - 0.5) / half],
            "intrinsics_format": "ndc_isotropic",
        }
        frames.append(
            {
                "sequence_name": sequence.partition("/")[2],
                "frame_number": number,
                "frame_timestamp": number / 5,
                "image": {"path": image, "size": [HEIGHT, WIDTH]},
                "depth": {"path": png, "scale_adjustment": 0.5, "mask_path": mask},
                "viewpoint": viewpoint,
            }
        )
    (root / "apple" / "frame_annotations.jgz").write_bytes(gzip.compress(json.dumps(frames[::-1]).encode()))
    return Made(root, sequence, truth, corner_camera(*CAMERA), depth, rgb, np.arange(FRAMES) / 5)


def omniworld(root: Path) -> Made:
    truth, depth, rgb = cameras(), depths(), pictures()
    scene, first = root / "b04f88d1f85a", 40
    fx, _, cx, cy = CAMERA
    found = np.zeros_like(depth)
    poses = np.linalg.inv(truth)
    for number in range(FRAMES):
        z = depth[number].astype(np.float64) * 0.004
        stored = np.where(z > 0, np.round(1000 * z / (1 + 999 * z) * 65535), 65535).astype(np.uint16)
        save(scene / "color" / f"{first + number:06d}.png", rgb[number])
        save(scene / "depth" / f"{first + number:06d}.png", stored)
        b = stored / 65535
        found[number] = np.where(z > 0, b / (1000 - 999 * b) / 0.004, 0)
    of = {
        "focals": [fx] * FRAMES,
        "cx": cx + 0.5,
        "cy": cy + 0.5,
        "quats": [np.roll(xyzw(pose[:3, :3]), 1).tolist() for pose in poses],
        "trans": poses[:, :3, 3].tolist(),
    }
    text(scene / "camera" / "split_1.json", json.dumps(of))
    text(scene / "split_info.json", json.dumps({"split": [[0, 1], list(range(first, first + FRAMES))]}))
    text(scene / "fps.txt", "24")
    K = np.array([[fx, 0, cx + 0.5], [0, fx, cy + 0.5], [0, 0, 1]])
    return Made(root, "b04f88d1f85a/split_1", truth, K, found, rgb, np.arange(first, first + FRAMES) / 24)


def waymo(root: Path, distortion: tuple[float, ...] = (0.0,) * 5) -> Made:
    truth, depth, rgb = cameras(), depths(), flat_pictures()
    segment = root / "segment-10023947602400723454_1120_000_1140_000_with_camera_labels.tfrecord"
    fx, fy, cx, cy = CAMERA
    for number in range(FRAMES):
        stem = segment / f"{number:05d}_1"
        save(stem.with_suffix(".jpg"), rgb[number])
        exr(stem.with_suffix(".exr"), depth[number])
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        np.savez(stem.with_suffix(".npz"), intrinsics=K, cam2world=truth[number], distortion=np.array(distortion))
    return Made(root, f"{segment.name}/1", truth, corner_camera(*CAMERA), depth, rgb, np.arange(FRAMES) / 10)


def unrealstereo4k(root: Path) -> Made:
    """Unreal's world is left-handed: y is turned around."""
    truth, depth, rgb = cameras(), depths(), pictures()
    scene, baseline = root / "00003", 0.4
    fx, fy, cx, cy = CAMERA
    K = np.array([[fx, 0, cx + 0.5], [0, fy, cy + 0.5], [0, 0, 1]])
    for number in range(FRAMES):
        stem = f"{number:05d}"
        save(scene / "Image0" / f"{stem}.png", rgb[number])
        (scene / "Disp0").mkdir(exist_ok=True)
        sky = 1e-6
        disparity = np.where(depth[number] > 0, fx * baseline / np.maximum(depth[number], 1e-9), sky)
        np.save(scene / "Disp0" / f"{stem}.npy", disparity.astype(np.float32))
        left = np.linalg.inv(truth[number])
        right = left.copy()
        right[0, 3] -= baseline
        for side, cam_from_world in enumerate((left, right)):
            motion = (cam_from_world @ np.diag([1.0, -1, 1, 1]))[:3]
            text(scene / f"Extrinsics{side}" / f"{stem}.txt", numbers(K), numbers(motion))
    return Made(root, "00003", truth, K, depth, rgb, np.arange(FRAMES) / 30)


def colmap(root: Path) -> Made:
    """As text. Every pixel that has depth is a point that its picture alone sees; numbers go against the names."""
    truth, depth, rgb = cameras(), depths(), pictures()
    scene = root / "scenes" / "attic"
    fx, fy, cx, cy = CAMERA
    text(scene / "sparse" / "0" / "cameras.txt", f"7 PINHOLE {WIDTH} {HEIGHT} {fx} {fy} {cx + 0.5} {cy + 0.5}")
    images, points = ["# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME"], ["# POINT3D_ID, X, Y, Z, …"]
    for number in range(FRAMES):
        image_id, cam_from_world = 90 - number, np.linalg.inv(truth[number])
        pose = [*np.roll(xyzw(cam_from_world[:3, :3]), 1).tolist(), *cam_from_world[:3, 3].tolist()]
        images += [f"{image_id} {' '.join(map(repr, pose))} 7 {number}.png", "1.0 2.0 -1"]
        save(scene / "images" / f"{number}.png", rgb[number])
        for i, j in zip(*np.nonzero(depth[number]), strict=True):
            at_cam = np.array([(j - cx) / fx, (i - cy) / fy, 1.0]) * depth[number, i, j]
            at = truth[number, :3, :3] @ at_cam + truth[number, :3, 3]
            points.append(f"{len(points)} {' '.join(map(repr, at.tolist()))} 1 2 3 0.5 {image_id} 0")
    text(scene / "sparse" / "0" / "images.txt", *images)
    text(scene / "sparse" / "0" / "points3D.txt", *points)
    return Made(root, "scenes/attic", truth, corner_camera(*CAMERA), depth, rgb, np.arange(FRAMES) / 30)
