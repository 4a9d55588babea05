"""How events stand in the stream: fields `p` producer, `s` sequence, and `d` payload or `g`.

`g` makes the entry a gap marker: the events from `g` to `s` could not be sent again.
An entry that another hand has added is none of ours and is passed over.
"""

from __future__ import annotations

from holdfast.model import Gap
from holdfast.ports import BusEntry


def decode_entry(raw_id: bytes, fields: list[bytes]) -> BusEntry | None:
    """One entry as XRANGE and XREAD give it; None: no bus has written it."""
    values = dict(zip(fields[::2], fields[1::2], strict=True))
    first = values.get(b"g")
    try:
        producer, sequence = values[b"p"].decode(), int(values[b"s"])
        gap = None if first is None else Gap(producer, int(first), sequence)
    except (KeyError, ValueError):  # UnicodeDecodeError is a ValueError
        return None
    return BusEntry(raw_id.decode(), producer, sequence, values.get(b"d", b""), gap)
