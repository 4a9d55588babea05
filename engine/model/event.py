"""The envelope of what is on the bus, and what stands there for events that are lost."""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True):
    """The envelope of everything on the bus.

    `(producer, sequence)` names an event for ever; sequences of one producer start
    at 1 and have no holes. `body` is any msgpack value, in the shape of `type`.
    """

    type: str
    producer: str
    sequence: int
    time_ns: int
    trace_id: str
    body: Any


class Gap(msgspec.Struct, frozen=True):
    """Stands on the bus in place of events that can not be sent again."""

    producer: str
    first: int
    last: int
