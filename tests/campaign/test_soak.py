"""Many more fresh seeds than the suite has time for, on all processors."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from test_campaign import BASE_SEED

from holdfast.campaign.hunt import hunt
from holdfast.campaign.shrink import shrink

SEEDS = int(os.environ.get("HOLDFAST_SOAK_SEEDS") or 5000)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_thousands_of_fresh_seeds_break_no_promise() -> None:
    first = BASE_SEED + 1_000_000
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        broken = [v for tally in hunt(first, SEEDS, executor=pool) for v in tally.broken]
    assert not broken, "\n".join(
        [
            *(str(shrink(verdict)) for verdict in broken[:3]),
            *(f"seed {verdict.plan.seed} breaks {verdict.breaches[0]}" for verdict in broken[3:]),
        ]
    )
