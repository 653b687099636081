"""What the tests in a browser share."""

from collections.abc import Iterator
from typing import Any

import browsing
import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing.chromium() as browser:
        yield browser
