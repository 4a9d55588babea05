"""`holdfast.guard`: an existing ccxt bot keeps its calls and gets gate, idempotency, journal.

`parameters` and `replies` translate, `writes` says what may pass by the engine, `errors`
gives the engine's errors ccxt's classes, `calls` does what is done in place of ccxt's
methods, `wrapping` puts them into the exchange. ccxt is imported by whoever has an
exchange to guard, never by `import holdfast`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from holdfast.errors import ConfigError

if TYPE_CHECKING:
    from holdfast.blocking import BlockingEngine
    from holdfast.engine import Engine

__all__ = ["guard"]

E = TypeVar("E")

_VENUES = ("binanceusdm", "binance")


def guard(exchange: E, engine: Engine | BlockingEngine) -> E:
    """Put the engine between a ccxt exchange and its venue; returns the same object.

        exchange = holdfast.guard(ccxt.binanceusdm({...}), engine)

    From then on `create_order` and all that ends in it, `create_orders`, `edit_order`,
    `cancel_order`, `cancel_orders` and `cancel_all_orders`, their twins in camel case and
    those ending in `_ws`, go through the engine. What reads, what cancels, leverage, margin
    mode and transfers pass through untouched. Any other request that writes is refused,
    whichever method it began in: no order gets past the gate.

    A client order id in `params` is the key of the intent: the same id is the same order,
    however often and after whatever failure the call is repeated, unless the order provably
    never reached the venue. The venue's own client order id is the engine's (the reply has
    it); `cancel_order`, `edit_order` and `fetch_order` take either, and the order's number.

    Amounts and prices are rounded as ccxt does, amounts down; what would become zero is
    refused, and so is every parameter that the engine does not carry, by its name.

    Errors are both holdfast's and ccxt's: `OutcomeUnknown` is an `ExchangeError` and never a
    `NetworkError`, which bots retry. `guarding.errors` has the whole table.

    :param exchange: of ccxt, `ccxt.async_support` or `ccxt.pro`, for the account that the
        engine trades on: with its key and at its server, or without keys. Guarding it again
        moves it to another engine.
    :param engine: running; of `Engine.open` for an asynchronous exchange, of
        `Engine.open_blocking` for a synchronous one.
    :raises ConfigError: the two do not go together.
    """
    if getattr(exchange, "id", None) not in _VENUES:
        raise ConfigError(
            f"exchange: {exchange!r} is no ccxt exchange for Binance USDⓈ-M futures; "
            "give ccxt.binanceusdm(), of ccxt, ccxt.async_support or ccxt.pro"
        )
    from holdfast.blocking import BlockingEngine
    from holdfast.engine import Engine

    if not isinstance(engine, Engine | BlockingEngine):
        raise ConfigError(
            f"engine: {engine!r} is no running engine; give what `with Engine.open_blocking(…)` "
            "or `async with Engine.open(…)` has bound"
        )
    from . import wrapping

    blocks = isinstance(engine, BlockingEngine)
    if bool(getattr(exchange, "synchronous", True)) is not blocks:
        raise ConfigError(
            "engine: a synchronous exchange needs Engine.open_blocking, one of "
            "ccxt.async_support or ccxt.pro needs Engine.open"
        )
    if difference := wrapping.other_account(exchange, engine):
        raise ConfigError(
            f"exchange: it is not for the account that the engine trades on: {difference}; give "
            "both the same key and server (ccxt's testnet is enable_demo_trading(True))"
        )
    hidden = wrapping.shadowed(exchange)
    if hidden:
        raise ConfigError(
            f"exchange: its own {', '.join(hidden)} would be called past the engine; "
            "remove what was assigned to the object, or subclass the exchange"
        )
    exchange.__class__ = wrapping.guarded(wrapping.unguarded(exchange), engine)
    return exchange
