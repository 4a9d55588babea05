"""The bot's own log of what it tried: one JSON line each, kept outside the engine.

It is the witness that the engine is judged by, so it shares nothing with it: its
own file, its own stamps, appended and flushed line by line, and read back by
another process. Stamps are nanoseconds of CLOCK_MONOTONIC, which all processes of
one machine share; `wall_ns` ties them to UTC.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

import msgspec

from holdfast.model import Side

Outcome = Literal["accepted", "halted", "rejected", "not_executed", "unknown", "failed"]
"""What `submit` said: `halted` is TradingHalted, `failed` any other error."""


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="line"):
    at_ns: int
    wall_ns: int


class Tried(Line, frozen=True, tag="tried"):
    """The bot is about to call `submit`. `(side, quantity)` is unique per intent.

    :ivar call: number of this call; its end carries the same.
    :ivar policy_version, policy_mode: what `engine.policy` was at that moment.
    """

    call: int
    side: Side
    quantity: Decimal
    opening: bool
    price: Decimal
    """The last one the bot knew; orders are market orders."""
    policy_version: int | None = None
    policy_mode: str | None = None


class Ended(Line, frozen=True, tag="ended"):
    """`submit` returned or raised."""

    call: int
    outcome: Outcome
    why: str = ""
    client_order_id: str | None = None
    filled: Decimal | None = None
    """What the report said was filled."""


class Published(Line, frozen=True, tag="published"):
    """`publish` returned; `at_ns` is when.

    :ivar called_ns: when it was called. An event that was called after another had
        returned must stand after it on the bus.
    :ivar number: the bot's own count, which the event's body repeats.
    """

    called_ns: int
    number: int
    type: str
    producer: str
    sequence: int


class Noted(Line, frozen=True, tag="noted"):
    """Something about the bot itself: `started`, `healthy`, `stopped`, ..."""

    what: str
    position: Decimal | None = None
    """What the engine takes the position for (with `stopped`)."""


AnyLine = Tried | Ended | Published | Noted

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(AnyLine)


class DecisionLog:
    """Appends lines. Each is one `write` to a file opened with O_APPEND: all or nothing
    of it survives whatever happens to the process next."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, line: AnyLine) -> None:
        os.write(self._file, _encoder.encode(line) + b"\n")

    def close(self) -> None:
        os.close(self._file)


def stamps() -> tuple[int, int]:
    """CLOCK_MONOTONIC and UTC, in nanoseconds.

    Not through the engine's clock: a witness looks at its own watch.
    """
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.time_ns()


def parse(lines: Iterable[bytes]) -> Iterator[AnyLine]:
    """Decode whole lines; a last one without its line break is still being written."""
    for line in lines:
        if line.endswith(b"\n"):
            yield _decoder.decode(line)


class Tail:
    """Reads the lines that were added since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new_lines(self) -> list[AnyLine]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return list(parse(whole.splitlines(keepends=True)))
