"""From the start of an engine's tasks to a clean stop: nothing it starts outlives it.

A stop leaves venue and bus as a successor would like to find them: gate shut, resting
entries by rule (and where they could not be cancelled, the venue's dead-man switch armed),
events shipped as far as the bus takes them, lease given back, and last of all the journal
closed. What fails on the way never hides why the engine had to end.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Final

import anyio
from anyio.abc import TaskGroup

from .alerts import Alerts
from .cleanup import beside
from .core import Core
from .disk_watch import watch_disk
from .links import keep_running
from .metrics import Metrics

log = logging.getLogger("holdfast.engine")

STOP_SECONDS: Final = 3.0
"""Most that a clean stop waits for the venue (cancels) and for the bus (last events)."""
CONFIRM_SECONDS: Final = 1.0
"""Most that it waits for the word of the store that a lease which had run out is ours again."""


class Lifetime:
    """One life of one engine."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._group: TaskGroup | None = None

    async def begin(self) -> None:
        """Fold the journal in, enter DEGRADED and start every part.

        :raises JournalDamaged: a record is not of this format.
        :raises ConfigError: it is the journal of another bot.
        """
        core, settings = self._core, self._core.settings
        try:
            core.begin()
        except BaseException as error:
            with beside(error):
                await core.journal.aclose()
            core.thread.end()
            raise
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        start = self._group.start_soon
        start(core.runner.run)
        start(core.bus.run, core.bus_link)
        start(core.policy_store.run, core.policy)
        start(core.exchange.run, core.execution.reports)
        if core.market is not None and core.feed is not None:
            start(core.market.run, core.feed, settings.subscription)
            start(core.feed.run)
        for link in core.extra_links:
            start(keep_running, link, core.links[link.name])
        start(core.outbox.run)
        start(core.execution.resolver.run)
        start(core.execution.entries.run)
        start(core.execution.dead_man.run)
        start(core.policy.run)
        start(core.lease.run)
        start(self._watch_disk)
        if settings.alerts.sample_seconds is not None and isinstance(core.meter, Metrics):
            start(self._watch_alerts, core.meter, settings.alerts.sample_seconds)
        if settings.gate.loop_lease_seconds is not None:
            start(core.loop_watch.run)

    async def end(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool | None:
        """Wind down, stop every part and close the journal; arguments and answer are those of
        `__aexit__`."""
        assert self._group is not None
        try:
            with beside(exc), anyio.CancelScope(shield=True):
                await self._wind_down()
        finally:
            suppress = await self._end_tasks(self._group, exc_type, exc, tb)
        return suppress

    async def _wind_down(self) -> None:
        core = self._core
        core.gate.close("stopping")  # the machine goes on, and would find its way up again
        left: list[str] = []
        if core.settings.orders.on_leaving_active == "cancel" and core.exchange_link.is_up:
            with anyio.move_on_after(STOP_SECONDS):
                await core.execution.entries.cancel()
            left = [order.client_order_id for order in core.execution.entries.left()]
            left += [name for name, i in core.ledger.intents.items() if i.order.opening]
            if left:
                log.warning(
                    "entries rest, or may: the dead-man switch stays armed and cancels them",
                    extra={"orders": left},
                )
        if not left:
            if core.execution.dead_man.may_run and core.lease.may_be_held_soon:
                core.lease.renew_now()  # it has run out, perhaps while the machine slept
                with anyio.move_on_after(CONFIRM_SECONDS):
                    while core.lease.may_be_held_soon:
                        await core.changes.wait()
            with anyio.move_on_after(STOP_SECONDS):
                await core.execution.dead_man.release()
        if core.bus_link.is_up:
            with anyio.move_on_after(STOP_SECONDS):
                while core.outbox.behind(core.outbox.mark):
                    await core.outbox.changes.wait()
        await core.lease.release()

    async def _end_tasks(
        self,
        group: TaskGroup,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool | None:
        group.cancel_scope.cancel()
        first = exc
        try:
            if isinstance(exc, anyio.get_cancelled_exc_class()):
                return await group.__aexit__(exc_type, exc, tb)
            # An error of the caller's own block passes as it is, not wrapped in a group.
            with beside(exc):
                await group.__aexit__(None, None, None)
            return None
        except BaseException as error:
            first = error
            raise
        finally:
            self._core.execution.outcomes.abandon()
            try:
                with beside(first), anyio.CancelScope(shield=True):
                    await self._core.journal.aclose()
            finally:
                self._core.thread.end()

    async def _watch_disk(self) -> None:
        core = self._core
        await watch_disk(
            core.disk_link, recorder=core.recorder, clock=core.clock, changes=core.changes
        )

    async def _watch_alerts(self, metrics: Metrics, sample_seconds: float) -> None:
        rules = Alerts()
        while True:
            await anyio.sleep(sample_seconds)
            for alert in rules.evaluate(metrics.snapshot(), self._core.clock.monotonic()):
                self._core.announcer.alert(alert)
