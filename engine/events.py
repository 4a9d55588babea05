"""The events that the engine itself publishes, with their types.

A consumer may rely on these: a type keeps its name, fields are only added. The body of
an `Event` on the bus is the struct as a msgpack map; `body_of` gives it back typed.

Every event of one fall and recovery carries the same trace id, from the fault to the
gate that opens again; events of an order carry its client order id.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .model import Event


class RedisLost(msgspec.Struct, frozen=True):
    """The bus can not be reached."""

    reason: str


class RedisRecovered(msgspec.Struct, frozen=True):
    """The bus is back and everything up to the mark has been replayed."""

    downtime_seconds: float


class TransitionMade(msgspec.Struct, frozen=True):
    """A state was entered. `number` counts them over the life of the journal."""

    number: int
    trigger: str
    cause: str
    source: str
    dest: str


class GateBlocked(msgspec.Struct, frozen=True):
    """The first order that was refused since the gate was shut."""

    reason: str
    gate_epoch: int


class PolicyChanged(msgspec.Struct, frozen=True):
    mode: str
    version: int
    updated_by: str


class FillCounted(msgspec.Struct, frozen=True):
    """An execution of ours, once. Numbers are exact, as text."""

    symbol: str
    trade_id: int
    client_order_id: str
    side: str
    quantity: str
    price: str


class OrderResolved(msgspec.Struct, frozen=True):
    """The outcome of an order was in doubt and is known now.

    :ivar status: accepted, rejected or not_executed.
    """

    client_order_id: str
    symbol: str
    status: str
    doubt: str
    evidence: str
    attempts: int


class PositionsReconciled(msgspec.Struct, frozen=True):
    """The local book equals the venue's; what it took."""

    differences: int
    actions: tuple[str, ...]
    fills_counted: int


class AlertChanged(msgspec.Struct, frozen=True):
    name: str
    severity: str
    raised: bool
    message: str


Body = (
    RedisLost
    | RedisRecovered
    | TransitionMade
    | GateBlocked
    | PolicyChanged
    | FillCounted
    | OrderResolved
    | PositionsReconciled
    | AlertChanged
)

TYPES: Final[dict[str, type[Body]]] = {
    "system.redis_lost": RedisLost,
    "system.redis_recovered": RedisRecovered,
    "engine.transition": TransitionMade,
    "gate.blocked": GateBlocked,
    "policy.changed": PolicyChanged,
    "execution.fill": FillCounted,
    "execution.order_resolved": OrderResolved,
    "execution.positions_reconciled": PositionsReconciled,
    "engine.alert": AlertChanged,
}
"""By event type. Everything else on the bus is the bot's own."""

_NAMES: Final = {cls: name for name, cls in TYPES.items()}


def type_of(body: Body) -> str:
    """The event type under which `body` is published."""
    return _NAMES[type(body)]


def body_of(event: Event) -> Body | None:
    """The typed body of an event of the engine's; None for the bot's own events.

    :raises msgspec.ValidationError: the body is not what its type says.
    """
    cls = TYPES.get(event.type)
    return None if cls is None else msgspec.convert(event.body, cls)
