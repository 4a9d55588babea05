"""The market as the engine watches it: a link that is down when it has gone quiet.

A stream may stand and say nothing, and a bot that trades on it trades on the past. So each
declared symbol has a time of its last sign of life, and when one is older than
`stale_seconds` the link is down, which shuts the gate like any other fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from .links import LinkHealth
from .market import MarketEvent
from .ports import Clock


class MarketFeed:
    """`ports.MarketWatch`.

    :param on_event: told of every event.
    :param stale_seconds: longest silence of a symbol. None: silence says nothing (backtests).
    """

    def __init__(
        self,
        *,
        link: LinkHealth,
        symbols: Sequence[str],
        stale_seconds: float | None,
        clock: Clock,
        on_event: Callable[[MarketEvent], None],
    ) -> None:
        self._link = link
        self._monotonic = clock.monotonic
        self._stale_seconds = stale_seconds
        self._connected = False
        self._heard_at = dict.fromkeys(symbols, clock.monotonic())
        self._on_event = on_event

    # --- the transport's side --------------------------------------------------------

    def up(self) -> None:
        self._connected = True
        now = self._monotonic()
        self._heard_at = dict.fromkeys(self._heard_at, now)
        self._link.up()

    def down(self, reason: str) -> None:
        self._connected = False
        self._link.down(reason)

    def event(self, event: MarketEvent) -> None:
        self.alive(event.symbol)
        self._on_event(event)

    def alive(self, symbol: str) -> None:
        if symbol in self._heard_at:
            self._heard_at[symbol] = self._monotonic()
            if self._connected and not self._link.is_up and self._stale() is None:
                self._link.up()  # it was down for its silence, and that is over

    # --- the watchdog ----------------------------------------------------------------

    def _stale(self) -> tuple[str, float] | None:
        """The symbol that was quiet for too long, and for how long."""
        if self._stale_seconds is None or not self._heard_at:
            return None
        symbol = min(self._heard_at, key=self._heard_at.__getitem__)
        silence = self._monotonic() - self._heard_at[symbol]
        return (symbol, silence) if silence >= self._stale_seconds else None

    async def run(self) -> None:
        """Take the link down when a symbol has gone quiet; until cancelled."""
        if self._stale_seconds is None or not self._heard_at:
            return
        while True:
            oldest = min(self._heard_at.values())
            await anyio.sleep(max(oldest + self._stale_seconds - self._monotonic(), 0.01))
            stale = self._stale()
            if stale is not None and self._link.is_up:
                self._link.down(f"nothing of {stale[0]} for {stale[1]:.1f} s")
            elif stale is not None:
                await anyio.sleep(self._stale_seconds)
