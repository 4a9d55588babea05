"""The judges of the gate: green on a good run, red on each way it can be bad or unproven."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from holdfast.drill import gate_checks
from holdfast.drill.checks import Check
from holdfast.drill.observation import Attempt, Observation, VenueOrder

from .observations import KILLED, MS, PONG, PRICE, RESUMED, SHUT, STARTED, S, good_run

Judge = Callable[[Observation, int], Check]

JUDGES: list[Judge] = [
    gate_checks.gate_shut_seconds,
    gate_checks.tries_while_down,
    gate_checks.opening_orders_after_shut,
    gate_checks.positions_open_at_kill,
    gate_checks.replayed_before_resume,
    gate_checks.reconciled_before_resume,
    gate_checks.resume_seconds,
]


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.__name__)
def test_a_good_run_passes(judge: Judge) -> None:
    check = judge(good_run(), 1)
    assert check.passed, check
    assert check.measured is not None


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.__name__)
def test_nothing_passes_when_nothing_happened(judge: Judge) -> None:
    assert not judge(Observation(), 1).passed
    assert not judge(good_run()._replace(outages=()), 1).passed
    outage_only = Observation(outages=good_run().outages)
    assert not judge(outage_only, 1).passed


def test_the_figures() -> None:
    run = good_run()
    assert gate_checks.gate_shut_seconds(run, 1).measured == 0.003
    assert gate_checks.resume_seconds(run, 1).measured == 0.052


def with_order(run: Observation, accepted_ns: int, decided_ns: int) -> Observation:
    quantity = Decimal("9.999")
    return run._replace(
        attempts=[*run.attempts, Attempt("buy", quantity, True, decided_ns, outcome="accepted")],
        orders=[
            *run.orders,
            VenueOrder("buy", quantity, True, accepted_ns, "late", PRICE, quantity),
        ],
    )


@pytest.mark.parametrize(
    ("accepted_ns", "decided_ns"),
    [
        (SHUT + 300 * MS, KILLED - MS),  # decided in time, arrived far too late
        (SHUT + 20 * MS, SHUT + MS),  # decided after the gate was shut
        (STARTED + 2 * S, SHUT + S),  # decided while shut, sent when it was open again
    ],
)
def test_an_opening_order_after_the_gate_shut_is_found(accepted_ns: int, decided_ns: int) -> None:
    check = gate_checks.opening_orders_after_shut(
        with_order(good_run(), accepted_ns, decided_ns), 1
    )
    assert (check.passed, check.measured) == (False, 1)


def test_an_order_on_the_wire_when_the_gate_shut_is_none_of_them() -> None:
    run = with_order(good_run(), SHUT + 20 * MS, KILLED - MS)
    assert gate_checks.opening_orders_after_shut(run, 1).passed


def test_a_closing_order_while_shut_is_allowed() -> None:
    run = good_run()
    order = VenueOrder("sell", Decimal("0.011"), False, SHUT + S, "exit", PRICE, Decimal("0.011"))
    assert gate_checks.opening_orders_after_shut(
        run._replace(orders=[*run.orders, order]), 1
    ).passed


def test_a_gate_that_never_shut_fails_everywhere() -> None:
    """Orders went on as if nothing had happened: no refusal, many orders."""
    run = good_run()
    bad = run._replace(
        attempts=[
            a._replace(outcome="accepted") if a.outcome == "halted" else a for a in run.attempts
        ],
        orders=[
            *run.orders,
            *(
                VenueOrder("buy", a.quantity, True, a.begun_ns + MS, "x", PRICE, a.quantity)
                for a in run.attempts
                if a.outcome == "halted"
            ),
        ],
    )
    assert not gate_checks.gate_shut_seconds(bad, 1).passed
    check = gate_checks.opening_orders_after_shut(bad, 1)
    assert not check.passed
    assert check.measured == 300


def test_a_late_refusal_is_measured_and_fails() -> None:
    run = good_run()
    slow = run._replace(
        outages=(run.outages[0]._replace(started_ns=KILLED + 20 * S, pong_ns=KILLED + 20 * S),),
        attempts=[
            *(a for a in run.attempts if a.outcome != "halted"),
            Attempt("buy", Decimal(5), True, KILLED + 5 * S, KILLED + 6 * S, "halted"),
        ],
    )
    check = gate_checks.gate_shut_seconds(slow, 1)
    assert (check.passed, check.measured) == (False, 6.0)


def test_a_bot_that_did_not_trade_before_the_kill_proves_nothing() -> None:
    run = good_run()
    idle = run._replace(orders=[o for o in run.orders if o.accepted_ns > PONG])
    for judge in (gate_checks.gate_shut_seconds, gate_checks.opening_orders_after_shut):
        check = judge(idle, 1)
        assert (check.passed, check.measured) == (False, None)
        assert "was not trading" in check.what
    assert not gate_checks.positions_open_at_kill(idle, 1).passed


def test_trading_before_the_replay_is_found() -> None:
    run = good_run()
    late = [
        e._replace(appended_ns=RESUMED + 500 * MS) if e.type == "strategy.signal" else e
        for e in run.stream
    ]
    check = gate_checks.replayed_before_resume(run._replace(stream=late), 1)
    assert (check.passed, check.measured) == (False, 5)
    never = [e for e in run.stream if e.type != "strategy.signal"]
    assert not gate_checks.replayed_before_resume(run._replace(stream=never), 1).passed


@pytest.mark.parametrize("missing", ["positionRisk", "openOrders"])
def test_trading_without_asking_the_exchange_is_found(missing: str) -> None:
    run = good_run()
    kept = [request for request in run.requests if missing not in request.path]
    assert not gate_checks.reconciled_before_resume(run._replace(requests=kept), 1).passed


def test_a_snapshot_from_before_the_restart_is_no_reconciliation() -> None:
    run = good_run()
    old = [request._replace(arrived_ns=KILLED + S) for request in run.requests]
    assert not gate_checks.reconciled_before_resume(run._replace(requests=old), 1).passed


def test_an_announcement_after_the_first_new_trade_is_found() -> None:
    run = good_run()
    reconciled = [e for e in run.stream if e.type == "execution.positions_reconciled"]
    others = [e for e in run.stream if e.type != "execution.positions_reconciled"]
    moved = run._replace(stream=[*others, *reconciled])
    assert not gate_checks.reconciled_before_resume(moved, 1).passed


def test_the_worst_of_several_outages_counts() -> None:
    run = good_run()
    unrefused = run.outages[0]._replace(killed_ns=RESUMED + S, started_ns=RESUMED + 2 * S)
    assert not gate_checks.gate_shut_seconds(
        run._replace(outages=(*run.outages, unrefused)), 1
    ).passed


def test_trading_that_does_not_resume_fails() -> None:
    run = good_run()
    over = run._replace(orders=[o for o in run.orders if o.accepted_ns < KILLED])
    for judge in (
        gate_checks.resume_seconds,
        gate_checks.replayed_before_resume,
        gate_checks.reconciled_before_resume,
    ):
        check = judge(over, 1)
        assert (check.passed, check.measured) == (False, None)
