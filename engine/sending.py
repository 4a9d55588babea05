"""One attempt of an order: written down, asked for leave once more, sent.

The record that no crash can hide is on its way to the device while the request is made and
signed, since the two take about as long. What has to wait for it is the write: the transport
waits in its last hook, where nothing has left yet, and only then is the permit asked
(`ports.PreparesOrders`). A transport that can not wait there, and a record that the device is
not at yet, are waited for before.

An attempt may leave only with the stamp that is written down, for its absence is judged by that.
So one that has become old while the device was slow is not signed anew by itself: the newer stamp
is written down in its place first, and waited for like the one before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .errors import NotExecuted, Rejected, TradingHalted
from .gate import Gate, Permit
from .intent import Intent
from .journal import JournalError
from .model import Order, PlaceOutcome, PlaceRequest
from .outcomes import Outcomes
from .ports import Clock, ExecutionClient, PreparesOrders
from .recorder import Recorder, Recording
from .records import Attempted, Intended
from .settings import OrderSettings
from .silence import Silence
from .venue_clock import VenueClock
from .wording import interruption

STAMP_SHARE: Final = 0.75
"""Of `recvWindow`: a stamp that has become older before the device was done is replaced. A
request may wait half of it for its turn (`transports.usdm`), which alone is no reason to begin
anew; the last quarter is for the way to the venue."""


class Sender:
    """
    :param admit: as of `OrderPath`.
    """

    def __init__(
        self,
        *,
        settings: OrderSettings,
        client: ExecutionClient,
        gate: Gate,
        recorder: Recorder,
        outcomes: Outcomes,
        silence: Silence,
        venue_clock: VenueClock,
        clock: Clock,
        admit: Callable[[Order, str], None],
    ) -> None:
        self._settings = settings
        self._client = client
        self._preparing = client if isinstance(client, PreparesOrders) else None
        self._gate = gate
        self._recorder = recorder
        self._outcomes = outcomes
        self._silence = silence
        self._venue_clock = venue_clock
        self._clock = clock
        self._admit = admit

    def record(self, intent: Intent, *, fencing_token: int) -> Recording:
        """The intent, with the stamp of its first attempt.

        :raises JournalError: it is not known of.
        """
        fact = Intended(
            intent.client_order_id,
            intent.order,
            intent.created_ns,
            self._venue_clock.now_ms(),
            self._settings.recv_window_ms,
            fencing_token,
            intent.adopts,
        )
        return self._write(fact, intent)

    def record_again(self, intent: Intent, *, number: int) -> Recording:
        """Attempt `number` with the stamp of the moment; the latest one has it replaced.

        :raises JournalError: it is not known of.
        """
        fact = Attempted(
            intent.client_order_id,
            number,
            self._venue_clock.now_ms(),
            self._settings.recv_window_ms,
        )
        return self._write(fact, intent)

    def _write(self, fact: Intended | Attempted, intent: Intent) -> Recording:
        return self._recorder.write_through(
            fact,
            durability=self._settings.durability,
            reserve=not intent.order.opening,
            live=intent,
        )

    async def attempt(
        self, intent: Intent, permit: Permit, deadline: float, recording: Recording
    ) -> PlaceOutcome:
        """Send the latest attempt, once its record is there.

        Closes or doubts the intent before it raises.

        :raises TradingHalted, Rejected: at the first attempt: nothing was ever sent.
        :raises NotExecuted: at a later one, which was not sent.
        :raises Held: at a later one, which was not sent and may be begun anew.
        :raises JournalError: as `Recorder.write_through`.
        """
        asked, order, before = False, intent.order, intent.attempts_made - 1

        def verify() -> None:
            nonlocal asked
            if not recording.is_there:
                raise RuntimeError("the transport has not waited for the record of the order")
            may_still_be_sent()
            asked = True

        def may_still_be_sent() -> None:
            permit.verify()
            # Lease and policy may have changed since the order was made: while it was
            # journalled, while the connection was set up, between two attempts.
            self._admit(order, intent.client_order_id)
            if self._silence.seconds:
                raise _Silence(f"venue: {self._silence.reason}")
            if self._clock.monotonic() >= deadline:
                # A disk that stalled, a venue that was slow to tell its clock or its price.
                raise TradingHalted("deadline: it passed before the order could be sent")

        try:
            while True:
                try:
                    return await self._place(intent, recording, verify)
                except _Stale:
                    may_still_be_sent()
                    recording = self.record_again(intent, number=intent.attempts_made)
        except TradingHalted as halted:
            silent = isinstance(halted, _Silence)
            if before and (silent or (not order.opening and self._gate.waits_for_the_venue)):
                intent.withdraw_attempt()
                raise Held(halted.reason) from None
            why = f"halted before the write: {halted.reason}"
            self._outcomes.close(intent, "not_executed", why, sent=before)
            if before:  # the caller must not take it for one that the venue never heard of
                raise NotExecuted(why, intent=intent) from halted
            raise
        except Rejected as no:
            self._outcomes.close(intent, "rejected", no.reason, sent=before)
            raise
        except BaseException as error:  # cancelled, no disk, or a transport's broken promise
            if not intent.has_ended():
                why = interruption(error)
                if asked:
                    self._outcomes.doubt(intent, f"interrupted while it was being sent: {why}")
                else:
                    why = f"interrupted before the write: {why}"
                    self._outcomes.close(intent, "not_executed", why, sent=before)
                    if before and isinstance(error, JournalError):  # as above
                        raise NotExecuted(why, intent=intent) from error
            raise

    async def _place(
        self, intent: Intent, recording: Recording, verify: Callable[[], None]
    ) -> PlaceOutcome:
        """:raises _Stale: nothing was sent; also what `verify` and the recording raise."""
        latest = intent.attempts[-1]
        request = PlaceRequest(
            intent.client_order_id, intent.order, latest.timestamp_ms, latest.recv_window_ms
        )
        patience_ms = latest.recv_window_ms * STAMP_SHARE

        async def ready() -> None:
            await recording.reached()
            if self._venue_clock.now_ms() - latest.timestamp_ms > patience_ms:
                raise _Stale

        timeout_seconds = self._settings.timeout_seconds
        if self._preparing is None or not recording.is_under_way:
            await ready()
            return await self._client.place(request, permit=verify, timeout_seconds=timeout_seconds)
        outcome = await self._preparing.place_when_ready(
            request, ready=ready, permit=verify, timeout_seconds=timeout_seconds
        )
        # It may have ended before it came to that. Whatever follows stands on that record.
        await recording.reached()
        return outcome


class Held(Exception):
    """The latest attempt has not left, for a reason that passes: it is begun anew once that has.

    It counts for nothing: an exit that was held back by another order's 429 would else wait longer
    before it is tried again, and an entry would give up after fewer tries than it has.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Stale(Exception):
    """The stamp has become too old to be sent."""


class _Silence(TradingHalted):
    """The venue has asked for it a moment ago; a further attempt waits for its end."""
