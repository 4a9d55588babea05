"""How many outages a second can be simulated, each with the real engine and every promise checked.

    python benchmarks/outages.py [--json] [--seeds N] [--jobs J] [--quick]

A seed is one day of one-minute candles, on which a cross of moving averages (10/20, exponential)
trades, with five outages that are drawn from it: the exchange away, an order's request or its
reply lost, the bus away, the bot killed. The engine, its journal and its witness are those of
`holdfast campaign`. What is counted are outages by the clock, on all workers together; the CPU
time of one seed stands beside it, and that of the same day without an outage, which says how
much of it is the day and how much are the outages.

Most of a day is not its outages but the day itself. Two fifths are the renewals of the dead-man
switch: some 630, of which each also breaks in on the candles that a bot would be told without a
pass of the loop. A third are some 65 orders with what the stream tells of them; the rest are the
1440 candles through feed, venue and bot (a tenth), the audits, the points of the equity curve, the
start and the end of a life. It is spread thin: a renewal is some 150 calls of Python and an order
1000, of which no function takes more than a twentieth, but for the loop with its handles, timers
and futures.

A run in which a promise was broken, a bot raised or a position was wrong in the end is no sample:
it ends the benchmark with an error.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from multiprocessing import get_context
from typing import Final

from msgspec.structs import replace
from report import Figures, Goal, show

from holdfast import Bar, Bot, NotExecuted, Order, OutcomeUnknown, TradingHalted
from holdfast.campaign.planfile import conditions_for
from holdfast.simulation import SeededEntropy
from holdfast.sweep import sweep
from holdfast.testing import AnyFault, ExchangeOutage, Kill, OrderFault, ServerOutage, play, walk

SYMBOL: Final = "BTC/USDT:USDT"
QUANTITY: Final = Decimal("0.010")
BARS: Final = 1440
DAY_SECONDS: Final = 60.0 * BARS
OUTAGES: Final = 5
FLOOR_PER_SECOND, GOAL_PER_SECOND = 500, 1000
CONDITIONS: Final = {"dead_man_seconds": 600.0, "audit_seconds": 3600.0}
"""The venue's countdown and the audits go on all day, with and without outages: at the settings
for a real venue (120 s, 60 s) they would be what is measured."""
WARM_UP: Final = 4
"""Seeds that each worker runs before it is timed."""


class Cross(Bot):
    """In the market all the time, on the side of the faster average."""

    def __init__(self) -> None:
        self._fast = self._slow = 0.0
        self._bars = 0

    async def on_bar(self, bar: Bar) -> None:
        if not self._bars:
            self._fast = self._slow = bar.close
        self._bars += 1
        self._fast += (bar.close - self._fast) * 2 / 11
        self._slow += (bar.close - self._slow) * 2 / 21
        if self._bars < 20:
            return
        wanted = QUANTITY if self._fast > self._slow else -QUANTITY
        held = self.engine.position(SYMBOL)
        if held != wanted:
            side = "buy" if wanted > held else "sell"
            try:
                await self.engine.submit(Order(SYMBOL, side, abs(wanted - held)))
            except (TradingHalted, NotExecuted):
                return  # looked at again with the next bar
            except OutcomeUnknown as unknown:
                await unknown.resolved()


def outages(seed: int) -> Iterator[AnyFault]:
    """Five, at any time of the day."""
    entropy = SeededEntropy(seed, "outages")
    for _ in range(OUTAGES):
        at = DAY_SECONDS * entropy.random()
        seconds = 5.0 + 600.0 * entropy.random()
        kind = entropy.randbits(16) % 5
        if kind == 0:
            yield ExchangeOutage(at_seconds=at, seconds=seconds)
        elif kind in (1, 2):
            yield OrderFault(at_seconds=at, effect="lost_request" if kind == 1 else "lost_reply")
        elif kind == 3:
            yield ServerOutage(at_seconds=at, seconds=seconds)
        else:
            yield Kill(at_seconds=at, seconds=seconds)


def day(seed: int, *, count: int = OUTAGES) -> float:
    """Run one; CPU seconds.

    :raises RuntimeError: a promise was broken, or the bot's side was wrong in the end.
    """
    begun, faults = time.process_time(), list(outages(seed))[:count]
    conditions = replace(conditions_for(faults), **CONDITIONS)
    result = play(Cross, walk(BARS, seed=seed), faults=faults, seed=seed, conditions=conditions)
    seconds = time.process_time() - begun
    wrong = [*result.breaches, *(result.wrong_positions or ())]
    if result.failure is not None:
        wrong.append(f"the bot raised {result.failure.error}")
    if wrong or not result.counts.orders:
        raise RuntimeError(f"seed {seed}: {'; '.join(wrong) or 'it made no order'}")
    return seconds


def measure(seeds: int, jobs: int, *, rounds: int) -> Figures:
    figures = Figures()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for _ in sweep(day, range(WARM_UP * jobs), executor=pool):
            pass
        for number in range(rounds):
            first = 1000 + number * seeds
            begun = time.perf_counter()
            spent = [cpu for _, cpu in sweep(day, range(first, first + seeds), executor=pool)]
            wall = time.perf_counter() - begun
            figures.add("outages a second", OUTAGES * seeds / wall)
            figures.add("ms of CPU, a day with outages", 1000 * sum(spent) / seeds)
            quiet = [day(seed, count=0) for seed in range(first, first + max(1, seeds // 20))]
            figures.add("ms of CPU, a day without", 1000 * sum(quiet) / len(quiet))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seeds", type=int, default=400, help="of one round")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--quick", action="store_true", help="fewer seeds")
    options = parser.parse_args()
    seeds, rounds = (40, 1) if options.quick else (options.seeds, 3)
    figures = measure(seeds, options.jobs, rounds=rounds)
    rate = figures["outages a second"]
    show(
        [
            Goal("outages a second, the floor", FLOOR_PER_SECOND, rate, higher=True),
            Goal("outages a second, the goal", GOAL_PER_SECOND, rate, higher=True),
        ],
        as_json=options.json,
        medians=figures.medians(),
        setting=f"{options.jobs} processes, {seeds} days a round, {rounds} rounds",
        in_full=True,
    )


if __name__ == "__main__":
    main()
