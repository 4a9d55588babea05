"""The venue's dead-man switch: if this process dies, its resting orders do not outlive it.

The venue counts down and cancels every open order of a symbol unless it is told in time
that somebody is still there (Binance "Auto-Cancel All Open Orders"). It makes no
difference between entries and exits, so it is renewed in *every* state while process and
venue can talk, and whoever is HALTED keeps his exits: the switch is for the death of the
bot, not of Redis. It is released on a clean stop, by whoever holds the lease for certain: a
lease that has run out may be another copy's by now, who counts down as well, and has nobody
else to tell him that his countdown was stopped. Whether it reaches conditional orders is not
documented; assume that stops stay.

Only the latest holder of the lease renews: a copy that waits would keep a dead bot's orders
alive. The holder goes on when the lease has run out because its store can not be asked:
that is the night in which Redis dies. It ends when the store says that another one holds it.
After a takeover nothing goes on before it is armed (`until_armed`), also by who held the lease
before: another holder may have released the countdown (`forget`). And nothing opens when it
could not be renewed in time: then the venue has cancelled what rested, or is about to, and
what is placed from there on would outlive the bot. So a countdown that has ended here is a
fault. Here it ends first, for it counts from before the request left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

import anyio

from .broadcast import Broadcast
from .errors import LinkDown
from .ports import Clock, CountsDown

log = logging.getLogger("holdfast.dead_man")

RENEWALS_PER_COUNTDOWN: Final = 4
"""Binance's own example renews every 30 s a countdown of 120 s."""
RETRY_SECONDS: Final = 1.0

LAPSED: Final = "the dead-man switch could not be renewed in time; the venue cancels what rests"


class DeadManSwitch:
    """
    :param venue: None if the venue has no such switch.
    :param countdown_seconds: None: not used.
    :param may_renew: whether the venue can be asked now, and no other copy is known to hold
        the lease.
    :param may_release: whether the venue can be asked now, and the lease is ours for certain.
    :param on_lapsed: told when a countdown has ended that could not be renewed.
    :param changes: notified whenever `may_renew` may answer differently.
    """

    def __init__(
        self,
        *,
        venue: CountsDown | None,
        symbols: Sequence[str],
        countdown_seconds: float | None,
        timeout_seconds: float,
        clock: Clock,
        may_renew: Callable[[], bool],
        may_release: Callable[[], bool],
        on_lapsed: Callable[[str], None],
        changes: Broadcast,
    ) -> None:
        self._venue = venue if countdown_seconds is not None else None
        self._symbols = tuple(symbols)
        self._countdown_seconds = countdown_seconds or 0.0
        self._interval_seconds = self._countdown_seconds / RENEWALS_PER_COUNTDOWN
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._may_renew = may_renew
        self._may_release = may_release
        self._on_lapsed = on_lapsed
        self._changes = changes
        self._armed_at = -inf
        """Monotonic moment at which the oldest of the running countdowns was begun."""
        self.may_run = False
        """Whether the venue was ever asked for a countdown: of a lost answer nobody knows."""
        self._renewed = Broadcast()
        self._term = 0
        """Counts the terms of the lease: what was begun in an earlier one proves nothing."""
        self._released = False
        self._lapse: asyncio.TimerHandle | None = None
        self._one_request = asyncio.Lock()
        """A renewal on its way must not be the last word after the release."""

    @property
    def armed(self) -> bool:
        """Whether every symbol's countdown runs, as far as we know, or none is used."""
        return (
            self._venue is None
            or self._clock.monotonic() - self._armed_at < self._countdown_seconds
        )

    async def run(self) -> None:
        """Renew until cancelled; at once when the venue can be asked again."""
        if self._venue is None:
            return
        try:
            await self._renew(self._venue)
        finally:
            if self._lapse is not None:
                self._lapse.cancel()

    def forget(self) -> None:
        """The lease is ours anew. Whoever may have held it in between has counted down on its own,
        and released that when it stopped. If it is not armed again by when ours would have ended,
        that is told as a lapse."""
        self._term += 1
        self._armed_at = -inf
        self._changes.notify()

    def _watch_for_a_lapse(self) -> None:
        """A timer of its own, for a renewal may be waiting for its answer meanwhile. One that was
        renewed since the timer was set is looked at again when that ends."""
        self._lapse = None
        left = self._armed_at + self._countdown_seconds - self._clock.monotonic()
        if self._released:
            return
        if left > 0:
            self._lapse = asyncio.get_running_loop().call_later(left, self._watch_for_a_lapse)
        else:
            self._on_lapsed(LAPSED)

    async def _renew(self, venue: CountsDown) -> None:
        was_able = False
        while not self._released:
            if not self._may_renew():
                was_able = False
                # Not for ever: that a venue's silence is over, nobody tells.
                await self._changes.wait_at_most(self._interval_seconds)
                continue
            pause = self._armed_at + self._interval_seconds - self._clock.monotonic()
            if was_able and pause > 0:
                await self._changes.wait_at_most(pause)
                continue
            was_able = True
            if not await self._arm(venue):
                await anyio.sleep(RETRY_SECONDS)

    async def _arm(self, venue: CountsDown) -> bool:
        began, term = self._clock.monotonic(), self._term
        try:
            for symbol in self._symbols:
                async with self._one_request:
                    if self._released:
                        return True
                    self.may_run = True
                    await venue.countdown_cancel_all(
                        symbol,
                        countdown_seconds=self._countdown_seconds,
                        timeout_seconds=self._timeout_seconds,
                    )
        except LinkDown as error:
            log.warning("dead-man switch not renewed", extra={"reason": str(error)})
            return False
        if term != self._term:
            return True  # it is due again at once
        self._armed_at = began
        if self._lapse is None:
            self._watch_for_a_lapse()
        self._renewed.notify()
        return True

    async def until_armed(self) -> None:
        """Wait until the countdowns run, so that nothing opens without them."""
        while not self.armed:
            await self._renewed.wait()

    async def release(self) -> None:
        """Stop the countdowns, running or perhaps so: a clean stop leaves what is meant to rest."""
        self._released = True
        if self._venue is None or not self.may_run:
            return
        for symbol in self._symbols:
            try:
                async with self._one_request:
                    if not self._may_release():
                        raise LinkDown("the venue can not be asked, or the lease is not ours")
                    await self._venue.countdown_cancel_all(
                        symbol, countdown_seconds=0.0, timeout_seconds=self._timeout_seconds
                    )
            except LinkDown as error:
                log.warning(
                    "dead-man switch not released; it cancels what rests",
                    extra={"symbol": symbol, "reason": str(error)},
                )
