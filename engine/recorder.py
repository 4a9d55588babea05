"""The one door through which facts reach the journal and the ledger, in that order.

A fact is appended before it is believed. Facts of what has already happened use
the journal's reserved space, so that a full disk never stops getting out.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from . import records
from .event_record import sequence_of
from .intent import Intent
from .journal import (
    CHECKPOINT,
    Durability,
    Journal,
    JournalDamaged,
    JournalError,
    RecordTooLarge,
    largest_body,
)
from .ledger import Ledger


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
        self.largest_body = largest_body(segment_bytes)
        """Bytes of what one record can hold."""

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

    async def write_through(
        self,
        fact: records.Intended | records.Attempted,
        *,
        durability: Durability,
        reserve: bool,
        live: Intent | None = None,
    ) -> None:
        """Append at a chosen level and fold in once it is reached.

        If the wait is cancelled the fact is folded in all the same: the record may be
        there, and to know of it is the safe side.
        :raises JournalFull: there was no room; nothing is known of the fact.
        :raises RecordTooLarge: it fits no segment; nothing is known of the fact.
        :raises JournalFailed: the record may be there; nothing is folded in.
        """
        kind = records.KIND_OF[type(fact)]
        body = records.encode(fact)
        try:
            await self.journal.append(kind, body, durability=durability, reserve=reserve)
        except RecordTooLarge:
            raise  # the disk is well
        except JournalError as error:
            self._on_fault(str(error))
            raise
        except BaseException:
            self.ledger.apply(fact, live=live)
            raise
        self.ledger.apply(fact, live=live)
        self.checkpoint_if_due()

    def checkpoint_if_due(self) -> None:
        """Let go of the past, if a new segment began. Never fails what it is called after.

        Without room for a checkpoint nothing older can be dropped, so it is tried again with
        every record until there is.
        """
        if not self.journal.wants_checkpoint:
            return
        try:
            self.journal.checkpoint(self.ledger.checkpoint(limit_bytes=self.largest_body))
        except JournalError as error:
            self._on_fault(f"no checkpoint: {error}")
