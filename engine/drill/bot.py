"""`python -m holdfast.drill.bot`: the bot that the drill does it all to.

It imports all that it needs, then waits for a line of input: the path of its plan. It is an
ordinary program that embeds the engine: it tries an order every few milliseconds, whatever
happens, publishes what its trades did, and keeps its own log of what it tried and what it was
told (see `decisions`). SIGUSR1: stop trying and say what is held; SIGTERM, SIGINT or the death
of the observer: end cleanly.
"""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskGroup

from holdfast.engine import Engine
from holdfast.errors import (
    EngineClosed,
    HoldfastError,
    NotExecuted,
    OutcomeUnknown,
    Rejected,
    TradingHalted,
)
from holdfast.model import Order, OrderReport

from . import plan as plans
from .decisions import DecisionLog, Ended, Noted, Outcome, Published, Tried, stamps
from .market import Market
from .plan import BotPlan
from .strategy import Strategy, Wish

SIGNAL_EVENT_SECONDS: Final = 0.02
"""How often it publishes that it saw a signal, besides its trades."""
REST_SECONDS: Final = 20.0
"""Most that it waits for its last orders before it tells what it holds."""
FILLS_SECONDS: Final = 0.5
"""The exchange's stream tells of the last fills a little after the orders were answered."""


class Bot:
    def __init__(self, plan: BotPlan, engine: Engine, log: DecisionLog) -> None:
        self._plan = plan
        self._engine = engine
        self._log = log
        self._strategy = Strategy(plan)
        self._market = Market(
            plan.data,
            seed=plan.seed,
            began_ns=plan.market_began_ns,
            tick_seconds=plan.tick_seconds,
            price_step=plan.price_step,
        )
        self._calls = 0
        self._events = 0
        self._in_flight = 0
        self._landed = anyio.Event()

    async def trade(self) -> None:
        """Try an order every few milliseconds until cancelled."""
        last_event = 0.0
        async with anyio.create_task_group() as tasks:
            while True:
                now_ns, _ = stamps()
                if self._in_flight < self._plan.concurrency:
                    price = self._market.price_at(now_ns)
                    wish = self._strategy.wish(price=price, now_seconds=now_ns / 1e9)
                    self._in_flight += 1
                    # Its own group outlives the trying: what was begun is seen through.
                    tasks.start_soon(self._follow, wish)
                    if now_ns / 1e9 - last_event >= SIGNAL_EVENT_SECONDS:
                        last_event = now_ns / 1e9
                        await self._publish("strategy.signal", wish)
                await anyio.sleep(self._plan.try_seconds)

    async def rest(self) -> None:
        """Wait until nothing is on its way, then write down what the engine believes."""
        with anyio.move_on_after(REST_SECONDS):
            while self._in_flight:
                self._landed = anyio.Event()
                await self._landed.wait()
        await anyio.sleep(FILLS_SECONDS)
        self._note("resting", with_position=True)

    def note(self, what: str) -> None:
        self._note(what, with_position=False)

    def _note(self, what: str, *, with_position: bool) -> None:
        at_ns, wall_ns = stamps()
        position = self._engine.position(self._plan.symbol) if with_position else None
        self._log.write(Noted(at_ns=at_ns, wall_ns=wall_ns, what=what, position=position))

    async def _follow(self, wish: Wish) -> None:
        try:
            with anyio.CancelScope(shield=True):
                report = await self._until_known(wish)
                filled = report is not None and _trades(report)
                if wish.opening and filled:
                    await self._publish("trade.opened", wish)
                    self._strategy.keep(wish.quantity)
                elif not wish.opening and filled:
                    await self._publish("trade.closed", wish)
                elif not wish.opening:
                    self._strategy.keep(wish.quantity, oldest=True)
        finally:
            self._in_flight -= 1
            self._landed.set()

    async def _until_known(self, wish: Wish) -> OrderReport | None:
        """Submit; and while that takes long, submit again and again, as bots do.

        All calls carry the same key, so they are one intent and give one answer.
        """
        self._calls += 1
        key = f"{wish.side}-{wish.quantity}-{self._calls}"
        if self._plan.impatient_seconds is None:
            return await self._submit(wish, key)
        report: OrderReport | None = None
        async with anyio.create_task_group() as calls:

            async def first() -> None:
                nonlocal report
                report = await self._submit(wish, key)
                calls.cancel_scope.cancel()

            calls.start_soon(first)
            while True:
                await anyio.sleep(self._plan.impatient_seconds)
                calls.start_soon(self._submit, wish, key)
        return report

    async def _submit(self, wish: Wish, key: str) -> OrderReport | None:
        engine, plan = self._engine, self._plan
        self._calls += 1
        call = self._calls
        policy = engine.policy
        at_ns, wall_ns = stamps()
        self._log.write(
            Tried(
                at_ns=at_ns,
                wall_ns=wall_ns,
                call=call,
                side=wish.side,
                quantity=wish.quantity,
                opening=wish.opening,
                price=wish.limit_price,
                policy_version=None if policy is None else policy.version,
                policy_mode=None if policy is None else policy.active_mode.value,
            )
        )
        order = Order(
            plan.symbol,
            wish.side,
            wish.quantity,
            price=wish.limit_price,
            time_in_force="IOC",
            reduce_only=not wish.opening,
            key=key,
        )
        report: OrderReport | None = None
        outcome: Outcome = "accepted"
        why = ""
        try:
            report = await self._settled(order)
        except TradingHalted as error:
            outcome, why = "halted", error.reason
        except Rejected as error:
            outcome, why = "rejected", error.reason
        except NotExecuted as error:
            outcome, why = "not_executed", error.reason
        except EngineClosed as error:
            outcome, why = "failed", str(error)
        except HoldfastError as error:  # not foreseen: told, and judged by the observer
            outcome, why = "failed", f"{type(error).__name__}: {error}"
        self._ended(call, outcome, why, report)
        return report

    async def _settled(self, order: Order) -> OrderReport:
        try:
            return await self._engine.submit(order)
        except OutcomeUnknown as unknown:
            report = await unknown.resolved()
            if report.status == "accepted":
                return report
            if report.status == "rejected":
                raise Rejected(report.evidence) from unknown
            raise NotExecuted(report.evidence, intent=unknown.intent) from unknown

    def _ended(self, call: int, outcome: Outcome, why: str, report: OrderReport | None) -> None:
        at_ns, wall_ns = stamps()
        self._log.write(
            Ended(
                at_ns=at_ns,
                wall_ns=wall_ns,
                call=call,
                outcome=outcome,
                why=why,
                client_order_id=None if report is None else report.client_order_id,
                filled=None if report is None else report.filled,
            )
        )

    async def _publish(self, kind: str, wish: Wish) -> None:
        self._events += 1
        number = self._events
        body = {"number": number, "side": wish.side, "quantity": str(wish.quantity)}
        called_ns, _ = stamps()
        event = await self._engine.publish(kind, body)
        at_ns, wall_ns = stamps()
        self._log.write(
            Published(
                at_ns=at_ns,
                wall_ns=wall_ns,
                called_ns=called_ns,
                number=number,
                type=kind,
                producer=event.producer,
                sequence=event.sequence,
            )
        )


def _trades(report: OrderReport) -> bool:
    """Whether there is, or will be, a trade: one still open was looked at half way."""
    status = report.order_status
    return report.filled > 0 or (status is not None and not status.final)


async def run(plan: BotPlan) -> None:
    log = DecisionLog(Path(plan.decision_log))
    try:
        with anyio.open_signal_receiver(signal.SIGUSR1, signal.SIGTERM, signal.SIGINT) as signals:
            async with Engine.open(plan.engine_config) as engine:
                bot = Bot(plan, engine, log)
                bot.note("started")
                async with anyio.create_task_group() as tasks:
                    trading = anyio.CancelScope()

                    async def trade() -> None:
                        with trading:
                            await bot.trade()

                    async def tell_when_healthy() -> None:
                        await engine.until_healthy()
                        bot.note("healthy")

                    tasks.start_soon(trade)
                    tasks.start_soon(tell_when_healthy)
                    await _obey(signals, trading, bot, tasks)
                bot.note("stopping")
    finally:
        log.close()


async def _obey(signals: object, trading: anyio.CancelScope, bot: Bot, tasks: TaskGroup) -> None:
    async for number in signals:  # type: ignore[attr-defined]
        trading.cancel()
        if number == signal.SIGUSR1:
            await bot.rest()
        else:
            tasks.cancel_scope.cancel()
            return


def main() -> int:
    # While the other processes of the drill start: it is a second that nobody has to wait for.
    importlib.import_module("holdfast.transports.binance.ccxt_signer")
    plan = sys.stdin.readline().rstrip("\n")
    if not plan:
        return 0  # the observer has ended
    try:
        anyio.run(run, plans.decode(Path(plan).read_bytes()))
    except HoldfastError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
