"""Funding fees in backtests: due at the right time, on what is held then, and in the figures."""

from __future__ import annotations

from collections import deque
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial
from pathlib import Path

import pytest
from backtest_rigs import BTC, FIRST_MS, MINUTE_MS, SYMBOL, Cross, walk, wanted_position

from holdfast import Bar, Bot, Order, OrderError
from holdfast.backtest import Backtest, backtest, figures
from holdfast.backtest.candle_recording import of_candles
from holdfast.backtest.funding import fixed, load_fees, recorded
from holdfast.backtest.reading import read
from holdfast.backtest.recording import Recording
from holdfast.errors import ConfigError
from holdfast.market import Trade
from holdfast.marketdata import DataError
from holdfast.marketdata.files import Files

CANDLES = walk(1400)
HOUR_MS = 3_600_000
DUE = [at for at in range(FIRST_MS, FIRST_MS + 1400 * MINUTE_MS) if at % (8 * HOUR_MS) == 0]
"""15:33 to 14:53 a day later: three of them."""
PRICES = {candle.time_ms + MINUTE_MS: Decimal(str(candle.close)) for candle in CANDLES}


@pytest.fixture
def data(tmp_path: Path) -> str:
    path = tmp_path / "candles.csv"
    path.write_text("\n".join(",".join(map(str, candle)) for candle in CANDLES))
    return f"{SYMBOL}={path}"


def plain(fees: dict[int, tuple[Decimal, Decimal | None]]) -> tuple[Decimal, Decimal]:
    """Profit and funding of `Cross`, by a loop over the closes.

    :param fees: by the end of a candle: rate, and mark price or None for the close.
    """
    cash = held = funding = Decimal(0)
    closes: deque[float] = deque(maxlen=8)
    for candle in CANDLES:
        price, end_ms = Decimal(str(candle.close)), candle.time_ms + MINUTE_MS
        if end_ms in fees:  # before the bot hears of the candle
            rate, mark = fees[end_ms]
            fee = -held * (price if mark is None else mark) * rate
            funding += fee.quantize(Decimal("0.00000001"), ROUND_HALF_EVEN)
        closes.append(candle.close)
        if len(closes) == 8 and (missing := wanted_position(list(closes)) - held):
            cash -= missing * price + abs(missing) * price * Decimal("0.0005")
            held += missing
    return cash + held * Decimal(str(CANDLES[-1].close)) + funding, funding


def told(result: Backtest) -> tuple[Decimal, Decimal]:
    (run,) = result.runs
    assert run.failure is None, run.failure
    return run.profit, run.funding


def test_a_fixed_rate_is_due_every_eight_hours(data: str) -> None:
    result = backtest(Cross, [data], funding=["0.0001"])
    profit, funding = plain({at: (Decimal("0.0001"), None) for at in DUE})
    assert len(DUE) == 3
    assert funding
    assert told(result) == (profit, funding)
    assert result.data[0].fundings == 3
    (row,) = (row for row in figures.rows(result) if row.name == "funding")
    assert row.values == (f"{-funding:,.2f}",)
    assert told(backtest(Cross, [data])) == (profit - funding, 0)


@pytest.mark.parametrize("marked", [True, False])
def test_recorded_rates_are_due_when_positions_were_counted(
    tmp_path: Path, data: str, *, marked: bool
) -> None:
    rates = [Decimal("0.0003"), Decimal("-0.0002"), Decimal("0.00005")]
    marks = [Decimal("60123.45"), Decimal("59876.5"), Decimal("61000.1")]
    path = tmp_path / "BTCUSDT-fundingRate-2025-05.csv"
    # The venue notes the moment of its calculation, a little after the hour.
    if marked:
        lines = ["symbol,fundingTime,fundingRate,markPrice"]
        lines += [f"BTCUSDT,{DUE[i] + 7},{rates[i]},{marks[i]}" for i in range(3)]
    else:
        lines = ["calc_time,funding_interval_hours,last_funding_rate"]
        lines += [f"{DUE[i] + 7},8,{rates[i]}" for i in range(3)]
    # What lies outside of the candles is no business of theirs.
    lines.append(lines[-1].replace(str(DUE[-1] + 7), str(DUE[-1] + 8 * HOUR_MS)))
    path.write_text("\n".join(lines))
    fees = {DUE[i]: (rates[i], marks[i] if marked else None) for i in range(3)}
    assert [fee.time_ms for fee in recorded(path)][:3] == DUE
    result = backtest(Cross, [data], funding=[f"BTCUSDT={path}"])
    assert told(result) == plain(fees)
    assert result.data[0].fundings == 3


def kinds_at(recording: Recording, time_ms: int) -> list[tuple[str, bool]]:
    lanes = [
        recording.lanes[row[6]]
        for row in recording.rows()
        if row[0] + recording.lanes[row[6]].length_ms == time_ms
    ]
    return [(lane.kind, lane.told) for lane in lanes]


def test_the_fee_is_between_the_prices_before_it_and_whoever_hears_of_them(tmp_path: Path) -> None:
    fees = partial(fixed, Decimal("0.0001"))
    candles = of_candles(
        SYMBOL, enumerate(CANDLES, 1), source=Files([tmp_path]), bars=["1m", "5m"], fees=fees
    )
    at = DUE[0]
    assert kinds_at(candles, at) == [
        ("candle", False), ("fee", False), ("bar", True), ("bar", True)
    ]  # fmt: skip
    assert kinds_at(candles, at + MINUTE_MS) == [("candle", True)]
    path = tmp_path / "BTCUSDT.csv"
    path.write_text("\n".join(f"{i},6,1,1,1,{at - 60_000 + 30_000 * i},true" for i in range(5)))
    trades = read(BTC, path, fees=fees)
    assert kinds_at(trades, at) == [("fee", False), ("bar", True), ("trade", True)]


class GetsOut(Cross):
    """Holds, but for the moment at which the fee is due."""

    async def on_bar(self, bar: Bar) -> None:
        hour = (bar.time_ms + bar.interval_ms) % (8 * HOUR_MS) == 0
        missing = (
            -self.engine.position(SYMBOL)
            if hour
            else Decimal("0.010") - self.engine.position(SYMBOL)
        )
        if missing:
            try:
                side = "buy" if missing > 0 else "sell"
                await self.engine.submit(Order(SYMBOL, side, abs(missing)))
            except OrderError:
                return


def test_nobody_gets_out_of_a_fee_by_the_candle_that_ends_with_it(data: str) -> None:
    result = backtest(GetsOut, [data], funding=["0.0001"])
    fee = Decimal("0.010") * Decimal("0.0001")
    assert told(result)[1] == -sum(
        (PRICES[at] * fee).quantize(Decimal("0.00000001"), ROUND_HALF_EVEN) for at in DUE
    )


class BuysOnce(Bot):
    async def on_trade(self, trade: Trade) -> None:
        if trade.trade_id == 2:
            await self.engine.submit(Order(SYMBOL, "buy", "0.010"))


def test_a_fee_is_due_between_trades_too(tmp_path: Path) -> None:
    at = DUE[0]
    path = tmp_path / "BTCUSDT.csv"
    lines = [f"{i},{60_000 + i},1,1,1,{at - 60_000 + 7_000 * i},false" for i in range(20)]
    path.write_text("\n".join(lines))
    result = backtest(BuysOnce, [str(path)], funding=["0.0001"])
    assert result.data[0].fundings == 1
    # By the trade four seconds before it, not by the one three seconds after.
    assert told(result)[1] == -Decimal("0.010") * 60_008 * Decimal("0.0001")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["calc_time,last_funding_rate", f"{DUE[0]},nan"], ":2: funding rate: 'nan' is no finite"),
        (
            ["calc_time,last_funding_rate", f"{DUE[0]},1.5"],
            ":2: funding rate: '1.5' is no fraction",
        ),
        (
            ["calc_time,last_funding_rate", f"{DUE[1]},0.1", f"{DUE[0]},0.1"],
            ":3: this funding rate is not after the one before",
        ),
        (["fundingTime,fundingRate,markPrice", f"{DUE[0]},0.1,-5"], ":2: mark price: '-5' is not"),
        (["calc_time,last_funding_rate"], ": holds no data"),
        (["time,price,quantity", f"{DUE[0]},1,1"], ":2: this is no funding rate"),
    ],
)
def test_bad_funding_rates_are_told_with_their_line(
    tmp_path: Path, lines: list[str], says: str
) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(DataError) as refused:
        load_fees([str(path)], [BTC])
    assert f"{path}{says}" in str(refused.value)


def test_funding_that_can_not_be_is_refused(tmp_path: Path) -> None:
    for given, says in (
        (["2"], "funding: 2 is no fraction"),
        (["nan"], "funding: nan is no fraction"),
        (["ETHUSDT=0.1"], "funding: 'ETHUSDT' is not traded here; there is BTCUSDT"),
        (["0.1", "BTCUSDT=0.1"], "funding: BTCUSDT is given twice"),
    ):
        with pytest.raises(ConfigError, match=says):
            load_fees(given, [BTC])
    rates = tmp_path / "rates.csv"
    rates.write_text(f"calc_time,last_funding_rate\n{DUE[0]},0.1\n")
    with pytest.raises(DataError, match=r"rates\.csv: holds funding rates; give them by --funding"):
        read(BTC, rates)
