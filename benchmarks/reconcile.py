"""The pure part of a reconciliation: 10,000 orders here against 10,000 at the venue.

    python benchmarks/reconcile.py [--json] [--rounds N] [--quick]

From the two sides to what is to be done: the differences of two snapshots, those seen in both,
and the plan of actions. Once with equal books, once with one order in a hundred filled, gone or
unknown, with its fills, and once, without a goal, with not one order in common, which is as
much work as there can be. Beside it, what any comparison has to do: the orders by their ids,
status and quantity looked at. They take turns; medians.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from decimal import Decimal

import msgspec
from report import Figures, Goal, show

from holdfast.model import Fill, OrderSnapshot, OrderStatus, Position
from holdfast.reconcile import (
    DEFAULT_RULES,
    Action,
    Snapshot,
    View,
    confirmed,
    differences,
    plan,
)

SYMBOLS = tuple(f"COIN{number}/USDT:USDT" for number in range(20))
PREFIX = "hf-bench-"
GOAL_MS = 50.0
DISJOINT = "no order in common"
FLOOR = "ids, status and quantity alone"


def an_order(number: int) -> OrderSnapshot:
    return OrderSnapshot(
        symbol=SYMBOLS[number % len(SYMBOLS)],
        client_order_id=f"{PREFIX}{number}",
        venue_order_id=str(8_000_000_000 + number),
        side="buy" if number % 2 else "sell",
        quantity=Decimal("0.010"),
        price=Decimal(50_000 + number % 997),
        filled=Decimal(0),
        status=OrderStatus.OPEN,
    )


def local(count: int, *, first: int = 0) -> View:
    return View(
        symbols=frozenset(SYMBOLS),
        prefix=PREFIX,
        positions={(symbol, "BOTH"): Decimal(1) for symbol in SYMBOLS},
        orders={f"{PREFIX}{number}": an_order(number) for number in range(first, first + count)},
        in_flight=frozenset(),
        fill_ids=frozenset(),
        known_foreign=frozenset(),
        consented=True,
    )


def at_venue(count: int, *, changed_every: int | None = None) -> Snapshot:
    """:param changed_every: of so many orders the venue knows more of one, has lost the next,
    and has one more that is not known here.
    """
    orders, fills = [], []
    for number in range(count):
        order, place = an_order(number), number % (changed_every or count + 1)
        if changed_every and place == 1:
            filled = Decimal("0.004")
            order = msgspec.structs.replace(
                order, filled=filled, status=OrderStatus.PARTIALLY_FILLED
            )
            fills.append(a_fill(order, filled, number))
        if not (changed_every and place == 2):
            orders.append(order)
        if changed_every and place == 3:
            orders.append(an_order(count + number))
    random.Random(1).shuffle(orders)
    positions = tuple(Position(symbol, Decimal(1), Decimal(50_000)) for symbol in SYMBOLS)
    return Snapshot(positions=positions, open_orders=tuple(orders), fills=tuple(fills))


def a_fill(order: OrderSnapshot, quantity: Decimal, number: int) -> Fill:
    assert order.price is not None
    return Fill(
        symbol=order.symbol,
        trade_id=number + 1,
        client_order_id=order.client_order_id,
        venue_order_id=order.venue_order_id,
        side=order.side,
        quantity=quantity,
        price=order.price,
        fee=Decimal("0.02"),
        fee_asset="USDT",
        time_ms=0,
    )


def reconcile(view: View, snapshot: Snapshot) -> list[Action]:
    """What the engine does with two snapshots that say the same."""
    first, second = differences(view, snapshot), differences(view, snapshot)
    return plan(confirmed(first, second), DEFAULT_RULES)


def compare(view: View, snapshot: Snapshot) -> int:
    """The least that finds every order that differs, twice."""
    found = 0
    for _ in range(2):
        here, there = view.orders, {o.client_order_id: o for o in snapshot.open_orders}
        for cid, order in there.items():
            known = here.get(cid)
            found += known is None or (known.filled, known.status) != (order.filled, order.status)
        found += sum(cid not in there for cid in here)
    return found


def measure(rounds: int, count: int) -> tuple[Figures, dict[str, int]]:
    figures, found = Figures(), {}
    cases: dict[str, tuple[View, Snapshot]] = {
        "equal books": (local(count), at_venue(count)),
        "1 in 100 differs": (local(count), at_venue(count, changed_every=100)),
        DISJOINT: (local(count, first=2 * count), at_venue(count)),
    }
    for number in range(rounds + 1):  # the first one warms up
        for name, case in cases.items():
            ours, theirs = timed(reconcile, *case), timed(compare, *case)
            found[name] = len(reconcile(*case))
            if number:
                for what, (seconds, cpu) in ((name, ours), (f"{name}: {FLOOR}", theirs)):
                    figures.add(what, seconds * 1000)
                    figures.add(f"{what}, CPU", cpu * 1000)
    return figures, found


def timed(
    action: Callable[[View, Snapshot], object], view: View, snapshot: Snapshot
) -> tuple[float, float]:
    """Seconds by the clock and of CPU."""
    begun, cpu = time.perf_counter(), time.process_time()
    action(view, snapshot)
    return time.perf_counter() - begun, time.process_time() - cpu


def goals(figures: Figures, found: dict[str, int]) -> list[Goal]:
    return [
        Goal(
            f"{name}, ms",
            None if name is DISJOINT else GOAL_MS,
            figures[name],
            f"{figures[f'{name}, CPU']:.1f} ms CPU; {actions:,} actions;"
            f" {FLOOR} {figures[f'{name}: {FLOOR}']:.1f} ms",
        )
        for name, actions in found.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=31, help="of the interleaved comparison")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    options = parser.parse_args()
    rounds, count = 5 if options.quick else options.rounds, 10_000
    figures, found = measure(rounds, count)
    show(
        goals(figures, found),
        as_json=options.json,
        medians=figures.medians(),
        setting=f"{rounds} rounds, {count:,} orders on either side",
    )


if __name__ == "__main__":
    main()
