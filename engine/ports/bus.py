"""The bus: an ordered log of events, each appended exactly once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import NamedTuple, Protocol

from holdfast.model import Gap

from .link import Link


class Batch(NamedTuple):
    """Consecutive events of one producer, to be appended all or up to the first failure."""

    producer: str
    first: int
    """Sequence of the first payload (or, with a gap, of the first after it)."""
    payloads: Sequence[bytes]
    lineage: str
    """Of the bus data this batch was made for; another answer means the data were replaced."""
    fencing_token: int = 0
    gap: Gap | None = None
    """Events that no longer exist anywhere; a marker is put in their place, first."""


class AppendStatus(NamedTuple):
    """The bus's word on one batch.

    `kind`: `ok`; `gap` (the batch does not follow what the bus has: nothing was
    appended, begin anew at `last_sequence + 1`); `lineage` (the data were
    replaced: ask `position` anew); `fenced` (a newer lease holder has written);
    `error` (the bus refused, `reason` says why; what had been appended before
    stays and is counted in `last_sequence`).
    """

    kind: str
    last_sequence: int
    reason: str = ""


class BusPosition(NamedTuple):
    """What the bus holds of one producer.

    `lineage` names the data set itself: it changes when the bus restarts empty or
    is flushed, and survives when the data do.
    """

    lineage: str
    last_sequence: int


class BusEntry(NamedTuple):
    """One entry read back: an event's payload, or the marker of a gap."""

    id: str
    producer: str
    sequence: int
    payload: bytes
    gap: Gap | None = None


class Fence(NamedTuple):
    """The newest fencing token that a bus has seen, and whether its holder is still there.

    :ivar token: 0: none.
    :ivar silent_seconds: since it was last written with, by the bus's own clock; where that
        is not known, since somebody first asked. A holder writes at least a few times a term.
    """

    token: int
    silent_seconds: float


class MessageBus(Link, Protocol):
    """An ordered log that appends each event exactly once.

    The bus keeps the last sequence of every producer next to its data and skips
    what it already has, so that sending again after an unknown outcome is safe. It
    also keeps the newest fencing token and refuses what carries an older one; a
    batch without payloads says that its token's holder is there.
    """

    async def position(self, producer: str) -> BusPosition:
        """:raises LinkDown:"""

    def append(self, batch: Batch) -> Awaitable[AppendStatus]:
        """Write the batch now, answer later: several may be in flight, in call order.

        The awaitable raises `LinkDown` when the outcome can not be learnt.
        """

    async def fence(self) -> Fence:
        """:raises LinkDown:"""

    def subscribe(self, *, after: str | None = None) -> AsyncIterator[BusEntry]:
        """Every entry after `after` (None: from the beginning), across reconnects, none lost."""
