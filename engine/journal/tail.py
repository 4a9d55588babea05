"""The segment that is being written: its file, its numbers, and where the next frame goes.

A segment is made under a temporary name and gets its own by `place`, so that a name
of the log never stands for a file without a header. Frames are written at once, or
buffered until `flush` writes them together; those that are buffered have their seq
and their place already, so nothing else may be written before them.
"""

from __future__ import annotations

from pathlib import Path

from .files import Files
from .frame import ACK, DATA_OFFSET, FRAME_BYTES, HEADER_COPY_OFFSET, Header, encode
from .recovery import segment_name
from .syncer import Open


class Tail:
    """
    :ivar size: of the file.
    :ivar end: offset of the next frame; buffered frames lie before it.
    :ivar written: last record for which write(2) has returned.
    :ivar frames: of the current block, kept until they are known to be synced (`pages`).
    """

    # Slots: an append reads most of these.
    __slots__ = (
        "_files",
        "_pending",
        "crc_seed",
        "end",
        "fd",
        "file",
        "frames",
        "header",
        "salt",
        "size",
        "written",
    )

    def __init__(self, files: Files, file: Open, header: Header, size: int) -> None:
        self.file = file
        self.header = header
        self.size = size
        self.end = DATA_OFFSET
        self.fd = file.fd
        self.salt = header.salt
        self.crc_seed = header.crc_seed
        self.written = header.base_seq - 1
        self.frames: list[bytes] = []
        self._pending: list[bytes] = []
        self._files = files

    @property
    def last_seq(self) -> int:
        return self.written + len(self._pending)

    @property
    def is_buffering(self) -> bool:
        return bool(self._pending)

    def begin(self) -> None:
        """Write both copies of the header and stand where the first frame goes.

        :raises OSError: as write(2).
        """
        packed = self.header.pack()
        self._files.write_at(self.fd, packed, 0)
        self._files.write_at(self.fd, packed, HEADER_COPY_OFFSET)
        self._files.seek(self.fd, DATA_OFFSET)

    def place(self, directory: Path) -> None:
        """Give the file its name in the log.

        :raises OSError: as rename(2).
        """
        path = directory / segment_name(self.header.ordinal, self.header.base_seq)
        self._files.rename(self.file.path, path)
        self.file.path = path

    def write(self, kind: int, body: bytes) -> int:
        """Append a record while none is buffered; return its seq.

        :raises OSError: as write(2); what it took is written over by the next frame.
        """
        seq = self.written + 1
        frame = encode(self.salt, self.crc_seed, kind, seq, body)
        self._write(frame)
        self.written = seq
        self.frames.append(frame)
        return seq

    def buffer(self, kind: int, body: bytes) -> int:
        """Append a record that `flush` writes; return its seq."""
        seq = self.written + len(self._pending) + 1
        frame = encode(self.salt, self.crc_seed, kind, seq, body)
        self._pending.append(frame)
        self.frames.append(frame)
        self.end += len(frame)
        return seq

    def flush(self) -> None:
        """Write what is buffered.

        :raises OSError: as write(2); what is not whole on disk stays buffered.
        """
        data, done = b"".join(self._pending), 0
        try:
            while done < len(data):
                done += self._files.write(self.fd, data[done:])
        except OSError:
            whole = 0
            while whole < len(self._pending) and done >= len(self._pending[whole]):
                done -= len(self._pending[whole])
                whole += 1
            self.written += whole
            del self._pending[:whole]
            raise
        self.written += len(self._pending)
        self._pending.clear()

    def withdraw(self) -> int:
        """Give up what is buffered; return how many records that were."""
        count = len(self._pending)
        self.end -= sum(map(len, self._pending))
        del self.frames[-count:]
        self._pending.clear()
        self.rewind()
        return count

    def abandon(self, last_seq: int) -> None:
        """Stand for nothing after a seq: those records go elsewhere."""
        self._pending.clear()
        self.written = last_seq

    def write_ack(self, upto: int) -> None:
        """:raises OSError: as `write`."""
        if self.end + FRAME_BYTES <= self.size:
            self._write(encode(self.salt, self.crc_seed, ACK, upto, b""))
        else:
            # The segment is full to the last byte. Acks are what makes room again, so they
            # have a place that no record can take: the second copy of the header.
            header = self.header._replace(acked=upto)
            self._files.write_at(self.fd, header.pack(), HEADER_COPY_OFFSET)

    def rewind(self) -> None:
        """Stand at `end` again, after a write that took only a part."""
        self._files.seek(self.fd, self.end)

    def _write(self, frame: bytes) -> None:
        done = 0
        try:
            while done < len(frame):
                done += self._files.write(self.fd, frame[done:])
        except OSError:
            self.rewind()
            raise
        self.end += len(frame)
