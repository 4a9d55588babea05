"""Did the gate shut in time, stay shut, and open only after everything was made whole?"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from .checks import Check, at_least, at_most, none_of, seconds, unmeasured
from .observation import Attempt, Observation, Outage, VenueOrder

GATE_SHUT_LIMIT_SECONDS: Final = 5.0
"""What was asked for; the goal is milliseconds."""
RESUME_LIMIT_SECONDS: Final = 5.0
IN_FLIGHT_NS: Final = 250_000_000
"""An order that was on the wire when the gate shut may reach the exchange this much later:
the scheduling delay of two busy processes, not the engine's."""
ACTIVE_WITHIN_NS: Final = 1_000_000_000
"""Trading counts as active if an opening order was accepted this shortly before the kill."""
MIN_TRIES_WHILE_DOWN: Final = 20

_POSITIONS: Final = ("positionRisk", "account")


def gate_shut_seconds(run: Observation, scenario: int) -> Check:
    name, what = "gate_shut_seconds", "first refused opening order − SIGKILL of Redis"
    worst = 0
    for outage in run.outages:
        if (missing := _not_active(run, outage)) is not None:
            return unmeasured(name, scenario, GATE_SHUT_LIMIT_SECONDS, "s", what, missing)
        shut_ns = first_refusal_ns(run, outage)
        if shut_ns is None:
            missing = "no opening order was refused while Redis was down"
            return unmeasured(name, scenario, GATE_SHUT_LIMIT_SECONDS, "s", what, missing)
        worst = max(worst, shut_ns - outage.killed_ns)
    if not run.outages:
        return unmeasured(name, scenario, GATE_SHUT_LIMIT_SECONDS, "s", what, "no outage")
    return at_most(name, scenario, seconds(worst), GATE_SHUT_LIMIT_SECONDS, what, unit="s")


def tries_while_down(run: Observation, scenario: int) -> Check:
    fewest = min((len(_tries(run, outage)) for outage in run.outages), default=0)
    return at_least(
        "tries_while_down",
        scenario,
        fewest,
        MIN_TRIES_WHILE_DOWN,
        "opening orders the bot tried while Redis was dead; without them the next line proves "
        "nothing",
        unit="tries",
    )


def opening_orders_after_shut(run: Observation, scenario: int) -> Check:
    what = (
        "opening orders the exchange took although they were decided after the gate shut and before"
        f" Redis was started again, or that arrived later than {IN_FLIGHT_NS // 1_000_000} ms "
        "after it shut"
    )
    wrong: set[int] = set()
    missing = None if run.outages else "no outage"
    for outage in run.outages:
        shut_ns = first_refusal_ns(run, outage)
        if missing is None and (missing := _not_active(run, outage)) is None and not shut_ns:
            missing = "no opening order was refused while Redis was down"
        # Without a refusal the gate never shut; then everything after the kill is wrong.
        from_ns = outage.killed_ns if shut_ns is None else shut_ns
        tried = {try_.intent for try_ in _tries(run, outage) if try_.begun_ns > from_ns}
        for index, order in enumerate(run.orders):
            late = from_ns + IN_FLIGHT_NS < order.accepted_ns < outage.started_ns
            if order.opening and (late or order.intent in tried):
                wrong.add(index)
    if wrong:
        missing = None  # a violation needs no further proof
    return none_of(
        "opening_orders_after_shut", scenario, len(wrong), what, unit="orders", missing=missing
    )


def positions_open_at_kill(run: Observation, scenario: int) -> Check:
    """The outage must hit a bot that has something to lose."""
    lowest = min(
        (_held(run, outage.killed_ns) for outage in run.outages),
        default=Decimal(0),
    )
    what = "position by the exchange's own log at the moment Redis was killed"
    return Check("positions_open_at_kill", scenario, lowest > 0, f"{lowest:f}", "> 0", "BTC", what)


def replayed_before_resume(run: Observation, scenario: int) -> Check:
    what = (
        "events published while Redis was down that reached it only after the first new opening "
        "order was accepted (Redis stamps to 1 ms)"
    )
    arrived = {(e.producer, e.sequence): e.appended_ns for e in reversed(run.stream)}
    late = buffered = 0
    for outage in run.outages:
        resumed = first_order_after(run, outage)
        if resumed is None:
            return unmeasured(
                "replayed_before_resume", scenario, 0, "events", what, "trading did not resume"
            )
        for event in run.published:
            if outage.killed_ns < event.at_ns < outage.started_ns:
                buffered += 1
                at_ns = arrived.get((event.producer, event.sequence))
                late += at_ns is None or at_ns > resumed.accepted_ns
    missing = None if buffered else "nothing was published while Redis was down"
    return none_of("replayed_before_resume", scenario, late, what, unit="events", missing=missing)


def reconciled_before_resume(run: Observation, scenario: int) -> Check:
    what = (
        "resumes before which the exchange was not asked for positions and open orders after Redis "
        "had come back, or before whose first trade.opened the stream has no "
        "execution.positions_reconciled"
    )
    bad = 0
    for outage in run.outages:
        resumed = first_order_after(run, outage)
        if resumed is None:
            return unmeasured(
                "reconciled_before_resume", scenario, 0, "resumes", what, "trading did not resume"
            )
        bad += not (_venue_was_asked(run, outage, resumed) and _announced(run, outage, resumed))
    missing = None if run.outages else "no outage"
    return none_of("reconciled_before_resume", scenario, bad, what, unit="resumes", missing=missing)


def resume_seconds(run: Observation, scenario: int) -> Check:
    name = "resume_seconds"
    what = "first PONG the observer read − first opening order the exchange accepted after it"
    worst = 0
    for outage in run.outages:
        resumed = first_order_after(run, outage)
        if resumed is None or outage.pong_ns is None:
            missing = "no PONG was seen" if outage.pong_ns is None else "trading did not resume"
            return unmeasured(name, scenario, RESUME_LIMIT_SECONDS, "s", what, missing)
        # An observer that was kept waiting for a CPU may see the PONG late; never below zero.
        worst = max(worst, resumed.accepted_ns - outage.pong_ns)
    if not run.outages:
        return unmeasured(name, scenario, RESUME_LIMIT_SECONDS, "s", what, "no outage")
    return at_most(name, scenario, seconds(worst), RESUME_LIMIT_SECONDS, what, unit="s")


def first_refusal_ns(run: Observation, outage: Outage) -> int | None:
    """When the bot was first told that trading is halted, while Redis was dead."""
    return min(
        (
            attempt.ended_ns
            for attempt in run.attempts
            if attempt.opening
            and attempt.outcome == "halted"
            and attempt.ended_ns is not None
            and outage.killed_ns <= attempt.ended_ns < outage.started_ns
        ),
        default=None,
    )


def first_order_after(run: Observation, outage: Outage) -> VenueOrder | None:
    """The first opening order accepted once the server had been started again."""
    return min(
        (o for o in run.orders if o.opening and o.accepted_ns > outage.started_ns),
        key=lambda order: order.accepted_ns,
        default=None,
    )


def _held(run: Observation, at_ns: int) -> Decimal:
    return sum(
        (
            order.filled if order.side == "buy" else -order.filled
            for order in run.orders
            if order.accepted_ns < at_ns
        ),
        Decimal(0),
    )


def _tries(run: Observation, outage: Outage) -> list[Attempt]:
    return [
        attempt
        for attempt in run.attempts
        if attempt.opening and outage.killed_ns <= attempt.begun_ns < outage.started_ns
    ]


def _not_active(run: Observation, outage: Outage) -> str | None:
    active = any(
        order.opening and 0 <= outage.killed_ns - order.accepted_ns <= ACTIVE_WITHIN_NS
        for order in run.orders
    )
    return None if active else "the bot was not trading when Redis was killed"


def _venue_was_asked(run: Observation, outage: Outage, resumed: VenueOrder) -> bool:
    asked = [
        request.path
        for request in run.requests
        if request.answer == "done" and outage.started_ns < request.arrived_ns < resumed.accepted_ns
    ]
    positions = any(part in path for path in asked for part in _POSITIONS)
    return positions and any("openOrders" in path for path in asked)


def _announced(run: Observation, outage: Outage, resumed: VenueOrder) -> bool:
    """The engine's announcement stands in the stream before the first new trade."""
    reopened = {
        (event.producer, event.sequence)
        for event in run.published
        if event.type == "trade.opened" and event.called_ns > resumed.accepted_ns
    }
    seen = False
    for entry in run.stream:
        if entry.type == "execution.positions_reconciled":
            seen = seen or entry.appended_ns >= outage.started_ns - 1_000_000
        elif (entry.producer, entry.sequence) in reopened:
            return seen
    return False
