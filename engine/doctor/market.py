"""Listens to the market for as long as one of its symbols may be silent."""

from __future__ import annotations

from typing import Final

import anyio

from holdfast import registry
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.config import Config
from holdfast.market import MarketEvent, MarketGap

from .market_checks import MarketSeen

LONGEST_SECONDS: Final = 30.0
"""That is listened, however long a symbol may be silent; and where it may be so for ever."""


class _Watch:
    """Hears when each symbol speaks first. Satisfies `ports.MarketWatch`."""

    def __init__(self, clock: SystemClock, symbols: tuple[str, ...]) -> None:
        self._clock = clock
        self._waiting = set(symbols)
        self._began = clock.monotonic()
        self.connected_after: float | None = None
        self.heard_after: dict[str, float] = {}
        self.reason = ""
        self.all_heard = anyio.Event()

    def up(self) -> None:
        if self.connected_after is None:
            self.connected_after = self._clock.monotonic() - self._began

    def down(self, reason: str) -> None:
        self.reason = reason

    def event(self, event: MarketEvent) -> None:
        if not isinstance(event, MarketGap):
            self.alive(event.symbol)

    def alive(self, symbol: str) -> None:
        if symbol in self._waiting:
            self._waiting.remove(symbol)
            self.heard_after[symbol] = self._clock.monotonic() - self._began
        if not self._waiting:
            self.all_heard.set()


async def look_at_market(config: Config) -> MarketSeen | None:
    """None: the bot has market data of its own.

    :raises ConfigError: the address or an option can not be used.
    """
    if config.market is None:
        return None
    clock, settings = SystemClock(), config.settings
    with config.market.named_in_errors():
        market = registry.open_market(
            config.market.url, clock=clock, entropy=SystemEntropy(), **config.market.options
        )
    seconds = min(settings.market.stale_seconds or LONGEST_SECONDS, LONGEST_SECONDS)
    watch = _Watch(clock, settings.symbols)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(market.run, watch, settings.subscription)
        with anyio.move_on_after(seconds):
            await watch.all_heard.wait()
        tasks.cancel_scope.cancel()
    server = config.market.options.get("server")
    return MarketSeen(
        f"{config.market.url}{f' at {server}' if server else ''}",
        listened_seconds=seconds,
        connected_after=watch.connected_after,
        reason=watch.reason,
        heard_after=watch.heard_after,
    )
