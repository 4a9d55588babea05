"""Every scenario with every kind of ccxt exchange, over real sockets."""

from __future__ import annotations

from pathlib import Path

import pytest
from guard_rigs import RUNNERS, Scenario, ServedVenue
from scenarios import SCENARIOS


@pytest.mark.parametrize("kind", RUNNERS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_scenario(kind: str, scenario: Scenario, served: ServedVenue, tmp_path: Path) -> None:
    RUNNERS[kind](scenario, served, tmp_path)
