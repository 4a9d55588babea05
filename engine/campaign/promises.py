"""What must be true when a run is over: events on the bus, orders at the venue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from holdfast.reconcile import Kind
from holdfast.transports.sim import SimulatedVenue

from .diary import Decision, Diary, number_of
from .plan import Funding
from .supervisor import Supervisor
from .surroundings import POSITIONS
from .world import World

SYNC_SECONDS = 0.05 + 1e-6
"""What was published at level `process` so shortly before a power cut may be gone; times are
rounded."""


def check_events(world: World) -> None:
    """Every event that was published is on the bus once, in the order of its producer.

    Missing may be only what could not exist any more: events of level `process` that no device
    had yet when the power was cut, and those that had left the outbox's window when the bus lost
    them, which then stand under a gap marker.
    """
    on_bus: dict[tuple[str, int], object] = {}
    covered: dict[str, list[tuple[int, int]]] = {}
    last: dict[str, int] = {}
    for entry, (producer, sequence, event) in zip(
        world.bus_server.log.entries, world.events(), strict=True
    ):
        if sequence <= last.get(producer, 0):
            world.breach("events", f"{producer} {sequence} follows {last[producer]} on the bus")
        last[producer] = max(sequence, last.get(producer, 0))
        if event is None:
            assert entry.gap is not None
            covered.setdefault(producer, []).append((entry.gap.first, entry.gap.last))
        else:
            on_bus[producer, sequence] = event.body
            if (event.producer, event.sequence) != (producer, sequence):
                world.breach("events", f"{producer} {sequence} holds another event: {event}")
    window = world.plan.conditions.retain_acked_seconds
    diary = world.diary
    for published in diary.published:
        name = (published.producer, published.sequence)
        if name in on_bus:
            if on_bus[name] != {"number": published.number}:
                world.breach("events", f"{name} holds {on_bus[name]}, published was {published}")
            continue
        if not published.durable and lost_with_the_power(
            published.at_seconds, diary, refused_at=world.disk.refused_at
        ):
            continue
        marked = [
            at
            for gap, at in diary.gaps
            if gap.producer == published.producer and gap.first <= published.sequence <= gap.last
        ]
        in_gap = any(
            first <= published.sequence <= end for first, end in covered.get(published.producer, ())
        )
        missed_at = max(marked, default=0.0)
        if world.bus_has_lost and in_gap and missed_at - published.at_seconds >= window:
            continue
        world.breach(
            "events",
            f"{published.type} {name}, published at {published.at_seconds:.3f} s, is "
            f"{'replaced by a gap marker' if in_gap else 'not on the bus'}",
        )


def lost_with_the_power(at_seconds: float, diary: Diary, *, refused_at: Sequence[float]) -> bool:
    """Whether an event of level `process`, published then, may be gone.

    A power cut takes what was not synced yet: of the moments before it, or, where the device
    had refused the sync that was due (the engine has said so, and nothing was published after
    that), of the moments before the refusal, unless another life has opened the journal since.
    """
    for loss in diary.power_losses:
        if 0 <= loss - at_seconds <= SYNC_SECONDS:
            return True
        for refused in refused_at:
            was_due = 0 <= refused - at_seconds <= SYNC_SECONDS
            if was_due and refused <= loss and not any(refused < b <= loss for b in diary.births):
                return True
    return False


def check_repairs(world: World) -> None:
    """Where nobody but the bot has traded, every fill explains its part of the position, and of
    the cash, whatever died in between: then nothing of these was ever put right by a rule. A
    funding fee is explained by the venue's history, if that was told, by a clock that did not
    jump.
    """
    if world.foreign_trades:
        return
    unexplained: list[Kind] = [] if world.other_diaries else [*POSITIONS]
    if not any(isinstance(fault, Funding) for fault in world.plan.faults):
        unexplained += [Kind.CASH_FLOW, Kind.BALANCE_DRIFT]
    elif not (world.history_untold or world.venue_clock_jumps):
        unexplained.append(Kind.BALANCE_DRIFT)
    for _, _, event in world.events():
        if event is None or event.type != "execution.positions_reconciled":
            continue
        for action in event.body["actions"]:
            if any(kind in action for kind in unexplained):
                world.breach("books", f"nobody else has traded, and it was told: {action}")


def check_orders(world: World, supervisor: Supervisor) -> None:
    """At most one execution of each decision, and what was said of it is what happened."""
    decisions = dict(world.diary.decisions)
    for other in world.other_diaries:
        decisions.update(other.decisions)
    for what in broken_orders(taken_by(world.venue), decisions, unnamed=world.unnamed):
        world.breach("orders", what)
    process = supervisor.process
    if process is None:
        return
    for client_order_id, accepted in process.witness.attempts.accepted().items():
        if accepted > 1:
            world.breach("orders", f"{client_order_id} was accepted {accepted} times")


class Taken(NamedTuple):
    """An order that the venue has taken; of a conditional one, what was asked for."""

    client_order_id: str
    quantity: Decimal
    foreign: bool


def taken_by(venue: SimulatedVenue) -> Iterator[Taken]:
    for order in venue.order_log:
        if order.trigger is None:  # not made by the venue, of one of those below
            yield Taken(order.client_order_id, order.quantity, order.foreign)
    for waiting in venue.conditional_log:
        if waiting.quantity is not None:  # it may close whatever is held: of the owner's
            yield Taken(waiting.client_id, waiting.quantity, waiting.foreign)


def broken_orders(
    taken: Iterable[Taken],
    decisions: Mapping[int, Decision],
    *,
    unnamed: Container[str] = (),
) -> Iterator[str]:
    """Where the venue's truth contradicts what was decided, or what was said of it.

    :param taken: all that the venue has ever taken.
    :param unnamed: ids of orders that no decision stands behind.
    """
    executions: Counter[int] = Counter()
    by_id: Counter[str] = Counter()
    for order in taken:
        if order.foreign or order.client_order_id in unnamed:
            continue
        executions[number_of(order.quantity)] += 1
        by_id[order.client_order_id] += 1
    for number, count in executions.items():
        if count > 1:
            yield f"decision {number} was executed {count} times"
        if number not in decisions:
            yield f"the venue has an order of {number}, which nobody decided on"
    for decision in decisions.values():
        count = executions[decision.number]
        for contradiction in decision.contradictions:
            yield f"{decision.order.key} was said to be {contradiction}"
        if decision.end == "accepted" and not by_id[decision.client_order_id]:
            yield f"{decision} was said to be accepted; the venue has none"
        if decision.end in ("rejected", "not_executed") and count:
            yield f"{decision} was said to be {decision.end}; the venue has it"
