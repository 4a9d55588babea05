"""The machine's clock as a link: trading stops while it and the venue's disagree.

Orders are stamped with the venue's clock and freshness is judged by the monotonic one, so a
wrong wall clock places no wrong order by itself. But everything that a bot decides by dates
(the bar that has ended, the funding that is due, the log that is read afterwards) is wrong
then, and a clock that jumps was set by somebody or something. The link is down while the two
are further apart than a bound, and once for every jump of either: what was read before it is
read again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio

from .broadcast import Broadcast
from .errors import LinkDown
from .ports import Clock, LinkWatch
from .venue_clock import VenueClock

CHECK_SECONDS: Final = 30.0
"""Between two measurements while nothing else asks for one."""
RETRY_SECONDS: Final = 1.0


class ClockLink:
    """
    :param max_skew_seconds: between the machine's wall clock and the venue's.
    :param can_ask: whether the venue can be asked now.
    :param wanted: whether anybody is interested. In DEGRADED nobody is, as long as the link
        is up: the way up begins with a probe, which measures.
    :param changes: notified whenever these may answer differently.
    """

    name = "clock"

    def __init__(
        self,
        venue_clock: VenueClock,
        clock: Clock,
        *,
        max_skew_seconds: float,
        timeout_seconds: float,
        can_ask: Callable[[], bool],
        wanted: Callable[[], bool],
        changes: Broadcast,
    ) -> None:
        self._venue_clock = venue_clock
        self._clock = clock
        self._max_skew_ms = max_skew_seconds * 1000
        self._timeout_seconds = timeout_seconds
        self._can_ask = can_ask
        self._wanted = wanted
        self._changes = changes
        self._watch: LinkWatch | None = None
        self._judged_up = False
        self._wall_ahead_ms: int | None = None
        """The wall clock minus the monotonic one, as last seen."""
        self._look_again = anyio.Event()
        venue_clock.on_jump = self._venue_jumped

    async def run(self, watch: LinkWatch) -> None:
        self._watch, self._judged_up = watch, False
        try:
            while True:
                while not self._can_ask() or (self._judged_up and not self._wanted()):
                    await self._changes.wait()
                self._look_again = anyio.Event()
                try:
                    await self._venue_clock.sync(timeout_seconds=self._timeout_seconds)
                except LinkDown:
                    await anyio.sleep(RETRY_SECONDS)  # of the venue's own link, not of the clock
                    continue
                self._judge()
                with anyio.move_on_after(CHECK_SECONDS):
                    await self._look_again.wait()
        finally:
            self._watch = None

    async def probe(self) -> None:
        """:raises LinkDown: the clocks disagree, or the venue can not be asked."""
        if not self._can_ask():
            raise LinkDown("the venue can not be asked for its time now")
        await self._venue_clock.sync(timeout_seconds=self._timeout_seconds)
        if objection := self._objection():
            raise LinkDown(objection)
        if not self._judged_up:
            self._look_again.set()

    def _judge(self) -> None:
        """Report what the last measurement shows."""
        wall_ahead_ms = (self._clock.time_ns() - self._clock.monotonic_ns()) // 1_000_000
        before_ms, self._wall_ahead_ms = self._wall_ahead_ms, wall_ahead_ms
        if before_ms is not None and abs(wall_ahead_ms - before_ms) > self._max_skew_ms:
            self._down(
                f"the machine's clock was set by {(wall_ahead_ms - before_ms) / 1000:+.3f} s"
            )
        if objection := self._objection():
            self._down(objection)
        elif not self._judged_up:
            self._judged_up = True
            if self._watch is not None:
                self._watch.up()

    def _objection(self) -> str:
        skew_ms, error_ms = self._venue_clock.skew_ms, self._venue_clock.error_ms
        if abs(skew_ms) - error_ms <= self._max_skew_ms:
            return ""
        way = "ahead of" if skew_ms > 0 else "behind"
        return (
            f"the machine's clock is {abs(skew_ms) / 1000:.3f} s {way} the venue's: let NTP set "
            "it, or raise links.max_clock_skew_seconds"
        )

    def _venue_jumped(self, jump_ms: int) -> None:
        if abs(jump_ms) > self._max_skew_ms:
            self._down(f"the venue's clock was set by {jump_ms / 1000:+.3f} s")
            self._look_again.set()

    def _down(self, reason: str) -> None:
        self._judged_up = False
        if self._watch is not None:
            self._watch.down(reason)
