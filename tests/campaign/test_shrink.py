"""What is left of a plan that breaks a promise, and how it is told."""

from __future__ import annotations

from msgspec.structs import replace

from holdfast.campaign import Breach, FaultPlan, Verdict, seeded
from holdfast.campaign.shrink import part_of, shrink, unshrunk

PLAN = next(
    plan for plan in map(seeded, range(100)) if len(plan.faults) > 9 and not plan.noise.silent
)


def verdict(plan: FaultPlan, *promises: str) -> Verdict:
    breaches = tuple(Breach(promise, 1.0, "seen") for promise in promises)
    return Verdict(
        plan=plan,
        breaches=breaches,
        digest="",
        virtual_seconds=1.0,
        steps=1,
        lives=1,
        orders=0,
        events=0,
    )


def breaks_with(*positions: int, noise: bool) -> list[FaultPlan]:
    """The plans that are run while a plan is shrunk which needs those faults, and noise or none."""
    needed = {PLAN.faults[i] for i in positions}
    tried: list[FaultPlan] = []

    def run(plan: FaultPlan) -> Verdict:
        tried.append(plan)
        loud = not plan.noise.silent
        if needed <= set(plan.faults) and (loud or not noise):
            return verdict(plan, "policy", "orders")
        return verdict(plan, "policy")  # another promise is broken by whatever is left

    found = shrink(verdict(PLAN, "orders", "policy"), run=run)
    assert (found.kept, found.noise) == (positions, noise)
    assert found.verdict.plan == part_of(PLAN, positions, noise=noise)
    return tried


def test_what_is_left_of_a_plan_is_left_as_it_was() -> None:
    hedged = next(p for p in map(seeded, range(100)) if p.traded.symbols == 2 and len(p.faults) > 1)
    part = part_of(hedged, (0,), noise=True)
    assert part == replace(hedged, faults=hedged.faults[:1])


def test_a_plan_is_shrunk_to_the_faults_that_its_first_broken_promise_needs() -> None:
    tried = breaks_with(1, 7, noise=False)
    assert len(tried) < 3 * len(PLAN.faults)
    breaks_with(noise=False)
    breaks_with(0, 2, 8, noise=True)


def test_it_is_told_with_seed_promise_plan_and_command() -> None:
    found = unshrunk(verdict(part_of(PLAN, (1, 7), noise=False), "orders"))
    told = str(found._replace(kept=(1, 7))).splitlines()
    assert told[0] == f"seed {PLAN.seed} breaks orders: seen (at 1.000 s)"
    for line, position in zip(told[1:3], (1, 7), strict=True):
        assert line.endswith(str(PLAN.faults[position]))
    assert told[3] == f"  see it:  holdfast campaign --seed {PLAN.seed} --keep '1,7' --no-noise"


def test_unshrunk_it_is_as_it_was() -> None:
    found = unshrunk(verdict(PLAN, "gate"))
    assert (found.kept, found.noise) == (tuple(range(len(PLAN.faults))), True)
    quiet = replace(PLAN, noise=type(PLAN.noise)())
    assert not unshrunk(verdict(quiet, "gate")).noise
