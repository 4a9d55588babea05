"""The campaign catches deliberate breakages, shrinks what it caught, and says how to see it."""

from __future__ import annotations

import json
import shlex
from typing import Final

import pytest
from click.testing import CliRunner
from mutants import MUTANTS, unknown_outcome_sent_again

from holdfast.campaign import run_seed
from holdfast.campaign.command import campaign
from holdfast.campaign.run import run_plan
from holdfast.campaign.seeded import seeded
from holdfast.campaign.shrink import part_of, shrink

SEEDS = 500
"""Within which each is caught; most are within five, those that need a coincidence within 260."""
KNOWN: Final = {
    "policy_kept_over_a_reconnect": (73,),
    "lease_not_looked_at": (108,),
    "countdown_that_ended_ignored": (47,),
    "countdown_in_the_wrong_unit": (251,),
}
"""Seeds tried first, for the breakages that need a coincidence: the others take minutes."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_breakage_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate, promises = MUTANTS[name]
    mutate(monkeypatch)
    for seed in (*KNOWN.get(name, ()), *range(SEEDS)):
        broken = {breach.promise for breach in run_seed(seed).breaches}
        if broken & promises:
            return
    pytest.fail(f"{name} survived {SEEDS} seeds")


def _first_broken() -> int:
    return next(seed for seed in range(SEEDS) if not run_seed(seed).kept)


def test_a_broken_plan_is_shrunk_to_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown_outcome_sent_again(monkeypatch)
    verdict = run_seed(_first_broken())
    shrunk = shrink(verdict)
    assert len(shrunk.kept) < len(verdict.plan.faults)
    again = run_plan(part_of(seeded(verdict.plan.seed), shrunk.kept, noise=shrunk.noise))
    assert again.breaches[0].promise == verdict.breaches[0].promise
    for position in shrunk.kept:
        fewer = tuple(i for i in shrunk.kept if i != position)
        other = run_plan(part_of(verdict.plan, fewer, noise=shrunk.noise))
        assert all(b.promise != verdict.breaches[0].promise for b in other.breaches)


def test_the_command_prints_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown_outcome_sent_again(monkeypatch)
    seed = _first_broken()
    runner = CliRunner()
    hunted = runner.invoke(campaign, ["--first-seed", str(seed), "--seeds", "1", "--jobs", "1"])
    assert hunted.exit_code == 1
    see = next(line for line in hunted.output.splitlines() if "see it:" in line)
    arguments = shlex.split(see.split("holdfast campaign ")[1])
    seen = runner.invoke(campaign, arguments)
    assert seen.exit_code == 1
    assert "broken: orders" in seen.output


def test_the_command_answers_in_json() -> None:
    runner = CliRunner()
    hunted = runner.invoke(campaign, ["--first-seed", "1", "--seeds", "2", "--jobs", "1", "--json"])
    assert hunted.exit_code == 0
    assert json.loads(hunted.stdout)["seeds"] == 2
    one = runner.invoke(campaign, ["--seed", "1", "--json"])
    assert one.exit_code == 0
    assert json.loads(one.stdout)["breaches"] == []


def test_the_command_refuses_faults_that_are_not_there() -> None:
    refused = CliRunner().invoke(campaign, ["--seed", "1", "--keep", "999"])
    assert refused.exit_code == 2
    assert "give numbers from 0 to" in refused.output
