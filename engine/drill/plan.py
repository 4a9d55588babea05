"""What the bot of a run is told, as a file that is written before it starts."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class BotPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    :ivar engine_config: path of the `holdfast.toml` that the bot opens its engine with.
    :ivar decision_log: path of the log it writes for the observer.
    :ivar data: a file of recorded prices; None: a random walk from `seed`.
    :ivar market_began_ns: CLOCK_MONOTONIC at which the first tick was current; the bot
        and the exchange's feed play the same prices from it.
    :ivar try_seconds: between two tries of an order.
    :ivar concurrency: so many calls of `submit` may wait at once.
    :ivar lots: positions it likes to hold; above, it closes the oldest.
    :ivar close_seconds: it closes the oldest this often anyway.
    :ivar first_quantity: of the first try; each further one has one step more.
    :ivar large_quantity: where the large orders begin. Every second try is one of them,
        to test the policy's limit; None: there are no large ones.
    :ivar impatient_seconds: an unanswered order is submitted again with the same key this
        often, as bots do; None: never.
    """

    engine_config: str
    decision_log: str
    data: str | None
    seed: int
    market_began_ns: int
    tick_seconds: float
    first_quantity: Decimal
    quantity_step: Decimal
    price_step: Decimal
    symbol: str = "BTC/USDT:USDT"
    large_quantity: Decimal | None = None
    try_seconds: float = 0.004
    concurrency: int = 8
    lots: int = 8
    close_seconds: float = 0.25
    impatient_seconds: float | None = None


def encode(plan: BotPlan) -> bytes:
    return msgspec.json.encode(plan)


def decode(data: bytes) -> BotPlan:
    """:raises msgspec.ValidationError: naming the field."""
    return msgspec.json.decode(data, type=BotPlan)
