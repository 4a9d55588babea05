"""The venue that an execution client is checked at, and how its author breaks it.

`VenueControl` is what the author of a client writes. Three things it has to say; all
else it overrides as far as the venue lets it. A check that meets something it does not
override raises `NotChecked`, which pytest and unittest show as skipped, with the reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from decimal import Decimal
from enum import StrEnum
from typing import Final, Literal
from unittest import SkipTest

from holdfast.clock import SystemClock
from holdfast.model import Side
from holdfast.ports import Clock

NO_SYMBOL: Final = "NOSUCHTHING/USDT:USDT"
"""Traded nowhere."""

Call = Literal[
    "place",
    "cancel",
    "query",
    "open_orders",
    "positions",
    "fills",
    "newest_trade_id",
    "venue_time_ms",
    "instruments",
    "last_price",
]
"""A method of `ExecutionClient`, for the request it makes."""


class Mishap(StrEnum):
    """What can happen to a request."""

    LOST_REQUEST = "lost_request"  # sent, never taken, never answered
    LOST_REPLY = "lost_reply"  # taken, never answered
    CUT_BEFORE = "cut_before"  # not taken: the connection breaks once it has arrived
    CUT_AFTER = "cut_after"  # taken, then the connection breaks without an answer
    TRUNCATED = "truncated"  # taken, and the connection breaks in the middle of the answer
    LATE_REPLY = "late_reply"  # taken at once, answered after twice `timeout_seconds`
    HELD_UP = "held_up"  # taken only after twice `timeout_seconds`
    SERVER_ERROR = "server_error"  # not taken; answered by "something failed", as with HTTP 500
    THROTTLED = "throttled"  # not taken; answered by "too many requests"


class NotChecked(SkipTest):
    """A check needs what this control does not have.

    :ivar needs: the name of it, as `without` takes it.
    """

    def __init__(self, needs: str) -> None:
        super().__init__(f"not checked: the control has no `{needs}`")
        self.needs = needs


class VenueControl(ABC):
    """The tester's hand on the venue, apart from the client under test.

    Override what the venue lets you do; `super()` raises `NotChecked`, also for single
    mishaps that you cannot make.

    :ivar symbol: what the checks trade; its unified name.
    :ivar quantity: of each order; the venue takes it at the prices it has, a hundred
        times over, and fills it at once when it is a market order.
    :ivar clock: the client's.
    :ivar timeout_seconds: for calls that shall get no answer; well above an answer's time.
    :ivar page_of_fills: how many fills the venue tells at once; None: paging is not checked.
    """

    symbol: str
    quantity: Decimal
    clock: Clock = SystemClock()
    timeout_seconds: float = 0.5
    page_of_fills: int | None = None

    @abstractmethod
    async def reset(self) -> None:
        """Undo what is below; the account is flat and has no open order. Old fills may stay.

        Called before each check.
        """

    @abstractmethod
    async def resting_price(self) -> Decimal:
        """At which a buy rests: below the market, on the venue's tick, within its bounds."""

    async def times_taken(self, client_order_id: str) -> int:
        """How many orders of that id the venue ever accepted, as its own log has it."""
        raise NotChecked("times_taken")

    async def set_price(self, price: Decimal) -> None:
        """Let the market trade at `price`; what rests there is filled."""
        raise NotChecked("set_price")

    async def trigger_price(self) -> Decimal:
        """At which a buy waits as a take-profit: below the market, for `set_price` to reach it.

        Not to be overridden where the venue keeps no conditional orders.
        """
        raise NotChecked("trigger_price")

    async def foreign_order(self, side: Side) -> str:
        """A market order of `quantity` on the same account, past the client.

        Returns its client order id.
        """
        raise NotChecked("foreign_order")

    async def spoil(self, call: Call, mishap: Mishap) -> None:
        """From now on the requests of `call` (others, too, if it must be) meet `mishap`."""
        raise NotChecked("spoil")

    async def mend(self) -> None:
        """End what `spoil` began. A request that is held up already stays so."""
        raise NotChecked("mend")

    async def line_down(self) -> None:
        """Cut all connections of the client and refuse new ones."""
        raise NotChecked("line_down")

    async def line_up(self) -> None:
        raise NotChecked("line_up")

    async def cut_stream(self) -> None:
        """Cut the user stream alone, once; it may be connected again at once."""
        raise NotChecked("cut_stream")

    async def skew_clock(self, milliseconds: int) -> None:
        """Put the venue's clock ahead of its true time.

        It refuses a `timestamp_ms` that is older than `recv_window_ms`, or ahead of it.
        """
        raise NotChecked("skew_clock")


OPTIONAL: Final = frozenset(
    name
    for name, value in vars(VenueControl).items()
    if not name.startswith("_") and not getattr(value, "__isabstractmethod__", False)
) - {"clock", "timeout_seconds"}
"""What `NotChecked.needs` and `without` may name."""
