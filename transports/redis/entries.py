"""How events stand in the stream: fields `p` producer, `s` sequence, and `d` payload or `g`.

`g` makes the entry a gap marker: the events from `g` to `s` could not be sent again.
"""

from __future__ import annotations

from holdfast.model import Gap
from holdfast.ports import BusEntry


def decode_entry(raw_id: bytes, fields: list[bytes]) -> BusEntry:
    """One entry as XRANGE and XREAD give it."""
    values = dict(zip(fields[::2], fields[1::2], strict=True))
    producer, sequence = values[b"p"].decode(), int(values[b"s"])
    first = values.get(b"g")
    gap = None if first is None else Gap(producer, int(first), sequence)
    return BusEntry(raw_id.decode(), producer, sequence, values.get(b"d", b""), gap)
