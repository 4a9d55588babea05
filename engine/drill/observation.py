"""What was seen of one run, from three sides, on one clock. Plain values, no I/O.

The bot's decision log says what was wanted and when; the exchange's logs say what
was asked of it and what it did; the stream read back from Redis says what arrived
there. All stamps are nanoseconds of CLOCK_MONOTONIC. Judging works on this alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Literal, NamedTuple

from holdfast.model import Side

from .decisions import AnyLine, Ended, Outcome, Published, Tried

Intent = tuple[Side, Decimal]
"""The bot uses each quantity once per side, so this names an intent on every log."""


class Attempt(NamedTuple):
    """One call of `submit`: how it began and how it ended (None: it had not)."""

    side: Side
    quantity: Decimal
    opening: bool
    begun_ns: int
    ended_ns: int | None = None
    outcome: Outcome | None = None
    why: str = ""
    policy_version: int | None = None
    policy_mode: str | None = None
    filled: Decimal | None = None
    """What the bot was told was filled, when it was accepted."""

    @property
    def intent(self) -> Intent:
        return self.side, self.quantity


class VenueOrder(NamedTuple):
    """An order that the exchange accepted."""

    side: Side
    quantity: Decimal
    opening: bool
    accepted_ns: int
    client_order_id: str
    price: Decimal
    """What it traded at."""
    filled: Decimal

    @property
    def intent(self) -> Intent:
        return self.side, self.quantity


Answer = Literal["done", "refused", "absent", "lost before", "lost after"]
"""`done`: performed and answered; `refused`: an error reply, nothing done; `absent`: no such
order; `lost before` and `lost after`: never answered, not taken or taken."""


class VenueRequest(NamedTuple):
    """A request that reached the exchange.

    :ivar kind: `place`, `cancel`, `query`, `snapshot`, `time` or `stream`.
    :ivar path: of the URL; tells which snapshot it is.
    :ivar valid_until_ns: after that the exchange would have refused it as too late.
    """

    kind: str
    path: str
    arrived_ns: int
    answer: Answer
    client_order_id: str | None = None
    valid_until_ns: int | None = None


class StreamEntry(NamedTuple):
    """An entry of the stream in Redis. `appended_ns` has a resolution of one millisecond.

    :ivar number: the bot's own count; None for events of the engine.
    :ivar gap: the marker in place of lost events.
    """

    producer: str
    sequence: int
    type: str
    appended_ns: int
    number: int | None = None
    gap: bool = False
    happened_ns: int = 0
    body: Mapping[str, object] = MappingProxyType({})
    """These two are the engine's word, for the picture of the run; nothing is judged by them."""


class Outage(NamedTuple):
    """Redis was killed and came back.

    :ivar killed_ns: just before the signal was sent.
    :ivar started_ns: just before the server was started again.
    :ivar pong_ns: the observer's own socket read the first PONG; None: never.
    :ivar emptied: it came back without its data.
    """

    killed_ns: int
    started_ns: int
    pong_ns: int | None
    emptied: bool = False


class PolicyChange(NamedTuple):
    """The observer stored a policy. `stored_ns`: when Redis had confirmed it."""

    version: int
    mode: str
    max_order_notional: Decimal | None
    stored_ns: int


class StoredPolicy(NamedTuple):
    """The policy as the observer read it back in the end."""

    version: int
    mode: str


class Observation(NamedTuple):
    """One run of one bot, joined.

    :ivar started_ns: when the bot had started, by its own log.
    """

    started_ns: int = 0
    attempts: Sequence[Attempt] = ()
    published: Sequence[Published] = ()
    orders: Sequence[VenueOrder] = ()
    requests: Sequence[VenueRequest] = ()
    stream: Sequence[StreamEntry] = ()
    outages: Sequence[Outage] = ()
    policies: Sequence[PolicyChange] = ()
    stored_policy: StoredPolicy | None = None
    venue_position: Decimal | None = None
    bot_position: Decimal | None = None


def attempts_of(lines: Sequence[AnyLine]) -> list[Attempt]:
    """Each `tried` with its `ended`, in the order they began."""
    ends = {line.call: line for line in lines if isinstance(line, Ended)}
    joined = []
    for line in lines:
        if isinstance(line, Tried):
            end = ends.get(line.call)
            joined.append(
                Attempt(
                    line.side,
                    line.quantity,
                    line.opening,
                    line.at_ns,
                    None if end is None else end.at_ns,
                    None if end is None else end.outcome,
                    "" if end is None else end.why,
                    line.policy_version,
                    line.policy_mode,
                    None if end is None else end.filled,
                )
            )
    return joined


def published_of(lines: Sequence[AnyLine]) -> list[Published]:
    return [line for line in lines if isinstance(line, Published)]
