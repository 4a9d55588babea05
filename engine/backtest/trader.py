"""A user's bot on the engine of one life, and what is told when it raises."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from holdfast.bot import Bot
from holdfast.engine import Engine
from holdfast.errors import EngineClosed
from holdfast.journal import JournalFailed
from holdfast.simulation import SimEscape, SimLivelock

from .loading import MakeBot
from .result import BotFailure, position_name
from .stage import Stage


class BotTrader:
    """Satisfies `campaign.process.Trader`.

    :param main: whether it is the bot that is meant to run; others are further copies.
    :param alive: whether its process still is; what a dead one raises is nobody's fault.
    :param lost: whether the journal has failed. A bot that wants nothing while the gate is shut
        never hears of it, but who watches its process does.
    """

    def __init__(
        self,
        stage: Stage,
        make_bot: MakeBot,
        *,
        main: bool = True,
        alive: Callable[[], bool] = lambda: True,
        lost: Callable[[], bool] = lambda: False,
    ) -> None:
        self._told_so = False
        self._stage = stage
        self._make_bot = make_bot
        self._main = main
        self._alive = alive
        self._lost = lost

    @property
    def journal_failed(self) -> bool:
        return self._told_so or self._lost()

    async def run(self, engine: Engine, stop: anyio.Event) -> None:
        stage = self._stage
        if self._main:
            stage.policy_in_use = lambda: engine.policy
            stage.states.begin()
            engine.on_transition(stage.states.step)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_cancel_when_set, stop, group.cancel_scope)
                with told(stage, alive=self._alive):
                    try:
                        await engine.run(self._make_bot())
                    except EngineClosed:
                        pass
                    except JournalFailed:
                        # Of this process nothing comes any more; whoever watches it starts another.
                        self._told_so = self._alive()
                group.cancel_scope.cancel()
        finally:
            if self._main:
                stage.states.end()


@contextmanager
def told(stage: Stage, *, alive: Callable[[], bool]) -> Iterator[None]:
    """What the bot raises inside ends the run, which says where, when, and what was open.

    :param alive: whether its process still is; what a dead one raises is nobody's fault.
    """
    try:
        yield
    except asyncio.CancelledError as cancelled:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        _fail(stage, cancelled)  # of a future that the bot itself had cancelled
    except (Exception, SystemExit, BaseExceptionGroup) as raised:  # the user's code: whatever
        error: BaseException = raised
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if not isinstance(error, Exception | SystemExit):
            raise
        if alive():
            _fail(stage, error)


def _fail(stage: Stage, error: BaseException) -> None:
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    _tell(stage, words, _where(error))
    stage.feed.stop()


def fail_by_verdict(stage: Stage, verdict: SimEscape | SimLivelock) -> None:
    """A bot has left the simulation, or keeps it busy at one moment: the run has ended."""
    words, _, _ = f"{type(verdict).__name__}: {verdict}".partition(";")
    where = _where(verdict)
    if isinstance(verdict, SimLivelock) and verdict.callbacks:
        _, _, where = verdict.callbacks[0].partition(": ")
    _tell(stage, words, where)


def _tell(stage: Stage, words: str, where: str) -> None:
    if stage.failure is None:
        at_ms = stage.clock.time_ns() // 1_000_000
        stage.failure = BotFailure(error=words, where=where, at_ms=at_ms, open=tuple(_open(stage)))
    stage.note(f"the bot raised {words}")


def _where(error: BaseException) -> str:
    """The innermost line of a bot's method, or of what the bot calls of its own."""
    frames = [
        (frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not frame.f_globals.get("__name__", "").startswith(("holdfast.", "anyio.", "asyncio."))
        or isinstance(frame.f_locals.get("self"), Bot)
    ]
    frame, line = (frames or list(traceback.walk_tb(error.__traceback__)))[-1]
    return f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_qualname}"


def _open(stage: Stage) -> Iterator[str]:
    for book, side, holding in stage.venue.positions():
        yield f"position {holding.quantity:f} {position_name(book.market.symbol, side)}"
    for order in stage.venue.order_log:
        if not order.status.final:
            price = "" if order.price is None else f" at {order.price:f}"
            yield (
                f"order {order.client_order_id}: {order.side} {order.remaining:f} "
                f"{order.market.symbol}{price}"
            )
    for waiting in stage.venue.open_conditional():
        size = "all" if waiting.quantity is None else f"{waiting.quantity:f}"
        until = "its price" if waiting.trigger_price is None else f"{waiting.trigger_price:f}"
        yield (
            f"order {waiting.client_id}: {waiting.side} {size} {waiting.market.symbol}, waits for "
            f"{until}"
        )


async def _cancel_when_set(stop: anyio.Event, scope: anyio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()
