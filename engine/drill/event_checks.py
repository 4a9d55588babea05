"""Did every published event reach the stream, once, and in its order?"""

from __future__ import annotations

from collections import Counter

from .checks import Check, at_least, none_of
from .observation import Observation


def event_checks(run: Observation, scenario: int) -> list[Check]:
    nothing = None if run.published else "nothing was published"
    while_down = sum(
        any(outage.killed_ns < event.at_ns < outage.started_ns for outage in run.outages)
        for event in run.published
    )
    return [
        at_least(
            "events_published",
            scenario,
            min(len(run.published), while_down) if run.outages else len(run.published),
            1,
            f"events whose publish returned{', while Redis was dead' if run.outages else ''} "
            f"({len(run.published):,} in the whole run)",
            unit="events",
        ),
        none_of(
            "events_lost",
            scenario,
            lost(run),
            "events whose publish returned that the stream does not hold in the end",
            unit="events",
            missing=nothing,
        ),
        none_of(
            "events_duplicated",
            scenario,
            duplicated(run),
            "entries of the stream that repeat an event",
            unit="entries",
            missing=nothing,
        ),
        none_of(
            "events_out_of_order",
            scenario,
            out_of_order(run),
            "events standing before one whose publish had returned earlier (trade.closed before "
            "its trade.opened), or before a lower sequence of their producer",
            unit="events",
            missing=nothing,
        ),
    ]


def lost(run: Observation) -> int:
    """An event counts as held only with the bot's own number in its body."""
    held = {(entry.producer, entry.sequence, entry.number) for entry in run.stream}
    return sum((e.producer, e.sequence, e.number) not in held for e in run.published)


def duplicated(run: Observation) -> int:
    entries = [entry for entry in run.stream if not entry.gap]
    by_name = Counter((entry.producer, entry.sequence) for entry in entries)
    by_number = Counter(entry.number for entry in entries if entry.number is not None)
    return max(
        sum(count - 1 for count in by_name.values()), sum(count - 1 for count in by_number.values())
    )


def out_of_order(run: Observation) -> int:
    """Walks the stream backwards with the earliest return seen so far.

    An entry is out of order if something behind it had been returned before it was
    even called. The second rule needs no log: sequences of one producer only grow.
    """
    log = {(event.producer, event.sequence): event for event in run.published}
    earliest_behind: int | None = None
    lowest_behind: dict[str, int] = {}
    wrong = 0
    for entry in reversed(run.stream):
        event = log.get((entry.producer, entry.sequence))
        overtaken = lowest_behind.get(entry.producer, entry.sequence + 1) < entry.sequence
        if event is not None:
            if earliest_behind is not None and earliest_behind < event.called_ns:
                overtaken = True
            if earliest_behind is None or event.at_ns < earliest_behind:
                earliest_behind = event.at_ns
        lowest_behind[entry.producer] = min(
            entry.sequence, lowest_behind.get(entry.producer, entry.sequence)
        )
        wrong += overtaken
    return wrong
