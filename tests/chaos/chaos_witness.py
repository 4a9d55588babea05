"""Judges a run from outside: the bot's own log, the exchange's logs, the stream.

Each function returns what is wrong, in words, so that a test shows all of it and not
just that something was. None of them asks the engine.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

from chaos_bot import order_of
from chaos_rigs import Entry

Line = dict[str, Any]

NO_SUCH_ORDER = -2013
ANSWERS_NEEDED = 2
"""Of `orders.absence_answers`, its default."""


def wrong_events(lines: Sequence[Line], stream: Sequence[Entry]) -> list[str]:
    """Every told event once and in order; nothing missing without a marker, nothing made up."""
    wrong: list[str] = []
    told = [line for line in lines if line["what"] == "told" and line["outcome"] == "published"]
    called = {line["number"] for line in lines if line["what"] == "telling"}
    seen = Counter(entry.number for entry in stream if entry.number is not None)
    by_name = {(e.producer, e.sequence): e.number for e in stream}
    wrong += [
        f"told, but not in the stream: {line}"
        for line in told
        if by_name.get((line["producer"], line["sequence"])) != line["number"]
    ]
    wrong += [f"event {number} is there {n} times" for number, n in seen.items() if n > 1]
    wrong += [f"event {number} was never published" for number in seen if number not in called]
    next_of: dict[str, int] = defaultdict(lambda: 1)
    for entry in stream:
        first = entry.sequence if entry.gap_first is None else entry.gap_first
        if first != next_of[entry.producer]:
            wrong.append(f"after {next_of[entry.producer] - 1} of its producer comes {entry}")
        next_of[entry.producer] = entry.sequence + 1
    numbers = [entry.number for entry in stream if entry.number is not None]
    wrong += [
        f"event {after} of a later call stands before {before}"
        for after, before in pairwise(numbers)
        if before < after  # numbers of one life and of successive lives only grow
    ]
    return wrong


def wrong_orders(
    lines: Sequence[Line], orders: Sequence[Line], *, all_ended: bool = True
) -> list[str]:
    """At most one execution a decision; what was told of each is true.

    :param all_ended: every decision must have an outcome by now.
    """
    wrong: list[str] = []
    accepted: dict[tuple[str, Decimal], list[str]] = defaultdict(list)
    for order in orders:
        if not order["foreign"]:
            accepted[order["side"], Decimal(order["quantity"])].append(order["clientOrderId"])
    decided = {line["number"] for line in lines if line["what"] == "tried"}
    outcomes: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        if line["what"] == "ended":
            outcomes[line["number"]].append(line)
    known = set()
    for number in decided:
        meant = order_of(number)
        name = (meant.side, meant.quantity)
        known.add(name)
        there = accepted.get(name, [])
        if len(there) > 1:
            wrong.append(f"decision {number} was executed {len(there)} times: {there}")
        ends = {line["outcome"] for line in outcomes[number]} - {"unknown", "halted"}
        if len(ends) > 1:
            wrong.append(f"decision {number} was told to have ended as {sorted(ends)}")
        for line in outcomes[number]:
            if line["outcome"] == "accepted" and line["cid"] not in there:
                wrong.append(f"told accepted, but the exchange has {there}: {line}")
            if line["outcome"] in ("rejected", "not_executed") and there:
                wrong.append(f"told {line['outcome']}, but the exchange has {there}: {line}")
        if not outcomes[number] and all_ended:
            wrong.append(f"decision {number} has no end")
        elif all_ended and not ends and there:
            wrong.append(f"decision {number} was only ever refused, but the exchange has {there}")
    wrong += [
        f"nobody decided {name}: {ids}" for name, ids in accepted.items() if name not in known
    ]
    return wrong


def wrong_resends(requests: Iterable[Line]) -> list[str]:
    """An attempt sent again though the one before it was taken, or could still have been."""
    wrong: list[str] = []
    sent: dict[str, list[Line]] = defaultdict(list)
    asked: dict[str, list[Line]] = defaultdict(list)
    for request in requests:
        kept = {"place": sent, "query": asked}.get(request["kind"])
        if kept is not None and request["clientOrderId"] is not None:
            kept[request["clientOrderId"]].append(request)
    for cid, attempts in sent.items():
        for before, after in pairwise(attempts):
            expires_us = 1000 * (int(before["timestamp"]) + int(before["recvWindow"]))
            absent = [
                query
                for query in asked[cid]
                if query["code"] == NO_SUCH_ORDER
                and expires_us <= query["arrivedUs"] < after["arrivedUs"]
            ]
            if before["taken"]:
                wrong.append(f"{cid} was sent again though it had been taken")
            elif before["status"] == 0 and len(absent) < ANSWERS_NEEDED:
                wrong.append(f"{cid} was sent again after {len(absent)} proofs of absence")
    return wrong
