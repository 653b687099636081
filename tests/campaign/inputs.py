"""Every kind of input: how a whole one is made, and everything that is done with a harmed one.

Whatever a file holds, using it gives a result or an `OpenlogerError`; anything else is a fault.
"""

from __future__ import annotations

import importlib
import io
import json
import pkgutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from campaign import side_inputs as side
from campaign.mutations import BINARY, JSON, TEXT, Mutation
from frames.calibrations import KALIBR, OPENCV

from openloger.errors import OpenlogerError

MOST_FRAMES = 60  # of a harmed source, which may go on for ever


@dataclass(frozen=True)
class Kind:
    """A kind of input."""

    make: Callable[[Path], Iterable[Path]]  # into an empty folder; gives the files to be harmed
    use: Callable[[Path], Any]  # of the folder
    mutations: tuple[Mutation, ...]


def used(kind: str, folder: Path) -> str:
    """The outcome of using an input: a word, or the line that refused it. Anything else is raised."""
    try:
        KINDS[kind].use(folder)
    except OpenlogerError as error:
        text = str(error)
        assert "\n" not in text, f"more than a line: {text!r}"
        assert len(text) < 2000, f"a line of {len(text)} letters"
        return f"refused: {text}"
    return "used"


def import_all() -> None:
    """Every module of the package that a case may need."""
    import openloger

    passed_over = {"openloger.__main__", "openloger.benchmarking.child"}
    for module in pkgutil.walk_packages(openloger.__path__, "openloger."):
        if module.name not in passed_over:
            importlib.import_module(module.name)
    import numcodecs
    import zarr

    assert zarr is not None
    assert numcodecs is not None


# ------------------------------------------------------------------------------------------------ videos and pictures


def _video(name: str, codec: str, **settings: Any) -> Kind:
    def make(folder: Path) -> list[Path]:
        from frames.frame_clips import write_video

        return [write_video(folder / name, 12, codec=codec, **settings)]

    return Kind(make, lambda folder: _read_frames(folder / name), BINARY)


def _picture(name: str, **settings: Any) -> Kind:
    def make(folder: Path) -> list[Path]:
        from frames.frame_clips import numbered
        from PIL import Image

        pictures = [Image.fromarray(numbered(number, 48, 64)) for number in range(3)]
        if settings.get("mode"):
            pictures = [Image.fromarray(np.asarray(one)[..., 0].astype(np.uint16) * 200) for one in pictures]
        others = {"save_all": True, "append_images": pictures[1:]} if settings.get("moves") else {}
        pictures[0].save(folder / name, **others)
        return [folder / name]

    return Kind(make, lambda folder: _read_frames(folder / name), BINARY)


def _read_frames(source: Any) -> None:
    from openloger.frames import open_frames

    for bad in ("skip", "stop"):
        opened = open_frames(source, on_bad_frame=bad)
        assert opened.length is None or opened.length >= 0
        for frame in islice(opened, MOST_FRAMES):
            assert frame.rgb.dtype == np.uint8
            assert np.isfinite(frame.timestamp_s)


def _make_list(folder: Path) -> list[Path]:
    from frames.frame_clips import write_pictures

    paths = write_pictures(folder / "pictures", 4)
    lines = [f"{1305031102.05 + number / 30:.6f} pictures/{path.name}" for number, path in enumerate(paths)]
    (folder / "rgb.txt").write_text("# time path\n" + "\n".join(lines) + "\n")
    return [folder / "rgb.txt"]


def _make_times(folder: Path) -> list[Path]:
    from frames.frame_clips import write_pictures

    write_pictures(folder, 4)
    (folder / "timestamps.txt").write_text("0.0\n0.033\n0.066\n0.1\n")
    return [folder / "timestamps.txt"]


def _make_zip(folder: Path) -> list[Path]:
    from frames.frame_clips import numbered
    from PIL import Image

    with zipfile.ZipFile(folder / "pictures.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            data = io.BytesIO()
            Image.fromarray(numbered(number, 48, 64)).save(data, "png")
            archive.writestr(f"f{number}.png", data.getvalue())
    return [folder / "pictures.zip"]


def _use_live(folder: Path) -> None:
    from openloger.frames.live import LiveOptions, Patience, open_live

    options = LiveOptions(most_frames=MOST_FRAMES, patience=Patience(stall_s=0.5, idle_s=0.05, reconnect_s=0.0))
    for _ in islice(open_live(str(folder / "clip.ts"), options=options), MOST_FRAMES):
        pass


# -------------------------------------------------------------------------------------------------------- recordings


def write_recording(folder: Path, frames: int = 20, **meta: object) -> None:
    """A finished recording of known values."""
    from recording import recorded_values as values

    from openloger.recording import create_recording

    with create_recording(folder, values.meta(**meta)) as writer:
        for placed in values.placed_windows(frames):
            writer.append(placed)
        writer.finish()


def _recording_file(pattern: str, mutations: tuple[Mutation, ...], **meta: object) -> Kind:
    def make(folder: Path) -> list[Path]:
        write_recording(folder / "walk", **meta)
        return [path for path in (folder / "walk").rglob(pattern) if path.is_file()]

    return Kind(make, _use_recording, mutations)


def _without_copy(kind: Kind) -> Kind:
    """A recording from before `meta.json` was there twice: now its copy would be read instead."""

    def make(folder: Path) -> Iterable[Path]:
        files = kind.make(folder)
        (folder / "walk" / "meta.copy.json").unlink()
        return files

    return Kind(make, kind.use, kind.mutations)


def _use_recording(folder: Path) -> None:
    from openloger.export import export_recording
    from openloger.recording import open_recording, resume_recording
    from openloger.viewing.report.summary import summarise

    recording = open_recording(folder / "walk")
    for name in ("world_from_cam", "intrinsics", "residual_px", "timestamps_s", "source_index", "names", "windows"):
        assert len(getattr(recording, name)) >= 0
    for number in {0, len(recording) // 2, len(recording) - 1} - {-1}:
        recording.frame(number)
    summarise(recording)
    if len(recording):
        export_recording(recording, "tum", folder / "walk.tum", overwrite=True)
        export_recording(recording, "ply", folder / "walk.ply", overwrite=True)
    resume_recording(folder / "walk", recording.meta, frames=max(0, len(recording) - 3)).close()


def _make_state(folder: Path) -> list[Path]:
    from openloger.network import load_network
    from openloger.pipeline.options import RunOptions
    from openloger.pipeline.reconstruct import reconstruct

    frames = np.random.default_rng(0).integers(0, 256, (20, 40, 48, 3), dtype=np.uint8)
    seen: list[object] = []
    options = RunOptions(on_progress=seen.append, should_stop=lambda: len(seen) == 2)
    network = load_network("pocket", weights="random", device="cpu", dtype="float32")
    reconstruct(list(frames), folder / "walk", network=network, window=6, overlap=2, size=(40, 48), options=options)
    return [folder / "walk" / "state.safetensors"]


def _use_state(folder: Path) -> None:
    from openloger.network import NetworkSpec
    from openloger.pipeline.options import RunOptions
    from openloger.pipeline.reconstruct import reconstruct

    frames = np.random.default_rng(0).integers(0, 256, (20, 40, 48, 3), dtype=np.uint8)
    network = NetworkSpec("pocket", "random", "cpu", "float32").load()
    options = RunOptions(existing="resume")
    reconstruct(list(frames), folder / "walk", network=network, window=6, overlap=2, size=(40, 48), options=options)


# -------------------------------------------------------------------------------------- weights, settings, datasets


def _make_weights(folder: Path) -> list[Path]:
    from openloger.network import load_network, save_network

    save_network(load_network("pocket", weights="random", device="cpu"), folder / "pocket.safetensors")
    return [folder / "pocket.safetensors"]


def _make_pickled(folder: Path) -> list[Path]:
    import torch

    from openloger.network import load_network

    torch.save(load_network("pocket", weights="random", device="cpu").state_dict(), folder / "pocket.pt")
    return [folder / "pocket.pt"]


def _use_weights(folder: Path) -> None:
    from openloger.network import load_network

    load_network("pocket", weights=str(next(folder.glob("pocket.*"))), device="cpu")


def _head(mutation: Mutation) -> Mutation:
    """Only of the first bytes, where a large file says what it is."""

    def of_the_head(data: bytes, draw: Any) -> bytes:
        return mutation(data[:4096], draw) + data[4096:]

    return of_the_head


HEAD = tuple(map(_head, BINARY))


def _make_config(folder: Path) -> list[Path]:
    text = 'preset = "pocket"\nseed = 3\nprecision = "float32"\n\n[optimiser]\nkind = "muon"\nbetas = [0.9, 0.95]\n'
    (folder / "c.toml").write_text(text + "clip = 2.5\n\n[validation]\nevery = 100\nclips = 2\n")
    return [folder / "c.toml"]


def _use_config(folder: Path) -> None:
    from openloger.training.config import as_dict, load_config

    json.dumps(as_dict(load_config(folder / "c.toml")))


def _make_truth(folder: Path) -> list[Path]:
    write_recording(folder / "walk")
    lines = [f"{number / 30:.6f} {number * 0.1} 0.5 1.5 0 0 0 1" for number in range(20)]
    (folder / "tum.txt").write_text("\n".join(lines) + "\n")
    rows = [f"1 0 0 {number * 0.1} 0 1 0 0.5 0 0 1 1.5 0 0 0 1" for number in range(20)]
    (folder / "plain.txt").write_text("\n".join(rows) + "\n")
    return [folder / "tum.txt", folder / "plain.txt"]


def _use_truth(folder: Path) -> None:
    from openloger.cli.arguments import true_cameras
    from openloger.recording import open_recording

    for name in ("tum.txt", "plain.txt"):
        true_cameras(folder / name)(open_recording(folder / "walk"))


def _dataset(layout: str) -> Kind:
    def root(folder: Path) -> Path:
        return folder / "packed" if layout == "packed" else folder  # beside what it was packed from

    def make(folder: Path) -> Iterator[Path]:
        from datasets import official_layouts

        official_layouts.LAYOUTS[layout][1](folder)
        return (path for path in sorted(root(folder).rglob("*")) if path.is_file())

    def use(folder: Path) -> None:
        from datasets import official_layouts

        from openloger.datasets import open_dataset

        for _, sequence in open_dataset(official_layouts.LAYOUTS[layout][0], root(folder)).items():
            for frame in islice(sequence, MOST_FRAMES):
                assert frame.rgb.ndim == 3
            for number in range(min(sequence.length or 0, MOST_FRAMES)):
                _ = (sequence[number].depth, sequence[number].world_from_cam, sequence[number].intrinsics)

    return Kind(make, use, (*TEXT, *BINARY))


def _make_checkpoint(folder: Path) -> list[Path]:
    import torch
    from safetensors.torch import save_file

    from openloger.outputs import staged_folder
    from openloger.training.checkpoint import TrainingProgress

    with staged_folder(folder / "step-00000010", made_by="train") as draft:
        save_file({"a": torch.zeros(100)}, draft / "state-000.safetensors")
        (draft / "state.json").write_text(json.dumps(asdict(TrainingProgress("one", 10, 10, 1.0, 100))))
    (folder / "latest").write_text("step-00000010")
    return [path for path in folder.rglob("*") if path.is_file()]


def _use_checkpoint(folder: Path) -> None:
    from openloger.training.checkpoint import latest_checkpoint, read_progress

    path = latest_checkpoint(folder)
    if path is not None:
        read_progress(path)


KINDS: dict[str, Kind] = {
    "mp4": _video("clip.mp4", "libx264"),
    "hevc": _video("clip.mp4", "libx265"),
    "mkv": _video("clip.mkv", "libx264"),
    "webm": _video("clip.webm", "libvpx-vp9"),
    "avi": _video("clip.avi", "mjpeg", encoder={"strict": "unofficial"}),
    "ts": _video("clip.ts", "libx264"),
    "gif": _picture("clip.gif", moves=True),
    "apng": _picture("clip.png", moves=True),
    "webp": _picture("clip.webp", moves=True),
    "png": _picture("one.png"),
    "png16": _picture("one.png", mode="16"),
    "jpeg": _picture("one.jpg"),
    "tiff": _picture("one.tif"),
    "bmp": _picture("one.bmp"),
    "ppm": _picture("one.ppm"),
    "jp2": _picture("one.jp2"),
    "tga": _picture("one.tga"),
    "list": Kind(_make_list, lambda folder: _read_frames(folder / "rgb.txt"), TEXT),
    "times": Kind(_make_times, _read_frames, TEXT),
    "zip": Kind(_make_zip, lambda folder: _read_frames(folder / "pictures.zip"), BINARY),
    "live": Kind(_video("clip.ts", "libx264").make, _use_live, BINARY),
    "meta.json": _without_copy(_recording_file("meta.json", JSON)),
    "committed.json": _recording_file("committed.json", JSON),
    "windows.jsonl": _recording_file("windows.jsonl", JSON),
    "lens.jsonl": _recording_file("windows.jsonl", JSON, lens="fixed"),
    "names.jsonl": _recording_file("names.jsonl", JSON),
    "zarr.json": _recording_file("zarr.json", JSON),
    "chunks": _recording_file("c.*", BINARY),
    "state": Kind(_make_state, _use_state, (*BINARY, *HEAD)),
    "safetensors": Kind(_make_weights, _use_weights, (*HEAD, *HEAD, *BINARY[:3])),
    "pt": Kind(_make_pickled, _use_weights, (*HEAD, *BINARY)),
    "toml": Kind(_make_config, _use_config, TEXT),
    "truth": Kind(_make_truth, _use_truth, TEXT),
    "checkpoint": Kind(_make_checkpoint, _use_checkpoint, (*JSON, *BINARY)),
    **{f"dataset {name}": _dataset(name) for name in (
        "kitti", "vbr", "tum", "eth3d", "bonn", "7scenes", "scannet", "sintel", "tartanair", "tartanair-v2",
        "vkitti2", "euroc", "waymo", "unrealstereo4k", "folder", "arkitscenes", "scannetpp", "co3d", "omniworld",
        "colmap", "packed",
    )},
    "gpx": Kind(side.written("walk.gpx", side.gpx()), side.use_fixes, TEXT),
    "gps csv": Kind(side.written("walk.csv", side.fixes_csv()), side.use_fixes, TEXT),
    "poses json": Kind(side.written("poses.json", side.poses_json()), side.use_poses, JSON),
    "cameras.txt": Kind(side.written("cameras.txt", side.COLMAP), side.use_camera, TEXT),
    "kalibr": Kind(side.written("camchain.yaml", KALIBR.format(model="radtan")), side.use_camera, TEXT),
    "opencv": Kind(side.written("camera.yml", OPENCV), side.use_camera, TEXT),
    "batch table": Kind(side.written("batch.csv", side.batch_table()), side.use_batch, TEXT),
    "masks": Kind(side.make_masks, side.use_masks, BINARY),
    "bag": Kind(side.make_bag(mcap=False), side.use_bag, (*TEXT, *BINARY)),
    "mcap": Kind(side.make_bag(mcap=True), side.use_bag, (*TEXT, *BINARY)),
    "correction": Kind(side.make_corrected, side.use_corrected, JSON),
}  # fmt: skip
