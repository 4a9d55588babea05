"""Several files of one series, such as the venue's monthly dumps, read as if they were one.

A row's number tells its file, too, so a message names the file and the line in it. Whether the
files follow one another is not asked here: whoever reads the rows sees their times and numbers,
and says what is wrong between two files as between two lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from .events import Event, Recorded, events, place
from .frames import is_feed

_LINE_BITS: Final = 40
"""Of a row's number; above them is the file's."""


class Files:
    """Those of one series, oldest first.

    :param name: the venue's name of the symbol, by which its frames of a raw feed are known.
    """

    def __init__(self, paths: Sequence[Path], *, name: str = "") -> None:
        self.paths = tuple(paths)
        self._name = name

    def events(self) -> Iterator[Recorded]:
        """All of them; one file is open at a time.

        :raises DataError: naming file and line, while iterating.
        """
        for part, path in enumerate(self.paths):
            base = part << _LINE_BITS
            for line, event in events(path, name=self._name):
                yield Recorded(base + line, event)

    @property
    def received(self) -> bool:
        """Whether they are raw feeds, in the order in which they came: streams that connect
        again tell again what they have told."""
        return is_feed(self.paths[0])

    def place(self, number: int) -> str:
        """Where that row stands, for messages."""
        return place(self.paths[number >> _LINE_BITS], number & (1 << _LINE_BITS) - 1)

    def remedy(self, number: int, before: int) -> str:
        """What helps where a row does not come after the one before it."""
        if before >> _LINE_BITS == number >> _LINE_BITS:
            return "sort the file by time, and leave out what stands twice"
        return f"it overlaps with {self.paths[before >> _LINE_BITS]}, which is the file before"

    def __str__(self) -> str:
        first, last = self.paths[0], self.paths[-1]
        if len(self.paths) == 1:
            return str(first)
        return f"{first} to {last} ({len(self.paths)} files)"


def first_event(path: Path, *, name: str = "") -> Event | None:
    """The first of a file; None: it holds nothing.

    :raises DataError: it can not be read.
    """
    begun = next(events(path, name=name), None)
    return None if begun is None else begun.event
