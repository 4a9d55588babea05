"""Counts what became of a bot's decisions, by the venue's log and not by anybody's word.

A decision is one order that the bot wants: one key, or one call without a key. Which client
ids were sent to the venue for it is seen where they leave, so it can be told whether the venue
took none of them, one, or more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import msgspec

from holdfast.errors import InvalidOrder, NotExecuted, OutcomeUnknown, Rejected, TradingHalted
from holdfast.model import Order
from holdfast.transports.sim import VenueOrder

Fate = Literal["", "blocked", "rejected", "not executed", "unknown"]
"""The last that the bot was told of a decision; "" while it waits, and when the venue has it."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """
    :ivar decisions: orders that the bot wanted.
    :ivar orders: of those, orders that the venue took, doubled ones included.
    :ivar blocked: refused by gate or policy before anything was sent.
    :ivar rejected: refused by the venue.
    :ivar missed: sent, perhaps again and again, and the venue has none of them.
    :ivar doubled: orders that the venue has beyond one for each decision.
    """

    decisions: int = 0
    orders: int = 0
    blocked: int = 0
    rejected: int = 0
    missed: int = 0
    doubled: int = 0


_current: ContextVar[int] = ContextVar("decision")


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why orders were refused, in the words of who did.

    :ivar code: the venue's number; None: the order could not be right, and nobody was asked.
    :ivar count: how often; of an order that was wanted again each time.
    :ivar reason: of the first.
    """

    code: int | None
    count: int
    reason: str


class Tally:
    def __init__(self) -> None:
        self._refused: Counter[int | None] = Counter()
        self._reasons: dict[int | None, str] = {}
        self._count = 0
        self._wrong: set[int] = set()
        self._by_key: dict[str, int] = {}
        self._fates: dict[int, Fate] = {}
        self._of_id: dict[str, int] = {}

    @contextmanager
    def deciding(self, order: Order) -> Iterator[None]:
        """The bot wants `order`; what is sent meanwhile is sent for it."""
        number = self._number(order)
        token = _current.set(number)
        self._fates.pop(number, None)
        self._wrong.discard(number)
        try:
            yield
        except TradingHalted:
            self._fates[number] = "blocked"
            raise
        except Rejected as no:
            # A policy's refusal has no code: the venue was never asked.
            self._fates[number] = "blocked" if no.code is None else "rejected"
            if no.code is not None:
                self._refuse(no.code, no.reason)
            raise
        except NotExecuted:
            self._fates[number] = "not executed"
            raise
        except OutcomeUnknown:
            self._fates[number] = "unknown"
            raise
        except InvalidOrder as no:  # it could not be right: no decision
            self._wrong.add(number)
            self._refuse(None, str(no))
            raise
        except BaseException:  # killed, or cancelled by the bot, before there was an answer
            self._fates[number] = "unknown"
            raise
        finally:
            _current.reset(token)

    def _refuse(self, code: int | None, reason: str) -> None:
        self._refused[code] += 1
        self._reasons.setdefault(code, reason)

    def _number(self, order: Order) -> int:
        if order.key is not None:
            known = self._by_key.get(order.key)
            if known is not None:
                return known
        self._count += 1
        if order.key is not None:
            self._by_key[order.key] = self._count
        return self._count

    def refusals(self) -> tuple[Refusal, ...]:
        """By their number, the most frequent first."""
        return tuple(
            Refusal(code=code, count=count, reason=self._reasons[code])
            for code, count in self._refused.most_common()
        )

    def sends(self, client_order_id: str) -> None:
        """An order leaves for the venue under this id."""
        number = _current.get(0)
        if number:
            self._of_id[client_order_id] = number

    def counts(self, order_log: list[VenueOrder]) -> Counts:
        """What came of it all.

        :param order_log: the venue's.
        """
        taken: Counter[int] = Counter()
        for order in order_log:
            number = self._of_id.get(order.client_order_id)
            if number is not None:
                taken[number] += 1
        none = Counter(fate for number, fate in self._fates.items() if not taken[number] and fate)
        return Counts(
            decisions=self._count - len(self._wrong),
            orders=taken.total(),
            blocked=none["blocked"],
            rejected=none["rejected"],
            missed=none["not executed"] + none["unknown"],
            doubled=taken.total() - len(+taken),
        )
