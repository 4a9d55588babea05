"""What each state does on entering: the functions behind the table's effects.

An effect is either plain (run inside the trigger) or a coroutine, run by the one
runner and cancelled when the state is left. It ends by raising the trigger that
its state is there for, and when the guards refuse, it looks at the world again:
none of them ever assumes that a transition happened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio

from holdfast.states.table import Effect, State, Trigger

from . import events
from .core import Core
from .errors import LinkDown
from .intent import Intent
from .model import Instrument
from .suggestion import did_you_mean

log = logging.getLogger("holdfast.effects")


def effects_of(core: Core) -> dict[Effect, Callable[[], Any]]:
    """The function of each effect, bound to one engine."""
    effects = _Effects(core)
    return {effect: getattr(effects, effect.value) for effect in Effect}


FIRST_CLIMB_PAUSE_SECONDS: Final = 0.05
LONGEST_CLIMB_PAUSE_SECONDS: Final = 5.0


def _climb_pause(failed: int) -> float:
    """Before the next way up after so many that did not reach HEALTHY: none, then doubling."""
    if failed < 2:
        return 0.0
    return float(
        min(FIRST_CLIMB_PAUSE_SECONDS * 2 ** min(failed - 2, 10), LONGEST_CLIMB_PAUSE_SECONDS)
    )


class _Effects:
    def __init__(self, core: Core) -> None:
        self._core = core

    def announce(self) -> None:
        """Publish the transition, and what it means for those who watch the bus."""
        core = self._core
        if not core.recovery.history:
            return  # the very first state: nothing led to it
        step = core.recovery.history[-1].step
        core.announcer.announce(
            events.TransitionMade(
                number=core.ledger.transitions,
                trigger=step.trigger.value,
                cause=step.cause,
                source=step.source.value,
                dest=step.dest.value,
            )
        )
        lost_at = core.recovery.bus_lost_at
        if step.trigger is Trigger.REPLAYED and lost_at is not None:
            core.recovery.bus_lost_at = None
            core.meter.gauge("redis_down", 0)
            core.announcer.announce(events.RedisRecovered(core.clock.monotonic() - lost_at))

    async def cancel_resting_entries(self) -> None:
        await self._core.execution.entries.cancel_if_unwanted()

    async def probe_links(self) -> None:
        """Probe until every link has answered a question asked after the last fault."""
        core, settings = self._core, self._core.settings.links
        pause = settings.probe_backoff_seconds
        while core.machine.state is State.DEGRADED:
            await core.links.until_all_up()
            began = core.gate.epoch
            failures = await core.links.probe_all(
                began, timeout_seconds=settings.probe_timeout_seconds
            )
            if core.gate.epoch != began:
                continue  # a fault came in between: these answers prove nothing
            if failures:
                log.info("probe failed", extra={"failures": failures})
                await core.changes.wait_at_most(pause)
                pause = min(2 * pause, settings.probe_backoff_max_seconds)
                continue
            pause = settings.probe_backoff_seconds
            if core.recovery.failed_climbs:
                # Links that answer are no proof that the way up can be gone: a venue that
                # throttles its snapshots would be asked into a ban.
                await anyio.sleep(_climb_pause(core.recovery.failed_climbs))
                if core.gate.epoch != began:
                    continue
            core.fire(Trigger.LINKS_RESTORED, "every link answered a probe")
            if core.machine.state is State.DEGRADED:
                # Held by the operator, or the lease is not ours: only a change can help.
                await core.changes.wait()

    def invalidate_caches(self) -> None:
        core = self._core
        core.policy.drop()
        core.recovery.replay_mark = core.outbox.mark

    async def reload_policy(self) -> None:
        core = self._core
        while True:
            await core.policy.reload()
            if core.policy.problem() is None:
                return
            if not core.policy.needs_person:
                raise LinkDown(f"policy: {core.policy.problem()}")
            log.warning("waiting for a policy", extra={"reason": core.policy.problem()})
            with core.runner.waiting(f"policy: {core.policy.problem()}"):
                await core.policy.changes.wait()
                core.policy.needs_person = False

    async def replay_outbox(self) -> None:
        """Wait until the shipper has brought the bus up to the mark."""
        core = self._core
        began, behind = core.clock.monotonic(), core.outbox.behind(core.recovery.replay_mark)
        if behind:
            log.info("replaying", extra={"events": behind})
        while core.outbox.behind(core.recovery.replay_mark):
            await core.outbox.changes.wait()
            core.runner.progress()
        core.meter.observe("event_replay_duration_seconds", core.clock.monotonic() - began)
        core.meter.gauge("replayed_events", behind)
        core.fire(Trigger.REPLAYED, f"{behind} records up to the mark are on the bus")
        if core.machine.state is State.RECOVERING:
            raise LinkDown(f"after the replay: {core.policy.problem() or 'outbox fell behind'}")

    async def resolve_unknown(self) -> None:
        """Wait for the outcome of every order that was on its way when the state was entered."""
        core = self._core
        await self._refuse_unlisted(await core.execution.instruments())
        if not core.execution.dead_man.armed:
            with core.runner.waiting("the venue's dead-man switch is not armed yet"):
                await core.execution.dead_man.until_armed()
        on_their_way = list(core.ledger.intents.values())
        names = ", ".join(i.client_order_id for i in on_their_way[:3])
        more = f" and {len(on_their_way) - 3} more" if len(on_their_way) > 3 else ""
        with core.runner.waiting(f"the outcome of orders is unknown: {names}{more}"):
            for intent in on_their_way:
                await self._until_it_has_ended(intent)

    async def _until_it_has_ended(self, intent: Intent) -> None:
        """One that no answer can settle waits for a person, perhaps for days: exits go on being
        filled, and the bot must not believe in a position that a lost report has closed."""
        core = self._core
        while not intent.has_ended():
            with anyio.move_on_after(core.settings.reconcile.audit_seconds) as look:
                while not intent.has_ended():
                    await intent.change()
            if look.cancelled_caught:
                try:
                    await core.reconciler.count_missed()
                except LinkDown as error:  # nothing is opened by it; the next one will do
                    log.info("nothing missed could be looked for", extra={"reason": str(error)})

    async def _refuse_unlisted(self, listed: Mapping[str, Instrument]) -> None:
        """Wait for a person if a declared symbol is not one of the venue's."""
        core = self._core
        unlisted = [symbol for symbol in core.settings.symbols if symbol not in listed]
        if unlisted:
            names = ", ".join(f"{symbol!r}{did_you_mean(symbol, listed)}" for symbol in unlisted)
            reason = f"engine.symbols: the venue does not list {names}"
            log.error(reason)
            with core.runner.waiting(f"{reason}; mend it and start again"):
                await anyio.sleep_forever()

    async def reconcile_books(self) -> None:
        """Compare and settle until the guards are content, then go HEALTHY."""
        core, recovery = self._core, self._core.recovery
        while core.machine.state is State.RECONCILING:
            divergences = recovery.divergences
            recovery.compared = None
            settled = await core.reconciler.settle(core.runner.waiting)
            core.meter.gauge("position_reconciliation_divergence", settled.differences)
            core.announcer.announce(
                events.PositionsReconciled(
                    settled.differences, settled.actions, settled.fills_counted
                )
            )
            recovery.compared = (divergences, 0)
            core.fire(Trigger.RECONCILED, "the local book equals the venue's")
            if core.machine.state is State.RECONCILING:
                if recovery.divergences == divergences:
                    # An order became unknown meanwhile, or something is about to fault.
                    await core.changes.wait_at_most(core.settings.reconcile.settle_seconds)
                await self.resolve_unknown()

    def open_gate(self) -> None:
        """With the ticket taken on the way down: what shut the gate since keeps it shut."""
        self._core.gate.open_if(self._core.recovery.ticket)

    async def audit(self) -> None:
        """For as long as HEALTHY lasts, compare the books now and then."""
        core, settings = self._core, self._core.settings.reconcile
        core.auditor.begin()
        while True:
            await core.auditor.due()
            if not core.gate.is_open:  # shut by somebody who told nobody: nothing would open it
                core.fire(Trigger.FAULT, f"gate: {core.gate.reason}")
                return
            now = core.clock.monotonic()
            for intent in core.ledger.unknown:
                if now - intent.doubted_at >= settings.unknown_patience_seconds:
                    core.fire(
                        Trigger.DIVERGED,
                        f"order {intent.client_order_id} unknown for too long: {intent.doubt}",
                    )
                    return
            if core.execution.silence.seconds:
                continue  # asking on would make it longer, and then a ban
            why = await core.auditor.audit()
            if why is not None:
                core.fire(Trigger.DIVERGED, f"audit: {why}")
                return
