"""The market: bars, trades and quotes, live or recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from holdfast.market import Bar, MarketEvent

from .link import LinkWatch


class Subscription(NamedTuple):
    """What a bot wants to hear of the market.

    :ivar intervals: lengths of bars, by name (`market.INTERVALS`).
    """

    symbols: tuple[str, ...]
    intervals: tuple[str, ...] = ("1m",)
    trades: bool = False
    quotes: bool = False


class MarketWatch(LinkWatch, Protocol):
    def event(self, event: MarketEvent) -> None:
        """Something happened in the market. Per symbol in the order of its time.

        After a connection was lost: a `MarketGap` for each symbol, then the bars that ended
        meanwhile, as far as the venue can be asked for them, then what is new.
        """

    def alive(self, symbol: str) -> None:
        """The stream of this symbol has said something that is no event for the bot."""


class MarketData(Protocol):
    name: str

    async def run(self, watch: MarketWatch, subscription: Subscription) -> None: ...

    async def probe(self) -> None: ...

    async def bars(
        self, symbol: str, *, interval: str, limit: int, timeout_seconds: float
    ) -> list[Bar]:
        """The latest `limit` bars that have ended, oldest first. :raises LinkDown:"""


@runtime_checkable
class Replay(Protocol):
    """What a `MarketData` may offer besides, if its market is a recorded one in virtual time."""

    def events(self) -> Iterator[MarketEvent]:
        """One event after the other, each at its time, for as long as nothing else happens
        before it. When something does it ends, and what follows comes to the watch as ever.

        For the one bot that hears of the market: what it takes here is told to nobody else.
        """
