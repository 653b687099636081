"""Shapes are checked while the tests run; the core is deterministic on two threads."""

import gc
import logging
import os
from pathlib import Path

import pytest
import shape_checks
import torch

shape_checks.install("openloger")
os.environ["OPENLOGER_CALIBRATION"] = "off"  # no result of a test depends on a measurement


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end, so the garbage collector need not walk over it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def openloger_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """`caplog` with what openloger logs, whatever earlier tests made of its logger."""
    logging.getLogger("openloger").propagate = True
    caplog.set_level(logging.INFO, logger="openloger")
    return caplog


@pytest.fixture
def one_thread():
    """torch's, for what is compared to the bit: with another number of threads a sum may end in other bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared_by_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run, the same for all workers of pytest-xdist."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real clips: `$OPENLOGER_DATA`, or `../shared/data` beside the repository."""
    named = os.environ.get("OPENLOGER_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    missing = [clip for clip in ("kitchen", "street") if not (folder / clip / "video.mp4").is_file()]
    if missing:
        pytest.skip(f"no real clips ({', '.join(missing)}) in {folder}; set OPENLOGER_DATA")
    return folder
