"""The stories catch deliberate breakages, and shrink what they caught to what it needs."""

from __future__ import annotations

import pytest
from mutant_in_place import in_place
from mutant_patches import Edit, Mutant, PatchError, for_the_stories
from story_world import play, play_seed
from test_stories import shrunk

from holdfast import evidence

MUTANTS = for_the_stories()
SEEDS = 1500
"""Within which each is caught; most are within twenty."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_breakage_is_caught(name: str) -> None:
    mutant = MUTANTS[name]
    with in_place(name, mutant):
        for seed in range(mutant.first_story, mutant.first_story + SEEDS):
            if {breach.promise for breach in play_seed(seed).breaches} & mutant.stories:
                return
    pytest.fail(f"{name} survived {SEEDS} stories")


def test_a_breakage_is_gone_again() -> None:
    name = "sent_again_at_once"
    with in_place(name, MUTANTS[name]):
        assert evidence.wait_seconds(1, (1.0,)) == 0
    assert evidence.wait_seconds(1, (1.0,)) == 1


def test_what_is_no_functions_affair_is_not_put_in_place() -> None:
    find = "EXIT_WAIT_SECONDS: Final = 1.0\n"
    edit = Edit("evidence.py", find, "EXIT_WAIT_SECONDS: Final = 9.0\n")
    wrong = Mutant(says="", stories=frozenset({"orders"}), edits=(edit,))
    with pytest.raises(PatchError, match="needs a copy"), in_place("constant", wrong):
        pass


def test_a_broken_story_is_shrunk_to_what_it_needs() -> None:
    name = "unknown_outcome_sent_again"
    with in_place(name, MUTANTS[name]):
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
