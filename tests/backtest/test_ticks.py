"""Trades, quotes and raw feeds as data: what is told, what is filled, what is refused."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from backtest_rigs import SYMBOL

from holdfast import Bar, Bot, Fill, MarketGap, Order, OrderError
from holdfast.backtest import Account, Backtest, Run, backtest
from holdfast.backtest.reading import read
from holdfast.campaign.plan import ExchangeOutage, FaultPlan
from holdfast.errors import ConfigError, HoldfastError
from holdfast.market import Quote, Trade
from holdfast.marketdata import DataError
from holdfast.marketdata.frames import events as frames_of
from holdfast.transports.sim.rules import DEFAULT_MARKETS

BTC, ETH = DEFAULT_MARKETS[:2]
START_MS = 1_746_372_750_000
"""Thirty seconds before a full minute."""
MINUTE_MS = 60_000
DATA = Path(__file__).parents[2].parent / "shared" / "data"

Said = tuple[float, float, float, bool]
"""A trade: seconds since the start, price, quantity, whether the seller took."""


def agg_trades(trades: Iterable[Said], *, first_id: int = 100) -> list[str]:
    return [
        f"{first_id + i},{price},{quantity},{i},{i},{START_MS + round(at * 1000)},{sold}"
        for i, (at, price, quantity, sold) in enumerate(trades)
    ]


def written(path: Path, lines: list[str]) -> Path:
    text = "\n".join(lines) + "\n"
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inside.csv", text)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


class Listener(Bot):
    """Hears everything; each test's own kind acts."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        made.append(self)

    async def on_trade(self, trade: Trade) -> None:
        self.heard.append(trade)

    async def on_quote(self, quote: Quote) -> None:
        self.heard.append(quote)

    async def on_bar(self, bar: Bar) -> None:
        self.heard.append(bar)

    async def on_gap(self, gap: MarketGap) -> None:
        self.heard.append(gap)

    async def on_fill(self, fill: Fill) -> None:
        self.heard.append(fill)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kind)]


made: list[Listener] = []


def heard(bot: type[Listener], *data: str, **options: Any) -> tuple[Listener, Run, Backtest]:
    made.clear()
    result = backtest(bot, data, **options)
    run = result.runs[0]
    assert run.failure is None, run.failure
    return made[0], run, result


QUIET: list[Said] = [(0.0, 60_000.0, 1.0, False), (10.0, 60_010.0, 0.5, True)]
"""Before the first full minute."""


@pytest.mark.parametrize("name", ["t.csv", "t.zip", "t.csv.gz", "t.parquet"])
def test_every_trade_is_told_and_bars_are_made_of_them(tmp_path: Path, name: str) -> None:
    said: list[Said] = [
        *QUIET,
        (30.0, 60_020.1, 0.1, False),  # opens the first whole minute
        (45.5, 60_000.5, 0.2, True),
        (89.999, 60_030.0, 0.3, False),
        (215.0, 60_050.0, 1.0, False),  # in the minute after one without a trade
        (300.0, 60_040.0, 2.0, True),
    ]
    path = tmp_path / name
    if name.endswith(".parquet"):
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        table = pyarrow.table(
            {
                "agg_trade_id": list(range(100, 107)),
                "price": [trade[1] for trade in said],
                "quantity": [trade[2] for trade in said],
                "transact_time": [START_MS + round(trade[0] * 1000) for trade in said],
                "is_buyer_maker": [trade[3] for trade in said],
            }
        )
        parquet.write_table(table, path)
    else:
        written(path, agg_trades(said))
    bot, _, result = heard(Listener, f"{SYMBOL}={path}")
    assert bot.of(Trade) == [
        Trade(SYMBOL, START_MS + round(at * 1000), 100 + i, price, quantity, sold)
        for i, (at, price, quantity, sold) in enumerate(said)
    ]
    minute = START_MS + 30_000
    assert bot.of(Bar) == [
        Bar(SYMBOL, minute, MINUTE_MS, 60_020.1, 60_030.0, 60_000.5, 60_030.0, 0.6),
        Bar(SYMBOL, minute + MINUTE_MS, MINUTE_MS, 60_030.0, 60_030.0, 60_030.0, 60_030.0, 0.0),
        Bar(SYMBOL, minute + 2 * MINUTE_MS, MINUTE_MS, 60_030.0, 60_030.0, 60_030.0, 60_030.0, 0.0),
        Bar(SYMBOL, minute + 3 * MINUTE_MS, MINUTE_MS, 60_050.0, 60_050.0, 60_050.0, 60_050.0, 1.0),
    ]
    # A bar is told when it has ended, before the trade that comes then.
    assert [type(event) for event in bot.heard[-2:]] == [Bar, Trade]
    (data,) = result.data
    assert (data.trades, data.candles, data.gaps, data.bars) == (7, 0, 0, ("1m",))


class BuysAtOnce(Listener):
    order = Order(SYMBOL, "buy", "0.400")

    async def on_trade(self, trade: Trade) -> None:
        await super().on_trade(trade)
        if trade.trade_id == 101:
            await self.engine.submit(self.order)


class BidsBelow(BuysAtOnce):
    order = Order(SYMBOL, "buy", "0.400", price="60000")


FALLS: list[Said] = [
    *QUIET,
    (12.0, 60_000.0, 5.0, True),  # at the price of the bid: others were first in the queue
    (13.0, 59_999.9, 0.3, True),  # through it, but not enough for all
    (14.0, 59_999.8, 5.0, True),
    (15.0, 60_000.0, 1.0, False),
]


def fills(run: Listener) -> list[tuple[Decimal, Decimal]]:
    return [(fill.price, fill.quantity) for fill in run.of(Fill)]


def test_a_taker_pays_the_last_trade_and_a_tick_and_a_bid_waits_to_be_traded_through(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "BTCUSDT-aggTrades.csv", agg_trades(FALLS))
    taker, _, _ = heard(BuysAtOnce, str(path))
    assert fills(taker) == [(Decimal("60010.1"), Decimal("0.400"))]
    taker, _, _ = heard(BuysAtOnce, str(path), account=Account(slippage_ticks=7))
    assert fills(taker) == [(Decimal("60010.7"), Decimal("0.400"))]

    maker, run, _ = heard(BidsBelow, str(path))
    assert fills(maker) == [
        (Decimal(60_000), Decimal("0.300")),
        (Decimal(60_000), Decimal("0.100")),
    ]
    assert run.fees == Decimal("0.0002") * 24_000
    maker, _, _ = heard(BidsBelow, str(path), account=Account(maker_rule="touch"))
    assert fills(maker) == [(Decimal(60_000), Decimal("0.400"))]


def test_a_missing_trade_is_told_and_its_bar_is_not(tmp_path: Path) -> None:
    lines = agg_trades([(30.0 * n, 60_000.0 + n, 1.0, False) for n in range(10)])
    path = written(tmp_path / "BTCUSDT.csv", lines[:4] + lines[6:])
    bot, _, result = heard(Listener, str(path))
    (data,) = result.data
    assert (data.gaps, data.missing, data.first_gap) == (1, 2, f"{path}:5")
    (gap,) = bot.of(MarketGap)
    assert gap == MarketGap(SYMBOL, START_MS + 90_000, "2 trades are not recorded")
    minute = START_MS + 30_000
    # The minutes of the missing trades (at 120 and 150 s) are in the one that the hole ends in.
    assert [bar.time_ms for bar in bot.of(Bar)] == [minute, minute + 3 * MINUTE_MS]


def test_several_symbols_come_in_the_order_of_time(tmp_path: Path) -> None:
    btc = written(
        tmp_path / "b.csv", agg_trades([(2.0 * n, 60_000.0, 1.0, False) for n in range(50)])
    )
    eth = written(
        tmp_path / "e.csv", agg_trades([(1.0 + 3 * n, 3_000.0, 1.0, True) for n in range(30)])
    )
    bot, _, _ = heard(Listener, f"BTCUSDT={btc}", f"ETHUSDT={eth}")
    times = [trade.time_ms for trade in bot.of(Trade)]
    assert times == sorted(times)
    assert {trade.symbol for trade in bot.of(Trade)} == {BTC.symbol, ETH.symbol}
    assert len(times) == 80


def test_an_outage_keeps_trades_from_a_bot_and_it_is_told_so(tmp_path: Path) -> None:
    lines = agg_trades([(1.0 * n, 60_000.0, 1.0, False) for n in range(600)])
    path = written(tmp_path / "BTCUSDT.csv", lines)
    outage = ExchangeOutage(at_seconds=100, seconds=120)
    plan = FaultPlan(seed=1, horizon_seconds=599, faults=(outage,))
    made.clear()
    result = backtest(Listener, [str(path)], faults=plan)
    assert not [run.breaches for run in result.runs if run.breaches]
    for bot in made[1:]:
        (gap,) = bot.of(MarketGap)
        assert "could not be reached" in gap.reason
        assert len(bot.of(Trade)) == pytest.approx(480, abs=5)
        # The bars can be asked for afterwards: none is missing.
        assert [b.time_ms for b in bot.of(Bar)] == [b.time_ms for b in made[0].of(Bar)]


# --- quotes ---------------------------------------------------------------------------------

TICKER = "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event"


def book_ticker(quotes: Iterable[tuple[float, float, float, float, float]]) -> list[str]:
    return [
        f"{i},{bid},{bid_size},{ask},{ask_size},{START_MS + round(at * 1000)},0"
        for i, (at, bid, bid_size, ask, ask_size) in enumerate(quotes)
    ]


QUOTES = [
    (0.0, 60_000.0, 1.0, 60_000.1, 1.0),
    (5.0, 60_000.0, 1.0, 60_002.0, 0.25),
    (10.0, 59_999.0, 1.0, 59_999.5, 0.1),
    (20.0, 59_999.0, 1.0, 59_999.4, 9.0),
]


class BuysTheQuote(Listener):
    order = Order(SYMBOL, "buy", "0.400")

    async def on_quote(self, quote: Quote) -> None:
        await super().on_quote(quote)
        if quote.ask == 60_002.0:
            await self.engine.submit(self.order)


class BidsInTheSpread(BuysTheQuote):
    order = Order(SYMBOL, "buy", "0.400", price="60000")


@pytest.mark.parametrize("header", [[TICKER], []])
def test_orders_are_filled_against_quotes(tmp_path: Path, header: list[str]) -> None:
    path = written(tmp_path / "BTCUSDT-bookTicker.csv", header + book_ticker(QUOTES))
    taker, _, result = heard(BuysTheQuote, str(path))
    assert taker.of(Quote)[1] == Quote(SYMBOL, START_MS + 5_000, 60_000.0, 1.0, 60_002.0, 0.25)
    assert result.data[0].quotes == 4
    assert fills(taker) == [(Decimal(60_002), Decimal("0.250"))], "no more than was offered"
    maker, _, _ = heard(BidsInTheSpread, str(path))
    assert fills(maker) == [
        (Decimal(60_000), Decimal("0.100")),
        (Decimal(60_000), Decimal("0.300")),
    ]


def test_trades_and_quotes_of_two_files_are_one_market(tmp_path: Path) -> None:
    trades = written(tmp_path / "t.csv", agg_trades(FALLS))
    quotes = written(tmp_path / "q.csv", [TICKER, *book_ticker(QUOTES)])
    bot, _, result = heard(BuysTheQuote, f"BTCUSDT={trades}", f"BTCUSDT={quotes}")
    assert fills(bot) == [(Decimal(60_002), Decimal("0.250"))]
    (data,) = result.data
    assert (data.trades, data.quotes) == (6, 4)
    with pytest.raises(ConfigError, match=r"bars: .*q\.csv holds quotes only"):
        heard(Listener, f"BTCUSDT={quotes}", bars=["1m"])


# --- what is wrong --------------------------------------------------------------------------

T0, T1 = START_MS, START_MS + 1000
BAD = [
    ([f"1,60000,1,1,1,{T1},true", f"2,60000,1,1,1,{T0},true"], ":2: older than the one before"),
    ([f"1,60000,1,1,1,{T0},true", f"1,60000,1,1,1,{T0},true"], ":2: trade 1 stands twice"),
    ([f"2,60000,1,1,1,{T0},true", f"1,60000,1,1,1,{T0},true"], ":2: trade 1 comes after 2"),
    ([f"1,60000,1,1,1,{T0},true", f"2,nan,1,1,1,{T1},true"], ":2: price: 'nan' is no finite"),
    ([f"1,60000,1,1,1,{T0},true", f"2,60000,inf,1,1,{T1},true"], ":2: quantity: 'inf' is no"),
    ([f"1,60000,1,1,1,{T0},true", f"2,-1,1,1,1,{T1},true"], ":2: price: '-1' is not above zero"),
    ([f"1,60000,1,1,1,{T0},true", f"x,60000,1,1,1,{T1},true"], ":2: trade id: 'x' is no number"),
    ([f"1,60000,1,1,1,{T0},true", f"2,60000,1,1,1,{T1},maybe"], ":2: taker: 'maybe' is neither"),
    ([f"1,60000,1,1,1,{T0},true", f"2,60000,1,1,1,{T1}"], ":2: the line is cut off"),
    ([f"1,60000,1,60001,1,{T0},0", f"2,60002,1,60001,1,{T1},0"], ":2: the bid 60002 is above"),
    ([f"1,60000,1,60001,1,{T0},0", f"2,60000,nan,60001,1,{T1},0"], ":2: bid quantity: 'nan' is"),
    ([f"1,60000,1,60001,1,{T0},0", f"1,60000,1,60001,1,{T1},0"], ":2: update 1 stands twice"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "says"), BAD)
def test_a_bad_trade_or_quote_is_told_with_its_line(
    tmp_path: Path, lines: list[str], says: str
) -> None:
    path = written(tmp_path / "t.csv", lines)
    with pytest.raises(DataError) as refused:
        read(BTC, path)
    assert f"{path}{says}" in str(refused.value)


def test_files_of_one_symbol_have_to_go_together(tmp_path: Path) -> None:
    trades = written(tmp_path / "t.csv", agg_trades(QUIET))
    candles = written(tmp_path / "c.csv", [f"{START_MS},1,1,1,1,1"])
    with pytest.raises(ConfigError, match=r"BTCUSDT has trades and candles; give either"):
        read(BTC, trades, candles)
    with pytest.raises(
        DataError, match=r"t\.csv:1: trade \d+ comes after .* overlaps with .*t\.csv"
    ):
        read(BTC, trades, trades)


def test_trades_of_several_files_are_one_series(tmp_path: Path) -> None:
    lines = agg_trades([*QUIET, (20.0, 60_011.0, 0.5, True)])
    whole = read(BTC, written(tmp_path / "whole.csv", lines))
    parts = [written(tmp_path / f"{n}.csv", lines[n : n + 1]) for n in range(len(lines))]
    joined = read(BTC, *reversed(parts))
    assert list(joined.rows()) == list(whole.rows())
    assert joined.summary.source == f"{parts[0]} to {parts[-1]} ({len(parts)} files)"
    hole = read(BTC, parts[0], *parts[2:])
    assert hole.summary.gaps == 1
    assert hole.summary.first_gap == f"{parts[2]}:1"


# --- raw feeds ------------------------------------------------------------------------------


def trade_frame(number: int, at: float, price: str = "60000.0", quantity: str = "1") -> Any:
    time_ms = START_MS + round(at * 1000)
    return {"e": "trade", "s": "BTCUSDT", "t": number, "p": price, "q": quantity, "T": time_ms,
            "m": False}  # fmt: skip


def ticker_frame(number: int, at: float, bid: str = "60000.0") -> Any:
    time_ms = START_MS + round(at * 1000)
    return {"e": "bookTicker", "s": "BTCUSDT", "u": number, "b": bid, "B": "1", "a": "60000.1",
            "A": "1", "T": time_ms}  # fmt: skip


FEED = [
    ticker_frame(10, 0.0),
    trade_frame(1, 0.1),
    ticker_frame(11, 0.3),
    trade_frame(2, 0.2),  # the streams are not in step
    trade_frame(2, 0.2),  # twice
    ticker_frame(10, 0.0),  # late
    {"e": "depthUpdate", "s": "BTCUSDT", "b": [["1", "2"]], "a": []},
    {"lastUpdateId": 7, "bids": [["1", "2"]]},
    trade_frame(5, 0.9),  # two are missing
    {**trade_frame(6, 1.0), "s": "ETHUSDT"},
]


@pytest.mark.parametrize("name", ["feed.gz", "feed.jsonl"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_raw_feed_is_played_as_it_was_received(
    tmp_path: Path, name: str, *, wrapped: bool
) -> None:
    lines = [
        f"{i}000 {json.dumps({'stream': 'x', 'data': frame})}" if wrapped else json.dumps(frame)
        for i, frame in enumerate(FEED)
    ]
    path = written(tmp_path / name, lines)
    bot, _, result = heard(Listener, f"BTCUSDT={path}")
    (data,) = result.data
    assert (data.trades, data.quotes, data.dropped) == (3, 2, 2)
    assert data.first_dropped == f"{path}:5"
    assert (data.gaps, data.missing, data.first_gap) == (1, 2, f"{path}:9")
    kinds = [(type(event), event.time_ms - START_MS) for event in bot.heard]
    assert kinds == [
        (Quote, 0), (Trade, 100), (Quote, 300), (Trade, 200), (MarketGap, 200), (Trade, 900)
    ]  # fmt: skip


def kline_frame(minute: int, interval: str = "1m", *, closed: bool = True) -> Any:
    told = {"t": START_MS + minute * 60_000, "i": interval, "o": "100", "h": "102", "l": "99",
            "c": str(100 + minute), "v": "7", "x": closed}  # fmt: skip
    return {"e": "kline", "s": "BTCUSDT", "k": told}


def test_a_raw_feed_of_candles_is_played_where_there_is_nothing_finer(tmp_path: Path) -> None:
    frames = [
        kline_frame(0, closed=False),
        kline_frame(0),
        kline_frame(0, "5m"),
        {**kline_frame(1), "s": "ETHUSDT"},
        kline_frame(1),
        kline_frame(1),  # told again by a stream that has connected again
        kline_frame(2, closed=False),
    ]
    path = written(tmp_path / "feed.jsonl", [json.dumps(frame) for frame in frames])
    recorded = read(BTC, path)
    assert [(row[0] - START_MS, row[4]) for row in recorded.rows()] == [(0, 100.0), (60_000, 101.0)]
    data = recorded.summary
    assert (data.candles, data.interval, data.dropped) == (2, "1m", 1)
    assert data.first_dropped == f"{path}:6"
    finer = written(tmp_path / "finer.jsonl", [json.dumps(f) for f in [*frames, trade_frame(1, 9)]])
    assert (read(BTC, finer).summary.candles, read(BTC, finer).summary.trades) == (0, 1)
    wrong = kline_frame(3)
    wrong["k"]["h"] = "nan"
    spoilt = written(tmp_path / "wrong.jsonl", [json.dumps(f) for f in [*frames, wrong]])
    with pytest.raises(DataError, match=r"wrong\.jsonl:8: .* is no candle"):
        read(BTC, spoilt)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("{", ":2: Input data was truncated"),
        (json.dumps(trade_frame(2, 1.0, price="nan")), ":2: price nan"),
        (json.dumps(trade_frame(2, 1.0, quantity="inf")), ":2: price 60000.0, quantity inf"),
        (json.dumps(trade_frame(2, 1.0, price="x")), ":2: could not convert"),
        (json.dumps(ticker_frame(1, 1.0, bid="60000.2")), ":2: bid 60000.2 (1), ask 60000.1"),
        (json.dumps({"e": "trade", "s": "BTCUSDT"}), ":2: Object missing required field"),
    ],
)
def test_an_unreadable_frame_is_told_with_its_line(tmp_path: Path, frame: str, says: str) -> None:
    path = written(tmp_path / "feed.jsonl", [json.dumps(FEED[0]), frame])
    with pytest.raises(DataError) as refused:
        read(BTC, path)
    assert f"{path}{says}" in str(refused.value)


def test_a_raw_feed_of_another_symbol_says_whose_it_is(tmp_path: Path) -> None:
    path = written(tmp_path / "feed.jsonl", [json.dumps(frame) for frame in FEED])
    with pytest.raises(DataError, match="SOLUSDT; there is BTCUSDT, ETHUSDT: name it, BTCUSDT="):
        list(frames_of(path, "SOLUSDT"))


@pytest.mark.skipif(not DATA.is_dir(), reason="no recorded data in ../shared/data")
def test_the_recorded_feed_of_binance_is_understood(tmp_path: Path) -> None:
    with gzip.open(DATA / "binance_usdm_btcusdt_feed_20240808.gz", "rb") as feed:
        lines = [line for _, line in zip(range(9_000), feed, strict=False)]
    path = tmp_path / "feed.gz"
    path.write_bytes(gzip.compress(b"".join(lines), 1))
    data = read(BTC, path).summary
    assert (data.trades, data.quotes) == tuple(
        sum(f'"e":"{kind}"'.encode() in line for line in lines) for kind in ("trade", "bookTicker")
    )
    assert (data.gaps, data.dropped) == (0, 0)


class NeverTrades(Listener):
    async def on_start(self) -> None:
        with pytest.raises(OrderError):
            await self.engine.submit(Order(SYMBOL, "buy", "0.400"))


def test_one_trade_is_enough_to_run(tmp_path: Path) -> None:
    path = written(tmp_path / "BTCUSDT.csv", agg_trades(QUIET[:1]))
    _, run, _ = heard(NeverTrades, str(path))
    assert run.counts.orders == 0


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    for name in ("t.csv", "feed.gz", "feed.jsonl"):
        with pytest.raises(HoldfastError, match="holds no"):
            read(BTC, written(tmp_path / name, []))
