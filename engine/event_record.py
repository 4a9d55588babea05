"""An event as the journal holds it: its number, then the exact bytes for the bus.

The bytes are made once, when the event is published. What is sent again after an
outage, a restart or a loss of the bus is therefore the same to the last bit, and
the shipper moves events without decoding them.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .errors import InvalidPayload
from .journal import MAX_BODY_BYTES, Record
from .model import Event, is_text

MAX_NAME_LENGTH: Final = 255
"""Of a type and of a trace id: a name, not a payload."""

_SEQUENCE_BYTES: Final = 8

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Event)


def check_names(type_: str, trace_id: str | None) -> None:
    """:raises InvalidPayload: a name is none, or too long."""
    if not is_text(type_):
        raise InvalidPayload(f"type: {type_!r} is no name; give e.g. 'trade.opened'")
    if trace_id and not is_text(trace_id):
        raise InvalidPayload(f"trace_id: {trace_id!r} is no text")
    for field, name in (("type", type_), ("trace_id", trace_id or "")):
        if len(name) > MAX_NAME_LENGTH:
            raise InvalidPayload(
                f"{field}: {name[:40]!r}… has {len(name)} characters, {MAX_NAME_LENGTH} at most"
            )


def encode(event: Event) -> bytes:
    """:raises InvalidPayload: the body can not be encoded, or is too large."""
    try:
        body = _encoder.encode(event)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidPayload(f"body of {event.type}: {error}; give what msgpack can hold") from None
    if len(body) + _SEQUENCE_BYTES > MAX_BODY_BYTES:
        raise InvalidPayload(
            f"body of {event.type}: {len(body)} bytes encoded, {MAX_BODY_BYTES} at most"
        )
    return event.sequence.to_bytes(_SEQUENCE_BYTES, "little") + body


def sequence_of(record: bytes) -> int:
    """The number of the event in the body of a record of kind `EVENT`."""
    return int.from_bytes(record[:_SEQUENCE_BYTES], "little")


def payload_of(record: bytes) -> bytes:
    """What the bus gets of it."""
    return record[_SEQUENCE_BYTES:]


def event_of(record: Record) -> Event:
    """Decode the event of a journal record of kind `EVENT`. :raises msgspec.DecodeError:"""
    return _decoder.decode(payload_of(record.body))
