"""The engine's errors as classes that a ccxt bot handles rightly.

Each is both: `except holdfast.OutcomeUnknown` catches it, and so does the bot's own
`except ccxt.ExchangeError`. Which ccxt class it is decides what an existing bot does:
retry loops catch `NetworkError` and send again, `ExchangeError` is final. So

- an order of unknown outcome is never a `NetworkError`, whatever the order;
- an entry that was not sent is none either: a loop that goes on trying through an outage
  would send a decision of minutes ago the moment the gate opens. `OperationRejected`
  says that the venue has nothing, so a new decision may be made;
- an exit that was not sent, and a cancel that got no answer, are `ExchangeNotAvailable`,
  so that the bot goes on trying to get out. Nothing was sent, or repeating is harmless;
- a refusal by the venue is the class that ccxt gives to the venue's code, unless that is
  one that bots retry: a refused order is never sent again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import ccxt

from holdfast import errors
from holdfast.journal import JournalError


class OutcomeUnknown(errors.OutcomeUnknown, ccxt.ExchangeError):  # type: ignore[misc]
    """Do not send it again. `client_order_id` names it for `fetch_order`.

    :ivar orders: of a batch, the structures of all its orders; else empty.
    """

    orders: Sequence[dict[str, Any]] = ()

    @property
    def client_order_id(self) -> str:
        return self.intent.client_order_id


class TradingHalted(errors.TradingHalted, ccxt.OperationRejected):  # type: ignore[misc]
    """An entry; nothing was sent."""


class ExitHalted(errors.TradingHalted, ccxt.ExchangeNotAvailable):  # type: ignore[misc]
    """An order that can only reduce; nothing was sent, try again."""


class NotExecuted(errors.NotExecuted, ccxt.OperationRejected):  # type: ignore[misc]
    """An entry; the venue does not have it."""


class ExitNotExecuted(errors.NotExecuted, ccxt.ExchangeNotAvailable):  # type: ignore[misc]
    """An order that can only reduce; the venue does not have it, try again."""


class InvalidOrder(errors.InvalidOrder, ccxt.InvalidOrder):  # type: ignore[misc]
    """The arguments can not be right; nothing was journalled or sent."""


class OrderNotFound(errors.HoldfastError, ccxt.OrderNotFound):  # type: ignore[misc]
    """There is nothing to cancel or edit (any more)."""


class NotShown(errors.LinkDown, ccxt.ExchangeNotAvailable):  # type: ignore[misc]
    """The venue's answer lags behind what it said before; ask again."""


class LinkDown(errors.LinkDown, ccxt.ExchangeNotAvailable):  # type: ignore[misc]
    """A cancel got no answer; cancelling again is harmless."""


class NotSent(errors.LinkDown, ccxt.OperationRejected):  # type: ignore[misc]
    """The engine could not ask what it has to know first; nothing was sent."""


class DiskRefused(JournalError, ccxt.OperationRejected):  # type: ignore[misc]
    """The intent could not be written down, so nothing was sent."""


class BehindTheGate(errors.HoldfastError, ccxt.NotSupported):  # type: ignore[misc]
    """A ccxt method tried to write past the engine; the message says what to use."""


class EngineClosed(errors.EngineClosed, ccxt.ExchangeError):  # type: ignore[misc]
    """The engine is not running, so nothing was sent."""


class EngineRefused(errors.HoldfastError, ccxt.ExchangeError):  # type: ignore[misc]
    """Whatever else the engine refuses, with its words; nothing was sent."""


@lru_cache(maxsize=64)
def rejected_as(base: Any) -> type[errors.Rejected]:
    """`Rejected`, being ccxt's class `base` as well."""
    return type(f"Rejected{base.__name__}", (errors.Rejected, base), {"__module__": __name__})


def class_of_code(tables: Any, code: int | None) -> Any:
    """ccxt's class for a code of Binance's futures.

    :param tables: `exchange.exceptions`. On another host than Binance's own ccxt does not
        look into the table `linear` (facts of ccxt 4.5), so it is looked into here.
    """
    if code is None:  # a rule of the policy
        return ccxt.OperationRejected
    for table in (tables.get("linear", {}), tables):
        found = table.get("exact", {}).get(str(code))
        if isinstance(found, type):
            # -2020 is an `OperationFailed`, others `NetworkError`: classes that bots retry.
            return found if issubclass(found, ccxt.ExchangeError) else ccxt.InvalidOrder
    return ccxt.ExchangeError


@contextmanager
def placing(exchange: Any, *, opening: bool) -> Iterator[None]:
    """Inside, an order is placed: what the engine raises leaves as a class from above."""
    try:
        yield
    except ccxt.BaseError:  # one of the above already
        raise
    except (errors.HoldfastError, JournalError) as error:
        raise _of_order(error, exchange, opening=opening) from error


@contextmanager
def cancelling() -> Iterator[None]:
    """Inside, an order is cancelled."""
    try:
        yield
    except ccxt.BaseError:
        raise
    except errors.LinkDown as error:
        raise LinkDown(str(error)) from error
    except errors.OutcomeUnknown as error:
        raise unknown(error) from error
    except errors.EngineClosed as error:
        raise EngineClosed(str(error)) from error
    except (errors.HoldfastError, JournalError) as error:
        raise EngineRefused(str(error)) from error


def unknown(error: errors.OutcomeUnknown) -> OutcomeUnknown:
    cid, symbol = error.intent.client_order_id, error.intent.order.symbol
    return OutcomeUnknown(
        f"{error.reason}: the venue may or may not have this order. Do NOT send it again; "
        f"fetch_order({cid!r}, {symbol!r}) tells once there is evidence",
        intent=error.intent,
    )


def _of_order(error: Exception, exchange: Any, *, opening: bool) -> Exception:
    match error:
        case errors.OutcomeUnknown():
            return unknown(error)
        case errors.TradingHalted():
            return (TradingHalted if opening else ExitHalted)(error.reason)
        case errors.NotExecuted():
            not_executed = NotExecuted if opening else ExitNotExecuted
            return not_executed(error.reason, intent=error.intent)
        case errors.Rejected():
            rejected = rejected_as(class_of_code(exchange.exceptions, error.code))
            return rejected(error.reason, code=error.code)
        case errors.InvalidOrder():
            return InvalidOrder(str(error))
        case errors.EngineClosed():
            return EngineClosed(str(error))
        case errors.LinkDown():
            return NotSent(str(error))
        case JournalError():
            return DiskRefused(str(error))
        case _:
            return EngineRefused(str(error))
