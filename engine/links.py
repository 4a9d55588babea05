"""The health of every link, and the proof that a recovery may begin.

A link that says "up" has proven nothing: it may have said so before the fault.
What counts is an answer to a probe that *began* after the last fault, so each
proof remembers the gate epoch it began in (every fault starts a new one).
Faults are reported synchronously, in the transport's own callback; by the time
`LinkHealth.down` returns the gate is shut.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, NamedTuple

import anyio

from .broadcast import Broadcast
from .errors import LinkDown
from .ports import Link
from .wording import writable

log = logging.getLogger("holdfast.engine")

FIRST_RESTART_SECONDS: Final = 0.1
LONGEST_RESTART_SECONDS: Final = 5.0


class LinkStatus(NamedTuple):
    name: str
    up: bool
    required: bool
    link_epoch: int
    reason: str
    since: float
    """Monotonic moment of the last change."""


class LinkHealth:
    """One link, as its transport reports it. Satisfies `ports.LinkWatch`.

    Only the transport calls `up` and `down`: whoever says that a link is down has to
    say later that it is up. Anything else that goes wrong is a fault (`Core.fault`),
    which is over when the links have answered their probes.

    :ivar link_epoch: counts connections; what was read in an earlier one is void.
    """

    def __init__(
        self,
        name: str,
        *,
        required: bool,
        probe: Callable[[], Awaitable[None]],
        links: Links,
    ) -> None:
        self.name = name
        self.required = required
        self.is_up = False
        self.link_epoch = 0
        self.reason = "not connected yet"
        self.since = links.monotonic()
        self.proven_epoch = 0
        """Gate epoch in which the last answered probe began."""
        self.probe = probe
        self._links = links

    def up(self) -> None:
        self.link_epoch += 1
        self.is_up = True
        self.reason = ""
        self.since = self._links.monotonic()
        self._links.changed(self)

    def down(self, reason: str) -> None:
        was_up, self.is_up = self.is_up, False
        self.reason = reason = writable(reason)
        if was_up:
            self.since = self._links.monotonic()
        if self.required:
            # Also when it was down already: a second report may tell of another way to fail.
            self._links.on_fault(f"{self.name}: {reason}")
        self._links.changed(self)

    @property
    def status(self) -> LinkStatus:
        return LinkStatus(
            self.name, self.is_up, self.required, self.link_epoch, self.reason, self.since
        )


class Links:
    """All links of one engine.

    :param on_fault: called synchronously when a required link fails.
    :param on_change: called after any link changed.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float],
        on_fault: Callable[[str], None],
        on_change: Callable[[LinkHealth], None],
    ) -> None:
        self.monotonic = monotonic
        self.on_fault = on_fault
        self._on_change = on_change
        self._links: dict[str, LinkHealth] = {}
        self._changes = Broadcast()

    def add(
        self, name: str, *, probe: Callable[[], Awaitable[None]], required: bool = True
    ) -> LinkHealth:
        if name in self._links:
            raise ValueError(f"two links are named {name!r}")
        link = LinkHealth(name, required=required, probe=probe, links=self)
        self._links[name] = link
        return link

    def __iter__(self) -> Iterator[LinkHealth]:
        return iter(self._links.values())

    def __getitem__(self, name: str) -> LinkHealth:
        return self._links[name]

    def statuses(self) -> list[LinkStatus]:
        return [link.status for link in self._links.values()]

    def changed(self, link: LinkHealth) -> None:
        self._changes.notify()
        self._on_change(link)

    async def until_all_up(self) -> None:
        """Wait, without polling, until every required link says it is up."""
        while any(link.required and not link.is_up for link in self._links.values()):
            await self._changes.wait()

    def unproven(self, gate_epoch: int) -> tuple[str, ...]:
        """Required links that are down, or whose last answered probe began before `gate_epoch`."""
        return tuple(
            link.name
            for link in self._links.values()
            if link.required and (not link.is_up or link.proven_epoch < gate_epoch)
        )

    async def probe_all(self, gate_epoch: int, *, timeout_seconds: float) -> dict[str, str]:
        """Probe every required link once, side by side; the failures with their reasons.

        One probe each, never a stampede: the caller is the single runner.
        """
        failures: dict[str, str] = {}

        async def one(link: LinkHealth) -> None:
            try:
                with anyio.fail_after(timeout_seconds):
                    await link.probe()
            except LinkDown as error:
                failures[link.name] = str(error)
            except TimeoutError:
                failures[link.name] = f"no answer to a probe within {timeout_seconds:g} s"
            else:
                link.proven_epoch = gate_epoch

        async with anyio.create_task_group() as group:
            for link in self._links.values():
                if link.required:
                    group.start_soon(one, link)
        return failures


async def keep_running(link: Link, health: LinkHealth) -> None:
    """Run a link of the user's. One that ends or fails is down, and is begun again."""
    pause = FIRST_RESTART_SECONDS
    while True:
        try:
            await link.run(health)
        except Exception as error:  # the user's code: whatever it was, the link is not watched
            log.exception("link %s failed", link.name)
            health.down(f"its run failed: {error!r}")
        else:
            health.down("its run ended")
        await anyio.sleep(pause)
        pause = min(2 * pause, LONGEST_RESTART_SECONDS)
