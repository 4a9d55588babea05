"""The scorecard as a whole: what was promised to be on it, and that each line can fail.

The judges have their own tests; here the drill's own runs are judged, so a check that a
scenario no longer asks for, or one that nothing could make red, is found.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from holdfast.drill.checks import Check
from holdfast.drill.observation import Attempt, Observation, VenueOrder, VenueRequest
from holdfast.drill.scenarios import Run, runs

from .observations import KILLED, MS, PONG, PRICE, SHUT, S, good_run
from .test_order_checks import timeouts
from .test_policy_checks import changed_run, held_run

SCENARIOS = (1, 2, 3)

ALWAYS = {
    "events_published",
    "events_lost",
    "events_duplicated",
    "events_out_of_order",
    "executions_per_intent_max",
}
AFTER_AN_OUTAGE = {
    "gate_shut_seconds",
    "opening_orders_after_shut",
    "policy_fresh_seconds",
    "reconciled_before_resume",
    "resume_seconds",
}
PROMISED = {
    1: ALWAYS | AFTER_AN_OUTAGE,
    2: ALWAYS | {"retry_gaps_and_evidence"},
    3: ALWAYS | AFTER_AN_OUTAGE | {"stale_policy_used", "policy_after_empty_restart"},
}


def three_outages(run: Observation) -> Observation:
    """The same one three times, the last with the loss of all data: scenario 3 has three."""
    (outage,) = run.outages
    return run._replace(outages=(outage, outage, outage._replace(emptied=True)))


def with_timeouts(run: Observation) -> Observation:
    return run._replace(requests=[*run.requests, *timeouts()])


GOOD: dict[str, Callable[[], Observation]] = {
    "1-outage": good_run,
    "2-timeouts": lambda: with_timeouts(good_run()),
    "3-stale": lambda: three_outages(changed_run()),
    "3-held": held_run,
    "3-live": changed_run,
}


def never_refused(run: Observation) -> Observation:
    return run._replace(attempts=[a for a in run.attempts if a.outcome != "halted"])


def ordered_while_shut(run: Observation) -> Observation:
    quantity = Decimal("9.999")
    attempt = Attempt("buy", quantity, True, SHUT + S, outcome="accepted")
    order = VenueOrder("buy", quantity, True, SHUT + S + MS, "late", PRICE, quantity)
    return run._replace(attempts=[*run.attempts, attempt], orders=[*run.orders, order])


def nothing_held(run: Observation) -> Observation:
    return run._replace(orders=[order._replace(filled=Decimal(0)) for order in run.orders])


def swapped(run: Observation) -> Observation:
    first, second, *rest = run.stream
    return run._replace(stream=[second, first, *rest])


def replayed_late(run: Observation) -> Observation:
    return run._replace(
        stream=[
            e._replace(appended_ns=e.appended_ns + 60 * S) if e.type == "strategy.signal" else e
            for e in run.stream
        ]
    )


def never_served(run: Observation) -> Observation:
    return run._replace(attempts=[a._replace(policy_version=None) for a in run.attempts])


def never_resumed(run: Observation) -> Observation:
    return run._replace(orders=[o for o in run.orders if o.accepted_ns < KILLED])


def one_order_more(run: Observation, **changes: object) -> Observation:
    again = run.orders[3]._replace(client_order_id="other", **changes)  # type: ignore[arg-type]
    return run._replace(orders=[*run.orders, again])


def third_attempt(run: Observation, **changes: object) -> Observation:
    attempts = list(run.attempts)
    attempts[2] = attempts[2]._replace(**changes)  # type: ignore[arg-type]
    return run._replace(attempts=attempts)


def without_queries(run: Observation) -> Observation:
    requests: list[VenueRequest] = [r for r in run.requests if r.kind != "query"]
    return run._replace(requests=requests)


def forbidden_size(run: Observation) -> Observation:
    at_ns, quantity = PONG + 5 * S, Decimal(2)
    attempt = Attempt("buy", quantity, True, at_ns, None, "accepted", "", 2, "DEFENSIVE")
    order = VenueOrder("buy", quantity, True, at_ns + MS, "big", PRICE, quantity)
    return run._replace(attempts=[*run.attempts, attempt], orders=[*run.orders, order])


SPOILED: dict[str, Callable[[Observation], Observation]] = {
    "gate_shut_seconds": never_refused,
    "tries_while_down": never_refused,
    "opening_orders_after_shut": ordered_while_shut,
    "positions_open_at_kill": nothing_held,
    "events_published": lambda run: run._replace(published=()),
    "events_lost": lambda run: run._replace(stream=run.stream[1:]),
    "events_duplicated": lambda run: run._replace(stream=[*run.stream, run.stream[0]]),
    "events_out_of_order": swapped,
    "replayed_before_resume": replayed_late,
    "policy_fresh_seconds": never_served,
    "policy_fresh_seconds_changed_while_cut_off": never_served,
    "policy_change_seen_seconds": never_served,
    "reconciled_before_resume": lambda run: run._replace(requests=()),
    "resume_seconds": never_resumed,
    "executions_per_intent_max": one_order_more,
    "orders_without_decision": lambda run: one_order_more(run, quantity=Decimal(77)),
    "fills_untold": lambda run: third_attempt(run, filled=Decimal(0)),
    "book_difference_at_end": lambda run: run._replace(bot_position=Decimal(0)),
    "retry_gaps_and_evidence": without_queries,
    "orders_untold": lambda run: third_attempt(run, outcome="not_executed"),
    "stale_policy_used": forbidden_size,
    "policy_after_empty_restart": lambda run: run._replace(stored_policy=None),
    "policy_after_empty_restart_hold": lambda run: one_order_more(run, accepted_ns=PONG + S),
}


def every_run() -> list[Run]:
    return [run for scenario in SCENARIOS for run in runs(scenario, outage_seconds=3)]


def judged(run: Run, seen: Observation) -> dict[str, Check]:
    return {check.id: check for check in run.judge(seen)}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_was_promised_is_on_it_once(scenario: int) -> None:
    ids = [
        check.id
        for run in runs(scenario, outage_seconds=3)
        for check in run.judge(GOOD[run.name]())
    ]
    assert len(ids) == len(set(ids)), "an id names one check of its scenario"
    assert PROMISED[scenario] <= set(ids)


@pytest.mark.parametrize("run", every_run(), ids=lambda run: run.name)
def test_a_good_run_passes_and_one_in_which_nothing_happened_does_not(run: Run) -> None:
    good = GOOD[run.name]()
    for check in judged(run, good).values():
        assert check.passed, check
        assert check.scenario == int(run.name[0])
    nothing = Observation(outages=good.outages, policies=good.policies)
    assert [check.id for check in judged(run, nothing).values() if check.passed] == []


@pytest.mark.parametrize(
    ("run", "name"),
    [(run, name) for run in every_run() for name in judged(run, GOOD[run.name]())],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_each_line_can_fail(run: Run, name: str) -> None:
    spoiled = SPOILED[name](GOOD[run.name]())
    assert not judged(run, spoiled)[name].passed
