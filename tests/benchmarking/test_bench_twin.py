"""The naive twin does the same, and more often; and a difference between two results would be seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from openloger.benchmarking import BenchmarkNetwork, MovingPicture, write_clip
from openloger.benchmarking.presets import PresetsSettings, combinations
from openloger.benchmarking.serial import STAGES, StageClock, reconstruct_serially
from openloger.benchmarking.stages import StagesSettings, measure_stages
from openloger.benchmarking.twin import TwinSettings, differences, forgetful, measure_twin, summarise
from openloger.errors import InputError
from openloger.frames import open_frames
from openloger.network import Network, load_network
from openloger.pipeline.options import RunOptions
from openloger.pipeline.reconstruct import reconstruct
from openloger.recording import open_recording

POCKET = BenchmarkNetwork("pocket", device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 14, size=(48, 64))


def frames_encoded(network: Network, source: Path, out: Path) -> int:
    counted: list[int] = []
    hook = network.encoder.register_forward_pre_hook(lambda _, inputs: counted.append(len(inputs[0])))
    reconstruct_serially(open_frames(source), out, network, clock=StageClock())
    hook.remove()
    return sum(counted)


def test_the_twin_forgets_features_and_nothing_else(clip: Path, tmp_path: Path) -> None:
    network = load_network("pocket", device="cpu")
    assert frames_encoded(network, clip, tmp_path / "ours") == 14
    assert frames_encoded(forgetful(network), clip, tmp_path / "naive") == 8 + 8  # two windows, two frames twice
    apart = differences(open_recording(tmp_path / "ours"), open_recording(tmp_path / "naive"))
    assert apart["agree"]


def test_both_run_and_agree(clip: Path) -> None:
    told: list[int] = []
    found = measure_twin(POCKET, TwinSettings(repeats=1), video=clip, on_progress=lambda p: told.append(p.frames))
    assert told == [1, 2, 3, 4]
    assert (found["frames"], found["repeats"]) == (14, 1)
    assert found["agree"]
    assert found["ratio"] == pytest.approx(found["pipelined_frames_per_s"] / found["naive_frames_per_s"])


def test_another_result_is_not_called_the_same(clip: Path, tmp_path: Path) -> None:
    options = RunOptions(depth_dtype="float32")
    trained = reconstruct(clip, tmp_path / "trained", network=load_network("pocket", device="cpu"), options=options)
    random = load_network("pocket", weights="random", device="cpu")
    other = reconstruct(clip, tmp_path / "random", network=random, options=options)
    assert differences(trained, trained)["identical"]
    assert not differences(trained, other)["agree"]
    shorter = reconstruct(MovingPicture(9, (48, 64)), tmp_path / "shorter", network=random, options=options)
    assert not differences(trained, shorter)["agree"]


def test_ratios_are_of_neighbours() -> None:
    found = summarise(10, [1.0, 2.0, 4.0], [2.0, 4.0, 4.0])
    assert (found["ratio"], found["ratio_least"], found["ratio_most"]) == (2.0, 1.0, 2.0)
    assert found["pipelined_frames_per_s"] == 5.0


def test_stages_of_a_real_run_are_its_whole(clip: Path) -> None:
    found = measure_stages(POCKET, StagesSettings(repeats=1), video=clip)
    assert tuple(found["share"]) == STAGES
    assert all(share > 0 for share in found["share"].values())
    assert sum(found["share"].values()) == pytest.approx(found["parts_of_whole"])
    assert found["parts_of_whole"] <= 1
    whole = sum(found["ms_per_frame"][name] for name in STAGES) / found["parts_of_whole"]
    assert whole == pytest.approx(found["ms_per_frame"]["whole"])


def test_combinations() -> None:
    asked = PresetsSettings(presets=("pocket",), devices=("cpu", "cuda:1"))
    assert combinations(asked) == [
        ("pocket", "float32", "cpu"),
        ("pocket", "bfloat16", "cpu"),
        ("pocket", "float32", "cuda:1"),
        ("pocket", "bfloat16", "cuda:1"),
        ("pocket", "float16", "cuda:1"),
    ]
    assert len(combinations(PresetsSettings(devices=("cpu",), precisions=("float32",)))) == 2
    with pytest.raises(InputError, match="giant"):
        combinations(PresetsSettings(presets=("giant",)))
    with pytest.raises(InputError, match="abacus"):
        combinations(PresetsSettings(devices=("abacus",)))


@pytest.mark.parametrize("settings", [TwinSettings(repeats=0), StagesSettings(repeats=0)])
def test_no_repeats_are_refused(settings: TwinSettings | StagesSettings) -> None:
    measure = measure_twin if isinstance(settings, TwinSettings) else measure_stages
    with pytest.raises(InputError, match="repeats 0"):
        measure(POCKET, settings)
