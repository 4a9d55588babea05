"""Request weights and order counts, with the refusals and bans that follow from them.

Binance, "Limits": weight is counted for each IP in a minute of the clock, orders for each
account in ten seconds and in a minute. Too much is 429 with `Retry-After`; who goes on
nevertheless is banned (418), for 2 minutes at first and for 3 days at most. How many requests
may follow the first 429, and how fast bans grow, is not documented: the figures here are ours.

Pure: the time is given with each call.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

MINUTE_MS: Final = 60_000
TEN_SECONDS_MS: Final = 10_000
REFUSALS_BEFORE_BAN: Final = 10
"""So many requests within one window are answered 429; the next one begins a ban."""
FIRST_BAN_MS: Final = 2 * MINUTE_MS
BAN_GROWTH: Final = 4
LONGEST_BAN_MS: Final = 3 * 24 * 60 * MINUTE_MS
MAX_ADDRESSES: Final = 10_000
"""The address that came first is forgotten first."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an address and an account may ask for.

    :ivar weight_per_minute: request weight, each address.
    :ivar orders_per_ten_seconds, orders_per_minute: new and amended orders, the account.
    :ivar open_orders: that rest in one symbol (filter MAX_NUM_ORDERS).
    :ivar messages_per_second: from a client on one WebSocket connection to streams.
    """

    weight_per_minute: int = 2400
    orders_per_ten_seconds: int = 300
    orders_per_minute: int = 1200
    open_orders: int = 200
    messages_per_second: int = 10


REAL: Final = Limits()
"""Binance's own, for USDⓈ-M futures."""
UNLIMITED: Final = Limits(**dict.fromkeys(Limits.__struct_fields__, 10**9))
"""What nobody reaches. It is declared as any other limit is: a client that paces itself by
exchangeInfo then need not wait for what would never be refused. Counts are not told: a client
that could not read exchangeInfo yet would hold them against Binance's limits."""


class LimitExceeded(Exception):
    """A request was refused without a look at it.

    :ivar status: 429 or 418.
    :ivar code: -1003 (weight) or -1015 (orders).
    """

    def __init__(self, status: int, code: int, message: str, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_seconds = retry_after_seconds


class _Window:
    """A count that begins anew with each span of the clock."""

    __slots__ = ("count", "number", "span_ms")

    def __init__(self, span_ms: int) -> None:
        self.span_ms = span_ms
        self.number = -1
        self.count = 0

    def at(self, now_ms: int) -> _Window:
        if (number := now_ms // self.span_ms) != self.number:
            self.number, self.count = number, 0
        return self

    def retry_after_seconds(self, now_ms: int) -> int:
        """Until the next span begins, rounded up."""
        return -(-(self.span_ms - now_ms % self.span_ms) // 1000)


class _Address:
    """What one IP address has used up."""

    __slots__ = ("ban_ms", "banned_until_ms", "refusals", "weight")

    def __init__(self) -> None:
        self.weight = _Window(MINUTE_MS)
        self.refusals = _Window(MINUTE_MS)
        self.ban_ms = 0
        self.banned_until_ms = 0


class RateLimiter:
    """Counts what is asked, and refuses what is too much."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._addresses: dict[str, _Address] = {}
        self._ten_seconds = _Window(TEN_SECONDS_MS)
        self._minute = _Window(MINUTE_MS)

    def charge(
        self, address: str, now_ms: int, weight: int, orders: tuple[int, int] = (0, 0)
    ) -> int:
        """Count one request; returns the weight that the address has used in this minute.

        :param orders: how much it counts in ten seconds, and in a minute.
        :raises LimitExceeded: it is not to be performed.
        """
        used = self._addresses.get(address) or self._enter(address)
        window = used.weight.at(now_ms)
        window.count += weight
        if now_ms < used.banned_until_ms:
            raise _banned(address, used.banned_until_ms, now_ms)
        if window.count > self.limits.weight_per_minute:
            self._refuse(used, address, now_ms)
        if orders[0]:
            self._count_orders(orders, now_ms)
        return window.count

    def used_weight(self, address: str, now_ms: int) -> int:
        used = self._addresses.get(address)
        return 0 if used is None else used.weight.at(now_ms).count

    def order_counts(self, now_ms: int) -> tuple[int, int]:
        """Orders in these ten seconds, and in this minute."""
        return self._ten_seconds.at(now_ms).count, self._minute.at(now_ms).count

    def describe(self, address: str, now_ms: int) -> list[dict[str, Any]]:
        """`rateLimits` of a WebSocket API reply."""
        ten_seconds, minute = self.order_counts(now_ms)
        counts = (self.used_weight(address, now_ms), ten_seconds, minute)
        rows = declared(self.limits)
        return [{**row, "count": count} for row, count in zip(rows, counts, strict=True)]

    def _enter(self, address: str) -> _Address:
        if len(self._addresses) >= MAX_ADDRESSES:
            del self._addresses[next(iter(self._addresses))]
        self._addresses[address] = used = _Address()
        return used

    def _refuse(self, used: _Address, address: str, now_ms: int) -> None:
        refusals = used.refusals.at(now_ms)
        refusals.count += 1
        if refusals.count > REFUSALS_BEFORE_BAN:
            used.ban_ms = min(used.ban_ms * BAN_GROWTH or FIRST_BAN_MS, LONGEST_BAN_MS)
            used.banned_until_ms = now_ms + used.ban_ms
            raise _banned(address, used.banned_until_ms, now_ms)
        raise LimitExceeded(
            429,
            -1003,
            f"Too many requests; current limit of IP({address}) is"
            f" {self.limits.weight_per_minute} requests per minute. Please use the websocket"
            " for live updates to avoid polling the API.",
            used.weight.retry_after_seconds(now_ms),
        )

    def _count_orders(self, orders: tuple[int, int], now_ms: int) -> None:
        ten_seconds, minute = self._ten_seconds.at(now_ms), self._minute.at(now_ms)
        for window, more, most, name in (
            (ten_seconds, orders[0], self.limits.orders_per_ten_seconds, "TEN_SECONDS"),
            (minute, orders[1], self.limits.orders_per_minute, "MINUTE"),
        ):
            if window.count + more > most:
                raise LimitExceeded(
                    429,
                    -1015,
                    f"Too many new orders; current limit is {most} orders per {name}.",
                    window.retry_after_seconds(now_ms),
                )
        ten_seconds.count += orders[0]
        minute.count += orders[1]


def declared(limits: Limits) -> list[dict[str, Any]]:
    """`rateLimits` of exchangeInfo."""
    return [
        _row("REQUEST_WEIGHT", "MINUTE", 1, limits.weight_per_minute),
        _row("ORDERS", "SECOND", 10, limits.orders_per_ten_seconds),
        _row("ORDERS", "MINUTE", 1, limits.orders_per_minute),
    ]


def _row(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
    return {
        "rateLimitType": kind,
        "interval": interval,
        "intervalNum": number,
        "limit": limit,
    }


def _banned(address: str, until_ms: int, now_ms: int) -> LimitExceeded:
    return LimitExceeded(
        418,
        -1003,
        f"Way too many requests; IP({address}) banned until {until_ms}. Please use the"
        " websocket for live updates to avoid bans.",
        -(-(until_ms - now_ms) // 1000),
    )
