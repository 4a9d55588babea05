"""How much may be asked of the venue now: its own counts, and who goes first; pure.

The venue counts the weight of an address's requests per minute and an account's orders per
ten seconds and per minute, and tells both with every reply. It answers what is beyond with
429, and whoever goes on with a ban. So the last part of each budget is kept for what must
not wait: questions leave a tenth, entries a fifth. A count that the venue has never told
limits nothing: not every server counts.

Binance, USDⓈ-M "General Info", "LIMITS": headers X-MBX-USED-WEIGHT-(interval) and
X-MBX-ORDER-COUNT-(interval); windows are fixed, not sliding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Final, Literal, NamedTuple

Kind = Literal["weight", "orders"]


class Priority(IntEnum):
    """Who goes first."""

    EXIT = 0  # cancels, orders that only reduce, the dead-man switch, signs of life
    QUESTION = 1
    ENTRY = 2


SHARE: Final = {Priority.EXIT: 1.0, Priority.QUESTION: 0.9, Priority.ENTRY: 0.8}
"""Of a budget, what each may use up."""
MARGIN_MS: Final = 100
"""After the end of a window, for the error of the clocks."""
_HEADER: Final[dict[Kind, str]] = {
    "weight": "X-MBX-USED-WEIGHT-",
    "orders": "X-MBX-ORDER-COUNT-",
}
_SUFFIX: Final = {1000: "S", 60_000: "M", 3_600_000: "H", 86_400_000: "D"}


class Cost(NamedTuple):
    weight: int = 0
    orders: int = 0


class Limit(NamedTuple):
    """So much of a kind in each window of so many units."""

    kind: Kind
    unit_ms: int
    units: int
    most: int

    @property
    def interval_ms(self) -> int:
        return self.unit_ms * self.units

    @property
    def header(self) -> str:
        return f"{_HEADER[self.kind]}{self.units}{_SUFFIX[self.unit_ms]}"


BINANCE: Final = (
    Limit("weight", 60_000, 1, 2400),
    Limit("orders", 1000, 10, 300),
    Limit("orders", 60_000, 1, 1200),
)
"""As `rateLimits` of exchangeInfo has them, until it was read."""


class _Window:
    """What of one limit is used up in the window that runs."""

    __slots__ = ("header", "known_of", "limit", "number", "told", "used")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.header = limit.header
        self.number = -1
        self.used = 0
        self.told = False
        self.known_of = -1

    def roll(self, now_ms: int) -> None:
        number = now_ms // self.limit.interval_ms
        if number != self.number:
            self.number, self.used = number, 0

    def hear(self, value: int | None, cost: int, ticket: Ticket, now_ms: int) -> None:
        """A reply has come, with or without the venue's count."""
        self.roll(now_ms)
        same_window = ticket.sent_ms // self.limit.interval_ms == self.number
        if value is None or not same_window:
            # Of which window the count is, nobody knows when one ended on the way.
            self.told = self.told or value is not None
            self.used += cost
        elif ticket.number > self.known_of:  # replies may overtake each other
            self.told, self.known_of, self.used = True, ticket.number, value


class Ticket(NamedTuple):
    """A request that has been let go."""

    number: int
    cost: Cost
    sent_ms: int


class Budget:
    """What is left. `now_ms` is the venue's clock throughout."""

    def __init__(self, limits: Iterable[Limit] = BINANCE) -> None:
        self._windows = [_Window(limit) for limit in limits]
        self._in_flight: dict[Kind, int] = {"weight": 0, "orders": 0}
        self._sent = 0

    def adopt(self, limits: Iterable[Limit]) -> None:
        """The limits that the venue announces; counts of those that stay are kept."""
        known = {window.limit: window for window in self._windows}
        self._windows = [known.get(limit) or _Window(limit) for limit in limits]

    def wait_ms(self, cost: Cost, priority: Priority, now_ms: int) -> int:
        """How long a request has to wait; 0: it may go."""
        longest = 0
        for window in self._windows:
            if not window.told:
                continue
            limit = window.limit
            wanted = getattr(cost, limit.kind)
            if not wanted:
                continue
            window.roll(now_ms)
            used = window.used + self._in_flight[limit.kind]
            if used and used + wanted > limit.most * SHARE[priority]:
                end_ms = (window.number + 1) * limit.interval_ms + MARGIN_MS
                longest = max(longest, end_ms - now_ms)
        return longest

    def let_go(self, cost: Cost, now_ms: int) -> Ticket:
        """A request leaves; `settle` has to follow."""
        self._sent += 1
        self._in_flight["weight"] += cost.weight
        self._in_flight["orders"] += cost.orders
        return Ticket(self._sent, cost, now_ms)

    def settle(
        self, ticket: Ticket, now_ms: int, *, headers: Mapping[str, str] | None, left: bool = True
    ) -> None:
        """What became of it.

        :param headers: of the reply; None: there was none.
        :param left: False: it never left, and was not counted.
        """
        cost = ticket.cost
        self._in_flight["weight"] -= cost.weight
        self._in_flight["orders"] -= cost.orders
        if not left:
            return
        for window in self._windows:
            value = None if headers is None else _integer(headers.get(window.header))
            window.hear(value, getattr(cost, window.limit.kind), ticket, now_ms)


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
