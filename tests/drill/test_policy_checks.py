"""The judges of the policy: stale values served, stale values traded on, rules not kept."""

from __future__ import annotations

from decimal import Decimal

from holdfast.drill import policy_checks
from holdfast.drill.observation import (
    Attempt,
    Observation,
    PolicyChange,
    StoredPolicy,
    VenueOrder,
)

from .observations import KILLED, MS, PONG, PRICE, RESUMED, STARTED, S, good_run

LIMIT = Decimal(60_000)  # one unit
DEFENSIVE = PolicyChange(2, "DEFENSIVE", LIMIT, STARTED - 500 * MS)


def changed_run() -> Observation:
    """DEFENSIVE was stored while Redis was dead for the bot, which knows it when it resumes."""
    run = good_run()
    attempts = [
        a._replace(policy_version=2, policy_mode="DEFENSIVE") if a.begun_ns >= PONG else a
        for a in run.attempts
    ]
    attempts.append(
        Attempt("buy", Decimal(5), True, RESUMED + S, RESUMED + S, "rejected", "", 2, "DEFENSIVE")
    )
    return run._replace(
        attempts=attempts,
        policies=(*run.policies, DEFENSIVE),
        stored_policy=StoredPolicy(2, "DEFENSIVE"),
    )


def test_a_fresh_policy_passes() -> None:
    run = changed_run()
    check = policy_checks.policy_fresh_seconds(run, 3, run.outages[0])
    assert (check.passed, check.measured) == (True, 0.05)
    assert policy_checks.stale_policy_used(run, 3).passed


def test_a_policy_that_comes_late_or_never_fails() -> None:
    run = changed_run()
    late = [
        a if a.begun_ns < PONG else a._replace(begun_ns=a.begun_ns + 2 * S) for a in run.attempts
    ]
    check = policy_checks.policy_fresh_seconds(run._replace(attempts=late), 3, run.outages[0])
    assert (check.passed, check.measured) == (False, 2.05)
    never = good_run()._replace(policies=run.policies)
    check = policy_checks.policy_fresh_seconds(never, 3, run.outages[0])
    assert (check.passed, check.measured) == (False, None)


def test_the_right_version_with_the_wrong_mode_is_not_it() -> None:
    run = changed_run()
    wrong = [a._replace(policy_mode="NORMAL") for a in run.attempts]
    check = policy_checks.policy_fresh_seconds(run._replace(attempts=wrong), 3, run.outages[0])
    assert not check.passed


def test_one_decision_on_the_old_policy_after_a_restart_is_found() -> None:
    run = changed_run()
    old = Attempt(
        "buy", Decimal(3), True, STARTED + MS, STARTED + 2 * MS, "halted", "", 1, "NORMAL"
    )
    check = policy_checks.stale_policy_used(run._replace(attempts=[*run.attempts, old]), 3)
    assert (check.passed, check.measured) == (False, 1)


def test_an_order_the_policy_forbids_is_found_without_the_bots_word() -> None:
    """The bot claims version 2, the exchange took an order twice the limit."""
    run = changed_run()
    quantity = Decimal(2)
    lying = Attempt("buy", quantity, True, RESUMED + S, None, "accepted", "", 2, "DEFENSIVE")
    order = VenueOrder("buy", quantity, True, RESUMED + S + MS, "big", PRICE, quantity)
    bad = run._replace(attempts=[*run.attempts, lying], orders=[*run.orders, order])
    assert policy_checks.stale_orders(bad) == 1
    assert not policy_checks.stale_policy_used(bad, 3).passed


def test_a_change_while_up_has_a_second() -> None:
    run = changed_run()
    change = PolicyChange(3, "HALT", Decimal(0), RESUMED + 2 * S)

    def traded(after_ns: int) -> Observation:
        at_ns = change.stored_ns + after_ns
        attempt = Attempt("buy", Decimal(4), True, at_ns, None, "accepted", "", 2, "DEFENSIVE")
        order = VenueOrder("buy", Decimal("0.5"), True, at_ns, "x", PRICE, Decimal("0.5"))
        attempt = attempt._replace(quantity=order.quantity)
        return run._replace(
            attempts=[*run.attempts, attempt],
            orders=[*run.orders, order],
            policies=(*run.policies, change),
        )

    assert policy_checks.stale_orders(traded(500 * MS)) == 0
    assert policy_checks.stale_orders(traded(1500 * MS)) == 1


def test_staleness_is_unproven_without_a_change_or_a_test_of_its_limits() -> None:
    assert not policy_checks.stale_policy_used(good_run(), 3).passed
    run = changed_run()
    untested = [a for a in run.attempts if a.outcome != "rejected"]
    check = policy_checks.stale_policy_used(run._replace(attempts=untested), 3)
    assert (check.passed, check.measured) == (False, None)


def test_a_change_while_up_is_timed() -> None:
    run = changed_run()
    change = PolicyChange(2, "DEFENSIVE", None, RESUMED - 30 * MS)
    check = policy_checks.policy_change_seen_seconds(run, 3, change)
    assert (check.passed, check.measured) == (True, 0.03)
    check = policy_checks.policy_change_seen_seconds(
        run, 3, change._replace(version=9, mode="HALT")
    )
    assert (check.passed, check.measured) == (False, None)


def emptied(run: Observation) -> Observation:
    return run._replace(outages=(run.outages[0]._replace(emptied=True),))


def test_restored() -> None:
    run = emptied(changed_run())
    assert policy_checks.policy_restored(run, 3, run.outages[0]).passed
    for stored in (None, StoredPolicy(1, "DEFENSIVE"), StoredPolicy(3, "NORMAL")):
        bad = run._replace(stored_policy=stored)
        assert not policy_checks.policy_restored(bad, 3, run.outages[0]).passed
    not_emptied = changed_run()
    assert not policy_checks.policy_restored(not_emptied, 3, not_emptied.outages[0]).passed


def held_run() -> Observation:
    """Refused from the PONG until a policy is confirmed two seconds later, then trading."""
    run = emptied(good_run())
    confirmed = PolicyChange(2, "DEFENSIVE", None, PONG + 2 * S)
    refused = [
        Attempt("buy", Decimal(50) + at, True, PONG + 10 * MS * at, PONG + 10 * MS * at, "halted")
        for at in range(1, 100)
    ]
    shift = 2 * S
    orders = [
        o if o.accepted_ns < KILLED else o._replace(accepted_ns=o.accepted_ns + shift)
        for o in run.orders
    ]
    return run._replace(
        attempts=[*run.attempts, *refused], orders=orders, policies=(*run.policies, confirmed)
    )


def test_held() -> None:
    run = held_run()
    outage = run.outages[0]
    check = policy_checks.policy_held(run, 3, outage)
    assert check.passed, check
    early = run.orders[-1]._replace(accepted_ns=PONG + S)
    assert not policy_checks.policy_held(
        run._replace(orders=[*run.orders, early]), 3, outage
    ).passed
    unconfirmed = run._replace(policies=run.policies[:1])
    assert not policy_checks.policy_held(unconfirmed, 3, outage).passed
    untried = run._replace(attempts=[a for a in run.attempts if a.quantity < 50])
    assert not policy_checks.policy_held(untried, 3, outage).passed
    stuck = run._replace(orders=[o for o in run.orders if o.accepted_ns < KILLED])
    assert not policy_checks.policy_held(stuck, 3, outage).passed
    kept = run._replace(outages=(outage._replace(emptied=False),))
    assert not policy_checks.policy_held(kept, 3, kept.outages[0]).passed
