from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cli_rigs import exchange


@pytest.fixture(scope="session")
def venue_port() -> Iterator[int]:
    with exchange() as port:
        yield port


@pytest.fixture
def own_venue_port() -> Iterator[int]:
    """For a test that leaves something on the account."""
    with exchange() as port:
        yield port
