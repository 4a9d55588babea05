"""Where the next segment file comes from, within the bound of all files together.

The sync thread prepares one spare ahead. If the log is faster than that, or the disk
was full when the spare was due, a file is made at once, which costs the caller more.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from .errors import JournalFull
from .files import Files
from .port import Clock
from .syncer import Open, Syncer

_RETRY_SECONDS = 0.25


class Supply:
    """:param used_bytes: of all files at the opening, the spare included."""

    def __init__(
        self,
        directory: Path,
        *,
        files: Files,
        clock: Clock,
        syncer: Syncer,
        incarnation: int,
        segment_bytes: int,
        max_bytes: int,
        used_bytes: int,
        spare: Open | None,
    ) -> None:
        self._directory = directory
        self._files = files
        self._clock = clock
        self._syncer = syncer
        self._incarnation = incarnation
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._bytes = used_bytes
        self._spare = spare
        self._preparing = False
        self._files_made = 0
        self._not_before_seconds = float("-inf")

    @property
    def ready(self) -> bool:
        """Whether a spare is there."""
        return self._spare is not None

    def want(self) -> None:
        """Have a spare prepared if there is none and the bound allows it."""
        # One at a time, until its result was taken in here, and never the same name twice:
        # a file prepared again while it is already written to would lose its records.
        if self._preparing or self._spare is not None or self._over_bound():
            return
        self._preparing = True
        self._bytes += self._segment_bytes
        self._syncer.prepare(self._unused_path(), self._segment_bytes)

    def prepared(self, file: Open) -> None:
        """Take in what the thread has made."""
        self._spare = file
        self._preparing = False

    def take(self, *, acked: int, beyond_bound: bool) -> Open:
        """Return a file of `segment_bytes`, the spare or one made now.

        :param beyond_bound: for records that were accepted already and have to move.
        :raises JournalFull: there is no room for one.
        """
        if self._spare is not None:
            file, self._spare = self._spare, None
            return file
        now = self._clock.monotonic()
        if not beyond_bound:
            if self._over_bound():
                raise JournalFull(
                    f"{self._directory} holds {self._bytes} of max_bytes={self._max_bytes}, and "
                    f"records from {acked + 1} on are not acknowledged. Bring the bus back, "
                    "or raise max_bytes."
                )
            if now < self._not_before_seconds:
                raise self.full()
        path = self._unused_path()
        fd = -1
        try:
            fd = self._files.create(path)
            self._files.allocate(fd, self._segment_bytes)
        except OSError as error:
            if fd >= 0:
                self._remove(Open(fd, path))
            self._not_before_seconds = now + _RETRY_SECONDS
            raise self.full(error) from error
        self._bytes += self._segment_bytes
        return Open(fd, path)

    def give_back(self, file: Open) -> None:
        """Take in a file of `take` that did not become a segment."""
        if self._preparing:
            self.discard(file)
        else:
            self._spare = file

    def discard(self, file: Open) -> None:
        """Remove a file of `take` that did not become a segment and is not empty any more."""
        self._remove(file)
        self._bytes -= self._segment_bytes

    def freed(self, bytes_: int) -> None:
        """Note that segments of this size are gone."""
        self._bytes -= bytes_
        self.want()

    def full(self, error: OSError | None = None) -> JournalFull:
        """Return what to raise when there is no space."""
        cause = error.strerror if error is not None else "tried a moment ago"
        return JournalFull(
            f"{self._directory}: no room for {self._segment_bytes} more bytes ({cause}). "
            "Free disk space; the journal then goes on by itself."
        )

    def close(self) -> None:
        """Close the spare; the next opening uses its file."""
        if self._spare is not None:
            self._files.close(self._spare.fd)
            self._spare = None

    def _over_bound(self) -> bool:
        return self._bytes + self._segment_bytes > self._max_bytes

    def _unused_path(self) -> Path:
        self._files_made += 1
        return self._directory / f"{self._incarnation:014x}-{self._files_made}.tmp"

    def _remove(self, file: Open) -> None:
        self._syncer.discard(file)
        with contextlib.suppress(OSError):  # what is left, the next opening removes
            self._files.unlink(file.path)
