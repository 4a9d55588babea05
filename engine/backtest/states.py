"""Which state the bot's engine was in, and when there was no process at all."""

from __future__ import annotations

from typing import Final

from holdfast.simulation import SimLoop
from holdfast.states.machine import Step
from holdfast.states.table import INITIAL

DEAD: Final = "no process"
MAX_SPANS: Final = 20_000
"""That are kept; the seconds of each state are counted beyond it."""

Span = tuple[str, float, float]
"""State, and from when to when, in seconds since the start."""


class StateLog:
    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self._state = DEAD
        self._since = loop.time()
        self.spans: list[Span] = []
        self.seconds: dict[str, float] = {}

    def begin(self) -> None:
        """A life has begun."""
        self._enter(INITIAL)

    def step(self, step: Step) -> None:
        self._enter(step.dest)

    def end(self) -> None:
        """It is over."""
        self._enter(DEAD)

    def _enter(self, state: str) -> None:
        now = self._loop.time()
        if now > self._since:
            self.seconds[self._state] = self.seconds.get(self._state, 0.0) + now - self._since
            if len(self.spans) < MAX_SPANS:
                self.spans.append((str(self._state), self._since, now))
        self._state, self._since = str(state), now
