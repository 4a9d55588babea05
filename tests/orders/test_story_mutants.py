"""The stories catch deliberate breakages, and shrink what they caught to what it needs."""

from __future__ import annotations

import pytest
from story_mutants import MUTANTS, unknown_outcome_sent_again
from story_world import play, play_seed
from test_stories import shrunk

SEEDS = 1500
"""Within which each is caught; most are within twenty."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_breakage_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, promises, first = MUTANTS[name]
    mutate(monkeypatch)
    for seed in range(first, first + SEEDS):
        if {breach.promise for breach in play_seed(seed).breaches} & promises:
            return
    pytest.fail(f"{name} survived {SEEDS} stories")


def test_a_broken_story_is_shrunk_to_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown_outcome_sent_again(monkeypatch)
    broken = next(v for v in map(play_seed, range(SEEDS)) if not v.kept)
    smallest = shrunk(broken)
    parts = smallest.story.parts
    assert len(parts) < len(broken.story.parts)
    for left_out in range(len(parts)):
        fewer = tuple(i for i in range(len(parts)) if i != left_out)
        other = play(smallest.story.only(fewer))
        assert all(b.promise != broken.breaches[0].promise for b in other.breaches)
    assert "submit" in str(smallest)
    assert "BROKEN orders" in str(smallest)
