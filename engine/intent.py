"""One intent: an order the bot wants executed once, and what is known of it.

The client order id is made here and stays the same for every attempt: it is what
the venue deduplicates open orders by, and what an order is found by after a crash.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from math import inf
from typing import Final, NamedTuple

import anyio

from .errors import EngineClosed
from .model import Order, OrderReport, OrderSnapshot, Position

DENIALS_KEPT: Final = 64
"""More than any proof of absence asks for (`orders.absence_answers`)."""
ATTEMPTS_KEPT: Final = 32
"""More than an entry can make; an exit may be tried for days."""

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int) -> str:
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
        if not number:
            return text


def prefix(bot: str) -> str:
    """What every client order id of this bot begins with: how our orders are told from others'."""
    return f"hf-{bot}-"


def client_order_id(bot: str, *, incarnation: int, fencing_token: int, number: int) -> str:
    """At most 36 of `[.A-Z:/a-z0-9_-]`, as Binance asks (USDⓈ-M "New Order").

    Carries the lease's fencing token, since the venue checks none: after a takeover the
    orders of the former holder can be told apart.
    """
    return _of_holder(bot, incarnation, fencing_token) + base36(number)


@lru_cache(maxsize=64)
def _of_holder(bot: str, incarnation: int, fencing_token: int) -> str:
    """What all orders of one holder of the lease have in common."""
    return f"{prefix(bot)}{base36(incarnation % 36**6)}-{base36(fencing_token % 36**7)}-"


class Stage(StrEnum):
    SENDING = "sending"  # an attempt is on its way, or waits for its backoff
    UNKNOWN = "unknown"  # the latest attempt may or may not have been executed
    CLOSED = "closed"


class Attempt(NamedTuple):
    """The stamp that bounds how late the venue may accept an attempt."""

    timestamp_ms: int
    recv_window_ms: int

    @property
    def expires_ms(self) -> int:
        return self.timestamp_ms + self.recv_window_ms


class Intent:
    """Awaitable until resolved; the engine's own handle, and the caller's."""

    def __init__(
        self,
        client_order_id: str,
        order: Order,
        *,
        created_ns: int,
        adopts: Position | None = None,
    ) -> None:
        self.client_order_id = client_order_id
        self.order = order
        self.adopts = adopts
        """See `records.Intended`."""
        self.created_ns = created_ns
        self.attempts: list[Attempt] = []
        """The latest of them last; of many, those that the venue may accept longest."""
        self.attempts_made = 0
        """All of them."""
        self.stage = Stage.SENDING
        self.doubt = ""
        """Why the outcome is unknown, in words."""
        self.doubted_at = 0.0
        """Monotonic moment since when it is unknown, in this life."""
        self.absent = False
        """The venue's absence of it is proven: may be sent again, or closed."""
        self.denials_ms: list[int] = []
        """Venue times at which its latest attempt was asked for and was not there."""
        self.ask_at = -inf
        """Monotonic moment before which the venue is not asked for it again."""
        self.asked_in_vain = 0
        """Questions since its latest attempt whose answer proved nothing and never will."""
        self.answer = ""
        """What the venue last answered when it was asked for it, in words."""
        self.report: OrderReport | None = None
        self.snapshot: OrderSnapshot | None = None
        self.abandoned = False
        """The engine was closed: nobody asks for it any more in this life."""
        self._changed: anyio.Event | None = None

    def __repr__(self) -> str:
        o = self.order
        return f"<Intent {self.client_order_id} {o.side} {o.quantity} {o.symbol} {self.stage}>"

    def begin_attempt(self, attempt: Attempt) -> None:
        """It is about to be written; what was learnt of earlier attempts proves nothing of it."""
        if len(self.attempts) == ATTEMPTS_KEPT:
            self.attempts.remove(min(self.attempts, key=lambda a: a.expires_ms))
        self.attempts.append(attempt)
        self.attempts_made += 1
        self.stage = Stage.SENDING
        self.absent = False
        self.denials_ms.clear()
        self.ask_at = -inf
        self.asked_in_vain = 0
        self.answer = ""

    def withdraw_attempt(self) -> None:
        """The latest attempt has provably not left: another may be made in its place. The journal
        holds its stamp until then, so that a process started meanwhile takes it for sent."""
        self.attempts.pop()
        self.attempts_made -= 1

    def stamp_anew(self, attempt: Attempt) -> None:
        """The latest attempt will leave with this stamp; with the one before it never did."""
        self.attempts[-1] = attempt

    def deny(self, asked_ms: int) -> None:
        """The venue, asked at this time of its clock, has said that it does not have it."""
        self.denials_ms.append(asked_ms)
        del self.denials_ms[:-DENIALS_KEPT]

    def has_ended(self) -> bool:
        return self.report is not None

    async def resolved(self) -> OrderReport:
        """Wait until there is evidence of how it ended: accepted, rejected or not executed.

        :raises EngineClosed: the engine was closed before that.
        """
        while self.report is None:
            if self.abandoned:
                raise EngineClosed(
                    f"the engine was closed before the outcome of {self.client_order_id} was "
                    "known; it is asked for at the next start"
                )
            await self.change()
        return self.report

    def abandon(self) -> None:
        """Nobody will learn more of it in this life: whoever waits for it is told."""
        self.abandoned = True
        self.notify()

    async def change(self) -> None:
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None
