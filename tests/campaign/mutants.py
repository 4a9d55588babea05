"""Deliberate breakages of the engine, each a mistake that somebody could make.

A campaign that does not catch them proves nothing. Each is put in place with
`monkeypatch` and named after what the engine then does wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from math import inf
from typing import Any, Final

import anyio
import pytest
from msgspec.structs import replace

from holdfast import batching, evidence, outbox, reconciler
from holdfast.campaign.ports import WatchedClient
from holdfast.core import Core
from holdfast.dead_man import DeadManSwitch
from holdfast.effects import _Effects
from holdfast.errors import LinkDown
from holdfast.evidence import Decision, Next
from holdfast.gate import Gate, Permit
from holdfast.intent import Intent
from holdfast.keys import Keys
from holdfast.lease import LeaseKeeper
from holdfast.ledger import Ledger
from holdfast.links import Links
from holdfast.model import Fill, OutcomeKind, PlaceOutcome
from holdfast.orders import OrderPath
from holdfast.policy_cell import PolicyCell
from holdfast.ports import Batch
from holdfast.recorder import Recorder
from holdfast.states.table import State
from holdfast.transports.sim import SimExecutionClient
from holdfast.wallets import Wallets

Mutate = Callable[[pytest.MonkeyPatch], None]


def gate_opened_when_the_links_are_back(patch: pytest.MonkeyPatch) -> None:
    """Without a ticket, before anything was replayed or compared."""
    invalidate = _Effects.invalidate_caches

    def hasty(self: _Effects) -> None:
        invalidate(self)
        self._core.gate.open_if(self._core.gate.epoch)

    patch.setattr(_Effects, "invalidate_caches", hasty)


def fault_on_the_way_up_ignored(patch: pytest.MonkeyPatch) -> None:
    """A link that fails during a recovery does not begin it anew."""
    fault = Core._link_fault

    def deaf(self: Core, cause: str) -> None:
        if self.machine.state in (State.RECOVERING, State.RECONCILING):
            return
        fault(self, cause)

    patch.setattr(Core, "_link_fault", deaf)
    patch.setattr(Links, "unproven", lambda self, gate_epoch: ())


def probe_of_before_the_fault_counts(patch: pytest.MonkeyPatch) -> None:
    """A link that answered once is taken for proven ever after."""

    def unproven(self: Links, gate_epoch: int) -> tuple[str, ...]:
        return tuple(link.name for link in self if link.required and not link.is_up)

    async def probe_all(self: Links, gate_epoch: int, *, timeout_seconds: float) -> dict[str, str]:
        return {}

    patch.setattr(Links, "unproven", unproven)
    patch.setattr(Links, "probe_all", probe_all)


def unknown_outcome_sent_again(patch: pytest.MonkeyPatch) -> None:
    decide = evidence.decide

    def retry(outcome: PlaceOutcome, **known: Any) -> Decision:
        if outcome.kind is OutcomeKind.UNKNOWN:
            return Decision(Next.SEND_AGAIN, wait_seconds=0.5, reason=outcome.reason)
        return decide(outcome, **known)

    patch.setattr(evidence, "decide", retry)


def one_denial_is_proof(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evidence, "absence_proven", lambda attempts, denials, **known: bool(denials))


def another_id_for_each_call(patch: pytest.MonkeyPatch) -> None:
    """The key is not looked up, so a decision asked for again is a new order."""
    patch.setattr(Keys, "earlier", lambda self, order: None)


def acknowledged_before_the_bus_has_it(patch: pytest.MonkeyPatch) -> None:
    send = outbox.Outbox._send

    def acknowledge(self: outbox.Outbox, batch: Batch, reaches: int) -> Any:
        self._confirm(reaches)
        return send(self, batch, reaches)

    patch.setattr(outbox.Outbox, "_send", acknowledge)


def replayed_newest_first(patch: pytest.MonkeyPatch) -> None:
    """Every batch is turned round, with the sequences of the right order."""
    cut = batching.cut

    def turned(waiting: Any, **known: Any) -> batching.Cut:
        taken = cut(waiting, **known)
        return taken._replace(payloads=taken.payloads[::-1])

    patch.setattr(batching, "cut", turned)


def bus_believed_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    """The shipper goes on where it was, without asking what the bus still holds."""
    agree = outbox.Outbox._agree

    async def go_on(self: outbox.Outbox, connection: int) -> Any:
        shipped, confirmed = self._shipped_record, dict(self._confirmed)
        agreed = await agree(self, connection)
        self._shipped_record = max(shipped, agreed.after)
        self._confirmed = has = {
            producer: max(at, confirmed.get(producer, 0)) for producer, at in agreed.has.items()
        }
        return agreed._replace(after=self._shipped_record, has=has, gone=[])

    patch.setattr(outbox.Outbox, "_agree", go_on)


def failed_leg_read_as_empty(patch: pytest.MonkeyPatch) -> None:
    """What could not be asked for is taken for none."""

    def hopeful(method: Any) -> Any:
        async def ask(self: WatchedClient, *args: Any, **known: Any) -> list[Any]:
            try:
                return await method(self, *args, **known)
            except LinkDown:
                return []

        return ask

    for leg in (WatchedClient.positions, WatchedClient.open_orders, WatchedClient.fills):
        patch.setattr(WatchedClient, leg.__name__, hopeful(leg))


def books_not_compared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reconciler, "differences", lambda view, snapshot: [])


def permit_not_checked_again(patch: pytest.MonkeyPatch) -> None:
    """The permit is good for as long as the order takes."""
    permit = Gate.permit

    def lasting(self: Gate, symbol: str, **known: Any) -> Permit:
        return permit(self, symbol, **known)._replace(verify=lambda: None)

    patch.setattr(Gate, "permit", lasting)


def order_kept_over_a_recovery(patch: pytest.MonkeyPatch) -> None:
    """A permit of an earlier opening is as good as a new one, and no recovery waits for an
    order that is on its way. (Each of the two alone is made up for by the other.)
    """
    permit = Gate.permit

    def timeless(self: Gate, symbol: str, **known: Any) -> Permit:
        given = permit(self, symbol, **known)
        verify = self.check if given.opening else given.verify
        return given._replace(verify=verify, gate_epoch=0)

    async def unhurt(self: _Effects) -> None:
        await self._core.execution.instruments()

    patch.setattr(Gate, "permit", timeless)
    patch.setattr(_Effects, "resolve_unknown", unhurt)


def policy_kept_over_a_reconnect(patch: pytest.MonkeyPatch) -> None:
    """Neither a new connection nor an announced change makes the policy at hand unfit."""

    def problem(self: PolicyCell) -> str | None:
        return None if self._value is not None else self._unfit

    patch.setattr(PolicyCell, "problem", problem)
    patch.setattr(PolicyCell, "_void", lambda self, why: None)


def closed_when_the_deadline_passes(patch: pytest.MonkeyPatch) -> None:
    """Time is up: the order is declared not executed, whatever became of it."""

    async def give_up(self: OrderPath, intent: Intent, deadline: float) -> None:
        self._outcomes.close(intent, "not_executed", "time is up")

    patch.setattr(OrderPath, "_until_settled", give_up)


def intent_forgotten_by_a_restart(patch: pytest.MonkeyPatch) -> None:
    """Intents are journalled when they have ended, as a log would be."""

    async def later(self: Recorder, fact: Any, *, live: Any = None, **options: Any) -> None:
        self.ledger.apply(fact, live=live)

    patch.setattr(Recorder, "write_through", later)


def hold_kept_in_memory_only(patch: pytest.MonkeyPatch) -> None:
    """A restart forgets that the operator has halted the bot."""
    begin = Ledger.begin

    def fresh(self: Ledger) -> None:
        self.hold = None
        begin(self)

    patch.setattr(Ledger, "begin", fresh)


def lease_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LeaseKeeper, "held", property(lambda self: True))


def dead_man_switch_believed_armed(patch: pytest.MonkeyPatch) -> None:
    """Whether the venue has answered is not looked at."""

    async def arm(self: DeadManSwitch, venue: Any) -> bool:
        self._armed_at = self._clock.monotonic()
        self._renewed.notify()
        return True

    patch.setattr(DeadManSwitch, "_arm", arm)


def countdown_that_ended_ignored(patch: pytest.MonkeyPatch) -> None:
    """Armed once is armed for good."""

    async def quiet(self: DeadManSwitch) -> None:
        await anyio.sleep_forever()

    patch.setattr(DeadManSwitch, "armed", property(lambda self: self._armed_at != -inf))
    patch.setattr(DeadManSwitch, "_tell_of_lapses", quiet)


def countdown_in_the_wrong_unit(patch: pytest.MonkeyPatch) -> None:
    """Milliseconds for seconds: armed, but the venue would wait for hours."""
    call = SimExecutionClient.countdown_cancel_all

    async def wrong(
        self: SimExecutionClient, symbol: str, *, countdown_seconds: float, timeout_seconds: float
    ) -> None:
        long = 1000 * countdown_seconds
        await call(self, symbol, countdown_seconds=long, timeout_seconds=timeout_seconds)

    patch.setattr(SimExecutionClient, "countdown_cancel_all", wrong)


def earlier_lives_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What a bus lost of them beyond the window is passed over in silence."""
    patch.setattr(Ledger, "published", lambda self, incarnation, sequence: None)


def profit_counted_and_fee_forgotten(patch: pytest.MonkeyPatch) -> None:
    count = Wallets.count

    def gross(self: Wallets, fill: Fill) -> None:
        count(self, replace(fill, fee=Decimal(0)))

    patch.setattr(Wallets, "count", gross)


MUTANTS: Final[dict[str, tuple[Mutate, frozenset[str]]]] = {
    mutate.__name__: (mutate, frozenset(promises))
    for mutate, promises in (
        (gate_opened_when_the_links_are_back, {"gate"}),
        (fault_on_the_way_up_ignored, {"recovery", "gate"}),
        (probe_of_before_the_fault_counts, {"recovery"}),
        (unknown_outcome_sent_again, {"orders"}),
        (one_denial_is_proof, {"orders"}),
        (another_id_for_each_call, {"orders"}),
        (acknowledged_before_the_bus_has_it, {"events"}),
        (replayed_newest_first, {"events"}),
        (bus_believed_after_a_restart, {"events", "liveness"}),
        (earlier_lives_forgotten, {"events"}),
        (failed_leg_read_as_empty, {"books", "liveness"}),
        (books_not_compared, {"books"}),
        (profit_counted_and_fee_forgotten, {"books"}),
        (permit_not_checked_again, {"gate"}),
        (order_kept_over_a_recovery, {"gate"}),
        (policy_kept_over_a_reconnect, {"policy"}),
        (closed_when_the_deadline_passes, {"orders"}),
        (intent_forgotten_by_a_restart, {"orders", "books", "liveness", "crash"}),
        (hold_kept_in_memory_only, {"gate", "recovery"}),
        # Permit, bus and store each ask for the lease themselves, so that two copies trade takes
        # a coincidence: then the books of one are not the venue's.
        (lease_not_looked_at, {"lease", "gate", "books"}),
        (dead_man_switch_believed_armed, {"dead man"}),
        (countdown_that_ended_ignored, {"dead man"}),
        (countdown_in_the_wrong_unit, {"dead man"}),
    )
}
"""Each with the promises of which it must break one."""
