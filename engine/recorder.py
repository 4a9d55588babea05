"""The one door through which facts reach the journal and the ledger, in that order.

A fact is appended before it is believed. Facts of what has already happened use
the journal's reserved space, so that a full disk never stops getting out.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from . import records
from .checkpoint import room_for_policy
from .event_record import sequence_of
from .intent import Intent
from .journal import (
    CHECKPOINT,
    Appended,
    Durability,
    Journal,
    JournalDamaged,
    JournalError,
    RecordTooLarge,
    largest_checkpoint,
)
from .ledger import Ledger


class Recording:
    """A fact on its way to the level that was asked for.

    :ivar is_under_way: the device is at it: what needs it not is best done meanwhile.
    :ivar is_there: it has reached the level.
    """

    __slots__ = ("_appended", "_on_fault", "is_there", "is_under_way")

    def __init__(self, appended: Appended, on_fault: Callable[[str], None]) -> None:
        self._appended = appended
        self._on_fault = on_fault
        self.is_under_way = appended.is_under_way
        self.is_there = False

    async def reached(self) -> None:
        """Wait for the level.

        :raises JournalFull: there was no room; the record is not there.
        :raises JournalFailed: the record may be there.
        """
        if self.is_there:
            return
        try:
            await self._appended
        except JournalError as error:
            self._on_fault(str(error))
            raise
        self.is_there = True


class Recorder:
    """
    :param on_fault: told when the journal can not take a record; called synchronously.
    """

    def __init__(
        self,
        journal: Journal,
        ledger: Ledger,
        *,
        segment_bytes: int,
        on_fault: Callable[[str], None],
    ) -> None:
        self.journal = journal
        self.ledger = ledger
        self._on_fault = on_fault
        self.largest_policy = room_for_policy(largest_checkpoint(segment_bytes))
        """Bytes that a policy may have."""
        self.has_outgrown = False
        """The last checkpoint would have been larger than a segment takes. To forget some of it
        would be to forget what must not be done twice, so the disk counts as down until less has
        to be remembered, or the process is started with larger segments."""

    def replay(self) -> None:
        """Fold what the journal holds into the ledger: the last checkpoint and all after it.

        :raises JournalDamaged: a record is not of this format, though its checksum is right.
        """
        try:
            self._replay()
        except msgspec.DecodeError as error:
            raise JournalDamaged(
                f"{self.journal.report.path}: a record is not of this format ({error}); it was "
                "written by another program or a newer holdfast: start that one"
            ) from error

    def _replay(self) -> None:
        ledger, after = self.ledger, max(self.journal.report.last_checkpoint - 1, 0)
        while page := self.journal.read(after=after, limit=5000):
            for record in page:
                if record.kind == CHECKPOINT:
                    ledger.restore(record.body)
                elif record.kind == records.EVENT:
                    ledger.published(record.incarnation, sequence_of(record.body))
                elif (fact := records.decode(record.kind, record.body)) is not None:
                    ledger.apply(fact)
            after = page[-1].seq
        ledger.begin()

    def write(self, fact: records.Fact) -> int:
        """Append at level `process` and fold in.

        :raises RecordTooLarge, JournalFull, JournalFailed: nothing was folded in.
        """
        kind = records.KIND_OF[type(fact)]
        try:
            seq = self.journal.append_nowait(kind, records.encode(fact), reserve=True)
        except JournalError as error:
            self._on_fault(str(error))
            raise
        self.ledger.apply(fact)
        self.checkpoint_if_due()
        return seq

    def write_within_limits(self, fact: records.Probed) -> None:
        """Append without using the reserve. :raises JournalFull: there is no room."""
        self.journal.append_nowait(records.KIND_OF[type(fact)], records.encode(fact))

    def write_through(
        self,
        fact: records.Intended | records.Attempted,
        *,
        durability: Durability,
        reserve: bool,
        live: Intent | None = None,
    ) -> Recording:
        """Append and fold in; the level is waited for in what is returned.

        It is folded in before it is there: the record may survive whatever happens to the wait,
        and to know of it is the safe side. A checkpoint that comes in between knows of it, too.
        :raises JournalFull: there was no room; nothing is known of the fact.
        :raises RecordTooLarge: it fits no segment; nothing is known of the fact.
        :raises JournalFailed: the record may be there; nothing is folded in.
        """
        kind = records.KIND_OF[type(fact)]
        body = records.encode(fact)
        try:
            appended = self.journal.append(kind, body, durability=durability, reserve=reserve)
        except RecordTooLarge:
            raise  # the disk is well
        except JournalError as error:
            self._on_fault(str(error))
            raise
        self.ledger.apply(fact, live=live)
        self.checkpoint_if_due()
        return Recording(appended, self._on_fault)

    def checkpoint_if_due(self) -> None:
        """Let go of the past, if a new segment began. Never fails what it is called after.

        Without room for a checkpoint nothing older can be dropped, so it is tried again with
        every record until there is.
        """
        if not self.journal.wants_checkpoint:
            return
        self.has_outgrown = False
        try:
            self.journal.checkpoint(self.ledger.checkpoint())
        except RecordTooLarge as error:
            # Keys have room (`Settings`), so it is all the rest: open orders without number.
            self.has_outgrown = True
            self._on_fault(f"no checkpoint: {error}; raise outbox.segment_bytes and start again")
        except JournalError as error:
            self._on_fault(f"no checkpoint: {error}")
