"""Journal records as people, JSON and SQLite see them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from holdfast.event_record import event_of
from holdfast.journal import CHECKPOINT, Record
from holdfast.records import EVENT, KINDS, PolicySeen, decode

from .output import plain

_NAMES: Final = {kind: cls.__name__.lower() for kind, cls in KINDS.items()} | {
    EVENT: "event",
    CHECKPOINT: "checkpoint",
}
KIND_NAMES: Final = tuple(sorted(_NAMES.values()))


class Shown(NamedTuple):
    """
    :ivar time_ns: UTC, where the record has a time.
    """

    seq: int
    incarnation: int
    kind: str
    time_ns: int | None
    trace_id: str | None
    body: Any

    @property
    def time(self) -> str | None:
        if self.time_ns is None:
            return None
        moment = datetime.fromtimestamp(self.time_ns // 1_000_000 / 1000, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def as_json(self) -> str:
        return json.dumps(self.as_dict(), ensure_ascii=False, allow_nan=False)

    def as_dict(self) -> dict[str, Any]:
        return {
            "seq": self.seq,
            "incarnation": self.incarnation,
            "kind": self.kind,
            "time": self.time,
            "trace_id": self.trace_id,
            "body": self.body,
        }


def kind_name(kind: int) -> str:
    return _NAMES.get(kind, f"kind {kind}")


def shown(record: Record) -> Shown:
    """Decode one record; what can not be decoded is shown as its bytes in hexadecimal."""
    try:
        body, time_ns, trace_id = _content(record)
    except msgspec.DecodeError:
        body, time_ns, trace_id = {"undecodable": record.body.hex()}, None, None
    return Shown(record.seq, record.incarnation, kind_name(record.kind), time_ns, trace_id, body)


def _content(record: Record) -> tuple[Any, int | None, str | None]:
    if record.kind == EVENT:
        event = event_of(record)
        return plain(event), event.time_ns, event.trace_id
    if record.kind == CHECKPOINT:
        return {"bytes": len(record.body)}, None, None
    fact = decode(record.kind, record.body)
    if fact is None:
        return {"hex": record.body.hex()}, None, None
    body = plain(fact)
    if isinstance(fact, PolicySeen):
        body["policy"] = msgspec.json.decode(fact.policy)
    for name in ("time_ns", "created_ns"):
        if name in body:
            return body, body[name], None
    return body, None, None
