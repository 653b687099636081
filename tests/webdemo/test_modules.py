"""The page's modules beside the Python that they follow: windows, sizes, resizing, placement, points, files."""

from __future__ import annotations

import base64
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from network.exported_networks import small_config

from openloger.errors import InputError
from openloger.export.selection import LEAST_EDGE, PointSelection, trusted_pixels, usual_edge
from openloger.frames.resize import resize_by_pillow
from openloger.geometry import nearest_rotation
from openloger.network import NetworkConfig, VideoMemory, Window, WindowPrediction
from openloger.pages import DEPTH_COLOURS, depth_colours
from openloger.streaming import Stream
from openloger.streaming.sizing import least_stretched_size
from openloger.streaming.windows import windows
from webdemo.javascript import Node

SELECTION = {"confidenceMin": PointSelection().confidence_min, "leastEdge": LEAST_EDGE}
HEIGHT, WIDTH = 14, 28


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    return Node(tmp_path_factory.mktemp("modules"))


@pytest.mark.parametrize(("size", "overlap"), [(8, 2), (5, 0), (4, 3), (1, 0), (3, 2)])
def test_frames_form_the_same_windows_with_the_same_roles(node: Node, size: int, overlap: int) -> None:
    body = """
      return given.counts.map((count) => {
        const windows = new FrameWindows(given.size, given.overlap);
        const found = Array.from({ length: count }, (_, n) => windows.push(n));
        return [...found, windows.finish()].filter((one) => one).map((one) =>
          ({ ...one, roles: frameRoles(one.frames.length, given.size, given.overlap) }));
      });"""
    counts = list(range(21))
    found = node(
        "{ FrameWindows, frameRoles } from 'windows.js'", body, {"size": size, "overlap": overlap, "counts": counts}
    )
    for count in counts:
        wanted = [
            {"frames": list(one.frames), "last": one.last, "roles": roles(len(one.frames), size, overlap)}
            for one in windows(iter(range(count)), size=size, overlap=overlap)
        ]
        assert found[count] == wanted


def roles(frames: int, size: int, overlap: int) -> list[int]:
    return Window(torch.zeros(1, frames, 3, 1, 1), size, overlap).roles.tolist()


def test_pictures_get_the_same_size(node: Node) -> None:
    generator = np.random.default_rng(0)
    sizes = [(480, 640), (1080, 1920), (1920, 1080), (240, 320), (1, 1), (719, 1281), (100, 1700), (10, 90000)]
    sizes += [tuple(side) for side in generator.integers(20, 3000, (60, 2)).tolist()]
    body = """
      return given.map(([height, width]) => {
        try { return leastStretchedSize(height, width, { patch: 8, maxPixels: 5120 }); } catch { return null; }
      });"""
    found = node("{ leastStretchedSize } from 'sizing.js'", body, sizes)
    wanted = [size_or_none(*size) for size in sizes]
    assert found == wanted
    assert None in wanted


def size_or_none(height: int, width: int) -> list[int] | None:
    try:
        return list(least_stretched_size(height, width, patch=8, max_pixels=5120))
    except InputError:
        return None


@pytest.mark.parametrize(
    "sizes", [((96, 128), (48, 64)), ((61, 83), (64, 88)), ((240, 320), (48, 64)), ((9, 7), (16, 24)), ((8, 8), (8, 8))]
)
def test_pictures_are_resized_as_pillow_does_to_the_bit(
    node: Node, sizes: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (*sizes[0], 4), dtype=np.uint8)
    body = "return Array.from(resizeRgb(Uint8Array.from(given.rgba.flat(2)), ...given.sizes));"
    found = node("{ resizeRgb } from 'resize.js'", body, {"rgba": rgba, "sizes": sizes})
    wanted = resize_by_pillow(np.ascontiguousarray(rgba[..., :3]), sizes[1])
    assert np.array_equal(np.reshape(found, wanted.shape), wanted)


def test_rotations_are_the_nearest(node: Node) -> None:
    matrices = np.random.default_rng(0).normal(size=(200, 3, 3))
    matrices[:4] = np.stack([np.eye(3), np.diag([1, -1, -1]), np.diag([-1, -1, 1]), np.diag([1.0, 1.0, -0.1])])
    found = node(
        "{ nearestRotation } from 'placement.js'", "return given.map((m) => nearestRotation(m.flat()));", matrices
    )
    wanted = nearest_rotation(torch.from_numpy(matrices)).numpy()
    assert np.abs(np.reshape(found, (-1, 3, 3)) - wanted).max() < 1e-9


class Replay:
    """A network that predicts what it was given, whatever it sees."""

    takes_padding, device = False, torch.device("cpu")

    def __init__(self, config: NetworkConfig, predictions: list[WindowPrediction]) -> None:
        self.config, self._predictions = config, iter(predictions)

    def carried_place(self, memory: VideoMemory, size: tuple[int, int]) -> None:
        return None

    def weights_hash(self) -> None:
        return None

    def run_settings(self) -> dict[str, Any]:
        return {}

    def parameter_count(self) -> int:
        return 0

    def __call__(
        self, window: Window, memory: VideoMemory | None = None, *, disabled: Collection[str] = ()
    ) -> tuple[WindowPrediction, VideoMemory]:
        return next(self._predictions), VideoMemory()


def predictions_of(counts: list[int]) -> list[WindowPrediction]:
    """Cameras somewhere, with rotations that are none quite, and points before them."""
    generator = torch.Generator().manual_seed(0)
    found: list[WindowPrediction] = []
    for count in counts:
        cameras = torch.eye(4).repeat(1, count, 1, 1)
        cameras[..., :3, :] += 0.4 * torch.randn(1, count, 3, 4, generator=generator)
        points = torch.randn(1, count, HEIGHT, WIDTH, 3, generator=generator)
        points[..., 2] = 1 + points[..., 2].abs()
        found.append(WindowPrediction(cameras, points, torch.randn(1, count, HEIGHT, WIDTH, generator=generator), None))
    return found


@pytest.mark.parametrize(("placement", "reset_every"), [("none", None), ("none", 2), ("se3", None), ("sim3", None)])
def test_windows_are_placed_as_a_stream_places_them(node: Node, placement: str, reset_every: int | None) -> None:
    config = replace(small_config("loger"), placement=placement, reset_every=reset_every, keyframes="all")
    frames = np.random.default_rng(0).integers(0, 256, (17, HEIGHT, WIDTH, 3), dtype=np.uint8)
    counts = [5, 5, 5, 5, 5]  # windows of 5 that share 2: 5 + 4 · 3 = 17
    predictions = predictions_of(counts)
    network: Any = Replay(config, predictions)
    wanted = list(Stream(network, size=(HEIGHT, WIDTH)).run(iter(frames)))
    assert [len(one.frames) for one in wanted] == counts
    given = {
        "description": {"window": 5, "overlap": 2, "config": {"placement": placement, "reset_every": reset_every}},
        "predictions": [
            {
                "worldFromCam": one.world_from_cam.flatten().numpy(),
                "pointsCam": one.points_cam.flatten().numpy(),
                "confidenceLogit": one.confidence_logit.flatten().numpy(),
            }
            for one in predictions
        ],
        "frames": len(frames),
        "size": [HEIGHT, WIDTH],
    }
    body = """
      const memories = [];
      const network = { description: given.description, run: async (frames, before) => {
        memories.push(Object.keys(before));
        const one = given.predictions.shift();
        const [worldFromCam, pointsCam, confidenceLogit] =
          ["worldFromCam", "pointsCam", "confidenceLogit"].map((name) => Float32Array.from(one[name]));
        const memory = { "fast_weights.0.w0": 1, "keys_values.0.keys": 1 };
        return { worldFromCam, pointsCam, confidenceLogit, memory };
      } };
      const stream = new Stream(network);
      const placed = [];
      const [height, width] = given.size;
      for (let n = 0; n < given.frames; n++) placed.push(await stream.push({ n, height, width }));
      placed.push(await stream.finish());
      return { memories, placed: placed.filter((one) => one).map((one) => ({
        ...one, frames: one.frames.map(({ n }) => n), pointsCam: Array.from(one.pointsCam) })) };"""
    found = node("{ Stream } from 'stream.js'", body, given)
    assert len(found["placed"]) == len(wanted)
    for one, other in zip(found["placed"], wanted, strict=True):
        assert one["frames"] == [frame.index for frame in other.frames]
        assert (one["number"], one["finalCount"], one["last"]) == (other.number, other.final_count, other.last)
        rotation = np.reshape([camera["rotation"] for camera in one["worldFromCam"]], (-1, 3, 3))
        centre = np.array([camera["translation"] for camera in one["worldFromCam"]])
        assert np.abs(rotation - other.world_from_cam[:, :3, :3].numpy()).max() < 1e-6
        assert np.abs(centre - other.world_from_cam[:, :3, 3].numpy()).max() < 1e-6 * np.abs(centre).max()
        points = np.reshape(one["pointsCam"], other.points_cam.shape)
        assert np.abs(points - other.points_cam.numpy()).max() < 1e-6 * np.abs(points).max()
    kept = ["keys_values.0.keys"]
    resets = [bool(reset_every) and number > 0 and number % (reset_every or 1) == 0 for number in range(len(counts))]
    usual = ["fast_weights.0.w0", *kept]
    assert found["memories"] == [[], *(kept if resets[number] else usual for number in range(1, len(counts)))]


def test_a_placement_that_the_page_lacks_is_refused(node: Node) -> None:
    body = """
      try { place("sim3:median_all", [], [], null, { startsBlock: false }); } catch (error) { return error.message; }"""
    assert "none of none, se3, sim3" in node("{ place } from 'placement.js'", body)


def test_the_same_pixels_become_the_same_points(node: Node) -> None:
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    depth = (2 + rows / 20 + (columns > 15) + 0.01 * generator.random((HEIGHT, WIDTH))).astype(np.float32)
    depth[3, 4], depth[9, 20], depth[12, 2] = 0, np.nan, -1
    logit = generator.normal(-1, 2, (HEIGHT, WIDTH)).astype(np.float32)
    points = np.stack([columns - 14, rows - 7, depth], -1).astype(np.float32)
    rgb = generator.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    rotation = nearest_rotation(torch.from_numpy(generator.normal(size=(3, 3)))).numpy()
    given = {
        "points": [None if np.isnan(one) else float(one) for one in points.flatten()],
        "logit": logit.flatten(),
        "rgb": rgb.flatten(),
        "camera": {"rotation": rotation.flatten(), "translation": [1.0, 2.0, 3.0]},
        "size": [HEIGHT, WIDTH],
        "selection": SELECTION,
    }
    body = """
      const [height, width] = given.size;
      const placed = { frames: [{ rgb: given.rgb, height, width }], worldFromCam: [given.camera],
        pointsCam: Float32Array.from(given.points, (x) => x ?? NaN), confidenceLogit: Float32Array.from(given.logit) };
      const { positions, colours } = framePoints(placed, 0, given.selection);
      return { positions: Array.from(positions), colours: Array.from(colours) };"""
    found = node("{ framePoints } from 'cloud.js'", body, given)
    trusted = trusted_pixels(depth, 1 / (1 + np.exp(-logit)), PointSelection())
    assert 50 < trusted.sum() < 0.8 * trusted.size
    wanted = points[trusted].astype(np.float64) @ rotation.T + [1.0, 2.0, 3.0]
    assert np.abs(np.reshape(found["positions"], (-1, 3)) - wanted).max() < 1e-5
    assert np.array_equal(np.reshape(found["colours"], (-1, 3)), rgb[trusted])


def test_the_least_depth_range_grows_in_low_pictures_as_in_exports(node: Node) -> None:
    heights = [8, 48, 64, 240, 480]
    body = "return given.heights.map((height) => usualEdge(height, given.least));"
    found = node("{ usualEdge } from 'cloud.js'", body, {"heights": heights, "least": LEAST_EDGE})
    assert found == [usual_edge(height) for height in heights]


def test_a_cloud_and_a_path_stay_within_their_bounds_and_thin_evenly(node: Node) -> None:
    body = """
      const cloud = new Cloud(10);
      const path = new Path(10);
      for (let n = 0; n < 100; n += 4) {
        const numbers = [n, n + 1, n + 2, n + 3];
        cloud.add({ positions: numbers.flatMap((m) => [m, m, m]), colours: numbers.flatMap((m) => [m, m, m]) });
        numbers.forEach((m) => path.add([m]));
        if (cloud.count > 10 || path.centres.length > 10) throw new Error(n);
      }
      const { count, positions, colours, thinnings } = cloud;
      return { thinnings, positions: Array.from(positions.subarray(0, 3 * count)),
        colours: Array.from(colours.subarray(0, 3 * count)), path: path.centres.flat() };"""
    found = node("{ Cloud, Path } from 'cloud.js'", body)
    numbers = list(range(0, 100, 16))
    assert np.array_equal(np.reshape(found["positions"], (-1, 3)), np.repeat(numbers, 3).reshape(-1, 3))
    assert found["positions"] == found["colours"]
    assert found["path"] == numbers
    assert found["thinnings"] == 4


def test_a_ply_is_read_by_its_header(node: Node, tmp_path: Path) -> None:
    positions = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    colours = np.random.default_rng(0).integers(0, 256, (7, 3), dtype=np.uint8)
    body = """
      const file = plyFile({ positions: given.positions.flat(), colours: given.colours.flat(), count: 5 });
      return Buffer.from(await file.arrayBuffer()).toString("base64");"""
    found = node("{ plyFile } from 'ply.js'", body, {"positions": positions, "colours": colours})
    (tmp_path / "cloud.ply").write_bytes(base64.b64decode(found))
    rows = read_ply(tmp_path / "cloud.ply")
    assert np.array_equal(np.stack([rows[axis] for axis in "xyz"], -1), positions)
    assert np.array_equal(np.stack([rows[name] for name in ("red", "green", "blue")], -1), colours[:5])


def read_ply(path: Path) -> np.ndarray:
    """The vertices of a binary PLY, by the properties that its header names."""
    header, _, content = path.read_bytes().partition(b"end_header\n")
    lines = header.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    types = {"float": "<f4", "uchar": "u1"}
    properties = [line.split()[1:] for line in lines if line.startswith("property")]
    row = np.dtype([(name, types[kind]) for kind, name in properties])
    count = int(next(line for line in lines if line.startswith("element vertex")).split()[-1])
    assert len(content) == count * row.itemsize
    return np.frombuffer(content, row)


def test_depth_has_the_colours_of_the_report(node: Node) -> None:
    depth = np.random.default_rng(0).uniform(0.5, 9, (6, 20)).astype(np.float32)
    depth[2, 3] = 0
    body = "return Array.from(depthColours(Float32Array.from(given.depth.flat()), given.stops));"
    found = node("{ depthColours } from 'colours.js'", body, {"depth": depth, "stops": DEPTH_COLOURS})
    known = np.sort(depth[depth > 0])
    near, far = (known[int(share * (len(known) - 1))] for share in (0.05, 0.95))
    wanted = depth_colours(depth, near=float(near), far=float(far))
    pixels = np.reshape(found, (6, 20, 4)).astype(int)
    assert np.abs(pixels[..., :3] - wanted).max() <= 1
    assert (pixels[..., 3] == 255).all()


def test_a_fast_camera_is_thinned_evenly_and_what_has_no_room_is_counted(node: Node) -> None:
    body = """
      let [shown, lost] = [-1, 0];
      const video = { requestVideoFrameCallback: (resolve) => resolve((++shown * 1000) / 30) };
      const reader = { read: () => shown };
      const options = { rate: 10, isWanted: () => shown < 300, hasRoom: () => shown < 150, dropped: () => lost++ };
      const found = [];
      for await (const { frame } of cameraPictures(video, reader, options)) found.push(frame);
      return { found, lost };"""
    result = node("{ cameraPictures } from 'source.js'", body)
    steps = np.diff(result["found"])
    assert 45 <= len(result["found"]) <= 52
    assert set(steps.tolist()) <= {2, 3, 4}
    assert 45 <= result["lost"] <= 52


def test_a_camera_that_stalls_can_be_stopped(node: Node) -> None:
    body = """
      let asked = 0;
      const options = { rate: 10, isWanted: () => asked++ < 1, hasRoom: () => true, dropped: () => {} };
      for await (const one of cameraPictures({ requestVideoFrameCallback: () => {} }, null, options)) return one;
      return asked;"""
    assert node("{ cameraPictures } from 'source.js'", body) == 2
