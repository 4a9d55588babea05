"""Each promise of an execution client, by each client of the simulated venue."""

from __future__ import annotations

import pytest
from client_cases import CASES
from sim_rigs import RUNNERS, Case


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_client(runner: str, case: Case) -> None:
    RUNNERS[runner](case)
