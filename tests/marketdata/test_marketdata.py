"""Market data: every layout that is promised, and what a bad file gets told."""

from __future__ import annotations

import gzip
import random
import sys
import zipfile
from decimal import Decimal
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.marketdata import Bar, DataError, Tick, bars, columnar, random_walk, ticks
from holdfast.marketdata.records import ticks_of_bars

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no recorded data in ../shared/data")

KLINE = "1746372780000,95505.4,95506.0,95502.0,95502.7,16.5,1746372839999,1.5,10,8.2,7.9,0"
AGG_FUTURES = "26129,59000.1,0.004,27781,27781,1746372780123,true"
AGG_SPOT = "26129,59000.1,0.004,27781,27781,1746372780123456,True,True"
TRADE_FUTURES = "4200,59000.1,0.004,236.0,1746372780123,true"
TRADE_SPOT = "4200,59000.1,0.004,236.0,1746372780123456,True,True"

EXPECTED_TICK = Tick(1746372780123, Decimal("59000.1"), Decimal("0.004"))
EXPECTED_BAR = Bar(
    1746372780000, *map(Decimal, ("95505.4", "95506.0", "95502.0", "95502.7", "16.5"))
)


def write(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(path.with_suffix(".csv").name, text)
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.zip"])
@pytest.mark.parametrize(
    "header",
    ["", "open_time,open,high,low,close,volume,close_time,quote_volume,count,tbv,tbqv,ignore\n"],
)
def test_klines_of_binance(tmp_path: Path, name: str, header: str) -> None:
    assert list(bars(write(tmp_path / name, header + KLINE + "\n"))) == [EXPECTED_BAR]


@pytest.mark.parametrize(
    "text",
    [
        AGG_FUTURES,
        AGG_SPOT,
        TRADE_FUTURES,
        TRADE_SPOT,
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
        + AGG_FUTURES,
        "id,price,qty,quote_qty,time,is_buyer_maker\n" + TRADE_FUTURES,
        "\ufefftime,price,amount\n2025-05-04T15:33:00.123Z,59000.1,0.004",
    ],
)
def test_trades(tmp_path: Path, text: str) -> None:
    assert list(ticks(write(tmp_path / "t.csv", text))) == [EXPECTED_TICK]


@pytest.mark.parametrize(
    "stamp",
    [
        "1746372780",
        "1746372780000",
        "1746372780000000",
        "1746372780000000000",
        "2025-05-04 15:33:00",
        "2025-05-04T17:33:00+02:00",
    ],
)
def test_every_common_form_of_time(tmp_path: Path, stamp: str) -> None:
    text = f"Date,Open,High,Low,Close,Volume\n{stamp},2,3,1,2,10\n"
    assert next(bars(write(tmp_path / "x.csv", text))).time_ms == 1746372780000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no data"),
        ("time,open,high,low,close,volume\n", "holds no data"),
        ("1,2,3\n", r":1: 3 columns without names"),
        ("a,b,c\n1,2,3\n", r":1: columns a, b, c hold neither"),
        (f"{KLINE}\n{KLINE.replace('95506.0', 'x')}\n", r":2: high: 'x' is no number"),
        (f"{KLINE}\n{KLINE.replace('95506.0', 'nan')}\n", r":2: high: 'nan' is no finite"),
        (f"{KLINE}\n{KLINE.replace('95502.0', '-1')}\n", r":2: low: '-1' is not above zero"),
        (f"{KLINE}\n{KLINE.replace('16.5', '-1')}\n", r":2: volume: '-1' is below zero"),
        (f"{KLINE}\n{KLINE.replace('95506.0', '95502.1')}\n", r":2: open .* not between"),
        (f"{KLINE}\n1746372840000,95505.4\n", r":2: the line is cut off"),
        (f"{KLINE}\n{KLINE.replace('17463', '17462', 1)}\n", "record 2 is older"),
        (f"{KLINE}\n{KLINE.replace('1746372780000', 'noon', 1)}\n", r":2: time: 'noon' is neither"),
    ],
)
def test_a_bad_file_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as error:
        list(ticks(write(tmp_path / "bad.csv", text)))
    assert "bad.csv" in str(error.value)


def test_damaged_containers(tmp_path: Path) -> None:
    whole = gzip.compress("\n".join([KLINE] * 5000).encode())
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "no.zip").write_bytes(b"not a zip")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00" * 50)
    (tmp_path / "x.feather").write_bytes(b"nothing")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", KLINE)
        archive.writestr("b.csv", KLINE)
    for name, said in (
        ("cut.csv.gz", "can not be read on"),
        ("no.zip", "can not be opened"),
        ("binary.csv", ":1: this is no text"),
        ("two.zip", "expected one CSV file inside"),
        ("x.feather", "can not be read"),
        ("gone.csv", "no such file"),
    ):
        with pytest.raises(DataError, match=said):
            list(ticks(tmp_path / name))
    (tmp_path / "x.xlsx").touch()
    with pytest.raises(DataError, match=r"expected one of .csv"):
        ticks(tmp_path / "x.xlsx")


def test_trades_are_not_candles(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not candles"):
        bars(write(tmp_path / "t.csv", AGG_FUTURES))


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table(
        {
            "timestamp": [1746372780000, 1746372840000],
            **{name: [2.5, 2.5] for name in ("open", "high", "low", "close", "volume")},
        }
    )
    parquet.write_table(table, tmp_path / "p.parquet")
    assert [bar.time_ms for bar in bars(tmp_path / "p.parquet")] == [1746372780000, 1746372840000]

    table = table.set_column(1, "open", pyarrow.array([2.5, None]))
    parquet.write_table(table, tmp_path / "q.parquet")
    with pytest.raises(DataError, match=r"q\.parquet: row 2: open: None is no number"):
        list(bars(tmp_path / "q.parquet"))


def test_without_pyarrow_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.feather").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'holdfast\[data\]'"):
        ticks(tmp_path / "a.feather")


@needs_data
def test_real_candles_are_the_same_from_feather_and_csv() -> None:
    pytest.importorskip("pyarrow")
    feather = bars(DATA / "BTC_USDT_USDT-1m-futures.feather")
    text = bars(DATA / "BTCUSDT-1m-20250504-20250603.csv.gz")
    compared = 0
    for left, right in islice(zip(feather, text, strict=True), 5000):
        assert left == right
        compared += 1
    assert compared == 5000


prices = st.integers(1, 10_000).map(lambda units: Decimal(units) / 10)


@given(st.lists(st.tuples(prices, prices, prices, prices), min_size=1, max_size=20))
def test_ticks_of_bars_stay_inside_their_bar(rows: list[tuple[Decimal, ...]]) -> None:
    made = [
        Bar(number * 60_000, row[0], max(row), min(row), row[3], Decimal(8))
        for number, row in enumerate(rows)
    ]
    out = list(ticks_of_bars(made))
    assert len(out) == 4 * len(made)
    for number, bar in enumerate(made):
        part = out[4 * number : 4 * number + 4]
        assert part[0].price == bar.open
        assert part[-1].price == bar.close
        assert max(t.price for t in part) == bar.high
        assert min(t.price for t in part) == bar.low
        assert sum(t.quantity for t in part) == bar.volume
        assert all(bar.time_ms <= t.time_ms < bar.time_ms + 60_000 for t in part)
    assert all(a.time_ms <= b.time_ms for a, b in pairwise(out))


def test_the_walk_repeats_from_its_seed_and_stays_near_its_start() -> None:
    assert list(islice(random_walk(7), 1000)) == list(islice(random_walk(7), 1000))
    assert list(islice(random_walk(7), 50)) != list(islice(random_walk(8), 50))
    walked = [tick.price for tick in islice(random_walk(3), 50_000)]
    assert Decimal(50_000) < min(walked) < max(walked) < Decimal(70_000)
    assert all(price % Decimal("0.1") == 0 for price in walked)


def test_a_table_is_not_held_as_a_whole(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import feather, parquet

    count, generator = 60_000, random.Random(4)
    closes = [generator.random() for _ in range(count)]
    table = pyarrow.table(
        {
            "timestamp": range(1746372780000, 1746372780000 + count),
            **dict.fromkeys(("open", "high", "low", "close", "volume"), closes),
        }
    )
    files = [tmp_path / "a.parquet", tmp_path / "a.feather"]
    parquet.write_table(table, files[0], row_group_size=2_000, use_dictionary=False)
    feather.write_feather(table, str(files[1]), chunksize=2_000)
    del table
    for file in files:
        before, most = pyarrow.total_allocated_bytes(), 0
        for number, _, _ in columnar.rows(file):
            if number % 1_000 == 0:
                most = max(most, pyarrow.total_allocated_bytes() - before)
        assert number == count
        assert most < count * 6 * 8 / 2, f"{file.name}: {most} bytes of {file.stat().st_size}"
