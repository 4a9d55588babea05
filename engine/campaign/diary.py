"""What the bot knows of itself, written down outside of its process: it survives every death.

The promises are checked against this, the venue's log and the bus, never against what
the engine says of itself. A decision is known on every log by its quantity, which no
other decision has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from holdfast.model import Gap, Order, OrderReport, PositionSide, Trigger

End = Literal["accepted", "rejected", "not_executed"]

QUANTITY_STEP = Decimal("0.001")
FIRST_NUMBER = 2
"""0.002 BTC is the smallest quantity whose notional the venue takes."""


@dataclass(slots=True)
class Decision:
    """One order the bot wanted, over all lives.

    :ivar end: how the engine said it ended, if it ever did, and `ended_seconds` when.
    :ivar contradictions: where it said another thing the next time it was asked.
    """

    number: int
    order: Order
    end: End | None = None
    client_order_id: str = ""
    ended_seconds: float = 0.0
    contradictions: list[str] = field(default_factory=list)

    def refused(self, at_seconds: float) -> None:
        """The venue has said no for good."""
        self.end, self.ended_seconds = "rejected", at_seconds

    def learn(
        self, report: OrderReport, *, at_seconds: float, may_be_forgotten: Callable[[float], bool]
    ) -> None:
        """The engine has said how it ended, perhaps once more.

        The record of a refusal may be lost, not that of the order. Then the order is proven
        absent in the next life, which says the same of the venue in another word.

        :param may_be_forgotten: whether what the engine has said then may not be in its journal.
        """
        forgotten = (
            self.end == "rejected"
            and report.status == "not_executed"
            and may_be_forgotten(self.ended_seconds)
        )
        if (
            self.end is not None
            and not forgotten
            and (self.end, self.client_order_id) != (report.status, report.client_order_id)
        ):
            self.contradictions.append(
                f"{self.end} as {self.client_order_id}, then {report.status} as "
                f"{report.client_order_id}"
            )
        self.end, self.ended_seconds = report.status, at_seconds
        self.client_order_id = report.client_order_id


@dataclass(frozen=True, slots=True)
class Published:
    """An event whose `publish` returned.

    :ivar at_seconds: when it did, by its machine's monotonic clock, as all times here.
    """

    producer: str
    sequence: int
    number: int
    type: str
    durable: bool
    at_seconds: float


@dataclass(slots=True)
class Diary:
    decisions: dict[int, Decision] = field(default_factory=dict)
    published: list[Published] = field(default_factory=list)
    power_losses: list[float] = field(default_factory=list)
    births: list[float] = field(default_factory=list)
    """When each life began: it has synced what its journal held."""
    journal_failures: list[float] = field(default_factory=list)
    """When a journal failed: nothing is written from there to the end of that life."""
    gaps: list[tuple[Gap, float]] = field(default_factory=list)
    """Markers that were sent in place of events, and when."""
    lives: int = 0
    first_number: int = FIRST_NUMBER
    """Decisions are numbered from here, so that those of two copies are told apart."""

    def may_be_forgotten(self, at_seconds: float) -> bool:
        """Whether what the engine has said then may be lost: with the power, later, or because
        its journal had failed."""
        return any(lost >= at_seconds for lost in self.power_losses) or any(
            failed <= at_seconds and not any(failed < born <= at_seconds for born in self.births)
            for failed in self.journal_failures
        )

    def decide(
        self,
        *,
        symbol: str,
        side: Literal["buy", "sell"],
        position_side: PositionSide,
        price: Decimal | None,
        reduce_only: bool,
        trigger: Trigger | None = None,
        trigger_price: Decimal | None = None,
    ) -> Decision:
        number = self.first_number + len(self.decisions)
        order = Order(
            symbol,
            side,
            number * QUANTITY_STEP,
            price=price,
            key=f"decision-{number}",
            reduce_only=reduce_only,
            position_side=position_side,
            trigger=trigger,
            trigger_price=trigger_price,
        )
        decision = self.decisions[number] = Decision(number, order)
        return decision

    @property
    def undecided(self) -> list[Decision]:
        """Begun in this or an earlier life, and nobody has said how they ended."""
        return [d for d in self.decisions.values() if d.end is None]


def number_of(quantity: Decimal) -> int:
    """Which decision an order at the venue belongs to."""
    return int(quantity / QUANTITY_STEP)
