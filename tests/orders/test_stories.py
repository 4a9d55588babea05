"""The way of an order through thousands of seeded stories: one execution each, none lost.

The same seed is the same story, everywhere. A story that breaks a promise is shrunk, and shown
with its timeline; `stories`, `story_world` and `story_witness` say what is told and judged.
"""

from __future__ import annotations

import os
import secrets
from typing import get_args

import pytest
from stories import FAILURES, KINDS, Failure, Story, Submit, Want, seeded
from story_world import Verdict, play, play_seed

from holdfast.campaign.shrink import leave_out

PARTS = 20
FRESH, FIXED = 400, 100
"""Stories in each part."""
BASE_SEED = int(os.environ.get("HOLDFAST_SEED") or secrets.randbits(40))


def shrunk(broken: Verdict) -> Verdict:
    """The same promise broken by as few parts as will do."""
    story, promise = broken.story, broken.breaches[0].promise
    smallest = broken

    def still_broken(kept: tuple[int, ...]) -> bool:
        nonlocal smallest
        tried = play(story.only(kept))
        if all(breach.promise != promise for breach in tried.breaches):
            return False
        smallest = tried
        return True

    leave_out(tuple(range(len(story.parts))), still_broken)
    return smallest


def assert_kept(verdict: Verdict) -> None:
    assert verdict.kept, f"seed {verdict.story.seed}; as few parts as will do:\n{shrunk(verdict)}"


@pytest.mark.parametrize("part", range(PARTS))
def test_one_execution_each_and_none_lost(
    part: int, record_property: pytest.RecordProperty
) -> None:
    record_property("base_seed", BASE_SEED)
    print(f"base seed {BASE_SEED}: again with HOLDFAST_SEED={BASE_SEED}")  # noqa: T201
    first = BASE_SEED + part * FRESH
    for seed in [*range(part * FIXED, (part + 1) * FIXED), *range(first, first + FRESH)]:
        assert_kept(play_seed(seed))


def test_a_seed_is_the_same_story_told_the_same_way() -> None:
    for seed in range(20):
        first, again = play_seed(seed), play_seed(seed)
        assert (first.log, first.attempts, first.lives) == (again.log, again.attempts, again.lives)


def test_every_row_of_the_failure_table_is_met_and_every_kind_of_mishap() -> None:
    parts = [part for seed in range(2000) for part in seeded(seed).parts]
    rows = {part.row for part in parts if isinstance(part, Failure) and part.kind == "place"}
    assert rows == set(FAILURES)
    assert {type(part).__name__ for part in parts} >= {"Again", "GiveUp", "Cancel", "Crash"}
    assert len({type(part) for part in parts}) == 13
    assert len(KINDS) == 11
    assert {part.want for part in parts if isinstance(part, Submit)} == set(get_args(Want))
    assert {seeded(seed).conditions.hedged for seed in range(20)} == {True, False}


def test_a_quiet_story_needs_one_attempt_for_each_order() -> None:
    parts = tuple(p for p in seeded(3).parts if p.__struct_config__.tag == "submit")
    verdict = play(Story(seed=3, parts=parts))
    assert_kept(verdict)
    assert (verdict.attempts, verdict.lives) == (1 + len(parts), 1)
