"""The one thread that waits for the device, so that the event loop never does.

It syncs what the loop has written, prepares the next segment in slices between two
syncs, and unlinks. Files have one owner at a time: the loop writes a segment until
it seals it; from then on only this thread touches its descriptor, and closes it
after the sync that covers it. So no descriptor is closed under a running sync and
no file is prepared twice. After a failed sync it syncs nothing more until the loop
has handed it other files: a sync that failed is never repeated, because the kernel
may mark the pages clean although they never reached the device (Rebello et al.,
"Can Applications Recover from fsync Failures?", USENIX ATC 2020).

No wake-up is lost: who asks for something changes the state first and rings then
(`Bell`), and the thread looks at the state after each ring. Its wait is worked out
anew at each call, since an idle thread has no timer that could end it.

Each step of Python in here takes the interpreter from the loop, and two threads that
take turns wake each other each time, which costs more than the steps. So around a sync
the thread does next to nothing.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .files import Files
from .port import SYNC_INTERVAL_SECONDS

_SLICE_BYTES = 1 << 19
_RETRY_SECONDS = 0.5


class Bell:
    """Wakes one thread: what `threading.Condition` does, at a tenth of its Python."""

    __slots__ = ("_mutex", "_rung", "_silence")

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._silence = threading.Lock()
        self._silence.acquire()
        self._rung = False

    def ring(self) -> None:
        """End the wait, or the next one."""
        with self._mutex:
            if not self._rung:
                self._rung = True
                self._silence.release()

    def wait(self, seconds: float | None) -> bool:
        """Wait until it is rung; False if it was not for so long."""
        if not self._silence.acquire(timeout=-1 if seconds is None else seconds):
            return False
        # What is asked for from here on rings again; what was before, the caller sees now.
        with self._mutex:
            self._rung = False
        return True


class Open:
    """A segment file that can be written. `sealed` is set once, by the loop."""

    __slots__ = ("fd", "path", "sealed")

    def __init__(self, fd: int, path: Path) -> None:
        self.fd = fd
        self.path = path
        self.sealed = False


class Position(NamedTuple):
    """How far the log is written or synced: the last record and the last ack."""

    seq: int
    acked: int


class Synced(NamedTuple):
    """A sync that covers everything up to a position, or failed.

    :ivar generation: of `Syncer` when it began.
    """

    generation: int
    position: Position
    error: OSError | None = None


class Prepared(NamedTuple):
    """A zero-filled, synced file, or why there is none."""

    file: Open | None
    error: OSError | None = None


class Unlinked(NamedTuple):
    """Files are gone; those that could not be unlinked stay until the next opening."""

    freed_bytes: int


class Ended(NamedTuple):
    """The last result: the thread was stopped, or has died of an error that is a bug."""

    error: BaseException | None = None


Result = Synced | Prepared | Unlinked | Ended


class Syncer:
    """Runs jobs for the loop; results wait in `results`, announced by `announce`.

    :param written: reads the position up to which write(2) has returned.
    :param announce: called in the thread after a result was added.
    :ivar generation: counts the replacements of all files by others.
    """

    def __init__(
        self,
        *,
        directory: Path,
        files: Files,
        written: Callable[[], Position],
        announce: Callable[[], None],
    ) -> None:
        self.results: deque[Result] = deque()
        self.generation = 0
        self._directory = directory
        self._files = files
        self._written = written
        self._announce = announce
        self._lock = threading.Lock()
        self._bell = Bell()
        self._at_device = Bell()
        self._answered = Bell()
        self._watched = False  # the loop waits for those two, and for nothing else
        self._open: list[Open] = []
        self._discarded: list[Open] = []
        self._unlink: list[tuple[Path, int]] = []
        self._directory_changed = False
        self._spare: tuple[Path, int] | None = None
        self._spare_refused = False  # the disk was full; asked again after a while
        self._active = False
        self._urgent = False
        self._broken = False
        self._stopping = False
        # At once: an opening may fail for want of a thread, a record that is written may not.
        self._thread = threading.Thread(target=self._run, name="holdfast-journal-sync", daemon=True)
        self._thread.start()

    # Called by the loop.

    def track(self, file: Open) -> None:
        """Include a new segment in every later sync. Call before the first record in it."""
        with self._lock:
            self._open.append(file)
            self._directory_changed = True

    def seal(self, file: Open) -> None:
        """Take over a segment that the loop will not touch any more."""
        with self._lock:
            file.sealed = True

    def discard(self, file: Open) -> None:
        """Close a file without a sync."""
        with self._lock:
            self._discarded.append(file)

    def abandon(self) -> None:
        """Never touch the files so far again, and sync nothing until `recover`."""
        with self._lock:
            self._discarded += self._open
            self._open = []
            self._broken = True
            self.generation += 1

    def recover(self) -> None:
        """Work on with the files that were tracked since `abandon`."""
        with self._lock:
            self._broken = False
            self._wake(urgent=True)

    def sync_soon(self) -> None:
        """From now on sync every 50 ms whatever is written, until `rest`."""
        with self._lock:
            self._wake(urgent=False)

    def sync_now(self) -> None:
        with self._lock:
            self._wake(urgent=True)

    def sync_watched(self, seconds: float) -> None:
        """As `sync_now`, and wait until the thread has gone to the device, at most so long.

        From there on it needs no interpreter. What ends before `watch` or `look_away` is not
        announced: it is in `results`.
        """
        with self._lock:
            self._watched = True
            self._wake(urgent=True)
        self._at_device.wait(seconds)

    def watch(self, seconds: float) -> bool:
        """Wait until a sync has ended since `sync_watched`; False if none has in that time."""
        try:
            ended = self._answered.wait(seconds)
        finally:  # also if a signal ended the wait: what comes later is announced
            ended_late = self.look_away()
        return ended or ended_late

    def look_away(self) -> bool:
        """What ends from now on is announced again; whether something has ended before."""
        with self._lock:
            self._watched = False
        self._at_device.wait(0)
        return self._answered.wait(0)

    def rest(self) -> None:
        """Nothing is unsynced: sleep until asked."""
        with self._lock:
            self._active = self._urgent

    def prepare(self, path: Path, size: int) -> None:
        """Prepare a file of zeros; asked for until there is one, then answered once."""
        with self._lock:
            if self._spare is None:
                self._spare = (path, size)
                self._bell.ring()

    def unlink(self, paths: list[tuple[Path, int]]) -> None:
        """Unlink files of the given sizes, in order."""
        with self._lock:
            self._unlink += paths
            self._bell.ring()

    def stop(self) -> None:
        """Sync what is not synced, then end; `Ended` tells when."""
        with self._lock:
            self._stopping = True
            self._bell.ring()

    def close(self) -> None:
        """Close the files. Call after `Ended`."""
        self._thread.join()
        self._discarded += self._open
        self._open = []
        self._close_discarded()

    def _wake(self, *, urgent: bool) -> None:
        self._active = True
        if urgent:
            self._urgent = True
        self._bell.ring()

    # Runs in the thread.

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            # Whatever it was, those who wait for a sync must not wait for ever.
            self._post(Ended(error))
            raise
        self._post(Ended())

    def _work(self) -> None:
        while True:
            while not self._has_work():
                if not self._bell.wait(self._patience()):
                    self._spare_refused = False
                    break
            stopping = self._stopping  # first: what it covers was asked for before
            if self._active:
                self._sync()
            if self._discarded:
                self._close_discarded()
            if stopping:
                return
            if self._unlink:
                self._drop()
            if self._spare is not None and not self._spare_refused:
                self._spare_refused = not self._prepare()

    def _has_work(self) -> bool:
        return bool(
            (self._urgent and not self._broken)
            or self._stopping
            or self._unlink
            or (self._spare and not self._spare_refused)
        )

    def _patience(self) -> float | None:
        if self._active and not self._broken:
            return SYNC_INTERVAL_SECONDS
        return _RETRY_SECONDS if self._spare_refused else None

    def _sync(self) -> None:
        with self._lock:
            if self._broken:  # since the caller looked
                return
            self._urgent = False
            generation = self.generation
            # The position first: whatever it covers is in a file tracked before.
            position = self._written()
            files = tuple(self._open)
            sealed = [file for file in files if file.sealed]
            directory_changed, self._directory_changed = self._directory_changed, False
            if self._watched:
                self._at_device.ring()
        error = None
        try:
            for file in files:
                self._files.sync(file.fd)
            if directory_changed:
                self._files.sync_directory(self._directory)
        except OSError as failed:
            error = failed
        with self._lock:
            if generation != self.generation:
                return  # the loop has replaced these files meanwhile; they say nothing now
            self.results.append(Synced(generation, position, error))
            if error is None:
                for file in sealed:  # nothing more is written to them
                    self._open.remove(file)
                self._discarded += sealed
            else:
                self._broken = True
            watched, self._watched = self._watched, False
            if watched:
                self._answered.ring()
        if not watched:
            self._announce()

    def _close_discarded(self) -> None:
        with self._lock:
            discarded, self._discarded = self._discarded, []
        for file in discarded:
            # Whatever a close may report, the sync before it has told, or nobody asks.
            with contextlib.suppress(OSError):
                self._files.close(file.fd)

    def _drop(self) -> None:
        with self._lock:
            paths, self._unlink = self._unlink, []
        freed_bytes = 0
        for path, size in paths:
            try:
                self._files.unlink(path)
            except OSError:
                break  # a later segment must not go before an earlier one
            freed_bytes += size
        if paths:
            self._post(Unlinked(freed_bytes))

    def _prepare(self) -> bool:
        """Write the spare in slices, a sync that is waited for in between."""
        assert self._spare is not None
        path, size = self._spare
        fd = -1
        try:
            fd = self._files.create(path)
            for offset in range(0, size, _SLICE_BYTES):
                self._files.fill(fd, offset, min(_SLICE_BYTES, size - offset))
                self._files.sync(fd)
                with self._lock:
                    timely = self._active and offset // _SLICE_BYTES % 8 == 7
                    due = (self._urgent or timely) and not self._broken
                    if self._stopping:
                        break
                if due:
                    self._sync()
        except OSError as error:
            if fd >= 0:
                self._files.close(fd)
                with contextlib.suppress(OSError):  # what is left, the next opening removes
                    self._files.unlink(path)
            self._post(Prepared(None, error))
            return False
        with self._lock:
            self._spare = None
            if self._stopping:
                self._discarded.append(Open(fd, path))
                return True
        self._post(Prepared(Open(fd, path)))
        return True

    def _post(self, result: Result) -> None:
        self.results.append(result)
        self._announce()
