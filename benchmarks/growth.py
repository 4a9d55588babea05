"""How a backtest grows: CPU time and memory of whole processes, with candles and with orders.

    python benchmarks/growth.py [--json] [--candles 1000000] [--orders 20000] [--factor 10]

Each figure is of `holdfast backtest` as a process of its own, on a Parquet file, from start to
end: CPU seconds and the peak resident set, as the system counts them when it has ended. Candles:
a bot that does nothing. Orders: a bot that sends one with each candle. Both once, and once with
`factor` times as many; the start of the process (a run of a thousand candles) is taken off the
time. Linear is a ratio of 1.0 for each candle or order. The memory of candles must not grow; that
of orders does, for the venue's log and the account's trades are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from holdfast import Bar, Bot, Order

SYMBOL: Final = "BTC/USDT:USDT"
FIRST_MS: Final = 1_577_836_800_000  # 2020-01-01T00:00:00Z
MINUTE_MS: Final = 60_000
ROWS_AT_ONCE: Final = 100_000
MOST_MORE_MB: Final = 64
MOST_RATIO: Final = 1.3
"""Beyond it the growth is not linear; noise of a shared machine is below it."""


class Nothing(Bot):
    async def on_bar(self, bar: Bar) -> None:
        pass


class Each(Bot):
    def __init__(self) -> None:
        self.count = 0

    async def on_bar(self, bar: Bar) -> None:
        self.count += 1
        side = "buy" if self.count % 2 else "sell"
        await self.engine.submit(Order(SYMBOL, side, Decimal("0.010")))


class Cost(NamedTuple):
    """Of one process."""

    cpu_seconds: float
    peak_mb: float


def closes() -> Iterator[float]:
    """An endless walk on ticks of 0.1 that is drawn back to 60,000."""
    generator, close = random.Random(7), 600_000
    while True:
        close += generator.randint(-300, 300) + (600_000 - close) // 500
        yield close / 10


def write(path: Path, count: int) -> None:
    """A Parquet file of so many candles."""
    import pyarrow
    from pyarrow import parquet

    names = ("timestamp", "open", "high", "low", "close", "volume")
    types = (pyarrow.int64(), *(pyarrow.float64() for _ in names[1:]))
    schema = pyarrow.schema(list(zip(names, types, strict=True)))
    walk, opened, done = closes(), 60_000.0, 0
    with parquet.ParquetWriter(path, schema) as file:
        while done < count:
            ends = list(islice(walk, min(ROWS_AT_ONCE, count - done)))
            starts = [opened, *ends[:-1]]
            columns = [
                [FIRST_MS + (done + i) * MINUTE_MS for i in range(len(ends))],
                starts,
                list(map(max, starts, ends)),
                list(map(min, starts, ends)),
                ends,
                [10.0] * len(ends),
            ]
            file.write_table(pyarrow.table(dict(zip(names, columns, strict=True)), schema))
            opened, done = ends[-1], done + len(ends)


def run(bot: str, data: Path, *, orders: int) -> Cost:
    """The command as a process, and what it cost."""
    answer = data.with_suffix(".json")
    command = [sys.executable, "-m", "holdfast", "backtest", f"{__file__}:{bot}", "--json"]
    with answer.open("wb") as out:
        child = os.posix_spawn(
            sys.executable,
            [*command, "--data", f"{SYMBOL}={data}"],
            dict(os.environ),
            file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), 1)],
        )
        _, status, usage = os.wait4(child, 0)
    said = json.loads(answer.read_bytes())
    assert os.waitstatus_to_exitcode(status) == 0, said
    (result,) = said["runs"]
    assert result["counts"]["orders"] == orders, result["counts"]
    unit = 1024 if sys.platform == "linux" else 1024**2
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


def measured(folder: Path, bot: str, counts: tuple[int, int], *, each: int) -> list[Cost]:
    """Costs of a thousand candles, and of the two counts."""
    costs = []
    for count in (1_000, *counts):
        data = folder / f"{count}.parquet"
        write(data, count)
        costs.append(run(bot, data, orders=count * each))
        data.unlink()
    return costs


def ratio(costs: list[Cost], counts: tuple[int, int]) -> float:
    """How much longer one takes where there are more of them."""
    start, few, many = (cost.cpu_seconds for cost in costs)
    return ((many - start) / counts[1]) / ((few - start) / counts[0])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--candles", type=int, default=1_000_000)
    arguments.add_argument("--orders", type=int, default=20_000)
    arguments.add_argument("--factor", type=int, default=10)
    options = arguments.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for what, bot, count in (
            ("candles", "Nothing", options.candles),
            ("orders", "Each", options.orders),
        ):
            counts = (count, count * options.factor)
            costs = measured(Path(folder), bot, counts, each=int(bot == "Each"))
            rows[what] = {
                "counts": counts,
                "cpu_seconds": [cost.cpu_seconds for cost in costs[1:]],
                "peak_mb": [cost.peak_mb for cost in costs[1:]],
                "ratio": ratio(costs, counts),
                "more_mb": costs[2].peak_mb - costs[1].peak_mb,
            }
    if options.json:
        print(json.dumps(rows))
        return
    print(f"Python {platform.python_version()}")
    for what, row in rows.items():
        linear = "reached" if row["ratio"] <= MOST_RATIO else "missed"
        first, last = row["counts"]
        print(
            f"{what}: {first:,} in {row['cpu_seconds'][0]:.1f} s of CPU, {last:,} in "
            f"{row['cpu_seconds'][1]:.1f} s: {row['ratio']:.2f} x for each; linear: {linear}"
        )
        memory = f"    peak {row['peak_mb'][0]:.0f} MB and {row['peak_mb'][1]:.0f} MB: "
        memory += f"{row['more_mb']:+.1f} MB"
        if what == "candles":
            verdict = "reached" if row["more_mb"] <= MOST_MORE_MB else "missed"
            memory += f"; goal {MOST_MORE_MB} MB: {verdict}"
        else:
            memory += f", {row['more_mb'] * 2**20 / (last - first):,.0f} bytes for each order"
        print(memory)


if __name__ == "__main__":
    main()
