"""The two sides of a guarded exchange, ccxt and the engine, and what an order is called on each.

Asynchronous or not, everything is written once, as coroutines. For a synchronous exchange
neither the engine nor ccxt ever suspends one, so it runs to its end in one step
(`finished`); `given` takes what either kind of engine and exchange answers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

import ccxt

from holdfast.blocking import BlockingEngine
from holdfast.engine import Engine
from holdfast.model import Order, OrderSnapshot

from .errors import InvalidOrder, OrderNotFound, cancelling, placing
from .parameters import TRY_MARK, Params, Rounding, order_of
from .replies import answer_of

T = TypeVar("T")
Structure = dict[str, Any]
"""ccxt's unified order structure."""

MAX_BEGUN_EDITS: Final = 1000
NONE: Final[Params] = MappingProxyType({})


async def given(value: Any) -> Any:
    """What a method answers, whether it has to be awaited or not."""
    return await value if inspect.isawaitable(value) else value


def finished(call: Coroutine[Any, Any, T]) -> T:
    """The result of a call in which nothing suspends."""
    try:
        call.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    call.close()
    raise RuntimeError("a synchronous ccxt exchange answered with something to wait for")


class BegunEdits:
    """Client order ids of orders that an edit has set out to replace, and whose cancel got no
    answer: such an order is found cancelled, and the same edit goes on from there. Of the
    latest `MAX_BEGUN_EDITS`, in this process; without it the edit says that nothing is left.
    """

    def __init__(self) -> None:
        self._begun: dict[str, None] = {}

    def __contains__(self, cid: str) -> bool:
        return cid in self._begun

    def note(self, cid: str) -> None:
        self._begun[cid] = None
        if len(self._begun) > MAX_BEGUN_EDITS:
            del self._begun[next(iter(self._begun))]

    def forget(self, cid: str) -> None:
        self._begun.pop(cid, None)


class Session:
    """
    :param exchange: the guarded exchange.
    :param raw: its class as it was, for what passes through.
    """

    def __init__(self, exchange: Any, raw: Any, engine: Engine | BlockingEngine) -> None:
        self.exchange = exchange
        self.raw = raw
        self.engine = engine

    # --- ccxt --------------------------------------------------------------------------

    async def load_markets(self) -> None:
        """As ccxt's own methods do, at the first use."""
        if self.exchange.markets is None:
            await given(self.exchange.load_markets())

    def traded(self, symbol: Any) -> str | None:
        """The unified name of a market that the engine may trade; None of any other.

        :raises ccxt.BadSymbol: the venue does not list it.
        """
        if symbol is None:
            return None
        market = self.exchange.market(symbol)
        return str(market["symbol"]) if market["swap"] and market["linear"] else None

    def symbol(self, symbol: Any) -> str:
        """:raises ccxt.BadSymbol, InvalidOrder: the engine can not trade it."""
        unified = self.traded(symbol)
        if unified is None:
            raise InvalidOrder(f"symbol: {symbol!r} is no USDⓈ-M perpetual, such as BTC/USDT:USDT")
        return unified

    async def pass_through(self, method: str, *arguments: Any) -> Any:
        """ccxt's own method; the last of the arguments are its params."""
        *others, params = arguments
        return await given(getattr(self.raw, method)(self.exchange, *others, dict(params)))

    def order(
        self, symbol: Any, type_: Any, side: Any, amount: Any, price: Any, params: Params
    ) -> Order:
        """:raises InvalidOrder: what ccxt's arguments say can not be sent."""
        unified = self.symbol(symbol)
        rounding = Rounding(
            _rounding(unified, self.exchange.amount_to_precision),
            _rounding(unified, self.exchange.price_to_precision),
        )
        with placing(self.exchange, opening=True):
            return order_of(unified, type_, side, amount, price, params, rounding=rounding)

    def structure(
        self,
        order: OrderSnapshot,
        *,
        time_in_force: str | None = None,
        told: Mapping[str, Any] = NONE,
    ) -> Structure:
        """:param told: what holdfast has to say of it, for `info["holdfast"]`."""
        market = self.exchange.market(order.symbol)
        answer = answer_of(order, market_id=market["id"], time_in_force=time_in_force)
        parsed: Structure = self.exchange.parse_order({**answer, "holdfast": dict(told)}, market)
        return parsed

    def refused(self, symbol: Any, code: object, reason: str) -> Structure:
        """What ccxt makes of a leg that the venue refused: status `rejected`."""
        refusal = {"code": str(code), "msg": reason}
        parsed: Structure = self.exchange.parse_order(refusal, self.exchange.market(symbol))
        return parsed

    # --- names -------------------------------------------------------------------------

    async def key(self, name: str) -> str:
        """The key that the bot's own name for an order stands for now.

        Of a try that provably never reached the venue the name is free again, as it would be
        at the venue. The engine remembers each try by a key of its own, so a repeated call
        finds the latest, also after a restart.
        """
        key, number = name, 1
        while True:
            ended = await given(self.engine.outcome(key))
            if ended is None or ended.status != "not_executed":
                return key
            number += 1
            key = f"{name}{TRY_MARK}{number}"

    async def ours(self, symbol: str | None, name: str) -> str | None:
        """Client order id of an order of this bot; None for what is not known as one."""
        if symbol is None or not name:
            return None
        with cancelling():
            cid: str | None = await given(self.engine.identify(symbol, await self.key(name)))
        return cid

    async def rests(self, cid: str) -> bool:
        """Whether an order of ours is open, as far as the book knows."""
        resting = await given(self.engine.open_orders())
        return any(order.client_order_id == cid for order in resting)

    async def is_conditional(self, cid: str) -> bool:
        """Whether an order of ours that is not known to have ended was placed with a trigger."""
        resting = await given(self.engine.open_orders())
        on_their_way = await given(self.engine.pending())
        return any(order.client_order_id == cid and order.conditional for order in resting) or any(
            intent.client_order_id == cid and intent.order.conditional for intent in on_their_way
        )

    async def refuse_absent(self, name: str) -> None:
        """:raises OrderNotFound: every try by this name is known not to be at the venue."""
        if name and not name.isdecimal() and await self.key(name) != name:  # else a number
            raise OrderNotFound(f"{name}: it provably never reached the venue")


def _rounding(symbol: str, to_precision: Callable[[str, str], str]) -> Callable[[str], str]:
    def rounded(number: str) -> str:
        try:
            return to_precision(symbol, number)
        except ccxt.InvalidOrder as error:  # nothing would be left of it
            raise InvalidOrder(str(error)) from None

    return rounded
