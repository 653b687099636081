"""Kills, signals, a failing disk, a jumping clock, several processes: what was committed stays, and everything goes on.

The fault of every case is named by a seed, or by the number of the operation that failed.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign.faults import SEED, build_shim, counted
from campaign.jobs import EXPECTED_CODES, JOBS, Bench, assert_prefix, reconstruction
from campaign.zygote import Case, Fault, Outcome, Zygote

from openloger.recording import open_recording

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    with Zygote(build_shim(folder)) as zygote:
        yield Bench(folder, zygote)


def fresh(bench: Bench, job: str) -> Path:
    """The job's folder, as it is before."""
    desk = bench.folder / "desk"
    shutil.rmtree(desk, ignore_errors=True)
    JOBS[job].prepare(bench, desk)
    return desk


def performed(bench: Bench, job: str, **case: object) -> tuple[Path, Outcome]:
    desk = fresh(bench, job)
    fault = case.pop("fault", Fault(str(desk)))
    case = Case(JOBS[job].command(bench, desk), fault=fault, **case)  # type: ignore[arg-type]
    return desk, bench.zygote.run(case)[0]


def check(bench: Bench, job: str, desk: Path, outcome: Outcome, codes: set[int]) -> None:
    assert not outcome.hung, "it hangs"
    assert outcome.code in codes, f"exit code {outcome.code}\n{outcome.said}"
    assert "Traceback" not in outcome.said
    JOBS[job].check(bench, desk, outcome)


def collected(bench: Bench, job: str, faults: list[str], name: str, **case: object) -> None:
    """Runs and checks one case; what is wrong is noted under its name."""
    codes = case.pop("codes", EXPECTED_CODES)
    desk, outcome = performed(bench, job, **case)
    try:
        check(bench, job, desk, outcome, codes)  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001 - all cases are tried before any is reported
        faults.append(f"{name}: {type(error).__name__}: {str(error)[:1500]}")
        print(faults[-1], flush=True)


def report(faults: list[str], tried: int, job: str) -> None:
    print(f"{job}: seed {SEED}, {tried} cases, {len(faults)} faults", flush=True)
    assert not faults, f"{len(faults)} of {tried}\n" + "\n".join(faults[:8])


@pytest.mark.parametrize("job", JOBS)
def test_every_file_operation_fails_once(job: str, bench: Bench) -> None:
    """Each with EIO, and each that writes with ENOSPC."""
    faults: list[str] = []
    tried = 0
    for number, writes in ((errno.EIO, False), (errno.ENOSPC, True)):
        folder = str(bench.folder / "desk")
        _, whole = performed(bench, job, fault=Fault(folder, only_writes=writes))  # counts alone
        assert whole.code == 0, whole.said
        assert whole.operations > 5
        step = max(1, whole.operations // counted(whole.operations))
        before = len(faults)
        for at in range(SEED % step, whole.operations, step):
            name = f"{errno.errorcode[number]} at operation {at}"
            collected(bench, job, faults, name, fault=Fault(folder, at, number, only_writes=writes))
            tried += 1
            if len(faults) - before > 50:
                break
    report(faults, tried, job)


@pytest.mark.parametrize("job", JOBS)
def test_a_disk_that_stays_full(job: str, bench: Bench) -> None:
    _, whole = performed(bench, job)
    draw = random.Random(f"{SEED} full {job}")
    faults: list[str] = []
    count = counted(40)
    for _ in range(count):
        at = draw.randrange(whole.operations)
        fault = Fault(str(bench.folder / "desk"), at, errno.ENOSPC, sticky=True, only_writes=True)
        collected(bench, job, faults, f"full from write {at} on", fault=fault)
    report(faults, count, job)


@pytest.mark.parametrize("job", JOBS)
def test_killed_at_a_random_instant(job: str, bench: Bench) -> None:
    _, whole = performed(bench, job)
    draw = random.Random(f"{SEED} kill {job}")
    faults: list[str] = []
    count = counted(100 // len(JOBS) + 1)
    for _ in range(count):
        at_s = draw.uniform(0, whole.seconds)
        kill = ((at_s, int(signal.SIGKILL)),)
        collected(bench, job, faults, f"killed after {at_s:.4f} s", signals=kill, codes={0, -signal.SIGKILL})
    report(faults, count, job)


SIGNALS = {
    "Ctrl-C": ((0.0, signal.SIGINT),),
    "Ctrl-C twice": ((0.0, signal.SIGINT), (0.02, signal.SIGINT)),
    "SIGTERM": ((0.0, signal.SIGTERM),),
    "SIGTERM after Ctrl-C": ((0.0, signal.SIGINT), (0.02, signal.SIGTERM)),
}


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("kind", SIGNALS)
def test_signals_at_a_random_instant(kind: str, job: str, bench: Bench) -> None:
    _, whole = performed(bench, job)
    draw = random.Random(f"{SEED} {kind} {job}")
    faults: list[str] = []
    count = counted(10)
    for _ in range(count):
        at_s = draw.uniform(0.01, whole.seconds)
        signals = tuple((at_s + later_s, int(number)) for later_s, number in SIGNALS[kind])
        codes = {0, 130, -signal.SIGTERM}
        collected(bench, job, faults, f"{kind} after {at_s:.4f} s", signals=signals, codes=codes)
    report(faults, count, f"{job}, {kind}")


def test_a_clock_that_jumps_changes_nothing(bench: Bench) -> None:
    draw = random.Random(f"{SEED} clock")
    faults: list[str] = []
    count = counted(20)
    for _ in range(count):
        clock = (draw.choice([-1, 1]) * draw.choice([1.0, 3600.0, 3e7]), draw.randrange(200))
        collected(bench, "resume", faults, f"clock {clock}", clock=clock, codes={0})
    report(faults, count, "clock")


@pytest.mark.parametrize("how", ["--resume", "--overwrite", ""])
def test_three_processes_on_one_folder(how: str, bench: Bench) -> None:
    """One wins; the others are told, in a line; nothing of two is mixed."""
    faults: list[str] = []
    count = counted(20)
    for number in range(count):
        desk = fresh(bench, "reconstruct" if how == "" else "resume")
        command = reconstruction(bench.video, desk / "walk", *filter(None, [how]))
        outcomes = bench.zygote.run(*[Case(command)] * 3)
        try:
            assert any(one.code == 0 for one in outcomes), outcomes
            for one in outcomes:
                assert one.code in EXPECTED_CODES, one.said
            assert_prefix(recording := open_recording(desk / "walk"), bench.expected)
            assert recording.complete
        except Exception as error:  # noqa: BLE001 - as above
            faults.append(f"case {number}: {type(error).__name__}: {str(error)[:1500]}")
    report(faults, count, f"three processes {how}")


def test_the_layer_fails_what_it_is_told_to(bench: Bench) -> None:
    """An operation in the middle that fails with EIO ends the export in one line, and no half of it is left."""
    _, whole = performed(bench, "export ply")
    assert whole.code == 0, whole.said
    fault = Fault(str(bench.folder / "desk"), whole.operations // 2, errno.EIO)
    desk, outcome = performed(bench, "export ply", fault=fault)
    assert outcome.code == 2, outcome.said
    assert "Traceback" not in outcome.said
    assert not os.path.exists(desk / "a.ply")
