"""Fresh seeds with every run of the suite; the same seed is the same run, everywhere."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import golden
import msgspec
import pytest

from holdfast.campaign import FaultPlan, run_plan, run_seed, seeded
from holdfast.campaign.hunt import hunt
from holdfast.campaign.plan import Kill, Noise, PolicyChange, ServerOutage, Traded
from holdfast.campaign.seeded import KINDS
from holdfast.campaign.shrink import shrink
from holdfast.policy import Mode
from holdfast.policy_cell import PolicyCell

SEEDS = 100
PARTS = 4
BASE_SEED = int(os.environ.get("HOLDFAST_SEED") or secrets.randbits(32))


TRADED = [
    Traded(symbols=symbols, hedge_mode=hedged) for symbols in (1, 2) for hedged in (False, True)
]


@pytest.mark.parametrize("part", range(PARTS))
def test_fresh_seeds_break_no_promise(part: int, record_property: pytest.RecordProperty) -> None:
    record_property("base_seed", BASE_SEED)
    print(f"base seed {BASE_SEED}: again with HOLDFAST_SEED={BASE_SEED}")  # noqa: T201
    for seed in range(BASE_SEED + part, BASE_SEED + SEEDS, PARTS):
        verdict = run_seed(seed)
        assert verdict.kept, str(shrink(verdict))


_DIGESTS = f"""
from holdfast.campaign import run_seed
for seed in {golden.SEEDS}:
    verdict = run_seed(seed)
    print(verdict.digest, verdict.steps, len(verdict.log))
"""


def test_a_seed_is_the_same_run_in_every_process() -> None:
    said = set()
    for hash_seed in ("0", "1", "random"):
        child = subprocess.run(
            [sys.executable, "-c", f"junk = [object() for _ in range(999)]\n{_DIGESTS}"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        said.add(child.stdout)
    assert len(said) == 1
    assert len(said.pop().splitlines()) == len(golden.SEEDS)


def test_a_run_leaves_nothing_for_the_next_one() -> None:
    first = run_seed(16)
    run_seed(17)
    assert run_seed(16).digest == first.digest


def test_every_kind_of_fault_is_drawn() -> None:
    drawn = {type(fault) for seed in range(60) for fault in seeded(seed).faults}
    assert len(drawn) == len(KINDS)
    traded = {seeded(seed).traded for seed in range(60)}
    assert traded == set(TRADED)


def test_a_plan_survives_being_written_down() -> None:
    for seed in range(20):
        plan = seeded(seed)
        assert msgspec.json.decode(msgspec.json.encode(plan), type=FaultPlan) == plan


def test_one_fault_less_leaves_the_others_as_they_were() -> None:
    """The market, and what happens before the fault that is left out, stay the same."""
    outage = ServerOutage(at_seconds=5.0, seconds=2.0)
    kill = Kill(at_seconds=20.0, seconds=1.0)
    both = run_plan(FaultPlan(seed=7, faults=(outage, kill)))
    one = run_plan(FaultPlan(seed=7, faults=(outage,)))
    until = 20.0
    assert [entry for entry in both.log if entry[0] < until] == [
        entry for entry in one.log if entry[0] < until
    ]
    assert (both.lives, one.lives) == (2, 1)


@pytest.mark.parametrize("traded", TRADED, ids=str)
def test_a_quiet_world_is_healthy_and_trades(traded: Traded) -> None:
    verdict = run_plan(FaultPlan(seed=1, noise=Noise(), traded=traded))
    assert verdict.kept
    assert verdict.lives == 1
    assert verdict.orders > 30
    assert verdict.events > 60
    entered = [what for _, what in verdict.log if "->" in what]
    assert len(entered) == 3  # up once, and never down


def test_what_strikes_afterwards_is_mended_by_no_recovery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change = PolicyChange(at_seconds=1.0, mode=Mode.NORMAL, point="afterwards")
    plan = FaultPlan(seed=1, horizon_seconds=2.0, faults=(change,))
    assert run_plan(plan).kept
    monkeypatch.setattr(PolicyCell, "changed", lambda self: None)
    assert [breach.promise for breach in run_plan(plan).breaches] == ["liveness"]


def test_a_hunt_covers_every_seed_once() -> None:
    total = sum(hunt(900, 45), start=next(iter(hunt(0, 1))))
    assert total.seeds == 46
    assert not total.broken
