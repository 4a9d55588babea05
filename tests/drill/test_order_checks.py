"""The judges of orders: double executions, blind resends, and evidence that is none."""

from __future__ import annotations

from decimal import Decimal

import pytest

from holdfast.drill import order_checks
from holdfast.drill.checks import Check
from holdfast.drill.observation import Answer, Observation, VenueRequest

from .observations import MS, S, good_run

WINDOW = 500 * MS


def place(at_ns: int, answer: Answer, client_order_id: str = "a") -> VenueRequest:
    return VenueRequest("place", "/o", at_ns, answer, client_order_id, at_ns + WINDOW)


def query(at_ns: int, answer: Answer = "absent", client_order_id: str = "a") -> VenueRequest:
    return VenueRequest("query", "/o", at_ns, answer, client_order_id, at_ns + WINDOW)


def timeouts() -> list[VenueRequest]:
    """One order: lost before, proven absent, lost after. Another: refused, refused, taken."""
    return [
        place(0, "lost before"),
        query(300 * MS),
        query(550 * MS),
        query(900 * MS),
        place(1001 * MS, "lost after"),
        query(1600 * MS, "done"),
        place(5 * S, "refused", "b"),
        place(6 * S + MS, "refused", "b"),
        place(8 * S + 2 * MS, "done", "b"),
    ]


def judged(requests: list[VenueRequest]) -> Check:
    return order_checks.retry_gaps_and_evidence(Observation(requests=requests), 2)


def without(index: int) -> list[VenueRequest]:
    requests = timeouts()
    del requests[index]
    return requests


def replaced(index: int, **changes: object) -> list[VenueRequest]:
    requests = timeouts()
    requests[index] = requests[index]._replace(**changes)  # type: ignore[arg-type]
    return requests


def test_waits_and_evidence_pass() -> None:
    check = judged(timeouts())
    assert check.passed, check
    assert "3 resends, shortest wait 1.001 s" in check.what


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param(without(2), id="one answer in the window's time"),
        pytest.param(replaced(2, arrived_ns=400 * MS), id="asked while it could still be taken"),
        pytest.param(replaced(3, arrived_ns=1002 * MS), id="asked after the resend"),
        pytest.param(replaced(3, answer="refused"), id="could not be asked"),
        pytest.param(replaced(3, client_order_id="z"), id="asked for another order"),
        pytest.param(replaced(4, arrived_ns=950 * MS), id="first wait under 1 s"),
        pytest.param(replaced(8, arrived_ns=7 * S), id="second wait under 2 s"),
        pytest.param(
            [*timeouts(), place(9 * S, "done")], id="sent again although the exchange had it"
        ),
        pytest.param(
            [*timeouts(), place(20 * S, "done", "b")], id="sent again although it was accepted"
        ),
    ],
)
def test_a_wrong_resend_is_found(requests: list[VenueRequest]) -> None:
    check = judged(requests)
    assert (check.passed, check.measured) == (False, 1)


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param([], id="nothing"),
        pytest.param(timeouts()[4:], id="nothing lost before"),
        pytest.param([*timeouts()[:4], *timeouts()[6:]], id="nothing lost after"),
        pytest.param(timeouts()[:6], id="nothing refused"),
    ],
)
def test_no_pass_without_the_faults(requests: list[VenueRequest]) -> None:
    check = judged(requests)
    assert (check.passed, check.measured) == (False, None)


def verdicts(run: Observation) -> dict[str, bool]:
    return {check.id: check.passed for check in order_checks.execution_checks(run, 1)}


def test_a_good_run_passes() -> None:
    assert all(verdicts(good_run()).values())
    assert order_checks.orders_untold(good_run(), 1).passed


def test_nothing_passes_without_orders() -> None:
    assert not any(verdicts(Observation()).values())
    assert not order_checks.orders_untold(Observation(), 1).passed


def test_a_double_execution_is_found() -> None:
    run = good_run()
    twice = run.orders[3]._replace(client_order_id="other", accepted_ns=20 * S)
    bad = run._replace(orders=[*run.orders, twice])
    assert not verdicts(bad)["executions_per_intent_max"]
    assert order_checks.execution_checks(bad, 1)[0].measured == 2


def test_an_order_nobody_asked_for_is_found() -> None:
    run = good_run()
    unasked = run.orders[0]._replace(quantity=Decimal(77))
    assert not verdicts(run._replace(orders=[*run.orders, unasked]))["orders_without_decision"]
    early = run.orders[3]._replace(accepted_ns=run.orders[3].accepted_ns - S)
    assert not verdicts(run._replace(orders=[early, *run.orders[4:]]))["orders_without_decision"]


def test_a_report_that_hides_a_fill_is_found() -> None:
    run = good_run()
    hidden = run.attempts[2]._replace(filled=Decimal(0))
    attempts = [*run.attempts[:2], hidden, *run.attempts[3:]]
    assert not verdicts(run._replace(attempts=attempts))["fills_untold"]


@pytest.mark.parametrize("believed", [None, Decimal(0)])
def test_a_wrong_book_is_found(believed: Decimal | None) -> None:
    assert not verdicts(good_run()._replace(bot_position=believed))["book_difference_at_end"]


def test_a_lost_trade_is_found() -> None:
    run = good_run()
    untold = run.attempts[2]._replace(outcome="not_executed")
    attempts = [*run.attempts[:2], untold, *run.attempts[3:]]
    assert not order_checks.orders_untold(run._replace(attempts=attempts), 2).passed
