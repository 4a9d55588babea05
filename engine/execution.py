"""The parts between an order and the venue, wired: on the way there and on the way back.

`admission` and `orders` are the way there, `reports` and `resolver` what is learnt, `outcomes`
where both meet. The others look after what stands at the venue: `entries` that must not rest,
the `dead_man` switch for the day the bot dies, `silence` when the venue asks for it.
"""

from __future__ import annotations

from collections.abc import Callable

from .admission import Admission
from .announcer import Announcer
from .broadcast import Broadcast
from .dead_man import DeadManSwitch
from .entries import RestingEntries
from .errors import LinkDown
from .execution_reports import ExecutionReports
from .gate import Gate
from .intent import Intent
from .lease import LeaseKeeper
from .links import LinkHealth
from .listeners import Listeners
from .model import Fill, Instrument, OrderReport
from .orders import OrderPath
from .outcomes import Outcomes
from .policy import Mode
from .policy_cell import PolicyCell
from .ports import Clock, CountsDown, Entropy, ExecutionClient
from .recorder import Recorder
from .resolver import Resolver
from .settings import Settings
from .silence import Silence
from .venue_clock import VenueClock


class Execution:
    """
    :param link: to the venue.
    :param stream: its user stream.
    :param changes: notified when an order that was in doubt is settled.
    :param is_healthy: whether the machine is in the state in which entries may rest.
    :param on_blocked: told the reason of every order that was refused though nothing was wrong
        with it.
    :param on_fault: told when the venue refuses everything.
    :param on_diverged: told why the books have to be compared.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        client: ExecutionClient,
        link: LinkHealth,
        stream: LinkHealth,
        gate: Gate,
        policy: PolicyCell,
        lease: LeaseKeeper,
        recorder: Recorder,
        announcer: Announcer,
        clock: Clock,
        entropy: Entropy,
        changes: Broadcast,
        is_healthy: Callable[[], bool],
        on_blocked: Callable[[str], None],
        on_fault: Callable[[str], None],
        on_diverged: Callable[[str], None],
        on_awaited: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._client = client
        self._link = link
        self._policy = policy
        self._announcer = announcer
        self._changes = changes
        self._is_healthy = is_healthy
        self.fills: Listeners[Fill] = Listeners()
        self.venue_clock = VenueClock(client, clock)
        self.silence = Silence(clock.monotonic)
        self.outcomes = Outcomes(
            gate=gate,
            recorder=recorder,
            clock=clock,
            on_resolved=self._on_resolved,
            on_closed=announcer.order_closed,
            on_awaited=on_awaited,
        )
        self.resolver = Resolver(
            settings=settings.orders,
            client=client,
            ledger=recorder.ledger,
            outcomes=self.outcomes,
            silence=self.silence,
            venue_clock=self.venue_clock,
            clock=clock,
            can_ask=lambda: link.is_up,
        )
        self.dead_man = DeadManSwitch(
            venue=client if isinstance(client, CountsDown) else None,
            symbols=settings.symbols,
            countdown_seconds=settings.orders.dead_man_seconds,
            timeout_seconds=settings.orders.timeout_seconds,
            clock=clock,
            may_renew=lambda: link.is_up and lease.latest_holder and not self.silence.seconds,
            may_release=lambda: link.is_up and lease.held and not self.silence.seconds,
            on_lapsed=on_fault,
            changes=changes,
        )
        self.admission = Admission(
            client=client,
            policy=policy,
            lease=lease,
            dead_man=self.dead_man,
            ledger=recorder.ledger,
            clock=clock,
            timeout_seconds=settings.orders.timeout_seconds,
            on_blocked=on_blocked,
        )
        self.orders = OrderPath(
            bot=settings.bot,
            settings=settings.orders,
            client=client,
            gate=gate,
            recorder=recorder,
            outcomes=self.outcomes,
            silence=self.silence,
            venue_clock=self.venue_clock,
            clock=clock,
            entropy=entropy,
            before_admitting=self.admission.learn_price,
            admit=self.admission.admit,
            on_refused_by_venue=on_fault,
            # In every other state the way up compares the books anyway.
            on_diverged=lambda why: on_diverged(why) if is_healthy() else None,
        )
        self.entries = RestingEntries(
            orders=self.orders,
            changes=self.outcomes.entries,
            resting=lambda: recorder.ledger.book.resting(),
            unwanted=self._entries_are_unwanted,
            epoch=lambda: gate.epoch,
        )
        self.reports = ExecutionReports(
            exchange=link,
            stream=stream,
            symbols=settings.symbols,
            prefix=self.orders.prefix,
            recorder=recorder,
            outcomes=self.outcomes,
            lease=lease,
            on_diverged=on_diverged,
            on_counted=self._on_counted,
        )

    async def probe(self) -> None:
        """Ask the venue something, and its clock. :raises LinkDown:"""
        if self.silence.seconds:
            raise LinkDown(self.silence.reason)
        await self._client.probe()
        await self.venue_clock.sync(timeout_seconds=self._settings.orders.timeout_seconds)

    async def instruments(self) -> dict[str, Instrument]:
        """What the venue lists; asked for once. :raises LinkDown:"""
        if not self.orders.instruments:
            self.orders.instruments = await self._client.instruments(
                timeout_seconds=self._settings.reconcile.snapshot_timeout_seconds
            )
        return self.orders.instruments

    def look_again(self) -> None:
        """Link or policy have changed: what could not be asked may be asked now, an entry that
        rests may not rest any more."""
        self.outcomes.changes.notify()
        self.outcomes.questions.notify()
        self.outcomes.entries.notify()

    def _entries_are_unwanted(self) -> bool:
        policy = self._policy.get()
        may_rest = self._is_healthy() and (policy is None or policy.active_mode is not Mode.HALT)
        return (
            self._settings.orders.on_leaving_active == "cancel"
            and not may_rest
            and self._link.is_up
        )

    def _on_resolved(self, intent: Intent, report: OrderReport) -> None:
        self._announcer.order_resolved(intent, report)
        self._changes.notify()

    def _on_counted(self, fill: Fill) -> None:
        self.admission.traded(fill.symbol, fill.price)
        self._announcer.fill_counted(fill)  # first: what the bot publishes of it comes after it
        self.fills.tell(fill)
