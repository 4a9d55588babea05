"""The three runs: what they count, what they cost, and that they repeat."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from decimal import Decimal
from pathlib import Path

import pytest
from backtest_rigs import FIRST_MS, MINUTE_MS, Cross, Raises, scene, walk, wanted_position

from holdfast import Bar, Bot, Fill, MarketGap, State
from holdfast.backtest.run import run
from holdfast.campaign.plan import (
    DiskError,
    ExchangeOutage,
    ForeignTrade,
    Hold,
    Kill,
    OrderFault,
    PolicyChange,
    Restart,
    SecondCopy,
    ServerOutage,
    StreamFault,
)
from holdfast.policy import Mode
from holdfast.states.machine import Step

HOUR = 3600.0


def test_a_run_is_worth_what_a_plain_calculation_says() -> None:
    candles = walk(600)
    cash, held, fees, trades = Decimal(0), Decimal(0), Decimal(0), 0
    closes: deque[float] = deque(maxlen=8)
    for candle in candles:
        closes.append(candle.close)
        if len(closes) == 8 and (missing := wanted_position(list(closes)) - held):
            price = Decimal(str(candle.close))
            cash -= missing * price
            fees += abs(missing) * price * Decimal("0.0005")
            held, trades = held + missing, trades + 1
    worth = cash + held * Decimal(str(candles[-1].close)) - fees
    clean = run(scene(), "clean")
    assert trades > 50
    assert (clean.fills, clean.counts.orders, clean.counts.decisions) == (trades,) * 3
    assert (clean.profit, clean.fees) == (worth, fees)
    assert clean.events_published == trades
    assert not clean.events_lost
    assert not clean.wrong_positions
    assert clean.equity[-1][1] == pytest.approx(float(worth))


def test_where_nothing_fails_the_three_do_the_same() -> None:
    runs = [run(scene([]), name) for name in ("clean", "guarded", "bare")]
    assert len({one.profit for one in runs}) == 1
    assert len({one.fills for one in runs}) == 1
    assert not runs[1].breaches
    assert {one.stale_policy_orders for one in runs} == {0}
    assert {one.events_lost for one in runs} == {0}


def test_a_lost_reply_doubles_a_bare_order_and_no_guarded_one() -> None:
    faults = [OrderFault(at_seconds=h * HOUR, effect="lost_reply", count=2) for h in range(1, 9)]
    guarded, bare = (run(scene(faults), name) for name in ("guarded", "bare"))
    assert guarded.counts.doubled == 0
    assert not guarded.wrong_positions
    assert not guarded.breaches
    assert bare.counts.doubled >= 8
    assert bare.max_exposure > guarded.max_exposure


def test_only_the_bare_bot_trades_on_a_stale_policy() -> None:
    faults = [
        ServerOutage(at_seconds=HOUR, seconds=2 * HOUR),
        PolicyChange(at_seconds=HOUR + 60, mode=Mode.HALT),
    ]
    guarded, bare = (run(scene(faults), name) for name in ("guarded", "bare"))
    assert guarded.stale_policy_orders == 0
    assert guarded.counts.blocked > 0
    assert guarded.state_seconds["DEGRADED"] > 2 * HOUR - 1
    assert bare.stale_policy_orders > 0
    assert HOUR < bare.stale_policy_seconds < 3 * HOUR
    assert bare.events_lost > 0
    assert guarded.events_lost == 0


def test_a_bot_killed_at_every_kind_of_await_comes_back_on_its_journal() -> None:
    for passes in range(12):
        faults = [
            Kill(at_seconds=HOUR * (1 + i), seconds=40.0, point=point, passes=passes)
            for i, point in enumerate(("order", "ship", "journal", "now"))
        ]
        guarded = run(scene(faults, candles=walk(330)), "guarded")
        assert guarded.lives == 5
        assert not guarded.breaches
        assert guarded.counts.doubled == 0
        assert not guarded.wrong_positions
        assert guarded.failure is None
        # What a dead process still holds up takes at most the time of a clean stop.
        assert 160 <= guarded.state_seconds["no process"] < 180
    bare = run(scene(faults, candles=walk(330)), "bare")
    assert (bare.lives, bare.failure) == (5, None)
    assert bare.equity[-1][0] == guarded.equity[-1][0]


def test_every_kind_of_trouble_at_once_breaks_no_promise() -> None:
    faults = [
        ExchangeOutage(at_seconds=HOUR, seconds=900),
        ServerOutage(at_seconds=1.5 * HOUR, seconds=300, data="emptied"),
        ServerOutage(at_seconds=2 * HOUR, seconds=300, data="rolled_back", entries=5),
        StreamFault(at_seconds=2.5 * HOUR, action="drop", count=2),
        Restart(at_seconds=3 * HOUR, seconds=30),
        ForeignTrade(at_seconds=4 * HOUR, side="buy", quantity=Decimal("0.004")),
        DiskError(at_seconds=5 * HOUR, syncs=5),
        Hold(at_seconds=6 * HOUR, seconds=600, flatten=True),
        ExchangeOutage(at_seconds=7 * HOUR, seconds=600, silent=True),
    ]
    guarded, bare = (run(scene(faults), name) for name in ("guarded", "bare"))
    assert guarded.breaches == ()
    assert guarded.failure is None
    assert guarded.counts.doubled == 0
    assert not guarded.wrong_positions
    assert guarded.lives >= 3
    assert bare.failure is None
    assert bare.wrong_positions
    assert bare.equity[-1][0] == guarded.equity[-1][0]


def test_a_second_copy_is_kept_out_by_the_lease_alone() -> None:
    faults = [SecondCopy(at_seconds=HOUR, seconds=HOUR)]
    guarded, bare = (run(scene(faults), name) for name in ("guarded", "bare"))
    assert guarded.breaches == ()
    assert not guarded.wrong_positions
    assert guarded.max_exposure < 1000
    assert bare.max_exposure > 1.5 * float(guarded.max_exposure)


@pytest.mark.parametrize("name", ["clean", "guarded", "bare"])
def test_a_bot_that_raises_ends_its_run_and_is_told_of(name: str) -> None:
    ended = run(scene([], bot=Raises), name)  # type: ignore[arg-type]
    failure = ended.failure
    assert failure is not None
    assert failure.error == "ZeroDivisionError: of mine"
    assert "backtest_rigs.py:" in failure.where
    assert failure.where.endswith("in Raises.trade")
    assert failure.at_ms // MINUTE_MS >= FIRST_MS // MINUTE_MS + 101
    assert any(text.startswith("position ") for text in failure.open)
    assert any(text.startswith("order ") and " at 1000" in text for text in failure.open)
    assert any(text.endswith("buy 0.100 BTC/USDT:USDT, waits for 90000") for text in failure.open)
    assert not ended.breaches
    assert ended.equity[-1][0] <= failure.at_ms + MINUTE_MS


class ToldTheOtherWay(Cross):
    """A second listener: so nothing is taken at once, and all comes as it does live."""

    async def on_start(self) -> None:
        self.engine.on_market(lambda event: None)


def test_taking_an_event_or_being_told_of_it_is_the_same() -> None:
    taken, told = run(scene(), "clean"), run(scene(bot=ToldTheOtherWay), "clean")
    assert told.steps > taken.steps + 400
    assert (told.profit, told.fills, told.counts) == (taken.profit, taken.fills, taken.counts)


class Witness(Bot):
    heard: list[object]

    async def on_bar(self, bar: Bar) -> None:
        self.heard.append(bar)

    async def on_gap(self, gap: MarketGap) -> None:
        self.heard.append(gap)

    async def on_fill(self, fill: Fill) -> None:
        self.heard.append(fill)

    async def on_state(self, step: Step) -> None:
        self.heard.append(step.dest)


@pytest.mark.parametrize("name", ["guarded", "bare"])
def test_what_an_outage_kept_from_a_bot_it_is_told_afterwards(name: str) -> None:
    Witness.heard = []
    faults = [ExchangeOutage(at_seconds=HOUR, seconds=600)]
    run(scene(faults, bot=Witness, candles=walk(100)), name)  # type: ignore[arg-type]
    bars = [event for event in Witness.heard if isinstance(event, Bar)]
    assert [bar.time_ms for bar in bars] == [c.time_ms for c in walk(100)]
    gaps = [i for i, event in enumerate(Witness.heard) if isinstance(event, MarketGap)]
    assert len(gaps) == 1
    after = Witness.heard[gaps[0] + 1]
    assert isinstance(after, Bar)
    assert after.time_ms == FIRST_MS + 60 * MINUTE_MS


def test_a_hole_in_the_data_is_told_to_the_bot() -> None:
    Witness.heard = []
    candles = walk(40)
    del candles[20:23]
    run(scene(bot=Witness, candles=candles), "clean")
    (gap,) = (event for event in Witness.heard if isinstance(event, MarketGap))
    assert gap.time_ms == candles[20 - 1].time_ms + MINUTE_MS
    assert "3 candles" in gap.reason
    assert Witness.heard.count(State.HEALTHY) == 1


_DIGESTS = """
import sys
sys.path.insert(0, {folder!r})
from backtest_rigs import scene
from holdfast.backtest.run import run
from holdfast.campaign.plan import *
faults = [
    ServerOutage(at_seconds=3000, seconds=600, data="emptied"),
    OrderFault(at_seconds=9000, effect="lost_reply", count=3),
    Kill(at_seconds=12000, seconds=60, point="order", passes=2),
    ExchangeOutage(at_seconds=20000, seconds=900),
]
for name in ("clean", "guarded", "bare"):
    one = run(scene(faults), name)
    print(name, one.digest, one.steps, one.profit, one.counts)
"""


def test_the_same_inputs_leave_the_same_bytes_in_every_process() -> None:
    said = set()
    code = _DIGESTS.format(folder=str(Path(__file__).parent))
    for number, hash_seed in enumerate(("0", "1", "random")):
        child = subprocess.run(
            [sys.executable, "-c", f"junk = [object() for _ in range({number} * 999)]\n{code}"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        said.add(child.stdout)
    assert len(said) == 1
    assert len(said.pop().splitlines()) == 3
