"""A bot that always wants something: to open, to close, to cancel, to tell.

It has no opinion on when trading is safe. After a crash it asks again for every
decision whose end it does not know, under the same key, as a careful bot would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from holdfast.engine import Engine
from holdfast.errors import (
    EngineClosed,
    InvalidOrder,
    LinkDown,
    NotExecuted,
    OutcomeUnknown,
    Rejected,
    TradingHalted,
)
from holdfast.journal import JournalError, JournalFailed
from holdfast.model import Order, OrderReport, PositionSide, Trigger
from holdfast.ports import Entropy

from .diary import Decision, Diary, Published

ORDERS_AT_ONCE = 4
MEAN_PAUSE_SECONDS = 0.25
TICK = Decimal("0.1")

_T = TypeVar("_T")


class Bot:
    """One life of the bot.

    :param price: the last one of a symbol.
    :param alive: whether its process still is; what a dead one says is not written down.
    :param now: seconds by its machine's monotonic clock.
    :param refused: told of every order that the engine did not let it send, and why.
    :param ended: told of every report on an order that has ended.
    """

    def __init__(
        self,
        diary: Diary,
        *,
        symbols: Sequence[str],
        hedge_mode: bool,
        entropy: Entropy,
        price: Callable[[str], Decimal],
        alive: Callable[[], bool],
        now: Callable[[], float],
        refused: Callable[[Order, str], None],
        ended: Callable[[OrderReport], None],
    ) -> None:
        self._diary = diary
        self._symbols = symbols
        self._sides: tuple[PositionSide, ...] = ("LONG", "SHORT") if hedge_mode else ("BOTH",)
        self._entropy = entropy
        self._price = price
        self._alive = alive
        self._now = now
        self._refused = refused
        self._told_end = ended
        self._busy: set[int] = set()
        self.journal_failed = False
        """The engine has said that it can not write any more until it is started anew."""

    async def run(self, engine: Engine, stop: anyio.Event) -> None:
        """Trade until `stop`; returns when every call into the engine has ended."""
        async with anyio.create_task_group() as group:
            for decision in self._diary.undecided:
                self._begin(group, engine, decision)
            while not stop.is_set():
                with anyio.move_on_after(2 * MEAN_PAUSE_SECONDS * self._entropy.random()):
                    await stop.wait()
                if not stop.is_set():
                    await self._act(group, engine)
            group.cancel_scope.cancel()

    async def _act(self, group: TaskGroup, engine: Engine) -> None:
        chance = self._entropy.random()
        if chance < 0.6:
            if len(self._busy) < ORDERS_AT_ONCE:
                self._begin(group, engine, self._decide(engine))
        elif chance < 0.7:
            self._repeat(group, engine)
        elif chance < 0.85:
            await self._publish(engine, "strategy.thought", 0)
        else:
            await self._cancel_one(engine)

    def _repeat(self, group: TaskGroup, engine: Engine) -> None:
        """Ask once more, under the same key: for one that is open, or for any at all."""
        decisions = self._diary.undecided
        if not decisions or self._entropy.random() < 0.5:
            decisions = list(self._diary.decisions.values())
        idle = [d for d in decisions if d.number not in self._busy]
        if idle and len(self._busy) < ORDERS_AT_ONCE:
            self._begin(group, engine, idle[self._entropy.randbits(16) % len(idle)])

    def _decide(self, engine: Engine) -> Decision:
        symbol, position_side = self._one_of(self._symbols), self._one_of(self._sides)
        held = engine.position(symbol, position_side)
        closing = held != 0 and self._entropy.random() < 0.45
        if closing:
            side = "sell" if held > 0 else "buy"
        elif position_side == "BOTH":
            side = "buy" if self._entropy.randbits(1) else "sell"
        else:
            side = "buy" if position_side == "LONG" else "sell"
        kind = self._entropy.random()
        price = trigger_price = None
        trigger: Trigger | None = None
        if kind < 0.6:  # through the market, at it, or resting
            away = (self._entropy.random() - 0.6) * 0.008
            price = self._away(symbol, away if side == "sell" else -away)
        elif kind < 0.75:  # waits for its price; an entry goes with the market
            trigger = "take_profit" if closing and self._entropy.randbits(1) else "stop"
            away = (0.1 + self._entropy.random()) * 0.003
            trigger_price = self._away(
                symbol, away if (side == "buy") == (trigger == "stop") else -away
            )
        return self._diary.decide(
            symbol=symbol,
            side="sell" if side == "sell" else "buy",
            position_side=position_side,
            price=price,
            reduce_only=closing and position_side == "BOTH",  # else its side says so
            trigger=trigger,
            trigger_price=trigger_price,
        )

    def _away(self, symbol: str, share: float) -> Decimal:
        """A price that lies so far above the last one, in ten-thousandths."""
        return (self._price(symbol) * (1 + Decimal(int(share * 10_000)) / 10_000) // TICK) * TICK

    def _one_of(self, choices: Sequence[_T]) -> _T:
        return choices[self._entropy.randbits(16) % len(choices)] if choices[1:] else choices[0]

    def _begin(self, group: TaskGroup, engine: Engine, decision: Decision) -> None:
        self._busy.add(decision.number)
        group.start_soon(self._carry_out, engine, decision)

    async def _carry_out(self, engine: Engine, decision: Decision) -> None:
        try:
            report = await self._outcome(engine, decision)
        except TradingHalted as halted:
            if self._alive():
                self._refused(decision.order, halted.reason)
            return  # nothing was sent: the same decision may be asked for again
        except (JournalError, EngineClosed, LinkDown):
            return  # nor was anything then
        except InvalidOrder:
            return  # in hedge mode: it would have closed more than was held by then
        finally:
            self._busy.discard(decision.number)
        if report is not None and self._alive():
            await self._publish(engine, "trade.opened", decision.number)
            await self._publish(engine, "trade.closed", decision.number)

    async def _outcome(self, engine: Engine, decision: Decision) -> OrderReport | None:
        """The report of an order the venue has; None if it has none and never will."""
        try:
            report = await engine.submit(decision.order)
        except OutcomeUnknown as unknown:
            report = await unknown.resolved()
        except NotExecuted as error:
            self._ended(decision, error.intent.report)
            return None
        except Rejected as no:
            # By the policy: no intent was made of it, and another policy may allow it.
            if self._alive() and not no.reason.startswith("policy:"):
                decision.refused(self._now())
            return None
        self._ended(decision, report)
        return report if report.status == "accepted" else None

    def _ended(self, decision: Decision, report: OrderReport | None) -> None:
        if report is not None and self._alive():
            self._told_end(report)
            decision.learn(
                report,
                at_seconds=self._now(),
                may_be_forgotten=self._diary.may_be_forgotten,
            )

    async def _publish(self, engine: Engine, type_: str, number: int) -> None:
        durable = self._entropy.random() < 0.3
        try:
            event = await engine.publish(
                type_, {"number": number}, durability="power" if durable else "process"
            )
        except JournalFailed:
            self.journal_failed = self._alive()
            return
        except (JournalError, EngineClosed):
            return
        if self._alive():
            self._diary.published.append(
                Published(event.producer, event.sequence, number, type_, durable, self._now())
            )

    async def _cancel_one(self, engine: Engine) -> None:
        resting = engine.open_orders()
        if not resting:
            return
        order = resting[self._entropy.randbits(16) % len(resting)]
        try:
            with anyio.move_on_after(1.0):
                await engine.cancel(order.symbol, order.client_order_id)
        except (LinkDown, EngineClosed, JournalError):
            return
