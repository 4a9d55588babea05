"""`holdfast campaign`: what it answers, and what it refuses."""

from __future__ import annotations

import json

from click.testing import CliRunner

from holdfast.campaign.command import campaign


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
