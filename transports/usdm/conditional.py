"""Asking for and cancelling conditional orders, which live in two places.

Until its price is reached the algo service has the order; then the matching engine has the
order made of it, and the algo service its number only. A question goes to the first and, from
there, to the second; what comes back is one order under the client id it was placed with.
An order that was made and is not shown yet is *unanswered*, never *absent*.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from holdfast.model import OrderSnapshot, QueryKind, QueryOutcome, Trigger
from holdfast.ports import Clock

from . import endpoints
from .algo import AlgoOrderJson, algo_order
from .endpoints import Endpoint
from .errors import DOES_NOT_EXIST, UNKNOWN_ORDER
from .session import NoReply, NotSent, Reply
from .signing import Params
from .wire import order_json, query_outcome, read_error, unanswered

LEAST_SECONDS: Final = 0.05
"""For the second of two questions, when the first took all the time."""
MAX_KNOWN: Final = 10_000
"""Conditional orders whose triggers are remembered; the oldest is forgotten first."""

Ask = Callable[[Endpoint, Params, float], Awaitable[Reply]]
"""`(endpoint, params, timeout_seconds)`: one request; raises `NotSent`, `NoReply`."""


class KnownTriggers:
    """What each conditional order waited for: the order made of it does not tell."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Trigger, Decimal | None]] = {}

    def marked(self, order: OrderSnapshot) -> OrderSnapshot:
        """The same, with its trigger, if it was ever seen with one."""
        if order.trigger is not None:
            self._known.pop(order.client_order_id, None)  # one that is still told of stays
            if len(self._known) >= MAX_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[order.client_order_id] = (order.trigger, order.trigger_price)
            return order
        known = self._known.get(order.client_order_id)
        if known is None:
            return order
        trigger, price = known
        return msgspec.structs.replace(order, trigger=trigger, trigger_price=price)


class _Found(NamedTuple):
    """
    :ivar algo: as the algo service has it; None: it was not found, or not asked.
    """

    outcome: QueryOutcome
    algo: AlgoOrderJson | None


def _only_ended(found: QueryOutcome) -> QueryOutcome:
    """What follows a cancel that was answered. One that the venue has open still was not done, or
    is not seen yet: a reply with status 200 need not be the venue's own."""
    if found.order is None or found.order.status.final:
        return found
    return unanswered("the cancel was answered, and the order is open still")


class ConditionalCalls:
    """The questions of one client.

    :param ask: sends one request.
    :param triggers: what is learnt is noted there.
    """

    def __init__(self, ask: Ask, *, clock: Clock, triggers: KnownTriggers) -> None:
        self._triggers = triggers
        self._ask = ask
        self._clock = clock

    async def query(
        self, symbol: str, client_order_id: str, timeout_seconds: float
    ) -> QueryOutcome:
        """See `ports.ExecutionClient.query`."""
        deadline = self._clock.monotonic() + timeout_seconds
        return (await self._find(symbol, client_order_id, deadline)).outcome

    async def cancel(
        self, symbol: str, client_order_id: str, timeout_seconds: float
    ) -> QueryOutcome:
        """See `ports.ExecutionClient.cancel`. Cancels the order made of it if there is one."""
        deadline = self._clock.monotonic() + timeout_seconds
        params = [("clientAlgoId", client_order_id)]
        reply = await self._send(endpoints.CANCEL_ALGO_ORDER, params, deadline)
        if isinstance(reply, QueryOutcome):
            return reply
        code = None if reply.status == 200 else read_error(reply.body)[0]
        if reply.status != 200 and code not in (UNKNOWN_ORDER, DOES_NOT_EXIST):
            return unanswered(f"HTTP {reply.status}, {code}")
        found, algo = await self._find(symbol, client_order_id, deadline)
        if found.kind is QueryKind.ABSENT and reply.status == 200:
            return unanswered("cancelled, and not shown any more")
        if algo is None or algo.made is None or found.order is None or found.order.status.final:
            return _only_ended(found)
        number = [("symbol", algo.symbol), ("orderId", str(algo.made))]
        reply = await self._send(endpoints.CANCEL_ORDER, number, deadline)
        if isinstance(reply, QueryOutcome):
            return reply
        return _only_ended((await self._find(symbol, client_order_id, deadline)).outcome)

    async def _find(self, symbol: str, client_order_id: str, deadline: float) -> _Found:
        params = [("clientAlgoId", client_order_id)]
        reply = await self._send(endpoints.QUERY_ALGO_ORDER, params, deadline)
        if isinstance(reply, QueryOutcome):
            return _Found(reply, None)
        algo: AlgoOrderJson | None = None
        if reply.status == 200:
            try:
                algo = algo_order.decode(reply.body)
            except msgspec.DecodeError as error:
                return _Found(unanswered(f"HTTP 200 without an order: {error}"), None)
        if algo is None or algo.made is None or algo.clientOrderId != client_order_id:
            outcome, _ = query_outcome(
                status=reply.status,
                body=reply.body,
                client_order_id=client_order_id,
                symbol=symbol,
                read=algo_order.decode,
            )
            if outcome.order is not None:
                self._triggers.marked(outcome.order)
            return _Found(outcome, algo)
        number = [("symbol", algo.symbol), ("orderId", str(algo.made))]
        reply = await self._send(endpoints.QUERY_ORDER, number, deadline)
        if isinstance(reply, QueryOutcome):
            return _Found(reply, algo)
        if reply.status != 200:
            code, message = read_error(reply.body)
            return _Found(unanswered(f"triggered; of its order: {code}: {message}"), algo)
        try:
            made = order_json.decode(reply.body)
            order = msgspec.structs.replace(
                made.snapshot(lambda _name: symbol),
                client_order_id=client_order_id,
                trigger=algo.trigger,
                trigger_price=algo.trigger_price,
            )
        except msgspec.DecodeError as error:
            return _Found(unanswered(f"HTTP 200 without an order: {error}"), algo)
        if made.orderId != algo.made:
            return _Found(unanswered("HTTP 200 about another order"), algo)
        self._triggers.marked(order)
        return _Found(QueryOutcome(kind=QueryKind.FOUND, order=order), algo)

    async def _send(
        self, endpoint: Endpoint, params: Params, deadline: float
    ) -> Reply | QueryOutcome:
        """The reply, or what its absence says."""
        seconds = max(LEAST_SECONDS, deadline - self._clock.monotonic())
        try:
            return await self._ask(endpoint, params, seconds)
        except (NotSent, NoReply) as error:
            return unanswered(str(error))
