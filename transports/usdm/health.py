"""The health of the order connection: when it is down, and what brings it up again.

It is down the moment a connection breaks or cannot be made. What merely leaves a doubt (no
answer in time, a lost user stream, a refused time stamp) makes it ask at once whether the
venue still answers; only if it does not is it down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from holdfast.errors import LinkDown
from holdfast.ports import Entropy, LinkWatch

from .backoff import delay_seconds


class LinkKeeper:
    """
    :param probe: asks the venue; raises `LinkDown`.
    """

    def __init__(self, probe: Callable[[], Awaitable[None]], entropy: Entropy) -> None:
        self._probe = probe
        self._entropy = entropy
        self._watch: LinkWatch | None = None
        self._is_up = False
        self._doubt = anyio.Event()

    async def run(self, watch: LinkWatch) -> None:
        """Keep it up until cancelled."""
        self._watch = watch
        failures = 0
        try:
            while True:
                self._doubt = anyio.Event()
                try:
                    await self._probe()
                except LinkDown as error:
                    self.down(str(error))
                    failures += 1
                    await anyio.sleep(delay_seconds(failures, self._entropy.random()))
                    continue
                failures = 0
                if not self._is_up:
                    if self._doubt.is_set():
                        continue  # something failed while we asked: the answer may be older
                    self._is_up = True
                    watch.up()
                await self._doubt.wait()
        finally:
            self._watch, self._is_up = None, False

    def down(self, reason: str) -> None:
        self._is_up = False
        if self._watch is not None:
            self._watch.down(reason)
        self._doubt.set()

    def doubt(self) -> None:
        """Ask the venue at once."""
        self._doubt.set()
