"""What an endpoint is: a handler, what a request must prove for it, and what it weighs.

The endpoints themselves stand in `order_api`, `account_api`, `market_api` and `algo_api`, and
`routes` is the table of all of them. A handler knows nothing of sockets, signatures or
faults: it gets the parameters as text, returns a JSON value, and raises `VenueError` with
Binance's code for whatever is wrong with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

from .core import SimulatedVenue
from .faults import RequestKind
from .limits import UNLIMITED, Limits
from .market import MarketData
from .parameters import Params
from .rules import VenueError


class Security(Enum):
    """What a request must prove."""

    NONE = "none"
    KEY = "key"
    SIGNED = "signed"
    ACCOUNT = "account"
    """Signed, by a key of any rights: it speaks of the account beyond futures."""


@dataclass
class Permissions:
    """What the account, and the API key, may do.

    :ivar can_trade: the account may place orders.
    :ivar futures: the key may be used for futures at all.
    """

    can_trade: bool = True
    futures: bool = True
    withdrawals: bool = False
    bound_to_addresses: bool = True

    def check_order(self) -> None:
        """:raises VenueError: -4088."""
        if not self.can_trade:
            raise VenueError(-4088, "User can not place order currently.")


class ListenKeys:
    """The one listen key of the account, valid for an hour after it was last extended.

    :param make: a new key.
    """

    VALID_MS: Final = 3_600_000

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make
        self.current: str | None = None
        self._extended_ms = 0

    def create(self, now_ms: int) -> str:
        """The valid key, extended, or a new one."""
        if self.current is None or self.expired(now_ms):
            self.current = self._make()
        self._extended_ms = now_ms
        return self.current

    def extend(self, now_ms: int) -> None:
        """:raises VenueError: -1125 without a valid key."""
        if self.current is None or self.expired(now_ms):
            raise VenueError(-1125, "This listenKey does not exist.")
        self._extended_ms = now_ms

    def expired(self, now_ms: int) -> bool:
        return self.current is not None and now_ms - self._extended_ms >= self.VALID_MS

    def expire(self) -> str | None:
        """Forget the key and return it."""
        key, self.current = self.current, None
        return key


class Account:
    """What the endpoints act on: the venue, its market data, the listen keys of its user streams.

    :ivar limits: None: nothing is limited; what exchangeInfo declares are Binance's own.
    """

    def __init__(
        self,
        venue: SimulatedVenue,
        listen_keys: ListenKeys,
        *,
        market: MarketData,
        limits: Limits = UNLIMITED,
    ) -> None:
        self.venue = venue
        self.listen_keys = listen_keys
        self.market = market
        self.limits = limits
        self.permissions = Permissions()


Handler = Callable[[Account, Params], Any]
Weight = int | Callable[[Params], int]


class Route(NamedTuple):
    """One endpoint.

    :ivar kind: which faults hit it.
    :ivar weight: request weight of the address.
    :ivar orders: how many orders it counts as, in ten seconds and in a minute.
    """

    handle: Handler
    security: Security
    kind: RequestKind
    weight: Weight
    orders: tuple[int, int] = (0, 0)
