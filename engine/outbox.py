"""Events on their way to the bus: appended to the journal first, shipped in order after.

There is one path. `publish` appends and returns; the shipper sends whatever the
bus has not confirmed, in sequence. An outage only makes the backlog longer, and
a replay is the shipper going on, so live and replayed events can not be in
different order. Exactly once comes from the bus's side, which keeps the last
sequence of each producer next to its data and skips what it has.

A producer is one opening of the journal (`bot:incarnation`) and its sequences
have no holes. Acknowledged is not durable: a bus may restart empty or lose its
tail. So the shipper begins every connection by asking what the bus has, goes
back as far as that says, and where the journal no longer holds what is missing
puts a gap marker in its place: never silence.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

from . import batching, event_record
from .broadcast import Broadcast
from .errors import InvalidPayload, LinkDown, OutboxRolledBack
from .journal import Durability, Journal, JournalError, Record, RecordTooLarge
from .model import Event, Gap
from .ports import AppendStatus, Batch, Clock, Entropy, MessageBus
from .records import EVENT

log = logging.getLogger("holdfast.outbox")

RETRY_PAUSE_SECONDS: Final = 0.05
"""After a bus that refuses (read-only, out of memory) while its connection stands; doubles."""
LONGEST_RETRY_PAUSE_SECONDS: Final = 1.0


class _InFlight(NamedTuple):
    answer: Awaitable[AppendStatus]
    last_record: int
    """Journal position that is acknowledged once the bus confirms."""
    producer: str
    last_sequence: int
    size: int
    """Bytes of payload."""
    fencing_token: int


class _Agreement(NamedTuple):
    """Where the journal and the bus stand."""

    after: int
    """Journal position to begin reading behind."""
    has: dict[str, int]
    """Per producer, the last sequence that the bus has."""
    lineage: str
    gone: list[Gap]
    """Of lives without an event in the window: what the bus does not have, oldest first."""


class Outbox:
    """
    :param on_fault: told when the bus refuses or contradicts the journal; shuts the gate.
    :param on_disk_fault: told when the journal takes no record; shuts the gate.
    :param on_fenced: told of a token that the bus has refused, for it has seen a newer one.
    :param on_gap: told of events that no longer exist anywhere.
    :param last_of_lives: per incarnation, oldest first, the number of its last event: also of
        lives whose events the journal has let go.
    :param on_published: told incarnation and number of each event.
    """

    def __init__(
        self,
        *,
        bot: str,
        journal: Journal,
        bus: MessageBus,
        clock: Clock,
        entropy: Entropy,
        batch_events: int,
        batches_in_flight: int,
        on_fault: Callable[[str], None],
        on_disk_fault: Callable[[str], None],
        on_fenced: Callable[[int], None],
        on_gap: Callable[[Gap], None],
        last_of_lives: Callable[[], Mapping[int, int]],
        on_published: Callable[[int, int], None],
    ) -> None:
        self._bot = bot
        self._journal = journal
        self._bus = bus
        self._clock = clock
        self._entropy = entropy
        self._batch_events = batch_events
        self._window = batching.Window(most_batches=batches_in_flight)
        self._on_fault = on_fault
        self._on_disk_fault = on_disk_fault
        self._on_fenced = on_fenced
        self._on_gap = on_gap
        self._last_of_lives = last_of_lives
        self._on_published = on_published
        self.producer = self.producer_of(journal.incarnation)
        self.fencing_token = 0
        self.is_appending = False
        """Inside the journal, which may report a fault before it returns."""
        self._connected = False
        self._connection = 0
        """Counts the changes of the link: what began in an earlier one is void."""
        self._agreed = False
        """Whether the bus was asked, over the connection that stands now, what it holds."""
        self._unmarked = False
        """Whether lives that the bus lost may still be without their marker."""
        self.changes = Broadcast()
        """Notified by every publish, every confirmation and every change of the link."""
        self._last_sequence = 0
        self._last_record = 0
        self._confirmed: dict[str, int] = {}
        """Per producer, the last sequence the bus has confirmed in this life of ours."""
        self._shipped_record = journal.acked
        self._silent = False
        """Whether the bus should be told that we are there, though there is nothing to send."""

    def set_connected(self, connected: bool) -> None:
        """The bus link's health, as its transport reports it."""
        self._connected = connected
        self._connection += 1
        self._agreed = False
        self.changes.notify()

    def show_presence(self) -> None:
        """Write to the bus, be it nothing, so that it knows the holder of our token is there."""
        self._silent = True
        self.changes.notify()

    def producer_of(self, incarnation: int) -> str:
        return f"{self._bot}:{incarnation:x}"

    # --- publishing ------------------------------------------------------------------

    def publish_nowait(
        self, type_: str, body: Any, *, trace_id: str | None = None, reserve: bool = False
    ) -> Event:
        """Append at level `process` (survives kill -9) and return the event.

        :raises InvalidPayload: the body can not be encoded; nothing was appended.
        :raises JournalFull, JournalFailed: nothing was appended.
        """
        event_record.check_names(type_, trace_id)
        event = Event(
            type=type_,
            producer=self.producer,
            sequence=self._last_sequence + 1,
            time_ns=self._clock.time_ns(),
            trace_id=trace_id or f"{self._entropy.randbits(64):016x}",
            body=body,
        )
        record = event_record.encode(event)
        self.is_appending = True
        try:
            seq = self._journal.append_nowait(EVENT, record, reserve=reserve)
        except RecordTooLarge as error:  # the disk is well
            raise InvalidPayload(f"body of {type_}: {error} (outbox.segment_bytes)") from None
        except JournalError as error:
            self._on_disk_fault(str(error))
            raise
        finally:
            self.is_appending = False
        self._published(event, seq)
        return event

    async def publish(
        self,
        type_: str,
        body: Any,
        *,
        durability: Durability = Durability.PROCESS,
        trace_id: str | None = None,
    ) -> Event:
        """As `publish_nowait`, returning once the event has reached `durability`.

        If the wait fails or is cancelled the event may be there, and is shipped if it is.
        """
        if durability is not Durability.POWER:
            # The level is the least that is given: `memory` costs no less here.
            return self.publish_nowait(type_, body, trace_id=trace_id)
        event = self.publish_nowait(type_, body, trace_id=trace_id)
        await self._journal.sync()
        return event

    def _published(self, event: Event, seq: int) -> None:
        self._last_sequence = event.sequence
        self._last_record = seq
        self._on_published(self._journal.incarnation, event.sequence)
        self.changes.notify()

    # --- what is still to be shipped -------------------------------------------------

    @property
    def mark(self) -> int:
        """Journal position of the newest event: what a recovery has to reach."""
        return self._last_record

    def behind(self, mark: int) -> int:
        """How far the bus is behind `mark`, in journal records; 0: it has confirmed them all.

        Never 0 before the bus was asked over the present connection: what it confirmed
        over an earlier one, it may have lost since.
        """
        return max(mark - self._shipped_record, 0 if self._agreed else 1)

    def recover(self) -> None:
        """Find the newest event of earlier incarnations, confirmed or not.

        One that was confirmed may have been lost by the bus while nobody looked.
        """
        after = self._journal.first_seq - 1
        while page := self._journal.read(after=after, limit=5000, kinds=(EVENT,)):
            after = self._last_record = page[-1].seq

    # --- shipping --------------------------------------------------------------------

    async def run(self) -> None:
        """Ship until cancelled. Waits without polling while there is no link or nothing to do."""
        pause, connection = RETRY_PAUSE_SECONDS, 0
        while True:
            if not self._connected:
                await self.changes.wait()
                continue
            if connection != self._connection:
                pause, connection = RETRY_PAUSE_SECONDS, self._connection
            try:
                await self._ship(connection)
            except (LinkDown, OutboxRolledBack) as error:
                self._agreed = False
                log.info("shipping stopped", extra={"reason": str(error)})
                if connection == self._connection:  # the bus refuses while it stands
                    await self.changes.wait_at_most(pause)
                    pause = min(2 * pause, LONGEST_RETRY_PAUSE_SECONDS)

    async def _ship(self, connection: int) -> None:
        """Ship over one connection until it ends.

        :raises LinkDown: the connection failed, or the bus must be asked anew.
        """
        after, has, lineage, gone = await self._agree(connection)
        for gap in gone:
            await self._mark(gap, lineage)
        self._unmarked = False
        in_flight: deque[_InFlight] = deque()
        waiting: deque[Record] = deque()
        # Compared by number: a link may be lost and found again before this task runs once.
        while connection == self._connection:
            while self._window.has_room([sent.size for sent in in_flight]):
                if not waiting:
                    if after >= self._last_record:
                        break
                    self._check_all_is_read(after)
                    page = self._journal.read(after=after, limit=self._batch_events, kinds=(EVENT,))
                    if not page:
                        break
                    after = page[-1].seq
                    waiting.extend(page)
                name = self.producer_of(waiting[0].incarnation)
                if in_flight and in_flight[-1].producer != name:
                    break  # were the earlier life's events refused, the bus would take these
                cut = batching.cut(
                    waiting,
                    has=has,
                    producer_of=self.producer_of,
                    most_events=self._batch_events,
                    most_bytes=self._window.batch_bytes,
                )
                if not cut.payloads:  # the bus has them, and all that was before them
                    self._confirm(cut.reaches)
                    continue
                if cut.gap is not None:
                    self._on_gap(cut.gap)
                in_flight.append(
                    self._send(
                        Batch(
                            cut.producer,
                            cut.first,
                            cut.payloads,
                            lineage,
                            self.fencing_token,
                            cut.gap,
                        ),
                        cut.reaches,
                    )
                )
                has[cut.producer] = in_flight[-1].last_sequence
            if self._silent and not in_flight:
                following = has.get(self.producer, 0) + 1
                nothing = Batch(self.producer, following, (), lineage, self.fencing_token)
                in_flight.append(self._send(nothing, 0))
            if in_flight:
                try:
                    status = await in_flight[0].answer
                except LinkDown:  # perhaps because it was more than the line carries in time
                    self._window.lost()
                    raise
                self._check(status, in_flight[0].fencing_token)
                self._window.confirmed()
                taken = in_flight.popleft()
                self._confirmed[taken.producer] = max(
                    taken.last_sequence, self._confirmed.get(taken.producer, 0)
                )
                self._confirm(taken.last_record)
            else:
                await self.changes.wait()

    def _check_all_is_read(self, after: int) -> None:
        """What the bus lost is sent again out of a window whose end is let go meanwhile. A batch
        tells of a hole, but of a life that is gone whole, no batch is left that could.

        :raises LinkDown: records behind `after` were let go unread; the bus is to be asked anew.
        """
        if self._journal.first_seq > after + 1:
            self._unmarked = True
            raise LinkDown("the journal has let go of events that the bus lost")

    def _send(self, batch: Batch, reaches: int) -> _InFlight:
        self._silent = False
        return _InFlight(
            self._bus.append(batch),
            reaches,
            batch.producer,
            batch.first + len(batch.payloads) - 1,
            sum(map(len, batch.payloads)),
            batch.fencing_token,
        )

    async def _agree(self, connection: int) -> _Agreement:
        """Ask what the bus holds.

        :raises LinkDown: the bus could not be asked.
        """
        own = await self._bus.position(self.producer)
        if own.last_sequence > self._last_sequence:
            reason = (
                f"the bus has event {own.last_sequence} of {self.producer}, the journal only "
                f"{self._last_sequence}: the journal was restored from a copy while in use; "
                "stop this process and start it anew"
            )
            self._on_fault(reason)
            raise OutboxRolledBack(reason)
        positions = {self.producer: own.last_sequence}
        lost = own.last_sequence < self._confirmed.get(self.producer, 0)
        for producer in self._confirmed:
            if producer != self.producer:
                held = await self._bus.position(producer)
                positions[producer] = held.last_sequence
                lost = lost or held.last_sequence < self._confirmed[producer]
        # An unknown past (this life has confirmed nothing yet) is read from the window's
        # beginning once: only there can be seen whether the bus still has it all. So is one whose
        # markers did not all get through.
        begin = lost or self._unmarked or not self._confirmed
        after = self._journal.first_seq - 1 if begin else self._shipped_record
        gone: list[Gap] = []
        if begin:
            kept = self._producers(after)
            # As it is now: while the bus is asked, events go on being published.
            for incarnation, last in tuple(self._last_of_lives().items()):
                producer = self.producer_of(incarnation)
                if producer in kept:
                    continue  # its next batch carries the marker
                if producer in positions:
                    has = positions[producer]
                    positions[producer] = max(has, last)
                else:  # asked for once: of a bus that loses more later, the others tell
                    has = (await self._bus.position(producer)).last_sequence
                if has < last:
                    gone.append(Gap(producer, has + 1, last))
            for producer in kept:
                if producer not in positions:
                    positions[producer] = (await self._bus.position(producer)).last_sequence
        if connection != self._connection:
            raise LinkDown("the connection was lost while the bus was asked")
        if lost:
            log.warning("the bus lost events it had confirmed; sending them again")
        if begin:
            self._shipped_record = after
        self._confirmed = dict(positions)
        self._unmarked = self._unmarked or bool(gone)
        self._agreed = True
        self.changes.notify()
        return _Agreement(after, positions, own.lineage, gone)

    async def _mark(self, gap: Gap, lineage: str) -> None:
        """Put a marker in the place of all events of a life that the bus lost and the journal
        let go: none of them is left in the window whose batch could carry it.

        :raises LinkDown: the marker was not taken.
        """
        # Told first: the answer may be lost, and the bus then holds a marker of which no alert
        # has spoken.
        self._on_gap(gap)
        marker = Batch(gap.producer, gap.last + 1, (), lineage, self.fencing_token, gap)
        sent = self._send(marker, 0)
        self._check(await sent.answer, sent.fencing_token)

    def _producers(self, after: int) -> list[str]:
        """Producers of all events the journal still holds, oldest first."""
        found: dict[int, None] = {}
        while page := self._journal.read(after=after, limit=5000, kinds=(EVENT,)):
            found.update(dict.fromkeys(record.incarnation for record in page))
            after = page[-1].seq
        return [self.producer_of(incarnation) for incarnation in found]

    def _check(self, status: AppendStatus, fencing_token: int) -> None:
        """:raises LinkDown: the bus did not take the batch."""
        match status.kind:
            case "ok":
                return
            case "fenced":
                self._on_fenced(fencing_token)
                raise LinkDown("fenced: a newer holder of the lease writes to the bus")
            case "error":
                self._on_fault(f"bus refused an append: {status.reason}")
                raise LinkDown(status.reason)
            case _:  # gap or lineage: the bus is not what we agreed on; agree anew
                raise LinkDown(f"the bus holds something else than agreed: {status.kind}")

    def _confirm(self, record: int) -> None:
        if record > self._shipped_record:
            self._shipped_record = record
            try:
                self._journal.ack(record)
            except JournalError as error:
                # The bus has them; that they are sent again after a restart does no harm.
                self._on_disk_fault(str(error))
            self.changes.notify()
