"""Was the policy in force the one that was served and traded on?"""

from __future__ import annotations

from typing import Final

from .checks import Check, at_most, none_of, seconds, unmeasured
from .gate_checks import MIN_TRIES_WHILE_DOWN
from .observation import Attempt, Observation, Outage, PolicyChange

FRESH_LIMIT_SECONDS: Final = 1.0
FRESH_LIMIT_NS: Final = int(FRESH_LIMIT_SECONDS * 1e9)


def policy_fresh_seconds(
    run: Observation, scenario: int, outage: Outage, *, suffix: str = ""
) -> Check:
    """From the first PONG after an outage until the bot is served the policy in force."""
    name = f"policy_fresh_seconds{suffix}"
    what = "first decision with the policy in force − first PONG the observer read"
    if outage.pong_ns is None:
        return unmeasured(name, scenario, FRESH_LIMIT_SECONDS, "s", what, "no PONG was seen")
    wanted = in_force(run, outage.started_ns)
    if wanted is None:
        return unmeasured(name, scenario, FRESH_LIMIT_SECONDS, "s", what, "no policy was stored")
    served = _first_served(run, wanted, after_ns=outage.started_ns)
    if served is None:
        missing = f"version {wanted.version} was never served"
        return unmeasured(name, scenario, FRESH_LIMIT_SECONDS, "s", what, missing)
    took_s = seconds(max(0, served.begun_ns - outage.pong_ns))
    what = f"{what}: version {wanted.version}, {wanted.mode}"
    return at_most(name, scenario, took_s, FRESH_LIMIT_SECONDS, what, unit="s")


def policy_change_seen_seconds(run: Observation, scenario: int, change: PolicyChange) -> Check:
    """A change while nothing is wrong."""
    name = "policy_change_seen_seconds"
    what = f"change of the mode to {change.mode} − first decision that knew it, Redis being up"
    served = _first_served(run, change, after_ns=change.stored_ns)
    if served is None:
        missing = f"version {change.version} was never served"
        return unmeasured(name, scenario, FRESH_LIMIT_SECONDS, "s", what, missing)
    took_s = seconds(served.begun_ns - change.stored_ns)
    return at_most(name, scenario, took_s, FRESH_LIMIT_SECONDS, what, unit="s")


def stale_policy_used(run: Observation, scenario: int) -> Check:
    what = (
        "decisions after an outage that were served an older policy than the one in force, plus "
        "opening orders at the exchange that the policy in force forbids or that were decided on "
        f"an older one (a change while Redis is up may take {FRESH_LIMIT_SECONDS:g} s)"
    )
    missing = None
    if len(run.policies) < 2:
        missing = "the policy was not changed"
    elif not any(a.outcome == "rejected" and a.opening for a in run.attempts):
        missing = "no order tested the limits of the policy"
    count = stale_decisions(run) + stale_orders(run)
    if count:
        missing = None
    return none_of("stale_policy_used", scenario, count, what, unit="times", missing=missing)


def stale_decisions(run: Observation) -> int:
    """No tolerance after a restart: that a value was read in an earlier connection is known."""
    count = 0
    for outage in run.outages:
        wanted = in_force(run, outage.started_ns)
        for attempt in run.attempts:
            served = attempt.policy_version
            if wanted is not None and served is not None and attempt.begun_ns > outage.started_ns:
                count += served < wanted.version
    return count


def stale_orders(run: Observation) -> int:
    """Judged by what the exchange took; the limit on notional needs no word of the bot."""
    first_try: dict[object, Attempt] = {}
    for attempt in run.attempts:
        first_try.setdefault(attempt.intent, attempt)
    count = 0
    for order in run.orders:
        attempt_or_none = first_try.get(order.intent)
        if not order.opening or attempt_or_none is None:
            continue
        wanted = must_be_known(run, attempt_or_none.begun_ns)
        if wanted is None:
            continue
        version = attempt_or_none.policy_version
        older = version is not None and version < wanted.version
        limit = wanted.max_order_notional
        # A later, wider policy may be the one that let it pass.
        widened = any(
            change.stored_ns > wanted.stored_ns
            and change.stored_ns <= order.accepted_ns
            and (change.max_order_notional is None)
            for change in run.policies
        )
        forbidden = limit is not None and order.quantity * order.price > limit and not widened
        count += older or forbidden
    return count


def policy_restored(run: Observation, scenario: int, outage: Outage) -> Check:
    """`on_empty = "restore"`: the newest policy ever seen is written back."""
    name = "policy_after_empty_restart"
    what = 'Redis came back empty, on_empty = "restore": policy read back from it in the end'
    wanted = in_force(run, outage.started_ns)
    if wanted is None:
        return unmeasured(name, scenario, None, "", what, "no policy was stored")
    limit = f"version ≥ {wanted.version}, {wanted.mode}"
    if not outage.emptied:
        return unmeasured(name, scenario, limit, "", what, "Redis was not emptied")
    stored = run.stored_policy
    if stored is None:
        return Check(name, scenario, False, "none", limit, "", what)
    good = stored.version >= wanted.version and stored.mode == wanted.mode
    return Check(name, scenario, good, f"version {stored.version}, {stored.mode}", limit, "", what)


def policy_held(run: Observation, scenario: int, outage: Outage) -> Check:
    """`on_empty = "hold"`: nothing opens until the operator has confirmed a policy."""
    name = "policy_after_empty_restart_hold"
    what = (
        'Redis came back empty, on_empty = "hold": opening orders accepted before the operator '
        "stored a policy again"
    )
    confirmed = next((c for c in run.policies if c.stored_ns > outage.started_ns), None)
    missing = None
    if not outage.emptied:
        missing = "Redis was not emptied"
    elif confirmed is None:
        missing = "no policy was confirmed"
    if missing is not None or confirmed is None or outage.pong_ns is None:
        return unmeasured(name, scenario, 0, "orders", what, missing or "no PONG was seen")
    wrong = sum(
        order.opening and outage.started_ns < order.accepted_ns < confirmed.stored_ns
        for order in run.orders
    )
    held = sum(
        attempt.opening
        and attempt.outcome == "halted"
        and outage.pong_ns < attempt.begun_ns < confirmed.stored_ns
        for attempt in run.attempts
    )
    resumed = any(o.opening and o.accepted_ns > confirmed.stored_ns for o in run.orders)
    if not wrong and held < MIN_TRIES_WHILE_DOWN:
        missing = f"only {held} orders were tried and refused meanwhile"
    elif not wrong and not resumed:
        missing = "trading did not resume after it"
    return none_of(
        name, scenario, wrong, f"{what} ({held} refused)", unit="orders", missing=missing
    )


def in_force(run: Observation, at_ns: int) -> PolicyChange | None:
    """The last policy stored before `at_ns`."""
    return max(
        (change for change in run.policies if change.stored_ns <= at_ns),
        key=lambda change: change.stored_ns,
        default=None,
    )


def must_be_known(run: Observation, at_ns: int) -> PolicyChange | None:
    """The policy that a decision at `at_ns` may not be behind."""
    since_restart = max((o.started_ns for o in run.outages if o.started_ns <= at_ns), default=0)
    latest = in_force(run, at_ns - FRESH_LIMIT_NS)
    before_restart = in_force(run, since_restart)
    if latest is None or before_restart is None:
        return latest or before_restart
    return max(latest, before_restart, key=lambda change: change.stored_ns)


def _first_served(run: Observation, wanted: PolicyChange, *, after_ns: int) -> Attempt | None:
    return min(
        (
            attempt
            for attempt in run.attempts
            if attempt.begun_ns > after_ns
            and attempt.policy_version is not None
            and attempt.policy_version >= wanted.version
            and attempt.policy_mode == wanted.mode
        ),
        key=lambda attempt: attempt.begun_ns,
        default=None,
    )
