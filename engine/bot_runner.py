"""Runs a bot on an engine: what happens outside becomes calls of its methods, one by one.

The callbacks that bring events must not wait for a bot, so they put them into a queue and
one task takes them out. Fills and states are never dropped: a bot that is so slow that
thousands of them wait has failed, and is told so. Market events are dropped, oldest first,
when the bot does not keep up; a `MarketGap` stands in their place, never silence.

In virtual time nothing has to be waited for: a bot with nothing to do takes the events of a
recorded market at once, as long as nothing else happens before them (`ports.Replay`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import anyio

from holdfast.states.machine import Step

from .bot import Bot
from .broadcast import Broadcast
from .errors import EngineClosed, HoldfastError
from .listeners import Listeners
from .market import Bar, MarketEvent, MarketGap, Quote, Trade
from .model import Fill
from .ports import Replay

if TYPE_CHECKING:
    from .engine import Engine

MAX_MARKET_EVENTS: Final = 10_000
"""That wait for the bot; a busy symbol has some hundred quotes a second."""
MAX_OWN_EVENTS: Final = 10_000
"""Fills and states that wait for the bot."""
STOP_SECONDS: Final = 3.0
"""Most that the bot's `on_stop` may take."""


class BotFellBehind(HoldfastError):
    """The bot did not take its fills and states; it is stopped rather than kept ignorant."""


class BotRunner:
    """One bot on one engine.

    :param replay: the market, if it is a recorded one.
    :param listeners: to the market; what a replay hands out is for a single one.
    """

    def __init__(
        self,
        bot: Bot,
        engine: Engine,
        *,
        replay: Replay | None,
        listeners: Listeners[MarketEvent],
    ) -> None:
        self._bot = bot
        self._engine = engine
        self._own: deque[Fill | Step] = deque()
        self._market: deque[MarketEvent] = deque()
        self._dropped: dict[str, tuple[int, int]] = {}
        """Per symbol: how many market events were dropped, and the time of the first."""
        self._news = Broadcast()
        self._handlers: dict[type[Any], Callable[[Any], Awaitable[None]]] = {
            Bar: bot.on_bar,
            Trade: bot.on_trade,
            Quote: bot.on_quote,
            MarketGap: bot.on_gap,
            Fill: bot.on_fill,
            Step: bot.on_state,
        }
        self._fell_behind = False
        self._closed = False
        self._replay = replay
        self._listeners = listeners

    def close(self) -> None:
        """The engine ends: the bot is told as soon as it has taken what waits."""
        self._closed = True
        self._news.notify()

    async def run(self) -> None:
        """Until the engine is closed, or the bot raises: then that error is raised."""
        bot, engine = self._bot, self._engine
        bot.engine = engine
        ends = [
            engine.on_fill(self._put_own),
            engine.on_transition(self._put_own),
            engine.on_market(self._put_market),
        ]
        own, handlers = self._own, self._handlers
        try:
            await bot.on_start()
            while True:
                if own or self._market or self._dropped:
                    event = self._next()
                    await handlers[type(event)](event)
                elif self._closed:
                    raise EngineClosed("the engine was closed")
                elif await self._play():
                    await self._news.wait()
        finally:
            for end in ends:
                end()
            # Also when the task is cancelled, which is how most bots end.
            with anyio.move_on_after(STOP_SECONDS, shield=True):
                await bot.on_stop()

    async def _play(self) -> bool:
        """Hand the bot what its recorded market tells, until something else has to be done.

        :returns: whether there is nothing more to be done now.
        """
        own, market, listeners, handlers = self._own, self._market, self._listeners, self._handlers
        if self._replay is None or listeners.count != 1:
            return True
        for event in self._replay.events():
            if own:  # what the event has set off comes first
                market.appendleft(event)
                return False
            await handlers[type(event)](event)
            if own or market or self._closed or listeners.count != 1:
                return False
        return not (own or market)  # a row that nobody is told of may have filled an order

    def _put_own(self, event: Fill | Step) -> None:
        if len(self._own) < MAX_OWN_EVENTS:
            self._own.append(event)
        else:
            self._fell_behind = True
        self._news.notify()

    def _put_market(self, event: MarketEvent) -> None:
        if len(self._market) >= MAX_MARKET_EVENTS:
            lost = self._market.popleft()
            count, first_ms = self._dropped.get(lost.symbol, (0, lost.time_ms))
            self._dropped[lost.symbol] = (count + 1, first_ms)
        self._market.append(event)
        self._news.notify()

    def _next(self) -> Fill | Step | MarketEvent:
        """Own events first: a bot that knows its fills late orders twice."""
        if self._fell_behind:
            raise BotFellBehind(f"more than {MAX_OWN_EVENTS} fills and states wait for the bot")
        if self._own:
            return self._own.popleft()
        if self._dropped:
            symbol, (count, first_ms) = self._dropped.popitem()
            return MarketGap(symbol, first_ms, f"the bot fell behind: {count} events dropped")
        return self._market.popleft()
