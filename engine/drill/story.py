"""What happened in a run, in sentences with its figures. Pure."""

from __future__ import annotations

from itertools import pairwise

from .figures import duration
from .gate_checks import first_order_after, first_refusal_ns
from .observation import Observation, Outage
from .order_checks import places_by_intent


def sentences(seen: Observation) -> list[str]:
    """One paragraph for each thing that was done to the bot."""
    told = [_outage(seen, outage) for outage in seen.outages]
    told += [_resent(seen)] if _faulted(seen) else []
    told.append(
        f"In the whole run the bot tried {len(seen.attempts):,} orders, of which the exchange took "
        f"{len(seen.orders):,}, and published {len(seen.published):,} events."
    )
    return told


def _outage(seen: Observation, outage: Outage) -> str:
    tried = sum(
        a.opening and outage.killed_ns <= a.begun_ns < outage.started_ns for a in seen.attempts
    )
    buffered = sum(outage.killed_ns < p.at_ns < outage.started_ns for p in seen.published)
    dead = duration((outage.started_ns - outage.killed_ns) / 1e9)
    text = [f"Redis was killed and stayed dead for {dead}."]
    refusal_ns = first_refusal_ns(seen, outage)
    if refusal_ns is not None:
        after = duration((refusal_ns - outage.killed_ns) / 1e9)
        text.append(f"The bot's first order was refused {after} after the kill.")
    text.append(
        f"Meanwhile it tried {tried:,} opening orders and published {buffered:,} events, which "
        "waited in the outbox."
    )
    if outage.emptied:
        text.append("Redis came back empty: stream, policy and lease were gone.")
    order = first_order_after(seen, outage)
    if order is not None and outage.pong_ns is not None:
        resumed = duration(max(0, order.accepted_ns - outage.pong_ns) / 1e9)
        text.append(
            f"{resumed} after the first PONG the exchange accepted the first opening order again."
        )
    return " ".join(text)


def _faulted(seen: Observation) -> bool:
    return any(r.kind == "place" and r.answer.startswith("lost") for r in seen.requests)


_FATES = {
    "done": "taken",
    "refused": "refused as overloaded",
    "lost before": "lost before the exchange took it",
    "lost after": "taken, but its answer lost",
}


def _resent(seen: Observation) -> str:
    """Every order that needed more than one attempt, as its attempts reached the exchange."""
    told = []
    again = (sent for sent in places_by_intent(seen).items() if len(sent[1]) > 1)
    for number, (client_order_id, sent) in enumerate(again, 1):
        asked_ns = [
            r.arrived_ns
            for r in seen.requests
            if r.kind == "query" and r.client_order_id == client_order_id
        ]
        steps = [f"attempt 1 {_FATES.get(sent[0].answer, sent[0].answer)}"]
        for attempt, (before, after) in enumerate(pairwise(sent), 2):
            asked = sum(before.arrived_ns < at_ns < after.arrived_ns for at_ns in asked_ns)
            gap = duration((after.arrived_ns - before.arrived_ns) / 1e9)
            questions = f" and {asked} questions" if asked else ""
            fate = _FATES.get(after.answer, after.answer)
            steps.append(f"{gap}{questions} later attempt {attempt} {fate}")
        taken = sum(order.client_order_id == client_order_id for order in seen.orders)
        times = {0: "does not have it", 1: "has it once"}.get(taken, f"has it {taken} times")
        told.append(f"Order {number}: {'; '.join(steps)}. The exchange {times}.")
    return " ".join(told)
