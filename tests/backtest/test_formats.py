"""Every format of candles goes through the command itself, and what is wrong names file and row."""

from __future__ import annotations

import gzip
import json
import re
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from backtest_rigs import MINUTE_MS, walk
from click.testing import CliRunner

from holdfast.cli import main
from holdfast.marketdata.rows import Candle

CANDLES = walk(30)
KLINE_NAMES = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)
BUYER = """
from holdfast import Bot, Order
class Buyer(Bot):
    async def on_bar(self, bar):
        await self.engine.submit(Order("BTC/USDT:USDT", "buy", "0.010"))
"""


def klines(candles: list[Candle]) -> list[str]:
    return [
        ",".join(map(str, (*candle, candle.time_ms + MINUTE_MS - 1, 1.5, 10, 8.2, 7.9, 0)))
        for candle in candles
    ]


def text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def columns(candles: list[Candle], *, dates: bool) -> Any:
    """As freqtrade writes them (`date`, nanoseconds), or plain milliseconds."""
    pyarrow = pytest.importorskip("pyarrow")
    times = [candle.time_ms for candle in candles]
    made: dict[str, Any] = {"timestamp": times}
    if dates:
        stamps = [datetime.fromtimestamp(time / 1000, UTC) for time in times]
        made = {"date": pyarrow.array(stamps, pyarrow.timestamp("ns", tz="UTC"))}
    for name in ("open", "high", "low", "close", "volume"):
        made[name] = pyarrow.array([getattr(c, name) for c in candles], pyarrow.float64())
    return pyarrow.table(made)


def write(path: Path, candles: list[Candle]) -> Path:
    name = path.name
    if name.endswith(".csv.gz"):
        lines = ["date,open,high,low,close,volume", *(",".join(map(str, c)) for c in candles)]
        path.write_bytes(gzip.compress(text(lines)))
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("BTCUSDT-1m.csv", text([KLINE_NAMES, *klines(candles)]))
    elif name.endswith(".csv"):
        path.write_bytes(text(klines(candles)))
    elif name.endswith(".feather"):
        pytest.importorskip("pyarrow")
        from pyarrow import feather

        feather.write_feather(columns(candles, dates=True), str(path), chunksize=7)
    else:
        pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(columns(candles, dates=False), path, row_group_size=7)
    return path


def backtest(tmp_path: Path, data: Path, *, exit_code: int = 0) -> Any:
    bot = tmp_path / "buyer.py"
    bot.write_text(BUYER)
    done = CliRunner().invoke(main, ["backtest", f"{bot}:Buyer", "--data", str(data), "--json"])
    assert done.exit_code == exit_code, done.output
    return json.loads(done.stdout)


def refusal(tmp_path: Path, data: Path) -> str:
    """What the command says of a file that it can not use."""
    answer = backtest(tmp_path, data, exit_code=1)
    assert answer["ok"] is False
    return str(answer["error"])


NAMES = ["klines.csv", "klines.zip", "plain.csv.gz", "freqtrade.feather", "plain.parquet"]


def test_every_format_gives_the_same_run(tmp_path: Path) -> None:
    answers = [backtest(tmp_path, write(tmp_path / name, CANDLES)) for name in NAMES]
    assert {answer["data"][0]["candles"] for answer in answers} == {30}
    assert answers[0]["runs"][0]["counts"]["orders"] == 30
    assert len({answer["runs"][0]["digest"] for answer in answers}) == 1
    assert len({answer["runs"][0]["profit"] for answer in answers}) == 1


def disordered() -> list[Candle]:
    return [*CANDLES[:20], CANDLES[5], *CANDLES[21:]]


def unfinished() -> list[Candle]:
    return [*CANDLES[:20], CANDLES[20]._replace(close=float("nan")), *CANDLES[21:]]


LINES = {"klines.csv": ":21", "klines.zip": ":22", "plain.csv.gz": ":22"}
"""Where the twenty-first candle is; in a table it is row 21."""


@pytest.mark.parametrize("name", NAMES)
def test_bad_rows_are_named_in_every_format(tmp_path: Path, name: str) -> None:
    where = f"{name}{LINES.get(name, ': row 21')}: "
    for candles, says in (
        (disordered(), where + "this candle is older than the one before; sort the file"),
        (unfinished(), where + "close: "),
        ([], "holds no data"),
    ):
        assert says in refusal(tmp_path, write(tmp_path / name, candles))


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_told(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, walk(3000) if name.endswith((".gz", ".zip")) else CANDLES)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3 + 2])
    assert re.search(f"{name}.*(can not be|cut off|not)", refusal(tmp_path, path))
    path.write_bytes(b"\xff\xfe\x00" * 50)
    assert re.search(f"{name}.*(can not be|is no text)", refusal(tmp_path, path))


def test_a_file_that_mixes_two_kinds_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "mixed.csv"
    trade = f"26129,59000.1,0.004,27781,27781,{CANDLES[3].time_ms},true"
    path.write_bytes(text([*klines(CANDLES[:3]), trade]))
    assert "mixed.csv:4: the line is cut off: 7 columns of 12" in refusal(tmp_path, path)
    path.write_bytes(text([*(",".join(map(str, c)) for c in CANDLES[:3]), trade]))
    assert "mixed.csv:4: 7 columns, where the lines before have 6" in refusal(tmp_path, path)
