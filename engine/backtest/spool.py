"""Rows of a recording in binary, written once and read again and again.

To read text three times would take longer than the three runs of a backtest. The rows are in
memory as long as they are few and in a temporary file from then on: ten million candles take no
more memory than one.
"""

from __future__ import annotations

import struct
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final

MEMORY_BYTES: Final = 16 << 20
"""Of one spool; some 300,000 rows."""
_ROW: Final = struct.Struct("=qdddddq")
_ROWS_AT_ONCE: Final = 4096

Row = tuple[int, float, float, float, float, float, int]
"""A time (UTC ms), five values, and the number of the lane that tells what they are (`Lane`)."""


class Spool:
    """
    :ivar count: rows that were written.
    :ivar close: give its memory back; whoever does not is spared a warning for it.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        # Open for as long as it is used; the file has no name, so nothing is left.
        self._file: Any = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115
        self.close = weakref.finalize(self, self._file.close)
        self.count = 0
        packed = bytearray()
        pack, full = _ROW.pack, _ROW.size * _ROWS_AT_ONCE
        for row in rows:
            packed += pack(*row)
            if len(packed) >= full:
                self._flush(packed)
        self._flush(packed)

    def _flush(self, packed: bytearray) -> None:
        self._file.write(packed)
        self.count += len(packed) // _ROW.size
        packed.clear()

    def rows(self) -> Iterator[Row]:
        """All of them, in the order in which they were written."""
        return chain.from_iterable(map(_ROW.iter_unpack, self._pages()))  # no step of Python's own

    def _pages(self) -> Iterator[bytes]:
        offset = 0
        while True:
            self._file.seek(offset)  # somebody else may have read meanwhile
            page = self._file.read(_ROW.size * _ROWS_AT_ONCE)
            if not page:
                return
            offset += len(page)
            yield page
