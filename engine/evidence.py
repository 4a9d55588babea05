"""What replies and silence prove about an order; pure functions.

The rule under all of them: absence of proof is not proof of absence. The venue
refuses an attempt that reaches its matching engine later than its signed time
stamp plus `recvWindow` (Binance, "Timing security"; checked again at the matching
engine since 2023-04). So once the venue's own clock has passed that moment of the
*latest* attempt, with a margin for the lag of its queries, an order it does not
know of can no longer appear.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from .intent import Attempt
from .model import Order, OrderSnapshot, OutcomeKind, PlaceOutcome

EXIT_WAIT_SECONDS: Final = 1.0
"""Least wait between two attempts of an exit that has used up the waits that are set."""


class Next(StrEnum):
    """What to do after an attempt."""

    DONE = "done"
    SEND_AGAIN = "send_again"  # after `wait_seconds`
    ASK = "ask"  # the outcome is unknown, or the id exists: query
    REJECT = "reject"
    GIVE_UP = "give_up"  # not executed, and not to be sent any more
    HALT = "halt"  # not executed, and the venue will refuse everything


class Decision(NamedTuple):
    next: Next
    wait_seconds: float = 0.0
    reason: str = ""
    resync_clock: bool = False


def decide(
    outcome: PlaceOutcome,
    *,
    attempts: int,
    backoff_seconds: Sequence[float],
    jitter: float,
    gives_up: bool = True,
) -> Decision:
    """What follows from the outcome of attempt number `attempts` (from 1).

    :param jitter: in [-1, 1], already scaled: the wait is multiplied by `1 + jitter`.
    :param gives_up: whether it ends when the waits are used up; an exit does not.
    """
    match outcome.kind:
        case OutcomeKind.ACCEPTED:
            return Decision(Next.DONE)
        case OutcomeKind.REJECTED:
            return Decision(Next.REJECT, reason=outcome.reason)
        case OutcomeKind.EXISTS:
            return Decision(Next.ASK, reason=outcome.reason)
        case OutcomeKind.BANNED | OutcomeKind.AUTH:
            return Decision(Next.HALT, reason=outcome.reason)
        case OutcomeKind.NOT_EXECUTED | OutcomeKind.THROTTLED | OutcomeKind.CLOCK:
            if gives_up and attempts > len(backoff_seconds):
                return Decision(
                    Next.GIVE_UP, reason=f"not executed in {attempts} attempts: {outcome.reason}"
                )
            wait = wait_seconds(attempts, backoff_seconds) * (1 + jitter)
            return Decision(
                Next.SEND_AGAIN,
                wait_seconds=max(wait, outcome.retry_after_seconds or 0.0),
                reason=outcome.reason,
                resync_clock=outcome.kind is OutcomeKind.CLOCK,
            )
        case _:  # UNKNOWN, and whatever a transport of the future may say
            return Decision(Next.ASK, reason=outcome.reason)


def contradicts_the_book(outcome: PlaceOutcome, order: Order, *, held: Decimal) -> bool:
    """Whether the venue knows of no position where the local book has one.

    A refusal that the book explains as well (nothing is held here either) says nothing new.

    :param held: by the local book, signed, of the order's symbol and position side.
    """
    return outcome.nothing_to_reduce and held * order.signed_quantity < 0


def wait_seconds(attempts: int, backoff_seconds: Sequence[float]) -> float:
    """The wait after attempt number `attempts` (from 1), without jitter.

    Once the listed ones are used up only an exit goes on, perhaps for hours: with the last of
    them, or `EXIT_WAIT_SECONDS`.
    """
    if attempts <= len(backoff_seconds):
        return backoff_seconds[attempts - 1]
    return max((*backoff_seconds[-1:], EXIT_WAIT_SECONDS))


def absence_countable_from_ms(attempts: Sequence[Attempt], *, margin_ms: int) -> int:
    """Venue time from which a "not there" counts: every attempt has expired by then.

    The last millisecond of the window still belongs to it: the venue refuses only what is older
    than `recvWindow` (Binance, "Timing security").
    """
    return max(a.expires_ms for a in attempts) + 1 + margin_ms


def absence_proven(
    attempts: Sequence[Attempt],
    denials_ms: Sequence[int],
    *,
    margin_ms: int,
    needed: int,
    spacing_ms: int,
) -> bool:
    """Whether so many "not there" answers, asked at these venue times, prove absence.

    Only answers after the latest attempt expired count, and only those that lie
    `spacing_ms` apart: two answers of the same instant are one observation.
    """
    countable = absence_countable_from_ms(attempts, margin_ms=margin_ms)
    counted = 0
    last: int | None = None
    for asked in sorted(denials_ms):
        if asked >= countable and (last is None or asked - last >= spacing_ms):
            counted += 1
            last = asked
    return counted >= needed


def of_the_same(meant: Order | OrderSnapshot, told: OrderSnapshot) -> OrderSnapshot:
    """`told`, with what it waited for.

    Once the price of a conditional order is reached, the venue tells of the order that it has
    made of it, under the same id, and that does not say what it waited for. A transport may
    have heard it before; one that was started since has not.
    """
    if meant.trigger is None or told.trigger is not None:
        return told
    return msgspec.structs.replace(told, trigger=meant.trigger, trigger_price=meant.trigger_price)


def mismatch(order: Order, found: OrderSnapshot) -> str | None:
    """Why an order found under our id is not the one we meant; None when it is."""
    if found.symbol != order.symbol:
        return f"symbol {found.symbol}, meant {order.symbol}"
    if found.side != order.side:
        return f"side {found.side}, meant {order.side}"
    # What is made of a conditional order that closes is cut to what is held by then.
    cut = order.conditional and not order.opening and found.quantity < order.quantity
    if found.quantity != order.quantity and not cut:
        return f"quantity {found.quantity}, meant {order.quantity}"
    if order.price is not None and found.price != order.price:
        return f"price {found.price}, meant {order.price}"
    if found.position_side != order.position_side:
        return f"position side {found.position_side}, meant {order.position_side}"
    # In hedge mode an order carries no reduceOnly, and its side says the same.
    if found.opening != order.opening:
        return f"reduce_only {found.reduce_only}, meant {order.reduce_only}"
    if (found.trigger, found.trigger_price) != (order.trigger, order.trigger_price):
        return (
            f"trigger {found.trigger} at {found.trigger_price}, "
            f"meant {order.trigger} at {order.trigger_price}"
        )
    return None
