"""What an account is like, and what becomes of it: hedge mode, leverage, margin, fees, liquidation.

The figures are worked out by hand from the recorded prices: Binance's BTCUSDT closed at 98,145.2
in the first minute (2025-05-08 01:00 UTC), and went over 102,695 twenty hours later.
"""

from __future__ import annotations

import contextlib
import gzip
import json
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from backtest_rigs import FIRST_MS, MINUTE_MS, SYMBOL, Cross, walk
from click.testing import CliRunner

from holdfast import Bar, Bot, InvalidOrder, Order
from holdfast.backtest import Account, Backtest, Run, backtest, figures
from holdfast.backtest.report import page
from holdfast.backtest.result import Liquidation, RunName
from holdfast.cli import main
from holdfast.errors import ConfigError
from holdfast.testing import Candle, FaultPlan, ForeignTrade, Kill, Market, check, play
from holdfast.transports.sim.brackets import table

DATA = Path(__file__).parents[2].parent / "shared" / "data"
RECORDED = DATA / "BTCUSDT-1m-20250504-20250603.csv.gz"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no recorded data in ../shared/data")
RUNS: tuple[RunName, ...] = ("clean", "guarded", "bare")
TAKER = Decimal("0.0004")
HANDS: tuple[tuple[float, Any], ...] = ((600, "buy"), (660, "sell"))
RISEN_MS = 1746737760000
"""End of the minute from 102,400.0 to 102,699.9: 2025-05-08 20:56 UTC."""


def recorded() -> list[Candle]:
    with gzip.open(RECORDED, "rt") as file:
        lines = islice(file, 4888, 4888 + 1220)
        rows = (line.split(",") for line in lines)
        return [Candle(int(row[0]), *map(float, row[1:])) for row in rows]


class Opens(Bot):
    """Opens these once, at the end of the first minute."""

    orders: tuple[tuple[Any, dict[str, Any]], ...] = ()

    def __init__(self) -> None:
        self.begun = False

    async def on_bar(self, bar: Bar) -> None:
        if not self.begun:
            self.begun = True
            for side, more in self.orders:
                await self.engine.submit(Order(SYMBOL, side, "0.100", **more))


class Hedged(Opens):
    orders = ("buy", {"position_side": "LONG"}), ("sell", {"position_side": "SHORT"})


class Short(Opens):
    orders = (("sell", {}),)


@needs_data
@pytest.mark.parametrize("name", RUNS)
def test_a_hedged_short_is_liquidated_and_the_long_lives_on(name: RunName) -> None:
    account = Account(hedge_mode=True, leverage=20, margin_mode="isolated", taker_fee=TAKER)
    result = play(Hedged, recorded(), account=account, run_name=name)
    check(result)
    # Margin: 0.1 * 98145.2 / 20 = 490.726. Equity, 490.726 + 0.1 * (98145.2 - p), is down to the
    # maintenance margin, 0.4 % of 0.1 * p, where p * 1.004 = 98145.2 * 1.05: p = 102641.89…, and
    # the tick after it 102641.9. The liquidation fee, 1.25 %, takes all of the 0.4 % left.
    short = Liquidation(
        at_ms=RISEN_MS, symbol=SYMBOL, position_side="SHORT", quantity=Decimal("-0.100"),
        price=Decimal("102641.9"), lost=Decimal("490.726"),
    )  # fmt: skip
    assert result.liquidations == (short,)
    # Two times 9814.52 taken at 0.04 %; the long is worth 0.1 * (102960.8 - 98145.2) more.
    assert result.fees == Decimal("7.851616")
    assert result.profit == Decimal("481.56") - Decimal("490.726") - Decimal("7.851616")
    assert result.fills == 3
    assert result.max_exposure >= Decimal("19629.04")  # both sides, and not 0 for their net
    assert result.wrong_positions == ()


@needs_data
@pytest.mark.parametrize("name", RUNS)
def test_a_cross_position_takes_the_whole_wallet_with_it(name: RunName) -> None:
    account = Account(deposit=Decimal(500), taker_fee=TAKER)
    result = play(Short, recorded(), account=account, run_name=name)
    check(result)
    # Fee: 9814.52 * 0.0004 = 3.925808. Equity, 500 - 3.925808 + 0.1 * (98145.2 - p), is 0.4 % of
    # 0.1 * p at p = 10310.594192 / 0.1004 = 102695.16…, and all that is left goes as the fee.
    (only,) = result.liquidations
    assert (only.at_ms, only.position_side, only.quantity) == (RISEN_MS, "BOTH", Decimal("-0.100"))
    assert (only.price, only.lost) == (Decimal("102695.2"), Decimal("496.074192"))
    assert result.profit == Decimal(-500)
    assert result.wrong_positions == ()


def test_of_long_and_short_each_is_compared() -> None:
    """Another hand buys and sells as much, of either side: in sum nothing has changed."""
    amount = Decimal("0.004")
    faults = [ForeignTrade(at_seconds=at, side=side, quantity=amount) for at, side in HANDS]
    account, long, short = Account(hedge_mode=True), f"{SYMBOL} LONG: ", f"{SYMBOL} SHORT: "
    told = {
        play(Hedged, walk(13), faults=faults, seed=seed, account=account, run_name="bare")
        .wrong_positions
        for seed in range(12)
    }  # fmt: skip
    assert told == {
        (),
        (
            f"{long}0.100 believed, 0.104 at the venue",
            f"{short}-0.100 believed, -0.104 at the venue",
        ),
        (
            f"{long}0.100 believed, 0.096 at the venue",
            f"{short}-0.100 believed, -0.096 at the venue",
        ),
    }


def test_a_rebate_is_paid_for_what_rests() -> None:
    class Rests(Bot):
        async def on_bar(self, bar: Bar) -> None:
            if not self.engine.open_orders() and not self.engine.position(SYMBOL):
                await self.engine.submit(Order(SYMBOL, "buy", "0.100", price="59990", key="one"))

    candles = [Candle(FIRST_MS + i * MINUTE_MS, 6e4, 6e4, 59_900.0, 6e4, 9.0) for i in range(3)]
    result = play(Rests, candles, account=Account(maker_fee=Decimal("-0.0001")), run_name="clean")
    assert result.fees == Decimal("-0.5999")
    assert result.profit == Decimal("1.5999")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"leverage": 0}, "leverage: 0 is no whole number within 1 to 125"),
        ({"leverage": 2.5}, "leverage: 2.5 is no whole number"),
        ({"leverage": 126}, "leverage: 126 is no"),
        ({"margin_mode": "crossed"}, "margin_mode: 'crossed' is not one of cross, isolated"),
        ({"maker_rule": "thru"}, "maker_rule: 'thru' is not one of touch, through"),
        ({"maker_fee": Decimal("-0.02")}, "maker_fee: -0.02 is not within -0.01 to 0.01; give the"),
        ({"taker_fee": Decimal("-0.0001")}, "taker_fee: -0.0001 is not within 0 to 0.01"),
        ({"taker_fee": Decimal("NaN")}, "taker_fee: NaN is not within"),
        ({"taker_fee": 0.0004}, 'taker_fee: 0.0004 is no Decimal; give Decimal("0.0004")'),
        ({"deposit": 0}, "deposit: 0 is not above 0"),
    ],
)
def test_an_account_that_can_not_be_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Account(**given)
    assert str(refused.value).startswith(says)


def test_a_whole_number_is_as_exact_as_a_decimal() -> None:
    whole: Any = 1000
    account = Account(deposit=whole)
    assert (account.deposit, type(account.deposit)) == (Decimal(1000), Decimal)


def test_a_market_may_allow_less_leverage() -> None:
    small = Market.perpetual("DOGE", brackets=table([(10, "5000", "0.05")]))
    with pytest.raises(ConfigError, match=r"leverage: 11 is beyond what DOGEUSDT allows; 10"):
        play(Cross, walk(2), market=small, account=Account(leverage=11))
    assert play(Bot, walk(2), market=small, run_name="clean").failure is None  # the default is less


BOT = """
from holdfast import Bot, Order, Rejected
class Short(Bot):
    def __init__(self, size="0.100", side="SHORT"):
        self.size, self.side, self.done = size, side, False
    async def on_bar(self, bar):
        if self.done:
            return
        try:
            await self.engine.submit(
                Order("BTC/USDT:USDT", "sell", self.size, position_side=self.side)
            )
            self.done = True
        except Rejected:
            pass
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Ten minutes at 60,000, then one up to 63,000."""
    (tmp_path / "short.py").write_text(BOT)
    data, rows = tmp_path / "BTCUSDT.csv", ["60000,60000,60000,60000,1"] * 10
    rows.append("60000,63000,60000,63000,1")
    data.write_text("\n".join(f"{FIRST_MS + i * MINUTE_MS},{row}" for i, row in enumerate(rows)))
    return [f"{tmp_path / 'short.py'}:Short", "--data", str(data)]


TERMS = ("--hedge", "--leverage=25", "--margin=isolated", "--maker-fee=-0.0001",
         "--taker-fee=0.0003", "--deposit=1000")  # fmt: skip
SAID = (
    "account: 1,000 deposited, hedge mode, isolated margin at 25x, fees -0.01 % maker and 0.03 % "
    "taker, resting orders filled by touch"
)


def test_the_commands_take_an_account_and_say_it_back(files: list[str]) -> None:
    done = CliRunner().invoke(main, ["backtest", *files, *TERMS])
    assert done.exit_code == 0, done.output
    assert SAID in done.output
    # 240 of margin: p * 1.004 = 60000 * 1.04, p = 62151.39…
    assert (
        "no faults, at 2025-05-04 15:44:00 UTC: -0.100 BTC/USDT:USDT SHORT liquidated at 62,151.4, "
        "240.00 lost"
    ) in done.output
    answer = json.loads(CliRunner().invoke(main, ["backtest", *files, *TERMS, "--json"]).output)
    assert answer["account"] == {
        "deposit": "1000", "hedge_mode": True, "leverage": 25, "margin_mode": "isolated",
        "maker_fee": "-0.0001", "taker_fee": "0.0003", "maker_rule": "touch", "slippage_ticks": 0,
    }  # fmt: skip
    assert answer["runs"][0]["liquidations"][0]["lost"] == "240.00000000"
    done = CliRunner().invoke(
        main, ["sweep", *files, *TERMS, "--set", "size=0.100,0.050", "--jobs=1"]
    )
    assert done.exit_code == 0, done.output
    assert SAID in done.output
    # Lost: the margin, and 0.03 % for opening 6,000; one position was liquidated.
    assert "0.100 -241.80 1.80 1 6,000.00" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "orders that name a position_side need --hedge"),
        (["--hedge", "--set", "side=BOTH"], "in hedge mode every order names a position_side"),
    ],
)
def test_orders_for_another_position_mode_are_told_with_the_remedy(
    files: list[str], options: list[str], says: str
) -> None:
    done = CliRunner().invoke(main, ["backtest", *files, *options])
    assert done.exit_code == 0, done.output
    assert (
        "no faults: 11 orders rejected: HTTP 400, -4061: Order's position side does not match "
        f"user's setting; {says}"
    ) in done.output
    answer = json.loads(CliRunner().invoke(main, ["backtest", *files, *options, "--json"]).output)
    (refusal,) = answer["runs"][0]["refusals"]
    assert (refusal["code"], refusal["count"]) == (-4061, 11)


@pytest.mark.parametrize("name", RUNS)
def test_an_order_that_can_not_be_right_is_no_decision(name: RunName) -> None:
    class Closes(Bot):
        async def on_bar(self, bar: Bar) -> None:
            with contextlib.suppress(InvalidOrder):
                side: Any = "LONG"
                order = Order(SYMBOL, "sell", "0.100", position_side=side, key="the same")
                await self.engine.submit(order)

    result = play(Closes, walk(5), account=Account(hedge_mode=True), run_name=name)
    assert (result.counts.decisions, result.counts.missed) == (0, 0)
    (refusal,) = result.refusals
    assert (refusal.code, refusal.count) == (None, 5)
    assert refusal.reason == "quantity: 0.100 would close more than the 0 held LONG"


@pytest.mark.parametrize("command", ["backtest", "sweep"])
@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--leverage=126", "1<=x<=125"),
        ("--margin=crossed", "'cross', 'isolated'"),
        ("--maker-fee=0.02", "0.02 is not within -0.01 to 0.01; give the fraction of the notional"),
        ("--taker-fee=x", "'x' is no number, such as 0.0005 for 0.05 %"),
    ],
)
def test_the_commands_refuse_what_no_account_is(
    files: list[str], command: str, option: str, says: str
) -> None:
    values = ["--set", "size=1,2"] if command == "sweep" else []
    done = CliRunner().invoke(main, [command, *files, *values, option])
    assert done.exit_code == 2
    said = " ".join(done.output.replace("│", " ").split())
    assert option.partition("=")[0] in said
    assert says in said


def test_a_page_tells_of_liquidations_and_of_no_more_than_can_be_read(tmp_path: Path) -> None:
    data = tmp_path / "BTCUSDT.csv"
    data.write_text("\n".join(",".join(map(str, candle)) for candle in walk(3)))
    result: Backtest = backtest(Bot, [str(data)], account=Account(slippage_ticks=2))
    assert "positions liquidated" in page(result)
    assert "takers slip by 2 ticks" in page(result)
    (run,) = result.runs
    lost = Liquidation(at_ms=FIRST_MS, symbol=SYMBOL, position_side="LONG", quantity=Decimal(1),
                       price=Decimal(50_000), lost=Decimal("2500.5"))  # fmt: skip
    many = _with(result, run, [lost] * 7)
    assert [*figures.liquidated(many)][-1] == "no faults: 2 more liquidated"
    assert "17,503.50" in page(many)
    assert "1 BTC/USDT:USDT LONG liquidated at 50,000, 2,500.50 lost" in page(many)


def _with(result: Backtest, run: Run, liquidations: list[Liquidation]) -> Backtest:
    run = msgspec.structs.replace(run, liquidations=tuple(liquidations))
    return msgspec.structs.replace(result, runs=(run,))


def test_a_plan_of_a_script_has_to_lie_within_the_data_too(tmp_path: Path) -> None:
    data = tmp_path / "BTCUSDT.csv"
    data.write_text("\n".join(",".join(map(str, candle)) for candle in walk(3)))
    plan = FaultPlan(seed=1, faults=(Kill(at_seconds=181, seconds=5),))
    with pytest.raises(ConfigError, match=r"Kill.at_seconds: 181 is not within the data, 0 to 180"):
        backtest(Bot, [str(data)], faults=plan)
