"""Both journals behind one handle, so that one suite states what a journal promises."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the crash harness is a module of its own

from journal_rigs import DiskRig, MemoryRig, Rig


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["disk", "memory"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    made = (
        DiskRig(tmp_path / "journal", random.Random(7))
        if request.param == "disk"
        else MemoryRig(random.Random(7))
    )
    yield made
    await made.aclose()
