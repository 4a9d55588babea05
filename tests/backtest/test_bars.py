"""Bars longer than what is recorded: exact, and none that is not whole."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from backtest_rigs import FIRST_MS, MINUTE_MS, SYMBOL, recording, walk
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import Bar, Bot, Fill, MarketGap, Order
from holdfast.backtest import backtest
from holdfast.backtest.candle_recording import of_candles
from holdfast.backtest.funding import fixed, no_fees
from holdfast.errors import ConfigError
from holdfast.market import INTERVALS
from holdfast.marketdata.files import Files
from holdfast.marketdata.rows import Candle
from holdfast.testing import check, from_closes, play


def expected(candles: list[Candle], name: str) -> list[tuple[Any, ...]]:
    """By definition: every bar all of whose minutes are there."""
    length = INTERVALS[name]
    by_time = {candle.time_ms: candle for candle in candles}
    found = []
    for start in range(FIRST_MS // length * length, candles[-1].time_ms + MINUTE_MS, length):
        minutes = [by_time.get(t) for t in range(start, start + length, MINUTE_MS)]
        if None in minutes:
            continue
        whole = [candle for candle in minutes if candle is not None]
        volume = sum((Decimal(str(candle.volume)) for candle in whole), Decimal(0))
        found.append(
            (
                start,
                whole[0].open,
                max(candle.high for candle in whole),
                min(candle.low for candle in whole),
                whole[-1].close,
                float(volume),
            )
        )
    return found


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 1_000),
    holes=st.lists(st.tuples(st.integers(1, 249), st.integers(1, 30)), max_size=4),
    fee=st.booleans(),
)
def test_longer_bars_are_exactly_what_their_minutes_say(
    seed: int, holes: list[tuple[int, int]], *, fee: bool
) -> None:
    missing = {n for start, count in holes for n in range(start, start + count)}
    candles = [
        candle._replace(volume=round((candle.volume * 7 + seed) / 1000, 3))
        for n, candle in enumerate(walk(250, seed=seed))
        if n not in missing
    ]
    made = of_candles(
        SYMBOL,
        enumerate(candles, 1),
        source=Files([Path("x.csv")]),
        bars=("1h", "5m", "15m"),
        fees=partial(fixed, Decimal("0.0001")) if fee else no_fees,
    )
    rows = list(made.rows())
    times = [row[0] + made.lanes[row[6]].length_ms for row in rows]
    assert times == sorted(times)
    told: dict[str, list[Any]] = {name: [] for name in ("1m", "5m", "15m", "1h")}
    names = {length: name for name, length in INTERVALS.items()}
    for row in rows:
        lane = made.lanes[row[6]]
        if lane.length_ms and lane.told:
            told[names[lane.length_ms]].append(row[:6])
    assert not told["1m"], "they were not asked for"
    for name in ("5m", "15m", "1h"):
        assert told[name] == expected(candles, name)


class Asks(Bot):
    """Hears of some bars, and asks for others when it has heard enough."""

    made: list[Asks]

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.asked: dict[str, list[Bar]] = {}
        Asks.made.append(self)

    async def on_bar(self, bar: Bar) -> None:
        self.heard.append(bar)
        for name in ("1m", "5m", "1h"):
            self.asked[name] = await self.engine.bars(SYMBOL, interval=name, limit=3)

    async def on_gap(self, gap: MarketGap) -> None:
        self.heard.append(gap)


def asks(candles: list[Candle], tmp_path: Path, **options: Any) -> Asks:
    path = tmp_path / "candles.csv"
    path.write_text("\n".join(",".join(map(str, candle)) for candle in candles))
    Asks.made = []
    (run,) = backtest(Asks, [f"{SYMBOL}={path}"], **options).runs
    assert run.failure is None, run.failure
    return Asks.made[0]


def test_a_bot_hears_of_the_bars_it_wants_and_may_ask_for_others(tmp_path: Path) -> None:
    candles = walk(300)
    bot = asks(candles, tmp_path, bars=["5m", "1h"])
    bars = [bar for bar in bot.heard if isinstance(bar, Bar)]
    for name in ("5m", "1h"):
        length = INTERVALS[name]
        mine = [bar for bar in bars if bar.interval_ms == length]
        assert [(b.time_ms, b.open, b.high, b.low, b.close, b.volume) for b in mine] == expected(
            candles, name
        )
    assert {bar.interval_ms for bar in bars} == {INTERVALS["5m"], INTERVALS["1h"]}
    ends = [bar.time_ms + bar.interval_ms for bar in bars]
    assert ends == sorted(ends)
    last_end = ends[-1]
    for name, asked in bot.asked.items():
        until = [row for row in expected(candles, name) if row[0] + INTERVALS[name] <= last_end]
        assert [(b.time_ms, b.open, b.high, b.low, b.close, b.volume) for b in asked] == until[-3:]

    funded = asks(candles[:28], tmp_path, bars=["5m"], funding=["0.0001"])
    assert [b.time_ms for b in funded.asked["1m"]] == [candles[n].time_ms for n in (24, 25, 26)]

    plain = asks(candles, tmp_path)
    assert plain.asked["1h"][-1].time_ms == bot.asked["1h"][-1].time_ms
    assert [bar.interval_ms for bar in plain.heard] == [MINUTE_MS] * 300


def test_a_bar_with_a_hole_is_not_handed_out_and_the_hole_is_told(tmp_path: Path) -> None:
    candles = walk(60)
    del candles[20:23]
    bot = asks(candles, tmp_path, bars=["5m"])
    (gap,) = (event for event in bot.heard if isinstance(event, MarketGap))
    assert gap.time_ms == candles[19].time_ms + MINUTE_MS
    bars = [bar.time_ms for bar in bot.heard if isinstance(bar, Bar)]
    assert bars == [row[0] for row in expected(candles, "5m")]
    # 15:35 is the first that is whole; 15:50 has lost its end, 15:55 its beginning.
    assert len(bars) == 11 - 2


def test_bars_that_can_not_be_made_are_refused(tmp_path: Path) -> None:
    fives = [c for i, c in enumerate(walk(30)) if i % 5 == 0]
    for candles, bars, says in (
        (fives, ["1m"], r"bars: 1m can not be made of .*, which are 5m long"),
        (fives, ["1h"], r"bars: 1h can not be made of .*: they do not open at the full 5m"),
        (walk(5), ["7m"], r"bars: '7m' is not one of 1m, 3m, 5m"),
    ):
        with pytest.raises(ConfigError, match=says):
            asks(candles, tmp_path, bars=bars)
    assert recording(fives).summary.bars == ("5m",)


def test_a_fill_between_two_bars_is_told_at_its_minute() -> None:
    """The minute that fills the order is told to nobody, and the bot waits for the next bar."""
    heard: list[tuple[float, str]] = []

    class Dip(Bot):
        async def on_bar(self, bar: Bar) -> None:
            heard.append((anyio.current_time(), "bar"))
            if len(heard) == 1:
                await self.engine.submit(Order(SYMBOL, "buy", "0.010", price="59900"))

        async def on_fill(self, fill: Fill) -> None:
            heard.append((anyio.current_time(), "fill"))

    closes = [60_000.0] * 11 + [59_800.0] + [60_000.0] * 3
    check(play(Dip, from_closes(closes), bars=("5m",), run_name="clean"))
    assert [(int(at) // 60, what) for at, what in heard] == [
        (5, "bar"),
        (10, "bar"),
        (12, "fill"),
        (15, "bar"),
    ]
