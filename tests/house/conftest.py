"""What the examples are run against, and the patches of `tests/mutants` importable."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "mutants"))

PATIENCE_SECONDS = 60


@pytest.fixture
def exchange_port() -> Iterator[int]:
    """Where a `holdfast exchange` of the test's own listens."""
    command = [sys.executable, "-m", "holdfast", "exchange", "--port=0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            assert select.select([child.stdout], [], [], PATIENCE_SECONDS)[0]
            yield int(json.loads(child.stdout.readline())["port"])
        finally:
            child.terminate()
            child.wait(20)
