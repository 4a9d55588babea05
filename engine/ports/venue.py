"""The venue: orders, what became of them, and what the account holds.

`ExecutionClient` is what an engine can not do without. What venues offer besides is a protocol
of its own each, found with `isinstance`: the two that belong to orders are here, those of the
account in `account`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Protocol, runtime_checkable

from holdfast.model import (
    ExecutionReport,
    Fill,
    Instrument,
    OrderSnapshot,
    PlaceOutcome,
    PlaceRequest,
    Position,
    QueryOutcome,
)

from .link import LinkWatch


class ExecutionWatch(LinkWatch, Protocol):
    """`up` and `down` speak of the order connection; the stream has its own health."""

    def stream_up(self) -> None:
        """The user stream is connected (again): what happened meanwhile must be asked for."""

    def stream_down(self, reason: str) -> None: ...

    def report(self, report: ExecutionReport) -> None:
        """A message of the user stream, in the venue's order. Duplicates are harmless."""


class ExecutionClient(Protocol):
    name: str
    venue: str
    """Part of every journalled record, so that two venues are never mixed up."""

    async def run(self, watch: ExecutionWatch) -> None: ...

    async def probe(self) -> None: ...

    async def place(
        self,
        request: PlaceRequest,
        *,
        permit: Callable[[], object],
        timeout_seconds: float,
    ) -> PlaceOutcome:
        """One attempt, never repeated by the transport itself.

        :param permit: called at the last moment at which the write can still be
            stopped (after DNS and connection set-up); whatever it raises passes
            through, and proves that nothing was sent.
        Never raises for what the network or the venue did: that is the outcome's
        class. Cancellation passes through; its outcome is then unknown unless
        `permit` had not been called.
        """

    async def cancel(
        self,
        symbol: str,
        client_order_id: str,
        *,
        conditional: bool = False,
        timeout_seconds: float,
    ) -> QueryOutcome:
        """Cancel one order; the answer tells how the order stands. Safe to repeat.

        :param conditional: it was placed with a trigger. Venues keep those elsewhere
            (Binance: the algo endpoints), before and after they were triggered.
        """

    async def query(
        self,
        symbol: str,
        client_order_id: str,
        *,
        conditional: bool = False,
        timeout_seconds: float,
    ) -> QueryOutcome:
        """How the order stands. A triggered order is told as one with the order made of it:
        status and fills are that one's, the client order id stays.
        """

    async def open_orders(self, *, timeout_seconds: float) -> list[OrderSnapshot]:
        """All open orders of the account, conditional ones included. :raises LinkDown:"""

    async def positions(self, *, timeout_seconds: float) -> list[Position]:
        """All positions that are not flat. :raises LinkDown:"""

    async def fills(
        self, symbol: str, *, after_trade_id: int, timeout_seconds: float
    ) -> list[Fill]:
        """Own fills with a greater trade id, ascending, all pages. :raises LinkDown:"""

    async def newest_trade_id(self, symbol: str, *, timeout_seconds: float) -> int:
        """The greatest trade id that `fills` would tell of; 0: it would tell of none.

        Where counting begins on an account with a past, so it must not cost a request for each
        of those fills.

        :raises LinkDown:
        """

    async def venue_time_ms(self, *, timeout_seconds: float) -> int:
        """The venue's clock. :raises LinkDown:"""

    async def instruments(self, *, timeout_seconds: float) -> dict[str, Instrument]:
        """By unified symbol. :raises LinkDown:"""

    async def last_price(self, symbol: str, *, timeout_seconds: float) -> Decimal:
        """What the symbol last traded at; judges the notional of market orders.

        :raises LinkDown:
        """


@runtime_checkable
class PreparesOrders(Protocol):
    """What an `ExecutionClient` may offer besides: to make and sign an order's request, and set
    up its connection, while the record of the order is still on its way to the disk.
    """

    async def place_when_ready(
        self,
        request: PlaceRequest,
        *,
        ready: Callable[[], Awaitable[object]],
        permit: Callable[[], object],
        timeout_seconds: float,
    ) -> PlaceOutcome:
        """As `ExecutionClient.place`, for an order that may not be sent yet.

        :param ready: awaited directly before `permit` is called, so after everything else that
            comes before the write; whatever it raises passes through, and proves that nothing
            was sent. Called again where the connection was closed meanwhile and another one is
            to carry the order.
        """


@runtime_checkable
class CountsDown(Protocol):
    """What an `ExecutionClient` may offer besides: a dead-man switch at the venue."""

    async def countdown_cancel_all(
        self, symbol: str, *, countdown_seconds: float, timeout_seconds: float
    ) -> None:
        """Have the venue cancel every open order of `symbol` in so many seconds, unless this
        is called again; 0 stops the countdown.

        :raises LinkDown:
        """
