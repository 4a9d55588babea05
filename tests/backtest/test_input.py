"""What is wrong with data, plan or bot is told before the run, with file and line or key."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from backtest_rigs import FIRST_MS, MINUTE_MS, recording, walk
from click.testing import CliRunner

from holdfast.backtest.loading import find_data, load_bot, load_markets, read_data, split_data
from holdfast.backtest.reading import read
from holdfast.backtest.recording import in_time
from holdfast.backtest.spool import MEMORY_BYTES
from holdfast.campaign.plan import (
    ExchangeOutage,
    FaultPlan,
    OrderFault,
    SecondCopy,
    ServerOutage,
)
from holdfast.campaign.planfile import load_plan
from holdfast.cli import main
from holdfast.errors import ConfigError, HoldfastError
from holdfast.marketdata import DataError
from holdfast.transports.sim.rules import DEFAULT_MARKETS

HEADER = "timestamp,open,high,low,close,volume"
BTC, ETH = DEFAULT_MARKETS[:2]
GOOD = [f"{FIRST_MS + i * MINUTE_MS},100,101,99,100.5,7" for i in range(6)]


def written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def row(number: int, values: str, *, shift_ms: int = 0) -> str:
    return f"{FIRST_MS + number * MINUTE_MS + shift_ms},{values}"


GOOD_VALUES = "100,101,99,100.5,7"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "holds no data"),
        ([HEADER], "holds no data"),
        ([HEADER, *GOOD[:3], row(3, "100,101,99,nan,7")], ":5: close: 'nan' is no finite number"),
        ([HEADER, *GOOD[:3], row(3, "100,101,99,inf,7")], ":5: close: 'inf' is no finite number"),
        ([HEADER, *GOOD[:3], row(3, "100,101,99,x,7")], ":5: close: 'x' is no number"),
        ([HEADER, *GOOD[:3], row(3, "1e308,1e308,1e308,1e308,7")], ":5: open: '1e308' is no price"),
        ([HEADER, *GOOD[:3], row(3, "100,101,99,100,1e99")], ":5: volume: '1e99' is no quantity"),
        ([HEADER, "9" * 20 + ",100,101,99,100,7"], ":2: time: '99999999999999999999' is no time"),
        ([HEADER, *GOOD[:3], row(3, "100,101,99")], ":5: the line is cut off"),
        ([HEADER, *GOOD[:3], row(3, "-1,101,-2,100,7")], ":5: open: '-1' is not above zero"),
        ([HEADER, *GOOD[:3], row(3, "100,99,98,99,7")], ":5: open 100, close 99 not between"),
        ([HEADER, *GOOD[:3], row(3, "100,101,99,100,-1")], ":5: volume: '-1' is below zero"),
        ([HEADER, *GOOD[:3], GOOD[2]], ":5: this candle is as old as the one before"),
        ([HEADER, *GOOD[:3], GOOD[1]], ":5: this candle is older than the one before; sort"),
        (
            [HEADER, *GOOD[:4], row(4, GOOD_VALUES, shift_ms=-30_000), GOOD[5]],
            ":6: this candle begins before the one before has ended",
        ),
        ([HEADER, row(0, GOOD_VALUES), row(1, GOOD_VALUES, shift_ms=-59_999)], "are 0.001 s apart"),
        (["calc_time,last_funding_rate", f"{FIRST_MS},0.1"], ": holds funding rates; give them by"),
        (["a,b,c", "1,2,3"], ":1: columns a, b, c hold neither candles"),
    ],
)  # fmt: skip
def test_a_bad_candle_is_told_with_its_line(tmp_path: Path, lines: list[str], says: str) -> None:
    path = written(tmp_path / "data.csv", lines)
    with pytest.raises(DataError) as refused:
        read(BTC, path)
    assert str(path) in str(refused.value)
    assert says in str(refused.value)


def test_a_file_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "data.csv.gz"
    broken.write_bytes(gzip.compress("\n".join([HEADER, *GOOD]).encode())[:40])
    with pytest.raises(DataError, match="can not be read on"):
        read(BTC, broken)
    with pytest.raises(DataError, match="no such file"):
        read(BTC, tmp_path / "none.csv")
    with pytest.raises(DataError, match="expected one of"):
        read(BTC, written(tmp_path / "data.xls", GOOD))


def test_gaps_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    lines = [HEADER, *GOOD[:2], *[row(i, GOOD_VALUES) for i in (5, 6, 9)]]
    summary = read(BTC, written(tmp_path / "data.csv", lines)).summary
    assert (summary.candles, summary.gaps, summary.missing) == (5, 2, 5)
    assert summary.first_gap.endswith("data.csv:4")
    assert summary.interval == "1m"


def test_a_recording_gives_back_what_it_was_given_however_long_it_is() -> None:
    candles = walk(MEMORY_BYTES // 48 + 5_000)
    recorded = recording(candles)
    for _ in range(2):
        rows = recorded.rows()
        assert [next(rows)[:6] for _ in range(3)] == candles[:3]
        assert [r[:6] for r in rows][-3:] == candles[-3:]


def test_several_symbols_are_merged_by_the_end_of_their_candles() -> None:
    minutes = recording(walk(10))
    fives = recording([c for i, c in enumerate(walk(10)) if i % 5 == 0])
    first_of_fives = len(minutes.lanes)
    ends = [
        (row[0] + (MINUTE_MS if row[6] < first_of_fives else 5 * MINUTE_MS), row[6])
        for row in in_time([minutes, fives])
    ]
    assert ends == sorted(ends)
    assert [end for end, lane in ends if lane >= first_of_fives] == [
        FIRST_MS + 5 * MINUTE_MS,
        FIRST_MS + 10 * MINUTE_MS,
    ]


def test_data_is_found_its_market() -> None:
    markets = load_markets(None)
    assert split_data("ETHUSDT=x.csv", markets) == (ETH, Path("x.csv"))
    assert split_data("ETH/USDT:USDT=x.csv", markets) == (ETH, Path("x.csv"))
    assert split_data("a/ETH_USDT_USDT-1m-futures.feather", markets)[0] == ETH
    assert split_data("candles.csv", markets)[0] == BTC
    with pytest.raises(ConfigError, match=r"filters of 'ETHUSD' .*did you mean 'ETHUSDT'.*--mark"):
        split_data("ETHUSD=x.csv", markets)


def test_a_symbol_is_given_once(tmp_path: Path) -> None:
    path = written(tmp_path / "data.csv", [HEADER, *GOOD])
    with pytest.raises(DataError, match=r"data\.csv:2: .* older than .* overlaps with .*data\.csv"):
        read_data([(BTC, path), (BTC, path)])


def test_files_that_follow_one_another_are_one_series(tmp_path: Path) -> None:
    whole = read(BTC, written(tmp_path / "whole.csv", GOOD))
    for number, lines in (("02", GOOD[2:4]), ("01", GOOD[:2]), ("03", [HEADER, *GOOD[4:]])):
        written(tmp_path / f"BTCUSDT-1m-2025-{number}.csv", lines)
    found = list(find_data([str(tmp_path / "BTCUSDT-1m-*.csv")], load_markets(None)))
    ((_, (joined,))) = read_data(reversed(found))
    assert list(joined.rows()) == list(whole.rows())
    assert joined.summary.candles == len(GOOD)
    _, (hole,) = read_data([found[2], found[0]])
    assert hole.summary.first_gap == f"{found[2][1]}:2"
    with pytest.raises(ConfigError, match=r"there is no file .*ETHUSDT-\*\.csv"):
        list(find_data([str(tmp_path / "ETHUSDT-*.csv")], load_markets(None)))


def test_markets_of_a_file(tmp_path: Path) -> None:
    text = """[DOGEUSDT]\nbase = "DOGE"\nprice_step = "0.00001"\nquantity_step = "1"
min_quantity = "1"\nmin_notional = "5"\n"""
    path = tmp_path / "markets.toml"
    path.write_text(text)
    doge = load_markets(path)["DOGEUSDT"]
    assert doge.symbol == "DOGE/USDT:USDT"
    assert doge.price(0.12345) == doge.price_step * 12345
    for wrong, says in (
        (text.replace('"0.00001"', '"0"'), "price_step: 0 is not above 0"),
        (text.replace("min_notional", "least"), "DOGEUSDT"),
        ("[", "markets.toml"),
    ):
        path.write_text(wrong)
        with pytest.raises(ConfigError, match=says):
            load_markets(path)


# --- bots ---------------------------------------------------------------------------------

BOT = "from holdfast import Bot\nclass Mine(Bot):\n    def __init__(self, size=1): ...\n"


def test_a_bot_is_found_in_a_file_or_a_module(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(BOT)
    make, name = load_bot(f"{path}:Mine", {"size": 2})
    assert name == f"{path}:Mine"
    assert make() is not make()
    for address, says in (
        (f"{path}", "is no address"),
        (f"{path}:Mnie", r"has no Mnie \(did you mean 'Mine'\?\)"),
        (f"{path}:Bot", "is no class made from holdfast.Bot"),
        (f"{tmp_path}/none.py:Mine", "no such file"),
        ("no_such_module_of_mine:Mine", "can not be imported"),
        ("json:dumps", "is no class made from holdfast.Bot"),
    ):
        with pytest.raises(ConfigError, match=says):
            load_bot(address)
    with pytest.raises(ConfigError, match=r"Mine can not be made: .*colour"):
        load_bot(f"{path}:Mine", {"colour": "red"})
    path.write_text("1 / 0")
    with pytest.raises(ConfigError, match="ZeroDivisionError"):
        load_bot(f"{path}:Mine")


# --- plans --------------------------------------------------------------------------------

DAY_MS = 86_400_000
END_MS = FIRST_MS + 2 * DAY_MS


def plan_of(tmp_path: Path, text: str) -> FaultPlan:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return load_plan(path, first_ms=FIRST_MS, last_ms=END_MS)


def test_a_plan_is_what_its_file_says(tmp_path: Path) -> None:
    plan = plan_of(
        tmp_path,
        """
seed = 3
[[faults]]
kind = "server_outage"
at = 2025-05-05T00:00:00Z
until = "2025-05-05T00:10:00+00:00"
data = "emptied"
[[faults]]
kind = "exchange_outage"
at_seconds = 60
seconds = 30
[[faults]]
kind = "second_copy"
at_seconds = 7000
seconds = 30
[noise.exchange]
lost_reply = 0.25
[conditions]
latency_seconds = 0.5
""",
    )
    assert plan.seed == 3
    assert plan.horizon_seconds == 2 * 86_400
    outage, copy, server = plan.faults
    assert outage == ExchangeOutage(at_seconds=60, seconds=30)
    assert isinstance(copy, SecondCopy)
    assert isinstance(server, ServerOutage)
    assert (server.seconds, server.data) == (600, "emptied")
    assert FIRST_MS + server.at_seconds * 1000 == 1_746_403_200_000
    assert plan.noise.exchange.lost_reply == 0.25
    assert plan.conditions.latency_seconds == 0.5
    assert plan.conditions.lease_seconds is not None  # it keeps the second copy out


def test_rates_draw_the_same_for_the_same_seed(tmp_path: Path) -> None:
    text = """seed = 4
[rates]
order_fault = 40
exchange_outage = { per_day = 20, seconds = [100, 200], half = ["rest"] }
wall_clock_jump = 1
"""
    plan = plan_of(tmp_path, text)
    assert plan == plan_of(tmp_path, text)
    assert plan != plan_of(tmp_path, text.replace("seed = 4", "seed = 5"))
    orders = [fault for fault in plan.faults if isinstance(fault, OrderFault)]
    outages = [fault for fault in plan.faults if isinstance(fault, ExchangeOutage)]
    assert 50 < len(orders) < 115
    assert 20 < len(outages) < 65
    assert all(100 <= fault.seconds <= 200 and fault.half == "rest" for fault in outages)
    fewer = plan_of(tmp_path, text.replace("order_fault = 40\n", ""))
    assert [fault for fault in fewer.faults if isinstance(fault, ExchangeOutage)] == outages


FAULT = '\n[[faults]]\nkind = "flap"\nat_seconds = 5\n\n[[faults]]\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed = 'x'", ":1: seed: 'x' is no whole number"),
        ("\nfualts = 1", ":2: fualts: there is no such key (did you mean 'faults'?)"),
        ("seed = ", "Invalid value"),
        ("faults = 3", ":1: faults: give each fault"),
        (FAULT + "at_seconds = 5", ":6: faults[1]: kind is missing"),
        (FAULT + 'kind = "flop"\nat_seconds = 5', ":7: faults[1].kind: there is no 'flop' (did"),
        (FAULT + 'kind = "flap"', ":6: faults[1]: give at (a date) or at_seconds"),
        (FAULT + 'kind = "flap"\nat_seconds = -1', ":8: faults[1].at_seconds: -1 is not within"),
        (FAULT + 'kind = "flap"\nat_seconds = 999999', ":8: faults[1].at_seconds: 999999 is not"),
        (FAULT + 'kind = "flap"\nat_seconds = nan', ":8: faults[1].at_seconds: nan is no number"),
        (FAULT + 'kind = "flap"\nat = 2025-05-05T00:00:00', ":8: faults[1].at: 2025-05-05T00:0"),
        (FAULT + 'kind = "flap"\nat = 2024-05-05T00:00:00Z', ":8: faults[1].at: 2024-05-05T00:00"),
        (FAULT + 'kind = "flap"\nat = "noon"', ":8: faults[1].at: 'noon' is no date"),
        (FAULT + 'kind = "flap"\nat_seconds = 1\nserver = "fax"', ":9: faults[1].server: Invalid"),
        (FAULT + 'kind = "flap"\nat_seconds = 1\nservr = "bus"', ":9: faults[1].servr: there is"),
        (
            FAULT + 'kind = "hold"\nat_seconds = 86400\nuntil = 2025-05-05T00:00:00Z',
            ":9: faults[1].until: the recovery is not after the fault",
        ),
        (FAULT + 'kind = "hold"\nat_seconds = 9\nseconds = 0', ":9: faults[1].seconds: 0: the rec"),
        (FAULT + 'kind = "hold"\nat_seconds = 9\nseconds = -5', ":9: faults[1].seconds: -5 is neg"),
        (FAULT + 'kind = "hold"\nat_seconds = 9', ":6: faults[1]: Object missing required"),
        (
            FAULT + 'kind = "flap"\nat_seconds = 9\nuntil = 2025-05-05T00:00:00Z',
            ":9: faults[1].until: a flap is over at once",
        ),
        (FAULT + 'kind = "order_fault"\nat_seconds = 9\neffect = "lost_reply"\ncount = 0',
         ":10: faults[1].count: 0 is nothing"),
        ("[rates]\nflap = -1", ":2: rates.flap: a rate of -1"),
        ("[rates]\nflap = inf", ":2: rates.flap: a rate of inf"),
        ("[rates]\nflap = 1e9", ":2: rates.flap: 1e+09 in a day"),
        ("[rates]\nflip = 1", "rates.kind: there is no 'flip' (did you mean 'flap'?)"),
        ("[rates.flap]\nserver = ['bus']", ":1: rates.flap: per_day is missing"),
        ("[rates.hold]\nper_day = 9\nseconds = [-5, -4]", ":3: rates.hold.seconds: -"),
        ("[noise.fax]\nlost_reply = 1", ":1: noise.fax: there is no such port"),
        ("[noise.bus]\nlost_reply = 3", "noise.bus"),
        ("[noise.bus]\nlost_repyl = 1", "noise.bus"),
        ("[conditions]\nlatency_seconds = -1", ":2: conditions.latency_seconds: -1 is negative"),
        ("[conditions]\nlatency = 1", ":2: conditions.latency: there is no such key"),
        ("[conditions]\ndead_man_seconds = 1e6", ":2: conditions.dead_man_seconds: 1000000.0 is"),
        ("[conditions]\naudit_seconds = nan", ":2: conditions.audit_seconds: nan is no finite"),
        ("[conditions]\nliquidity = '0'", ":2: conditions.liquidity: 0 is nothing"),
        (FAULT + 'kind = "foreign_trade"\nat_seconds = 9\nside = "buy"\nquantity = "-1"',
         ":10: faults[1].quantity: -1 is negative"),
    ],
)  # fmt: skip
def test_an_impossible_plan_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        plan_of(tmp_path, text)
    assert "plan.toml" in str(refused.value)
    assert says in str(refused.value)


# --- the command --------------------------------------------------------------------------

BUYER = """
from holdfast import Bot, Order, OrderError
class Buyer(Bot):
    def __init__(self, size="0.010", fails=False):
        self.size, self.fails = size, fails
    async def on_bar(self, bar):
        try:
            await self.engine.submit(Order("BTC/USDT:USDT", "buy", self.size))
        except OrderError:
            pass
        if self.fails:
            raise RuntimeError("of mine")
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    lines = [f"{c.time_ms},{c.open},{c.high},{c.low},{c.close},{c.volume}" for c in walk(30)]
    data = written(tmp_path / "data.csv", [HEADER, *lines])
    bot = tmp_path / "buyer.py"
    bot.write_text(BUYER)
    return [f"{bot}:Buyer", "--data", str(data)]


def test_the_command_shows_the_runs_side_by_side(tmp_path: Path, files: list[str]) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('[[faults]]\nkind="order_fault"\neffect="lost_reply"\nat_seconds=100\ncount=2')
    done = CliRunner().invoke(main, ["backtest", *files, "--faults", str(plan)])
    assert done.exit_code == 0, done.output
    assert "with holdfast" in done.output
    assert "30 candles of 1m" in done.output
    (line,) = (line for line in done.output.splitlines() if line.startswith("orders doubled"))
    assert line.split()[-3:] == ["0", "0", "2"]


def test_the_command_answers_in_json(files: list[str]) -> None:
    done = CliRunner().invoke(main, ["backtest", *files, "--set", 'size="0.020"', "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.output)
    assert answer["ok"] is True
    assert [one["name"] for one in answer["runs"]] == ["clean"]
    assert answer["runs"][0]["counts"]["orders"] == 30
    assert answer["data"][0]["candles"] == 30


def test_the_command_ends_with_1_when_the_bot_raised(files: list[str]) -> None:
    done = CliRunner().invoke(main, ["backtest", *files, "--set", "fails=true"])
    assert done.exit_code == 1
    assert "RuntimeError: of mine at 2025-05-04 15:34:00 UTC" in done.output.replace("\n", " ")
    assert "position 0.010 BTC/USDT:USDT" in done.output.replace("\n", " ")
    done = CliRunner().invoke(main, ["backtest", *files, "--set", "fails=true", "--json"])
    assert done.exit_code == 1
    answer = json.loads(done.output)
    failure = answer["runs"][0]["failure"]
    assert answer["ok"] is False
    assert failure["error"] == "RuntimeError: of mine"
    assert failure["at_ms"] == FIRST_MS + MINUTE_MS + 10  # the way of its order
    assert "buyer.py:" in failure["where"]
    assert failure["open"] == ["position 0.010 BTC/USDT:USDT"]


@pytest.mark.parametrize("option", ["--set=size", "--data=NOSUCH=x.csv", "--faults=none.toml"])
def test_the_command_refuses_what_it_can_not_use(files: list[str], option: str) -> None:
    done = CliRunner().invoke(main, ["backtest", *files, option])
    assert done.exit_code == 1
    assert isinstance(done.exception, HoldfastError | SystemExit)
    assert option.partition("=")[2].partition("=")[0] in done.output


@pytest.mark.parametrize("command", ["backtest", "sweep"])
def test_a_page_that_can_not_be_written_is_told_before_the_runs(
    files: list[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.backtest.conduct.run", None)
    values = ["--set", "size=1,2"] if command == "sweep" else []
    done = CliRunner().invoke(main, [command, *files, *values, "--report", "/no/such/x.html"])
    assert done.exit_code == 2
    assert "there is no folder /no/such that can be written to" in done.output
