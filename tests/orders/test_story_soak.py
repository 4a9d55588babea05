"""Many more fresh stories than the suite has time for; `pytest -n` spreads the parts."""

from __future__ import annotations

import os

import pytest
from story_world import play_seed
from test_stories import BASE_SEED, assert_kept

STORIES = int(os.environ.get("HOLDFAST_SOAK_STORIES") or 100_000)
PARTS = 50


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_hundred_thousand_fresh_stories(part: int) -> None:
    first = BASE_SEED + 1_000_000
    for seed in range(first + part, first + STORIES, PARTS):
        assert_kept(play_seed(seed))
