"""Was each intent executed at most once, with evidence before each resend?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final

from .checks import Check, Measured, none_of, unmeasured
from .observation import Observation, VenueRequest

BACKOFF_SECONDS: Final = (1.0, 2.0, 4.0)
CLOCK_SLACK_NS: Final = 2_000_000
"""Stamps of the exchange are rounded to a microsecond or, in signed times, a millisecond."""
ANSWERS_NEEDED: Final = 2


def execution_checks(run: Observation, scenario: int) -> list[Check]:
    """What must hold in every run, whatever went wrong in it."""
    no_orders = None if run.orders else "the exchange took no order"
    per_intent = Counter(order.intent for order in run.orders)
    what = "orders the exchange took for one intent (unique quantity and side), at most"
    most = max(per_intent.values(), default=0)
    limit: Measured = 1
    executions = (
        unmeasured("executions_per_intent_max", scenario, limit, "orders", what, no_orders)
        if no_orders
        else Check("executions_per_intent_max", scenario, most <= 1, most, limit, "orders", what)
    )
    return [
        executions,
        none_of(
            "orders_without_decision",
            scenario,
            orders_without_decision(run),
            "orders at the exchange that the bot had not asked for before they arrived",
            unit="orders",
            missing=no_orders,
        ),
        none_of(
            "fills_untold",
            scenario,
            fills_untold(run),
            "orders reported as accepted with less filled than the exchange had filled at once "
            "(a bot that believes it trades twice)",
            unit="orders",
            missing=no_orders,
        ),
        _book_difference(run, scenario),
    ]


def orders_without_decision(run: Observation) -> int:
    decided: dict[object, int] = {}
    for attempt in run.attempts:
        decided.setdefault(attempt.intent, attempt.begun_ns)
    return sum(
        order.intent not in decided or order.accepted_ns + CLOCK_SLACK_NS < decided[order.intent]
        for order in run.orders
    )


def fills_untold(run: Observation) -> int:
    """All orders of the drill are immediate-or-cancel: what the exchange has of them is final."""
    filled = {order.intent: order.filled for order in run.orders}
    return sum(
        attempt.outcome == "accepted"
        and attempt.filled is not None
        and attempt.filled < filled.get(attempt.intent, Decimal(0))
        for attempt in run.attempts
    )


def _book_difference(run: Observation, scenario: int) -> Check:
    name, unit = "book_difference_at_end", "BTC"
    what = "position the bot believed in when it stopped, against the exchange's own"
    if run.bot_position is None or run.venue_position is None:
        return unmeasured(name, scenario, "0", unit, what, "the bot did not report its position")
    difference = abs(run.bot_position - run.venue_position)
    return Check(name, scenario, difference == 0, f"{difference:f}", "0", unit, what)


def retry_gaps_and_evidence(run: Observation, scenario: int) -> Check:
    name = "retry_gaps_and_evidence"
    what = (
        "resends without the full wait (1 s, 2 s, 4 s), or after an unanswered attempt without two "
        "answers of the exchange, asked when it could no longer take that attempt, that it is "
        "not there"
    )
    attempts = places_by_intent(run)
    resends = [pair for sent in attempts.values() for pair in pairwise(sent)]
    answers = [request.answer for sent in attempts.values() for request in sent]
    for needed, missing in (
        ("lost before", "no attempt was lost before the exchange took it"),
        ("lost after", "no attempt was lost after the exchange took it"),
        ("refused", "no attempt was refused as not executed"),
    ):
        if needed not in answers:
            return unmeasured(name, scenario, 0, "resends", what, missing)
    if not resends:
        return unmeasured(name, scenario, 0, "resends", what, "nothing was sent again")
    shortest = min(after.arrived_ns - before.arrived_ns for before, after in resends) / 1e9
    return none_of(
        name,
        scenario,
        wrong_resends(run),
        f"{what} ({len(resends)} resends, shortest wait {shortest:.3f} s)",
        unit="resends",
    )


def places_by_intent(run: Observation) -> dict[str, list[VenueRequest]]:
    """Attempts as they reached the exchange, by client order id, in order of arrival."""
    attempts: dict[str, list[VenueRequest]] = defaultdict(list)
    for request in sorted(run.requests, key=lambda r: r.arrived_ns):
        if request.kind == "place" and request.client_order_id is not None:
            attempts[request.client_order_id].append(request)
    return attempts


def wrong_resends(run: Observation) -> int:
    queries: dict[str, list[VenueRequest]] = defaultdict(list)
    for request in run.requests:
        if request.kind == "query" and request.client_order_id is not None:
            queries[request.client_order_id].append(request)
    wrong = 0
    for client_order_id, sent in places_by_intent(run).items():
        for number, (before, after) in enumerate(pairwise(sent)):
            wait_ns = int(BACKOFF_SECONDS[min(number, len(BACKOFF_SECONDS) - 1)] * 1e9)
            too_soon = after.arrived_ns - before.arrived_ns < wait_ns - CLOCK_SLACK_NS
            taken = before.answer in ("done", "lost after")
            unproven = before.answer == "lost before" and not _proven_absent(
                before, after, queries[client_order_id]
            )
            wrong += too_soon or taken or unproven
    return wrong


def _proven_absent(
    before: VenueRequest, after: VenueRequest, queries: Sequence[VenueRequest]
) -> bool:
    if before.valid_until_ns is None:
        return False
    return (
        sum(
            query.answer == "absent"
            and before.valid_until_ns - CLOCK_SLACK_NS <= query.arrived_ns < after.arrived_ns
            for query in queries
        )
        >= ANSWERS_NEEDED
    )


def orders_untold(run: Observation, scenario: int) -> Check:
    """An attempt taken but unanswered must end as accepted: the trade is not lost either."""
    what = "intents the exchange has executed that the bot was not told of as accepted"
    accepted = {attempt.intent for attempt in run.attempts if attempt.outcome == "accepted"}
    missing = None if run.orders else "the exchange took no order"
    count = sum(order.intent not in accepted for order in run.orders)
    return none_of("orders_untold", scenario, count, what, unit="orders", missing=missing)
