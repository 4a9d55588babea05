"""A stage for each test: its own server, exchange and folder, all gone with the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for chaos_rigs and chaos_witness

from chaos_rigs import Stage

from holdfast.transports.server import ServerBinary


@pytest.fixture
def stage(tmp_path: Path, server_binary: ServerBinary) -> Iterator[Stage]:
    made = Stage(tmp_path, server_binary)
    try:
        yield made
    finally:
        made.close()
