"""What a bot has without holdfast: the same calls, done the way bots commonly do them.

An order that times out is sent again after a while, under a new id. The policy is what was last
read; a change is heard of if the connection stands when it is announced, else with the next
reading some minutes later. Positions are the sum of the fills that the stream told of since the
process began, with what the venue has closed by itself. Events are sent to the bus at once and
forgotten. Nobody is told of a state, for there are none. Each of these is a habit of real bots
and none is put on for effect: where nothing fails, a bot does the same on either side.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import anyio

from holdfast import venue_limits
from holdfast.bot import Bot
from holdfast.bot_runner import BotRunner
from holdfast.broadcast import Broadcast
from holdfast.campaign.surroundings import Ports
from holdfast.errors import InvalidOrder, LinkDown, NotExecuted, Rejected
from holdfast.intent import Intent
from holdfast.listeners import Listeners
from holdfast.market import Bar, MarketEvent
from holdfast.model import (
    POSITION_SIDES,
    ExecutionReport,
    Fill,
    Instrument,
    Order,
    OrderReport,
    OrderSnapshot,
    OutcomeKind,
    PlaceRequest,
    Position,
    PositionSide,
    QueryKind,
)
from holdfast.policy import Exposure, Policy, objection
from holdfast.ports import Batch
from holdfast.settings import Settings
from holdfast.simulation import VirtualClock
from holdfast.states.machine import Step
from holdfast.states.table import Level, State
from holdfast.transports.sim.liquidation import DELEVERAGED, LIQUIDATED

from .feed import RecordedMarket
from .stage import Stage

RETRIES_SECONDS: Final = (1.0, 2.0, 4.0)
"""Waits between attempts: those of holdfast, so that it is no question of patience."""
TIMEOUT_SECONDS: Final = 3.0
RECV_WINDOW_MS: Final = 5000
"""ccxt's, and Binance's own default."""
REREAD_SECONDS: Final = 300.0
"""Between two readings of the policy, besides what is announced."""
REFUSED: Final = (OutcomeKind.REJECTED, OutcomeKind.AUTH)


class BareEngine:
    """
    :param name: begins the client order ids of this life.
    :param market: where its bot hears of the market.
    :param reached: told of moments at which a kill may have been planned.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        name: str,
        clock: VirtualClock,
        ports: Ports,
        market: RecordedMarket,
        reached: Callable[[str], None],
    ) -> None:
        self.settings: Settings = stage.settings()
        self.policy: Policy | None = None
        self.policy_problem: str | None = None
        self.state = State.HEALTHY
        self._stage = stage
        self._name = name
        self._clock = clock
        self._ports = ports
        self._market = market
        self._reached = reached
        self._instruments: dict[str, Instrument] = {}
        self._positions: dict[tuple[str, PositionSide], Decimal] = {}
        self._open: dict[str, OrderSnapshot] = {}
        self._reports: dict[str, OrderReport] = {}
        self._fills: Listeners[Fill] = Listeners()
        self._steps: Listeners[Step] = Listeners()
        self._market_events: Listeners[MarketEvent] = Listeners()
        self._policy_news = Broadcast()
        self._sent = 0

    async def live(self, bot: Bot) -> None:
        """Connect, look at the account once, and let the bot trade; until cancelled.

        :raises Exception: whatever the bot raises.
        """
        ports = self._ports
        async with anyio.create_task_group() as group:
            group.start_soon(ports.client.run, _AccountWatch(self._hear))
            group.start_soon(ports.bus.run, _LinkWatch())
            group.start_soon(ports.store.run, _PolicyWatch(self._policy_news.notify))
            group.start_soon(self._market.run, _MarketWatch(self._market_events.tell),
                             self.settings.subscription)  # fmt: skip
            group.start_soon(self._keep_policy)
            await self._look_at_account()
            runner = BotRunner(
                bot,
                self,  # type: ignore[arg-type]  # all that it asks for
                replay=self._market,
                listeners=self._market_events,
            )
            await runner.run()

    async def _look_at_account(self) -> None:
        client, pause = self._ports.client, RETRIES_SECONDS[0]
        while True:
            try:
                self._instruments = await client.instruments(timeout_seconds=TIMEOUT_SECONDS)
                held = await client.positions(timeout_seconds=TIMEOUT_SECONDS)
                resting = await client.open_orders(timeout_seconds=TIMEOUT_SECONDS)
            except LinkDown:
                await anyio.sleep(pause)
                continue
            self._positions = {(p.symbol, p.position_side): p.quantity for p in held}
            self._open = {order.client_order_id: order for order in resting}
            return

    async def _keep_policy(self) -> None:
        while True:
            try:
                stored = await self._ports.store.read()
            except LinkDown:
                pass  # what was read last is good enough
            else:
                self.policy = None if stored is None else stored.policy
            await self._policy_news.wait_at_most(REREAD_SECONDS)

    def _hear(self, report: ExecutionReport) -> None:
        order, fill = report.order, report.fill
        own = order.client_order_id.startswith(self._name.partition("-")[0])
        if not own and not order.client_order_id.startswith((LIQUIDATED, DELEVERAGED)):
            return  # somebody else's
        if fill is not None:
            key = fill.symbol, fill.position_side
            self._positions[key] = self.position(*key) + fill.signed_quantity
        if not own:
            return  # a position is less, and no order of the bot was filled
        if order.status.final:
            self._open.pop(order.client_order_id, None)
        else:
            self._open[order.client_order_id] = order
        if fill is not None:
            self._fills.tell(fill)

    # --- orders ----------------------------------------------------------------------

    async def submit(self, order: Order) -> OrderReport:
        """Send it, and again under a new id for as long as nobody has said what became of it.

        :raises Rejected: venue or policy said no.
        :raises NotExecuted: as the bot believes, because no attempt was answered.
        """
        with self._stage.tally.deciding(order):
            self.check(order)
            self._ask_policy(order)
            return await self._send(order)

    async def _send(self, order: Order) -> OrderReport:
        reason = ""
        for attempt, wait_seconds in enumerate((*RETRIES_SECONDS, None), 1):
            self._sent += 1
            request = PlaceRequest(
                f"{self._name}-{self._sent}", order, self._clock.time_ns() // 10**6, RECV_WINDOW_MS
            )
            self._reached("journal")  # where holdfast would have written it down
            outcome = await self._ports.client.place(
                request, permit=lambda: self._reached("order"), timeout_seconds=TIMEOUT_SECONDS
            )
            if outcome.kind is OutcomeKind.ACCEPTED:
                assert outcome.order is not None
                return self._accepted(order, outcome.order, attempt)
            if outcome.kind in REFUSED:
                raise Rejected(outcome.reason, code=outcome.code)
            reason = outcome.reason
            if wait_seconds is not None:
                await anyio.sleep(wait_seconds)
        intent = Intent(request.client_order_id, order, created_ns=self._clock.time_ns())
        raise NotExecuted(f"no answer in {attempt} attempts: {reason}", intent=intent)

    def _accepted(self, order: Order, taken: OrderSnapshot, attempts: int) -> OrderReport:
        if not taken.status.final:
            self._open.setdefault(taken.client_order_id, taken)
        report = OrderReport(
            taken.client_order_id,
            order.symbol,
            order.side,
            order.quantity,
            "accepted",
            filled=taken.filled,
            average_price=taken.average_price,
            venue_order_id=taken.venue_order_id,
            order_status=taken.status,
            attempts=attempts,
            evidence="the venue's reply",
            key=order.key,
            price=order.price,
            updated_ms=taken.updated_ms,
        )
        if order.key is not None:
            self._reports[order.key] = report
        return report

    def check(self, order: Order) -> None:
        """:raises InvalidOrder:"""
        if not isinstance(order, Order):
            raise InvalidOrder(f"order: {order!r} is no Order(…)")
        held = abs(self.position(order.symbol, order.position_side))
        venue_limits.check(order, self._instruments, held=held)

    def _ask_policy(self, order: Order) -> None:
        if self.policy is None:
            return
        grown = order.symbol, order.position_side, order.side
        pending = sum(
            (
                o.quantity - o.filled
                for o in self._open.values()
                if o.opening and (o.symbol, o.position_side, o.side) == grown
            ),
            Decimal(0),
        )
        exposure = Exposure(
            self.position(order.symbol, order.position_side),
            pending if order.side == "buy" else -pending,
            self._stage.venue.book(order.symbol).last,
            len(self._open),
        )
        why = objection(self.policy, order, exposure)
        if why is not None:
            raise Rejected(f"policy: {why}")

    async def cancel(self, symbol: str, client_order_id: str) -> OrderSnapshot | None:
        """:raises LinkDown: nobody has answered."""
        answer = await self._ports.client.cancel(
            symbol, client_order_id, timeout_seconds=TIMEOUT_SECONDS
        )
        if answer.kind is QueryKind.UNANSWERED:
            raise LinkDown(answer.reason)
        self._open.pop(client_order_id, None)
        return answer.order

    def outcome(self, key: str) -> OrderReport | None:
        return self._reports.get(key)

    def pending(self, symbol: str | None = None) -> list[Intent]:
        return []

    def identify(self, symbol: str, name: str) -> str | None:
        report = self._reports.get(name)
        return name if report is None else report.client_order_id

    def position(self, symbol: str, position_side: PositionSide | None = None) -> Decimal:
        if position_side is None:
            return sum((self.position(symbol, side) for side in POSITION_SIDES), Decimal(0))
        return self._positions.get((symbol, position_side), Decimal(0))

    def positions(self) -> list[Position]:
        return [
            Position(symbol, held, None, side)
            for (symbol, side), held in self._positions.items()
            if held
        ]

    def open_orders(self) -> list[OrderSnapshot]:
        return list(self._open.values())

    # --- events, market, states ------------------------------------------------------

    async def publish(self, type_: str, body: Any, **options: Any) -> None:
        """Append it now; what can not be appended is lost."""
        log, producer = self._stage.bus_server.log, f"{self._name}-events"
        sequence = log.last_sequences.get(producer, 0) + 1
        batch = Batch(producer, sequence, [b""], log.lineage)
        self._stage.published.append((producer, sequence))
        self._reached("ship")
        try:
            await self._ports.bus.append(batch)
        except LinkDown:
            return

    def on_market(self, listener: Callable[[MarketEvent], None]) -> Callable[[], None]:
        return self._market_events.add(listener)

    def on_fill(self, listener: Callable[[Fill], None]) -> Callable[[], None]:
        return self._fills.add(listener)

    def on_transition(self, listener: Callable[[Step], None]) -> Callable[[], None]:
        return self._steps.add(listener)

    def on_alert(self, listener: Callable[[Any], None]) -> Callable[[], None]:
        return lambda: None

    async def bars(self, symbol: str, *, interval: str = "1m", limit: int = 500) -> list[Bar]:
        return await self._market.bars(
            symbol, interval=interval, limit=limit, timeout_seconds=TIMEOUT_SECONDS
        )

    async def instrument(self, symbol: str) -> Instrument:
        try:
            return self._instruments[symbol]
        except KeyError:
            raise InvalidOrder(f"symbol: the venue does not list {symbol!r}") from None

    def level(self, symbol: str | None = None) -> Level:
        return Level.ACTIVE

    async def until_healthy(self) -> None:
        """There is nothing to wait for."""

    def fault(self, source: str, reason: str) -> None:
        """There is no gate to shut."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"engine.{name} is not there without holdfast; leave that run out with --no-bare"
        )


class _LinkWatch:
    def up(self) -> None: ...

    def down(self, reason: str) -> None: ...


class _AccountWatch(_LinkWatch):
    def __init__(self, hear: Callable[[ExecutionReport], None]) -> None:
        self.report = hear

    def stream_up(self) -> None: ...

    def stream_down(self, reason: str) -> None: ...


class _PolicyWatch(_LinkWatch):
    def __init__(self, changed: Callable[[], None]) -> None:
        self.changed = changed


class _MarketWatch(_LinkWatch):
    def __init__(self, event: Callable[[MarketEvent], None]) -> None:
        self.event = event

    def alive(self, symbol: str) -> None: ...
