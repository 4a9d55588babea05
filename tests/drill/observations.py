"""A run without fault, made by hand, for judges to be shown and for tests to spoil.

Redis dies at 10 s and is started again at 13 s. Before, the bot trades every 100 ms; in
between it tries every 10 ms and is refused; after, it trades again.
"""

from __future__ import annotations

from decimal import Decimal

from holdfast.drill.decisions import Published
from holdfast.drill.observation import (
    Attempt,
    Observation,
    Outage,
    PolicyChange,
    StoredPolicy,
    StreamEntry,
    VenueOrder,
    VenueRequest,
)

MS = 1_000_000
S = 1_000_000_000
KILLED, STARTED, PONG = 10 * S, 13 * S, 13 * S + 20 * MS
SHUT = KILLED + 3 * MS
RESUMED = PONG + 50 * MS
PRICE = Decimal(60_000)
PRODUCER = "drill:1"


class Writer:
    """Keeps the numbers in step while a run is written down."""

    def __init__(self) -> None:
        self.quantity = Decimal("0.010")
        self.sequence = 0
        self.number = 0
        self.attempts: list[Attempt] = []
        self.orders: list[VenueOrder] = []
        self.published: list[Published] = []
        self.stream: list[StreamEntry] = []
        self.requests: list[VenueRequest] = []

    def trade(self, at_ns: int, *, version: int = 1, mode: str = "NORMAL") -> None:
        quantity = self._quantity()
        self.attempts.append(
            Attempt("buy", quantity, True, at_ns, at_ns + 5 * MS, "accepted", "", version, mode,
                    quantity)
        )  # fmt: skip
        self.orders.append(
            VenueOrder("buy", quantity, True, at_ns + 2 * MS, f"c{quantity}", PRICE, quantity)
        )
        self.publish(at_ns + 6 * MS, "trade.opened")

    def refuse(self, at_ns: int, *, version: int | None = None) -> None:
        mode = None if version is None else "NORMAL"
        self.attempts.append(
            Attempt("buy", self._quantity(), True, at_ns, at_ns + MS, "halted", "gate shut",
                    version, mode)
        )  # fmt: skip

    def publish(self, at_ns: int, kind: str, *, arrives_ns: int | None = None) -> None:
        self.sequence += 1
        self.number += 1
        self.published.append(
            Published(
                at_ns=at_ns,
                wall_ns=at_ns,
                called_ns=at_ns - MS // 2,
                number=self.number,
                type=kind,
                producer=PRODUCER,
                sequence=self.sequence,
            )
        )
        self.stream.append(
            StreamEntry(PRODUCER, self.sequence, kind, arrives_ns or at_ns + MS, self.number)
        )

    def announce(self, at_ns: int, kind: str) -> None:
        self.sequence += 1
        self.stream.append(StreamEntry(PRODUCER, self.sequence, kind, at_ns))

    def _quantity(self) -> Decimal:
        self.quantity += Decimal("0.001")
        return self.quantity


def good_run() -> Observation:
    run = Writer()
    for at in range(8 * S, KILLED, 100 * MS):
        run.trade(at)
    for at in range(KILLED + 2 * MS, STARTED, 10 * MS):
        run.refuse(at)
    for at in range(KILLED + 500 * MS, STARTED, 500 * MS):
        run.publish(at, "strategy.signal", arrives_ns=PONG + 10 * MS)
    run.requests += [
        VenueRequest("snapshot", "/fapi/v3/positionRisk", PONG + 20 * MS, "done"),
        VenueRequest("snapshot", "/fapi/v1/openOrders", PONG + 21 * MS, "done"),
    ]
    run.announce(PONG + 30 * MS, "execution.positions_reconciled")
    for at in range(RESUMED, RESUMED + S, 100 * MS):
        run.trade(at)
    held = sum((order.filled for order in run.orders), Decimal(0))
    return Observation(
        attempts=run.attempts,
        published=run.published,
        orders=run.orders,
        requests=run.requests,
        stream=run.stream,
        outages=(Outage(KILLED, STARTED, PONG),),
        policies=(PolicyChange(1, "NORMAL", None, 5 * S),),
        stored_policy=StoredPolicy(1, "NORMAL"),
        venue_position=held,
        bot_position=held,
    )
