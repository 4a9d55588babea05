"""The journal as its users see it: records, durability levels, the open report.

`FileJournal` and `MemoryJournal` both satisfy `Journal`; one conformance suite
runs against both, so a backtest proves the code that trades.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

#: Kinds 1 to 239 belong to the owner of the journal.
MAX_KIND = 239
#: Reserved kind of `Journal.checkpoint`; recovery of the owner's state starts at the last one.
CHECKPOINT = 240
#: One record; a larger body is a mistake of the caller, not a matter of disk space.
MAX_BODY_BYTES = 1 << 20
#: One checkpoint: what the length field of a frame can tell (`frame`).
MAX_CHECKPOINT_BYTES = (1 << 24) - 1
#: The longest that a record of level `process` waits for its fdatasync.
SYNC_INTERVAL_SECONDS = 0.05


class Durability(StrEnum):
    """What a record survives once the append has returned."""

    MEMORY = "memory"
    """Nothing: it is written with the next record, at the latest after 50 ms, and is
    dropped, with a call of `on_fault`, if the disk is full at that moment."""

    PROCESS = "process"
    """kill -9: write(2) has returned. A power cut may take the last 50 ms."""

    POWER = "power"
    """A power cut, as far as the device honours a flush: fdatasync(2) has returned."""


class Record(NamedTuple):
    """One entry of the log.

    :ivar seq: position in the log, from 1, rising by one over all incarnations.
    :ivar kind: the owner's type tag, or `CHECKPOINT`.
    :ivar incarnation: the opening of the journal that appended it.
    """

    seq: int
    kind: int
    incarnation: int
    body: bytes


class Clock(Protocol):
    """The part of `holdfast.ports.Clock` that the journal needs."""

    def monotonic(self) -> float: ...


class RandBits(Protocol):
    """`Entropy.randbits`."""

    def __call__(self, bits: int, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of one file that hold no valid frame.

    :ivar first_missing: first record known to be lost here; 0 if none is known to be.
    :ivar last_missing: the last such record.
    :ivar at_most: a segment without its header: how many records it held is not known,
        only which numbers it may have used. None of them is used again.
    """

    file: str
    offset: int
    bytes: int
    first_missing: int = 0
    last_missing: int = 0
    at_most: bool = False

    @property
    def missing(self) -> int:
        """How many records are lost, as far as that is known; with `at_most`, no more."""
        return self.last_missing - self.first_missing + 1 if self.first_missing else 0

    def __str__(self) -> str:
        where = f"{self.file}: {self.bytes} bytes at offset {self.offset}"
        if not self.first_missing:
            return where
        if self.at_most:
            return f"{where}: its header is lost, and with it at most {self.missing} records"
        if self.missing == 1:
            return f"{where}, record {self.first_missing} is missing"
        return f"{where}, records {self.first_missing} to {self.last_missing} are missing"


@dataclass(frozen=True, slots=True)
class OpenReport:
    """What opening the journal found.

    :ivar torn: ends of segments where the last writer stopped in the middle of a frame.
        Normal after a crash: nothing that had been acknowledged is missing.
    :ivar damaged: everything else without a valid frame. The bytes are left as they are.
    :ivar last_checkpoint: its seq, or 0.
    """

    path: str
    segments: int
    records: int
    bytes: int
    first_seq: int
    last_seq: int
    acked: int
    last_checkpoint: int
    torn: tuple[Span, ...] = ()
    damaged: tuple[Span, ...] = ()

    @property
    def _held(self) -> str:
        if not self.records:
            return "no records"
        if self.records == 1:
            return f"1 record ({self.last_seq})"
        return f"{self.records} records ({self.first_seq} to {self.last_seq})"

    @property
    def missing(self) -> int:
        """Records known to be lost to damage."""
        return sum(span.missing for span in self.damaged)

    @property
    def missing_since_checkpoint(self) -> int:
        """Of those, the ones after the last checkpoint: what they said stands nowhere else."""
        return sum(
            span.last_missing - max(span.first_missing - 1, self.last_checkpoint)
            for span in self.damaged
            if span.last_missing > self.last_checkpoint
        )

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self._held} in {self.segments} "
            f"segment{'' if self.segments == 1 else 's'}, {self.bytes} bytes; "
            f"acknowledged up to {self.acked}; "
            + (
                f"last checkpoint {self.last_checkpoint}"
                if self.last_checkpoint
                else "no checkpoint"
            )
        ]
        lines += [f"torn tail, healed: {span}" for span in self.torn]
        lines += [f"DAMAGED, skipped: {span}" for span in self.damaged]
        return "\n".join(lines)


class Appended(Protocol):
    """What `Journal.append` returns; awaited for the seq.

    :ivar is_under_way: the device is at it, and the loop will stand still for its end: whatever
        needs it not is best done before it is awaited. It may then be awaited again if a wait
        for it was cancelled; another is awaited once.
    """

    @property
    def is_under_way(self) -> bool: ...

    def __await__(self) -> Generator[object, None, int]: ...


class Journal(Protocol):
    """A durable, ordered, single-writer log.

    Every method is called from one thread, that of the event loop. A failed or
    cancelled `append` at level `power` leaves a consistent log in which the
    record may or may not be.
    """

    @property
    def incarnation(self) -> int:
        """Random 47 to 53 bit number of this opening."""

    @property
    def first_seq(self) -> int:
        """Oldest record still held; `last_seq + 1` if there is none."""

    @property
    def last_seq(self) -> int:
        """Newest record; 0 before the first."""

    @property
    def acked(self) -> int:
        """Records up to this one need no more shipping."""

    @property
    def report(self) -> OpenReport:
        """What this opening found."""

    @property
    def wants_checkpoint(self) -> bool:
        """Whether a new segment began since the last checkpoint."""

    def append_nowait(self, kind: int, body: bytes, *, reserve: bool = False) -> int:
        """Append at level `process` and return the record's seq.

        :param kind: 1 to `MAX_KIND`.
        :param reserve: may use the space that is kept for what must work on a full disk
            (exits, cancels, transitions, outcomes).
        :raises ValueError: the kind is out of range.
        :raises RecordTooLarge: the body is larger than `MAX_BODY_BYTES` or half a segment;
            nothing was appended.
        :raises JournalFull: there is no room; nothing was appended.
        :raises JournalFailed: the device failed, or the journal is closed.
        """

    def append(
        self,
        kind: int,
        body: bytes,
        *,
        durability: Durability = Durability.POWER,
        reserve: bool = False,
    ) -> Appended:
        """Append now; what is returned is awaited for the seq: by then the record has reached
        the level. Whoever does not await it, or not yet, has a record that is on its way.

        Appends at level `power` that wait at the same time share one fdatasync.

        :raises ValueError, RecordTooLarge, JournalFull, JournalFailed: as `append_nowait`; the
            last two also where it is awaited.
        """

    async def sync(self) -> None:
        """Return when everything appended and acknowledged so far survives a power cut.

        :raises JournalFailed: the device failed.
        """

    def ack(self, upto: int) -> None:
        """Declare records up to this seq shipped. A lower value than before is ignored.

        Written to the log like a record of level `process`; never raises `JournalFull`.

        :raises ValueError: the seq was not appended yet.
        :raises JournalFailed: as `append_nowait`.
        """

    def read(
        self, *, after: int, limit: int = 500, kinds: Collection[int] | None = None
    ) -> list[Record]:
        """Return the next records after a seq, in order, damage left out.

        :param kinds: only these; the limit counts the records returned.
        """

    def checkpoint(self, body: bytes) -> int:
        """Append a record of kind `CHECKPOINT`; it may use the reserved space.

        Older segments can then be dropped once their records are acknowledged.

        :raises RecordTooLarge: the body is larger than `MAX_CHECKPOINT_BYTES` or half a segment;
            nothing was appended.
        :raises JournalFull, JournalFailed: as `append_nowait`.
        """

    async def aclose(self) -> None:
        """Sync, stop the sync thread, release the lock. May be called twice."""
