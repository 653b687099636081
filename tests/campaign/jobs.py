"""The jobs that are interrupted and made to fail: commands, their inputs, and what must hold of what they leave."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from campaign.zygote import Case, Outcome, Zygote
from datasets.official_layouts import plain

from openloger.recording import Recording, open_recording
from openloger.training.metrics import read_metrics

OPTIONS = ("--network", "pocket", "--weights", "random", "--device", "cpu", "--size", "16", "16")
WINDOWS = ("--window", "8", "--overlap", "3", "--keyframes", "all")
FRAMES = 18  # three windows; a chunk of pictures, and one that stays unfinished
TRAINING = """\
preset = "pocket"
render_workers = 0
log_every = 1
save_every = 1
[validation]
every = 0
[[stages]]
name = "a"
steps = 2
[stages.clips]
batch = 1
pool = 1
size = [32, 40]
rendered = 2
frames = [2]
"""
EXPECTED_CODES = {0, 2}  # done, or refused in a line


@dataclass(frozen=True)
class Bench:
    """The inputs, and the results of runs that nothing disturbed."""

    folder: Path
    zygote: Zygote

    @cached_property
    def video(self) -> Path:
        from frames.frame_clips import write_video

        return write_video(self.folder / "walk.mp4", FRAMES, encoder={"g": "1"})

    @cached_property
    def whole(self) -> Path:
        """The whole recording."""
        return self._made("whole", ())

    @cached_property
    def dataset(self) -> Path:
        """Two short sequences with cameras and depth."""
        folder = self.folder / "dataset"
        for name in ("a", "b"):
            plain(folder / name)
        return folder

    @cached_property
    def poses(self) -> Path:
        """The whole recording's cameras in another unit, as KITTI writes them."""
        cameras = self.expected.world_from_cam[:, :3].copy()
        cameras[..., 3] *= 3
        np.savetxt(path := self.folder / "poses.txt", cameras.reshape(-1, 12))
        return path

    @cached_property
    def expected(self) -> Recording:
        """The whole recording, opened once."""
        return open_recording(self.whole)

    @cached_property
    def interrupted(self) -> Path:
        """A recording that was stopped after some windows, with its state."""
        from openloger.network import load_network
        from openloger.pipeline.options import RunOptions
        from openloger.pipeline.reconstruct import reconstruct

        seen: list[object] = []
        options = RunOptions(on_progress=seen.append, should_stop=lambda: len(seen) == 2)
        network = load_network("pocket", weights="random", device="cpu", dtype="float32")
        cut = {"window": 8, "overlap": 3, "size": (16, 16), "keyframes": "all"}
        reconstruct(self.video, self.folder / "cut", network=network, options=options, **cut)
        return self.folder / "cut"

    @cached_property
    def training(self) -> Path:
        """The file of a run of two steps, each with a checkpoint."""
        (path := self.folder / "run.toml").write_text(TRAINING)
        return path

    @cached_property
    def trained(self) -> Path:
        """The run's folder. Its clips are kept for the others. It is made in a copy: autograd's threads survive no
        fork."""
        (made := self.folder / "trainings").mkdir()
        done = self.zygote.run(Case(training(self, made)))[0]
        assert done.code == 0, done.said
        return made / "run"

    def _made(self, name: str, more: tuple[str, ...]) -> Path:
        out = self.folder / name
        self.zygote.rehearse(*reconstruction(self.video, out, *more))
        return out


def reconstruction(video: Path, out: Path, *more: str) -> tuple[str, ...]:
    """The command that makes a recording."""
    return ("reconstruct", str(video), "-o", str(out), *OPTIONS, *WINDOWS, *more)


def assert_prefix(recording: Recording, whole: Recording) -> None:
    """Every committed frame is that of the whole recording."""
    count = len(recording)
    assert count <= len(whole)
    assert not recording.complete or count == len(whole)
    assert recording.names == whole.names[:count]
    np.testing.assert_array_equal(recording.world_from_cam, whole.world_from_cam[:count])
    for number in range(count):
        np.testing.assert_array_equal(recording.depth(number), whole.depth(number))
        np.testing.assert_array_equal(recording.rgb(number), whole.rgb(number))


@dataclass(frozen=True)
class Job:
    """A command in an empty folder `desk`, and what may be found there afterwards."""

    prepare: Callable[[Bench, Path], None]
    command: Callable[[Bench, Path], tuple[str, ...]]
    check: Callable[[Bench, Path, Outcome], None]


def _check_recording(bench: Bench, desk: Path, outcome: Outcome) -> None:
    """Committed frames are right, and --resume makes the rest."""
    out = desk / "walk"
    if (out / "meta.json").is_file():
        assert_prefix(open_recording(out), bench.expected)
    if outcome.code == 0:
        assert open_recording(out).complete
    again = bench.zygote.run(Case(reconstruction(bench.video, out, "--resume")))[0]
    assert again.code == 0, f"it cannot be resumed: {again.said}"
    assert_prefix(recording := open_recording(out), bench.expected)
    assert recording.complete
    leftovers = [path.name for path in out.rglob("*.partial")]
    assert not leftovers, leftovers


def _check_replacing(bench: Bench, desk: Path, outcome: Outcome) -> None:
    """It is whole, or --overwrite once more makes it whole."""
    out = desk / "walk"
    if outcome.code == 0:
        assert open_recording(out).complete
        assert_prefix(open_recording(out), bench.expected)
        return
    again = bench.zygote.run(Case(reconstruction(bench.video, out, "--overwrite")))[0]
    assert again.code == 0, f"it cannot be begun again: {again.said}"
    assert_prefix(open_recording(out), bench.expected)


def _check_output(name: str) -> Callable[[Bench, Path, Outcome], None]:
    def check(bench: Bench, desk: Path, outcome: Outcome) -> None:
        """The old output or the new one, whole; and once more makes the new one."""
        found = _contents(desk / name)
        new = _contents(_export_of(bench, name))
        if outcome.code == 0:
            assert found == new, "said to be done, and it is not"
        else:
            assert found in ({}, new), f"half an output: {sorted(found)}"
        command = (*_exporting(name)(bench, desk), "--overwrite")
        again = bench.zygote.run(Case(command))[0]
        assert again.code == 0, f"it cannot be written again: {again.said}"
        assert _contents(desk / name) == new

    return check


def _export_of(bench: Bench, name: str) -> Path:
    made = bench.folder / "exports"
    if not (made / name).exists():
        made.mkdir(exist_ok=True)
        bench.zygote.rehearse(*_exporting(name)(bench, made))
    return made / name


def _exporting(name: str) -> Callable[[Bench, Path], tuple[str, ...]]:
    def command(bench: Bench, desk: Path) -> tuple[str, ...]:
        if name == "report.html":
            return ("report", str(bench.whole), "--out", str(desk / name))
        return ("export", str(bench.whole), "--to", Path(name).suffix[1:] or name, "--out", str(desk / name))

    return command


def _contents(path: Path) -> dict[str, bytes]:
    """Without the list of files, which holds hashes alone."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    kept = (file for file in files if not file.name.startswith(".openloger"))
    return {str(file.relative_to(path)): file.read_bytes() for file in kept}


def _correcting(bench: Bench, desk: Path) -> tuple[str, ...]:
    return ("align", str(desk / "walk"), "--poses", str(bench.poses))


def _check_correction(bench: Bench, desk: Path, outcome: Outcome) -> None:
    """What was recorded is as it was; the correction is whole or absent, and can be given again."""
    walk = desk / "walk"
    assert_prefix(open_recording(walk, corrected=False), bench.expected)
    recorded, found = _contents(bench.whole), _contents(walk)
    assert {name: found.get(name) for name in recorded} == recorded
    if outcome.code == 0:
        assert set(found) - set(recorded), "said to be done, and there is no correction"
    more = ("align", str(walk), "--undo") if set(found) - set(recorded) else _correcting(bench, desk)
    again = bench.zygote.run(Case(more))[0]
    assert again.code == 0, f"it cannot be corrected, or no more be undone: {again.said}"
    assert (_contents(walk) == recorded) == ("--undo" in more)


def _packing(bench: Bench, desk: Path) -> tuple[str, ...]:
    small = ("--threads", "1", "--shard-gb", "1e-9")  # a shard a sequence
    return ("datasets", "pack", "folder", str(bench.dataset), "-o", str(desk / "packed"), *small)


def _check_pack(bench: Bench, desk: Path, outcome: Outcome) -> None:
    """What lies there is a part of the pack, and --resume makes the rest."""
    made = bench.folder / "packs"
    if not made.exists():
        made.mkdir()
        bench.zygote.rehearse(*_packing(bench, made))
    whole, found = _contents(made / "packed"), _contents(desk / "packed")
    shards = {name: content for name, content in found.items() if not name.startswith(".")}  # no drafts
    assert {name: whole.get(name) for name in shards} == shards, f"not a part of it: {sorted(shards)}"
    if outcome.code == 0:
        assert found == whole, "said to be done, and it is not"
    again = bench.zygote.run(Case((*_packing(bench, desk), "--resume")))[0]
    assert again.code == 0, f"it cannot be resumed: {again.said}"
    found = _contents(desk / "packed")
    assert found == whole, f"it is another: {sorted(found)}"


def training(bench: Bench, desk: Path) -> tuple[str, ...]:
    """The command that trains in `desk`."""
    clips = ("--clip-cache", str(bench.folder / "clips"))
    return ("train", str(bench.training), "--out", str(desk / "run"), "--device", "cpu", *clips)


def _check_training(bench: Bench, desk: Path, outcome: Outcome) -> None:
    """--resume goes on from the last whole step, to the same weights."""
    if outcome.code == 0:
        assert _weights(desk) == _weights(bench.trained.parent), "said to be done, and it is not"
    again = bench.zygote.run(Case((*training(bench, desk), "--resume")))[0]
    assert again.code == 0, f"it cannot be resumed: {again.said}"
    assert _weights(desk) == _weights(bench.trained.parent), "it is another"
    assert [line["step"] for line in read_metrics(desk / "run" / "metrics.jsonl", "train")] == [1, 2]


def _weights(desk: Path) -> bytes:
    return (desk / "run" / "weights.safetensors").read_bytes()


def _nothing(bench: Bench, desk: Path) -> None:
    desk.mkdir()


def _copy_of(which: str) -> Callable[[Bench, Path], None]:
    def prepare(bench: Bench, desk: Path) -> None:
        desk.mkdir()
        shutil.copytree(getattr(bench, which), desk / "walk")

    return prepare


def _making(*more: str) -> Callable[[Bench, Path], tuple[str, ...]]:
    return lambda bench, desk: reconstruction(bench.video, desk / "walk", *more)


JOBS: dict[str, Job] = {
    "reconstruct": Job(_nothing, _making(), _check_recording),
    "resume": Job(_copy_of("interrupted"), _making("--resume"), _check_recording),
    "overwrite": Job(_copy_of("whole"), _making("--overwrite"), _check_replacing),
    "export ply": Job(_nothing, _exporting("a.ply"), _check_output("a.ply")),
    "export colmap": Job(_nothing, _exporting("colmap"), _check_output("colmap")),
    "export glb": Job(_nothing, _exporting("a.glb"), _check_output("a.glb")),
    "align": Job(_copy_of("whole"), _correcting, _check_correction),
    "pack": Job(_nothing, _packing, _check_pack),
    "train": Job(_nothing, training, _check_training),
    "report": Job(_nothing, _exporting("report.html"), _check_output("report.html")),
}
