"""Watches the port to the venue over all lives of a story: what was sent, when, and after what.

Nothing here asks the engine why. What an order's way allows is worked out from the replies that
went through the port: whether it may be sent again, when at the earliest, and whether anything
may be sent at all. It stands where the campaign's witness stands (`campaign.ports`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from holdfast.campaign.attempts import PROVING, Attempts
from holdfast.campaign.ports import Life, WatchedClient
from holdfast.errors import LinkDown
from holdfast.model import ExecutionReport, OutcomeKind, PlaceOutcome, PlaceRequest, QueryKind
from holdfast.settings import OrderSettings

ROUNDING_SECONDS: Final = 1e-6
NOTHING_LEARNT: Final = (OutcomeKind.UNKNOWN, OutcomeKind.EXISTS)


class Witness:
    """
    :param now: seconds, as the engine's monotonic clock.
    :param breach: told the promise and what was seen.
    :param slack_seconds: by how much an attempt may come later than its wait asks for.
    """

    def __init__(
        self,
        *,
        settings: OrderSettings,
        now: Callable[[], float],
        breach: Callable[[str, str], None],
        slack_seconds: float,
    ) -> None:
        self.settings = settings
        self._now = now
        self._breach = breach
        self._slack_seconds = slack_seconds
        self.attempts = Attempts(breach)
        self.writes_of: dict[str, int] = {}
        """How many times each order was written, by its quantity in words."""
        self.doubtful: dict[str, str] = {}
        """Client id and symbol of orders whose latest attempt may have been executed."""
        self.silent_until = 0.0
        self.link_is_up = False
        self.clock_unread = 0
        """How often the venue's clock could not be read."""
        self.upsets = 0
        """How often something happened that ends the tries of an exit as well: the venue has
        refused everything, the process died, the disk took nothing."""
        self.opened: int = 0
        self.is_open = False
        self._first_asked: dict[str, tuple[float, int]] = {}
        self._ended: dict[str, tuple[float, PlaceOutcome]] = {}
        self._reached_at = 0.0
        self._count: dict[str, int] = {}
        self._seen: set[str] = set()
        self._lost: set[str] = set()
        """Orders that were being sent when a process died."""

    # --- lives -----------------------------------------------------------------------

    def died(self) -> None:
        """What was on its way then, nobody knows of any more."""
        self.is_open = self.link_is_up = False
        self.upsets += 1
        self._ended.clear()
        self.silent_until = 0.0  # the next life has not heard of it
        lost = self.attempts.on_their_way - self._lost - self._seen
        self._lost |= lost
        self.doubtful |= {cid: "" for cid in lost if not self.attempts.absent(cid)}

    def gate_opened(self) -> None:
        self.opened += 1
        self.is_open = True

    def gate_shut(self, why: str) -> None:
        self.is_open = False
        self.upsets += why.startswith("disk")

    def link_up(self, link: str) -> None:
        if link == "exchange":
            self.link_is_up, self._reached_at = True, self._now()

    def link_down(self, link: str, reason: str) -> None:
        self.link_is_up = self.link_is_up and link != "exchange"

    # --- what is asked ---------------------------------------------------------------

    def leaves(self, what: str) -> None:
        """A request is about to be sent."""
        if self._now() < self.silent_until - ROUNDING_SECONDS:
            self._breach(
                "silence", f"{what} sent {self.silent_until - self._now():.3f} s before its end"
            )

    def asks(self, question: str) -> None:
        """Something that is no order's own; the venue's client keeps such within its limits."""

    def answered(self, client_order_id: str, asked_ms: int, answer: Any) -> None:
        self.attempts.answered(client_order_id, asked_ms, answer)
        if answer.kind is QueryKind.FOUND:
            self.saw(client_order_id)
        elif self.attempts.absent(client_order_id):
            self.doubtful.pop(client_order_id, None)

    def saw(self, client_order_id: str) -> None:
        """The venue has spoken of it: whatever its reply says, it has the order."""
        self._seen.add(client_order_id)
        self.doubtful.pop(client_order_id, None)

    def reported(self, client_order_id: str) -> None:
        """The stream has; what it brings late is told late (`_Reports`)."""

    # --- what is sent ----------------------------------------------------------------

    def places(self, request: PlaceRequest) -> None:
        cid = request.client_order_id
        self._first_asked.setdefault(cid, (self._now(), self.opened))
        self._count[cid] = self._count.get(cid, 0) + 1

    def writes(self, request: PlaceRequest) -> None:
        """An order is on the wire from now on."""
        cid, order, now = request.client_order_id, request.order, self._now()
        self.leaves(cid)
        self.attempts.writes(request)
        name = f"{order.quantity:f}"
        self.writes_of[name] = self.writes_of.get(name, 0) + 1
        number = self._count[cid]
        asked_at, opening = self._first_asked[cid]
        deadline = order.deadline_seconds
        if order.opening:
            deadline = deadline or self.settings.deadline_seconds
        if deadline is not None and now - asked_at >= deadline:
            self._breach("deadline", f"{cid} written {now - asked_at:.3f} s after it was asked for")
        if number > 1:
            self._check_wait(cid, number, opening=order.opening)
        if order.opening:
            if not self.is_open or opening != self.opened:
                self._breach("gate", f"{cid} written, and the gate was shut since it was asked for")
            others = {c for c, s in self.doubtful.items() if s in ("", order.symbol)} - {cid}
            if others:
                self._breach("gate", f"{cid} written while {', '.join(others)} is unknown")

    def placed(self, request: PlaceRequest, outcome: PlaceOutcome) -> None:
        """The process has learnt of the outcome of the latest attempt."""
        cid = request.client_order_id
        self.attempts.placed(request, outcome)
        self._ended[cid] = (self._now(), outcome)
        if outcome.retry_after_seconds is not None:
            until = self._now() + outcome.retry_after_seconds
            self.silent_until = max(self.silent_until, until)
        if outcome.kind in NOTHING_LEARNT and cid not in self._seen:
            self.doubtful[cid] = request.order.symbol
        else:
            self.doubtful.pop(cid, None)
        self.upsets += outcome.kind in (OutcomeKind.BANNED, OutcomeKind.AUTH)

    def _check_wait(self, cid: str, number: int, *, opening: bool) -> None:
        """Backoff, after the latest failure; longer only where something else was waited for."""
        failed_at, outcome = self._ended.get(cid, (None, None))
        if failed_at is None or outcome is None:
            self._breach("orders", f"{cid} sent again by a process that was never told of a reply")
            return
        waits: Sequence[float] = self.settings.backoff_seconds
        wait = waits[min(number - 1, len(waits)) - 1]  # the last one ever again, for an exit
        jitter, waited = self.settings.backoff_jitter * wait, self._now() - failed_at
        least = max(wait - jitter, outcome.retry_after_seconds or 0.0)
        if waited < least - ROUNDING_SECONDS:
            self._breach("backoff", f"{cid} sent again after {waited:.3f} s of {least:g} s")
        if outcome.kind not in (OutcomeKind.NOT_EXECUTED, OutcomeKind.THROTTLED):
            return  # absence or the venue's clock was waited for as well
        most = max(least, wait + jitter, self.silent_until - failed_at)
        if not opening:  # an exit waits for a venue that can not be reached
            most = max(most, self._reached_at - failed_at)
        most += self._slack_seconds
        if waited > most:
            self._breach("backoff", f"{cid} sent again after {waited:.3f} s, not {most:.3f} s")
        if outcome.kind not in PROVING:
            self._breach("orders", f"{cid} sent again after {outcome.kind}")


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
