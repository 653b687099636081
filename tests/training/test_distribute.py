"""Two processes learn what one does: the lanes of a step are the same, whoever takes them."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict_loader import load

from openloger.errors import InputError
from openloger.training.checkpoint import latest_checkpoint, read_progress
from openloger.training.distribute import Ranks
from openloger.training.metrics import read_metrics
from openloger.training.sharded import is_sharded

from .many import STEPS, main

pytestmark = [
    pytest.mark.timeout(900),  # 15 s of work a run, on a machine that may be busy
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled"),  # of the reader of checkpoints here
]


KINDS = ("ddp", "fsdp", "fsdp-shared")


def start(out: Path, kind: str, stage: str, steps: int = STEPS, **options: int | None) -> Path:
    """The run of `many.py` by two or more processes under torchrun."""
    start_all([(out, kind, stage, steps)], **options)
    return out


def start_all(runs: Iterable[tuple[Path, str, str, int]], *, processes: int = 2, dying: int | None = None) -> None:
    """One run after the other by the same processes, which take longer to start than to train."""
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "DYING_RANK": str(dying)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    arguments = [str(Path(__file__).with_name("many.py")), *(str(part) for run in runs for part in run)]
    done = subprocess.run([*command, *arguments], env=quiet, capture_output=True, text=True, timeout=800, check=False)
    assert (done.returncode == 0) == (dying is None), done.stderr[-3000:]


def losses(out: Path) -> torch.Tensor:
    return torch.tensor([line["loss"] for line in read_metrics(out / "metrics.jsonl", "train")])


def weights(out: Path) -> torch.Tensor:
    path = latest_checkpoint(out / "checkpoints")
    assert path is not None
    state: dict[str, torch.Tensor] = {}
    if is_sharded(path):
        reader = FileSystemReader(path / "sharded")
        listed = reader.read_metadata().state_dict_metadata
        state = {name: torch.empty(one.size) for name, one in listed.items() if name.startswith("weight.")}
        load(state, storage_reader=reader, no_dist=True)
    for shard in sorted(path.glob("state-*.safetensors")):
        state |= load_file(shard)
    return torch.cat([state[name].double().flatten() for name in sorted(state) if name.startswith("weight.")])


def assert_the_same_run(out: Path, other: Path, first: torch.Tensor) -> None:
    """The losses are. Weights whose gradient is 0 but for rounding, as of `heads.camera.translation.bias`, which moves
    all cameras alike, are moved by Adam as far as the others, in a direction that rounding decides."""
    assert len(losses(out)) == len(losses(other)) == STEPS
    torch.testing.assert_close(losses(out), losses(other), rtol=1e-5, atol=0)
    moved = (weights(other) - first).norm()
    assert (weights(out) - weights(other)).norm() < 0.01 * moved
    here, there = (read_metrics(run / "metrics.jsonl", "validation")[-1] for run in (out, other))
    assert here["frames"] == there["frames"]
    for name in ("abs_rel", "rotation_deg", "direction_deg"):
        assert here[name] == pytest.approx(there[name], rel=1e-3), name


def alone(folder: Path, stage: str) -> tuple[Path, torch.Tensor]:
    """One process: its folder, and the weights before the first step."""
    main(folder / "untouched", "ddp", stage, 0)
    main(folder / "alone", "ddp", stage, STEPS)
    return folder / "alone", weights(folder / "untouched")


@pytest.fixture(scope="module")
def chained(tmp_path_factory):
    return alone(tmp_path_factory.mktemp("chained"), "chained")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return alone(tmp_path_factory.mktemp("pairs"), "pairs")


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The folder of the runs by two processes: whole ones, one that they begin, and one that they end."""
    out = tmp_path_factory.mktemp("together")
    main(out / "ended", "fsdp", "pairs", 2)
    runs = [(out / kind, kind, "chained", STEPS) for kind in KINDS]
    start_all([*runs, (out / "begun", "fsdp", "pairs", 2), (out / "ended", "fsdp", "pairs", STEPS)])
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_equal_one(together, chained, kind):
    assert_the_same_run(together / kind, *chained)


@pytest.mark.slow
def test_two_processes_that_share_windows_under_ddp_equal_one(chained, tmp_path):
    assert_the_same_run(start(tmp_path, "ddp-shared", "chained"), *chained)


def test_a_sharded_run_goes_on_in_one_process(together, pairs):
    main(together / "begun", "ddp", "pairs", STEPS)
    assert_the_same_run(together / "begun", *pairs)


def test_what_one_process_left_two_go_on_with(together, pairs):
    assert_the_same_run(together / "ended", *pairs)


@pytest.mark.parametrize("dying", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_where_a_process_dies_the_job_ends_with_the_step_kept(dying, pairs, tmp_path):
    start(tmp_path / "moving", "ddp", "pairs", dying=dying)
    path = latest_checkpoint(tmp_path / "moving" / "checkpoints")
    assert path is not None
    assert read_progress(path).total_step == 3
    main(tmp_path / "moving", "ddp", "pairs", STEPS)
    assert_the_same_run(tmp_path / "moving", *pairs)


@pytest.mark.slow
def test_where_a_process_with_a_shard_dies_the_run_goes_on_from_the_last_checkpoint(pairs, tmp_path):
    start(tmp_path / "moving", "fsdp-saved", "pairs", dying=1)
    path = latest_checkpoint(tmp_path / "moving" / "checkpoints")
    assert path is not None
    assert is_sharded(path)
    assert read_progress(path).total_step == 2
    main(tmp_path / "moving", "fsdp", "pairs", STEPS)
    assert_the_same_run(tmp_path / "moving", *pairs)


def test_lanes_are_shared_out_or_refused():
    cpu = torch.device("cpu")
    assert [list(Ranks(rank, 2, cpu).lanes(4)) for rank in (0, 1)] == [[0, 2], [1, 3]]
    with pytest.raises(InputError, match=r"\b3 lanes.*\b2\b"):
        Ranks(0, 2, cpu).lanes(3)


def test_processes_that_share_windows_have_the_same_lanes():
    cpu = torch.device("cpu")
    assert [list(Ranks(rank, 4, cpu, context=2).lanes(4)) for rank in range(4)] == [[0, 2], [0, 2], [1, 3], [1, 3]]
    with pytest.raises(InputError, match=r"5 lanes.* 4 processes of which 2 share each; .*a multiple of 2"):
        Ranks(0, 4, cpu, context=2).lanes(5)
    with pytest.raises(InputError, match=r"context_parallel = 3: 4 processes"):
        Ranks(0, 4, cpu, context=3).lanes(12)
