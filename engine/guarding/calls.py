"""What a guarded exchange does in place of ccxt's own methods that write orders."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import ccxt
import msgspec

from holdfast import errors
from holdfast.journal import JournalError
from holdfast.model import Order, OrderSnapshot, OrderStatus

from .errors import (
    BehindTheGate,
    InvalidOrder,
    LinkDown,
    NotShown,
    OrderNotFound,
    OutcomeUnknown,
    cancelling,
    placing,
    unknown,
)
from .parameters import CONDITIONAL_WORDS, Params, named
from .replies import snapshot_of
from .session import NONE, Session, Structure, given


class _Leg(NamedTuple):
    """What came of one order of a batch."""

    structure: Structure
    error: Exception | None = None


def _told(legs: Sequence[_Leg]) -> list[Structure]:
    """The structures of a batch, or the error that says more than they do."""
    structures = [leg.structure for leg in legs]
    failures = [leg.error for leg in legs if leg.error is not None]
    for error in failures:
        if isinstance(error, OutcomeUnknown):
            error.orders = structures
            raise error
    for error in failures:
        if isinstance(error, LinkDown):
            raise error
    if failures and len(failures) == len(legs):
        raise failures[0]
    return structures


def _to_edit(id_: object, params: Params) -> tuple[str, dict[str, Any]]:
    """As `named`. :raises InvalidOrder: it names no order."""
    name, rest = named(id_, params)
    if not name:
        raise InvalidOrder("id: it names no order to edit; give its id or a clientOrderId")
    return name, rest


class Calls(Session):
    """The arguments and their names are ccxt's own: bots give them as keywords."""

    # --- placing -----------------------------------------------------------------------

    async def create_order(
        self,
        symbol: str,
        type: str,  # noqa: A002
        side: str,
        amount: Any,
        price: Any = None,
        params: Params = NONE,
    ) -> Structure:
        await self.load_markets()
        return await self._place(self.order(symbol, type, side, amount, price, params))

    async def create_orders(
        self, orders: Sequence[Mapping[str, Any]], params: Params = NONE
    ) -> list[Structure]:
        """Each in its turn. As in ccxt, one that is refused stands in the list as `rejected`.

        None is sent if one of them is not even well-formed. If none was accepted, the first
        error is raised; if the outcome of one is unknown, that is, with all structures in
        its attribute `orders`.
        """
        await self.load_markets()
        meant = [
            self.order(
                row.get("symbol"),
                row.get("type"),
                row.get("side"),
                row.get("amount"),
                row.get("price"),
                {**params, **(row.get("params") or {})},
            )
            for row in orders
        ]
        return _told([await self._leg(order.symbol, self._place(order)) for order in meant])

    async def edit_orders(
        self, orders: Sequence[Mapping[str, Any]], params: Params = NONE
    ) -> list[Structure]:
        """Each in its turn, as `edit_order`: Binance's own batch would change orders without the
        engine knowing. One that is refused stands in the list as `rejected`, with the reason.

        Nothing is touched if one of them names no order. If none was edited, the first error is
        raised; so is a doubt, with all structures in its attribute `orders`, and a cancel that
        got no answer: the same call again edits what is left of them, and nothing twice.
        """
        await self.load_markets()
        meant = [
            (
                self.symbol(row.get("symbol")),
                _to_edit(row.get("id"), {**params, **(row.get("params") or {})}),
                row,
            )
            for row in orders
        ]
        return _told(
            [
                await self._leg(
                    symbol,
                    self.edit_order(
                        name,
                        symbol,
                        str(row.get("type")),
                        str(row.get("side")),
                        row.get("amount"),
                        row.get("price"),
                        rest,
                    ),
                )
                for symbol, (name, rest), row in meant
            ]
        )

    async def edit_order(
        self,
        id: str,  # noqa: A002
        symbol: str,
        type: str,  # noqa: A002
        side: str,
        amount: Any = None,
        price: Any = None,
        params: Params = NONE,
    ) -> Structure:
        """Cancel the order, then send another for what of `amount` the first has not filled.

        Only a resting limit order of this bot, and only if the new one could be sent now:
        otherwise nothing is changed. Between the two there is none, and should the second be
        refused there is none after. An order is replaced once, so the same call again
        answers with the same new order; where the cancel got no answer it goes on from there.
        """
        await self.load_markets()
        symbol = self.symbol(symbol)
        name, rest = _to_edit(id, params)
        old = await self._fetch("fetch_order", name, symbol, NONE)
        cid = await self.ours(symbol, old["clientOrderId"])
        if cid is None:
            raise BehindTheGate(
                f"edit_order: {name!r} is no order of this bot; cancel_order and create_order"
            )
        new = self._successor(old, cid, type, side, amount, price, rest)
        assert new.key is not None
        if await self.ours(symbol, new.key) is None:  # else this very edit was called before
            is_ours = old["status"] == "canceled" and cid in self.exchange.begun_edits
            if old["status"] != "open" and not is_ours:
                raise OrderNotFound(f"{name} is {old['status']}: nothing is left to edit")
            with placing(self.exchange, opening=new.opening):
                await given(self.engine.check(new))
            if not is_ours:
                try:
                    old = await self.cancel_order(cid, symbol)
                except BaseException:  # no answer, or nobody left to hear it
                    self.exchange.begun_edits.note(cid)
                    raise
        left = new.quantity - Decimal(str(old["filled"]))
        if left <= 0:
            return old
        try:
            return await self._place(msgspec.structs.replace(new, quantity=left))
        except (errors.HoldfastError, JournalError) as error:
            error.add_note(f"the order that it was to replace, {cid}, is cancelled")
            raise

    def _successor(
        self,
        old: Structure,
        cid: str,
        type_: str,
        side: str,
        amount: Any,
        price: Any,
        rest: Params,
    ) -> Order:
        """The order that an edit means; what is not given stays as it was."""
        if old["triggerPrice"] is not None:
            raise InvalidOrder("type: a conditional order is not edited; cancel it and create one")
        if old["type"] != "limit" or str(type_).lower() != "limit":
            raise InvalidOrder("type: only a limit order is edited, into a limit order")
        if str(side).lower() != old["side"]:
            raise InvalidOrder(f"side: the order is a {old['side']}; cancel it and create another")
        kept = ("timeInForce", "reduceOnly", "positionSide")
        order = self.order(
            old["symbol"],
            type_,
            side,
            old["amount"] if amount is None else amount,
            old["price"] if price is None else price,
            {**{name: old["info"].get(name) for name in kept}, **rest},
        )
        return msgspec.structs.replace(order, key=f"edit:{cid}")

    async def _place(self, order: Order) -> Structure:
        with placing(self.exchange, opening=order.opening):
            if order.deadline_seconds is None:
                # Of an exit too: a call of ccxt ends within its timeout, and a bot's own loop does
                # the rest. The engine alone would try an exit on and on.
                deadline_seconds = self.engine.settings.orders.deadline_seconds
                order = msgspec.structs.replace(order, deadline_seconds=deadline_seconds)
            if order.key is not None:
                order = msgspec.structs.replace(order, key=await self.key(order.key))
            report = await given(self.engine.submit(order))
        return self.structure(
            snapshot_of(order, report),
            time_in_force=order.time_in_force or "GTC",
            told={"key": report.key, "attempts": report.attempts, "evidence": report.evidence},
        )

    async def _leg(self, symbol: str, call: Awaitable[Structure]) -> _Leg:
        try:
            return _Leg(await call)
        except OutcomeUnknown as error:
            names = {"symbol": symbol, "clientOrderId": error.client_order_id}
            return _Leg(self.exchange.safe_order({**names, "info": {}}), error)
        except (errors.HoldfastError, JournalError, ccxt.BaseError) as error:
            words = "; ".join((str(error), *getattr(error, "__notes__", ())))
            return _Leg(self.refused(symbol, getattr(error, "code", None), words), error)

    # --- cancelling --------------------------------------------------------------------

    async def cancel_order(
        self,
        id: str | None,  # noqa: A002
        symbol: str | None = None,
        params: Params = NONE,
    ) -> Structure:
        """One of ours through the engine, by the venue's number or any name that it goes by.

        Everything else as ccxt does it: cancelling only reduces. Cancelling again what was
        cancelled is no error, so a cancel whose reply was lost may be repeated.
        """
        await self.load_markets()
        name, rest = named(id, params)
        unified = self.traded(symbol)
        cid = await self.ours(unified, name)
        answer: Structure
        if cid is None or unified is None:
            await self.refuse_absent(name)
            answer = await self.pass_through("cancel_order", id, symbol, params)
            return answer
        for word in CONDITIONAL_WORDS:  # the engine knows itself which of its orders are
            rest.pop(word, None)
        if rest:  # what the engine does not know of is not dropped
            words = {**rest, "origClientOrderId": cid}
            answer = await self.pass_through("cancel_order", None, symbol, words)
            return answer
        self.exchange.begun_edits.forget(cid)  # it is to be gone, not replaced
        with cancelling():
            order = await given(self.engine.cancel(unified, cid))
        return self._cancelled(name, order)

    def _cancelled(self, name: str, order: OrderSnapshot | None) -> Structure:
        if order is None:
            raise OrderNotFound(f"{name}: the venue has no such order")
        if order.status in (OrderStatus.FILLED, OrderStatus.REJECTED):
            raise OrderNotFound(f"{name} is {order.status}: nothing is left to cancel")
        if not order.status.final:
            raise LinkDown(f"{name}: the venue still shows it open; cancel again")
        return self.structure(order)

    async def cancel_orders(
        self,
        ids: Sequence[str] | None,
        symbol: str | None = None,
        params: Params = NONE,
    ) -> list[Structure]:
        """Each in its turn, all of them even if one fails. As in ccxt, one that is not there
        (any more) stands in the list as `rejected`.

        :raises NetworkError: one got no answer; repeating is harmless.
        """
        rest = dict(params)
        for name in ("clientOrderIds", "origClientOrderIdList", "orderIdList"):
            ids = rest.pop(name, None) or ids
        structures: list[Structure] = []
        failures: list[Exception] = []
        for id_ in ids or ():
            try:
                structures.append(await self.cancel_order(id_, symbol, rest))
            except ccxt.OrderNotFound as error:
                structures.append(self.refused(symbol, -2011, str(error)))
            except ccxt.BaseError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return structures

    async def cancel_all_orders(self, symbol: str | None = None, params: Params = NONE) -> Any:
        """All that rests, by ccxt; then what was still on its way, which that can not reach.

        Of conditional orders ours first, through the engine: a stop that is gone without its
        doing has it wait for a person.

        :raises OutcomeUnknown: nobody knows yet whether one of ours is among them.
        """
        await self.load_markets()
        unified = self.traded(symbol)
        with cancelling():
            on_their_way = [] if unified is None else await given(self.engine.pending(unified))
            if unified is not None and any(params.get(word) for word in CONDITIONAL_WORDS):
                for order in await given(self.engine.open_orders()):
                    if order.conditional and order.symbol == unified:
                        await given(self.engine.cancel(unified, order.client_order_id))
        answer = await self.pass_through("cancel_all_orders", symbol, params)
        with cancelling():
            for intent in on_their_way:
                await given(self.engine.cancel(intent.order.symbol, intent.client_order_id))
        return answer

    # --- asking ------------------------------------------------------------------------

    async def fetch_order(
        self,
        id: str | None,  # noqa: A002
        symbol: str | None = None,
        params: Params = NONE,
    ) -> Structure:
        """As ccxt, but by the bot's own name as well, and "not there" is no answer in doubt.

        :raises OutcomeUnknown: the venue does not show it, but that proves nothing yet. A bot
            that is told `OrderNotFound` sends the order again.
        :raises NetworkError: nor does it show one that rests there, by its own earlier word:
            its answers lag. Ask again.
        """
        return await self._fetch("fetch_order", id, symbol, params)

    async def fetch_order_ws(
        self,
        id: str | None,  # noqa: A002
        symbol: str | None = None,
        params: Params = NONE,
    ) -> Structure:
        """See `fetch_order`."""
        return await self._fetch("fetch_order_ws", id, symbol, params)

    async def _fetch(
        self, method: str, id_: str | None, symbol: str | None, params: Params
    ) -> Structure:
        await self.load_markets()
        name, rest = named(id_, params)
        unified = self.traded(symbol)
        cid = await self.ours(unified, name)
        answer: Structure
        if cid is None:
            await self.refuse_absent(name)
            answer = await self.pass_through(method, id_, symbol, params)
            return answer
        words = {**rest, "origClientOrderId": cid}
        if await self.is_conditional(cid):
            words["trigger"] = True  # ccxt looks for them elsewhere
        try:
            answer = await self.pass_through(method, None, symbol, words)
        except ccxt.OrderNotFound:
            for intent in await given(self.engine.pending(unified)):
                if intent.client_order_id == cid:
                    doubt = errors.OutcomeUnknown(intent.doubt or "being sent", intent=intent)
                    raise unknown(doubt) from None
            if await self.rests(cid):
                raise NotShown(f"{name}: it rests, and the venue does not show it yet") from None
            raise
        return answer
