"""The rig beside the tests is importable, and one served venue is enough for a module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from guard_rigs import ServedVenue


@pytest.fixture
def served() -> Iterator[ServedVenue]:
    with ServedVenue.open() as venue:
        yield venue
