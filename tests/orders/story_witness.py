"""Watches the port to the venue over all lives of a story: what was sent, when, and after what.

Nothing here asks the engine why. Whether an order may be sent again, and when at the earliest, is
worked out by what the campaign's witness works it out by (`campaign.attempts`, `doubts`, `waits`),
from the replies that went through the port. Added is what only a story can tell: that nothing is
waited for in vain, and whether the gate was shut since an order was asked for. It stands where the
campaign's witness stands (`campaign.ports`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from holdfast.campaign.attempts import Attempts
from holdfast.campaign.doubts import Doubts
from holdfast.campaign.ports import Life, WatchedClient
from holdfast.campaign.waits import Waits
from holdfast.errors import LinkDown
from holdfast.model import ExecutionReport, OutcomeKind, PlaceOutcome, PlaceRequest, QueryKind
from holdfast.settings import OrderSettings

WAITED_FOR_THE_SAME: Final = (OutcomeKind.NOT_EXECUTED, OutcomeKind.THROTTLED)
"""After others absence or the venue's clock was waited for as well."""


class PromptWaits(Waits):
    """Of one life: an attempt is made after its wait, and not much later.

    :param slack_seconds: by how much it may come later than its wait asks for.
    :ivar reached_at: when the venue could be reached again, for which an exit waits.
    """

    def __init__(self, *, slack_seconds: float, **known: Any) -> None:
        super().__init__(**known)
        self._slack_seconds = slack_seconds
        self._kinds: dict[str, OutcomeKind] = {}
        """Of the latest attempts that have ended."""
        self._on_their_way: set[str] = set()
        self.reached_at = 0.0

    def writes(self, request: PlaceRequest) -> None:
        super().writes(request)
        cid = request.client_order_id
        if cid in self._on_their_way:
            self._breach("orders", f"{cid} sent again by a process that was never told of a reply")
        self._on_their_way.add(cid)

    def placed(self, request: PlaceRequest, outcome: PlaceOutcome) -> None:
        super().placed(request, outcome)
        self._kinds[request.client_order_id] = outcome.kind
        self._on_their_way.discard(request.client_order_id)

    def _check_wait(self, request: PlaceRequest, now: float) -> None:
        super()._check_wait(request, now)
        cid = request.client_order_id
        kind, (failed_at, asked_for) = self._kinds[cid], self._failed[cid]
        if kind not in WAITED_FOR_THE_SAME:
            return
        wait = self._backoff_seconds(cid) * (1 + self._settings.backoff_jitter)
        most = max(wait, asked_for, self.silent_until - failed_at)
        if not request.order.opening:
            most = max(most, self.reached_at - failed_at)
        most += self._slack_seconds
        if now - failed_at > most:
            self._breach("late", f"{cid} sent again after {now - failed_at:.3f} s, not {most:.3f}")


class Witness:
    """
    :param now: seconds, as the engine's monotonic clock.
    :param breach: told the promise and what was seen.
    :param slack_seconds: as of `PromptWaits`.
    """

    def __init__(
        self,
        *,
        settings: OrderSettings,
        now: Callable[[], float],
        breach: Callable[[str, str], None],
        slack_seconds: float,
    ) -> None:
        self._now = now
        self._breach = breach
        self._new_waits = lambda: PromptWaits(
            settings=settings, now=now, breach=breach, slack_seconds=slack_seconds
        )
        self._waits = self._new_waits()
        self.attempts = Attempts(breach)
        self._doubts = Doubts(self.attempts)
        self.writes_of: dict[str, int] = {}
        """How many times each order was written, by its quantity in words."""
        self.link_is_up = False
        self.clock_unread = 0
        """How often the venue's clock could not be read."""
        self.upsets = 0
        """How often something happened that ends the tries of an exit as well: the venue has
        refused everything, the process died, the disk took nothing."""
        self.opened: int = 0
        self.is_open = False
        self._first_asked: dict[str, int] = {}
        """How often the gate had been opened by then."""

    @property
    def silent_until(self) -> float:
        return self._waits.silent_until

    # --- lives -----------------------------------------------------------------------

    def died(self) -> None:
        """What was on its way then, nobody knows of any more."""
        self.is_open = self.link_is_up = False
        self.upsets += 1
        self._waits = self._new_waits()  # the next life has heard of nothing
        self._doubts.died()

    def gate_opened(self) -> None:
        self.opened += 1
        self.is_open = True

    def gate_shut(self, why: str) -> None:
        self.is_open = False
        self.upsets += why.startswith("disk")

    def link_up(self, link: str) -> None:
        if link == "exchange":
            self.link_is_up, self._waits.reached_at = True, self._now()

    def link_down(self, link: str, reason: str) -> None:
        self.link_is_up = self.link_is_up and link != "exchange"

    # --- what is asked ---------------------------------------------------------------

    def leaves(self, what: str) -> None:
        """A request is about to be sent."""
        self._waits.leaves(what)

    def asks(self, question: str) -> None:
        """Something that is no order's own; the venue's client keeps such within its limits."""

    def answered(self, client_order_id: str, asked_ms: int, answer: Any) -> None:
        self.attempts.answered(client_order_id, asked_ms, answer)
        if answer.kind is QueryKind.FOUND:
            self.saw(client_order_id)
        else:
            self._doubts.denied(client_order_id)

    def saw(self, client_order_id: str) -> None:
        """The venue has spoken of it: whatever its reply says, it has the order."""
        self._doubts.saw(client_order_id)

    def reported(self, report: ExecutionReport, pass_on: Callable[[], None]) -> None:
        """The stream has; what it brings late is told late (`_Reports`)."""
        pass_on()

    def listed(self, fills: Any) -> None:
        """Who has traded besides is no part of a story."""

    def newest_trade(self, symbol: str, trade_id: int) -> None:
        """Nor is this."""

    # --- what is sent ----------------------------------------------------------------

    def places(self, request: PlaceRequest) -> None:
        self._first_asked.setdefault(request.client_order_id, self.opened)
        self._waits.places(request)

    def writes(self, request: PlaceRequest) -> None:
        """An order is on the wire from now on."""
        cid, order = request.client_order_id, request.order
        self.attempts.writes(request)
        self._waits.writes(request)
        self._doubts.wrote(request)
        name = f"{order.quantity:f}"
        self.writes_of[name] = self.writes_of.get(name, 0) + 1
        if order.opening:
            if not self.is_open or self._first_asked[cid] != self.opened:
                self._breach("gate", f"{cid} written, and the gate was shut since it was asked for")
            if others := self._doubts.of(order.symbol, without=cid):
                self._breach("gate", f"{cid} written while {', '.join(others)} is unknown")

    def placed(self, request: PlaceRequest, outcome: PlaceOutcome) -> None:
        """The process has learnt of the outcome of the latest attempt."""
        self.attempts.placed(request, outcome)
        self._waits.placed(request, outcome)
        self._doubts.placed(request, outcome)
        self.upsets += outcome.kind in (OutcomeKind.BANNED, OutcomeKind.AUTH)


class StoryClient(WatchedClient):
    """The campaign's watched port, and what it leaves out."""

    def __init__(
        self, inner: Any, life: Life, witness: Witness, *, stream_seconds: float, **known: Any
    ) -> None:
        super().__init__(inner, life, **known)
        self._told = witness
        self._stream_seconds = stream_seconds

    async def venue_time_ms(self, **options: Any) -> int:
        try:
            return await super().venue_time_ms(**options)
        except LinkDown:
            self._told.clock_unread += 1
            raise

    async def run(self, watch: Any) -> None:
        reports = _Reports(watch, self._told, self._life, seconds=self._stream_seconds)
        await super().run(reports)


class _Reports:
    """The user stream, as the engine gets it: in its order, and late."""

    def __init__(self, watch: Any, witness: Witness, life: Life, *, seconds: float) -> None:
        self._watch = watch
        self._witness = witness
        self._life = life
        self._seconds = seconds
        self._connection = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watch, name)

    def stream_down(self, reason: str) -> None:
        self._connection += 1  # what is under way is lost with it
        self._watch.stream_down(reason)

    def report(self, report: ExecutionReport) -> None:
        if self._seconds:
            deliver = asyncio.get_running_loop().call_later
            deliver(self._seconds, self._deliver, report, self._connection)
        else:
            self._deliver(report, self._connection)

    def _deliver(self, report: ExecutionReport, connection: int) -> None:
        if self._life.alive and connection == self._connection:
            self._witness.saw(report.order.client_order_id)
            self._watch.report(report)
