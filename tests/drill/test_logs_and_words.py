"""The decision log, the strategy, the market, and how figures and runs are told."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from holdfast.drill import figures, report, scenarios, story, terminal
from holdfast.drill.checks import Check, score
from holdfast.drill.conduct import DrillResult, Story
from holdfast.drill.decisions import DecisionLog, Ended, Noted, Tail, Tried
from holdfast.drill.market import Market
from holdfast.drill.observation import Attempt, attempts_of
from holdfast.drill.options import DrillOptions
from holdfast.drill.plan import BotPlan, decode, encode
from holdfast.drill.strategy import Strategy
from holdfast.drill.timeline import moments, picture
from holdfast.marketdata import DataError

from .observations import KILLED, MS, good_run

PLAN = BotPlan(
    engine_config="holdfast.toml",
    decision_log="decisions.jsonl",
    data=None,
    seed=1,
    market_began_ns=0,
    tick_seconds=0.02,
    first_quantity=Decimal("0.003"),
    quantity_step=Decimal("0.001"),
    price_step=Decimal("0.1"),
    lots=3,
    close_seconds=1.0,
)


def tried(call: int) -> Tried:
    return Tried(
        at_ns=call, wall_ns=0, call=call, side="buy", quantity=Decimal(call), opening=True,
        price=Decimal(1), policy_version=1, policy_mode="NORMAL",
    )  # fmt: skip


def test_the_log_is_read_while_it_grows_and_a_torn_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.new_lines() == []
    log = DecisionLog(path)
    log.write(tried(1))
    assert tail.new_lines() == [tried(1)]
    end = Ended(at_ns=5, wall_ns=0, call=1, outcome="accepted", filled=Decimal("0.1"))
    log.write(end)
    with path.open("ab") as file:
        file.write(b'{"line":"noted","at_ns":1')
    assert tail.new_lines() == [end]
    with path.open("ab") as file:
        file.write(b',"wall_ns":2,"what":"resting","position":"1.5"}\n')
    assert tail.new_lines() == [Noted(at_ns=1, wall_ns=2, what="resting", position=Decimal("1.5"))]
    log.close()


def test_two_writers_never_mix_their_lines(tmp_path: Path) -> None:
    """O_APPEND: a bot that is started again goes on where the first one stopped."""
    first, second = DecisionLog(tmp_path / "log"), DecisionLog(tmp_path / "log")
    for call in range(20):
        (first if call % 2 else second).write(tried(call))
    assert [line.at_ns for line in Tail(tmp_path / "log").new_lines()] == list(range(20))
    first.close()
    second.close()


def test_a_try_without_an_end_is_joined_as_such() -> None:
    end = Ended(at_ns=9, wall_ns=0, call=2, outcome="halted", why="gate shut")
    joined = attempts_of([tried(1), tried(2), end])
    assert joined[0] == Attempt("buy", Decimal(1), True, 1, policy_version=1, policy_mode="NORMAL")
    assert (joined[1].ended_ns, joined[1].outcome, joined[1].why) == (9, "halted", "gate shut")


def test_the_plan_survives_its_file() -> None:
    assert decode(encode(PLAN)) == PLAN


def test_every_opening_order_has_a_quantity_of_its_own_and_lots_are_closed_oldest_first() -> None:
    strategy = Strategy(PLAN)
    opened = []
    for _ in range(4):
        wish = strategy.wish(price=Decimal(100), now_seconds=0.5)
        assert wish.opening
        assert wish.limit_price == Decimal("101")
        strategy.keep(wish.quantity)
        opened.append(wish.quantity)
    assert len(set(opened)) == 4
    close = strategy.wish(price=Decimal(100), now_seconds=0.6)
    assert (close.opening, close.quantity, close.limit_price) == (False, opened[0], Decimal("99"))
    strategy.keep(close.quantity, oldest=True)
    assert strategy.wish(price=Decimal(100), now_seconds=0.6).quantity == opened[0]
    # Three lots are what it likes to hold; only time closes the next.
    assert strategy.wish(price=Decimal(100), now_seconds=0.7).opening
    assert strategy.wish(price=Decimal(100), now_seconds=9.0).quantity == opened[1]


def test_every_second_order_is_large_when_asked() -> None:
    strategy = Strategy(BotPlan(**{**_fields(PLAN), "large_quantity": Decimal(30)}))
    quantities = [strategy.wish(price=Decimal(1), now_seconds=0).quantity for _ in range(6)]
    assert [quantity > 30 for quantity in quantities] == [False, True] * 3
    assert len(set(quantities)) == 6


def _fields(plan: BotPlan) -> dict[str, object]:
    return {name: getattr(plan, name) for name in plan.__struct_fields__}


def market(data: Path | None, **more: object) -> Market:
    return Market(data, seed=1, began_ns=0, tick_seconds=0.02, price_step=Decimal("0.1"), **more)  # type: ignore[arg-type]


def test_bot_and_exchange_see_the_same_prices_however_often_they_look() -> None:
    one, other = market(None), market(None)
    seen = [one.price_at(ms * MS) for ms in range(0, 1000, 7)]
    assert other.price_at(994 * MS) == seen[-1]
    assert len(set(seen)) > 10


def test_short_data_are_played_again(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("time,price,quantity\n1746372780000,100.04,1\n1746372780001,200,1\n")
    played = market(path)
    prices = [played.price_at(n * 20 * MS) for n in range(4)]
    assert prices == [Decimal("100.0"), Decimal(200), Decimal("100.0"), Decimal(200)]


def test_prices_below_the_contracts_reach_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("time,price,quantity\n1746372780000,0.00002,1\n")
    with pytest.raises(DataError, match=r"p\.csv: price 0\.00002 is too low"):
        market(path)


@pytest.mark.parametrize(
    ("check", "measured", "limit"),
    [
        (Check("a", 1, True, 0.0075, 5.0, "s", ""), "7.5 ms", "≤ 5 s"),
        (Check("a", 1, True, 0.412, 1.0, "s", ""), "412 ms", "≤ 1 s"),
        (Check("a", 1, True, 1.0234, 5.0, "s", ""), "1.02 s", "≤ 5 s"),
        (Check("a", 1, True, 0, 0, "orders", ""), "0 orders", "0 orders"),
        (Check("a", 1, True, 1, 1, "orders", ""), "1 order", "≤ 1 order"),
        (Check("a", 1, True, 12345, "≥ 20", "tries", ""), "12,345 tries", "≥ 20 tries"),
        (Check("a", 1, False, None, 0, "orders", ""), "not measured", "0 orders"),
        (Check("a", 1, True, "version 5", None, "", ""), "version 5", ""),
    ],
)
def test_figures(check: Check, measured: str, limit: str) -> None:
    assert (figures.measured(check), figures.limit(check)) == (measured, limit)


def test_the_score() -> None:
    good, bad = Check("a", 1, True, 0, 0, "", ""), Check("b", 1, False, 1, 0, "", "")
    assert score([good, good, bad]) == 66.7
    assert score([]) == 0.0


def result(*checks: Check) -> DrillResult:
    run = scenarios.runs(1, outage_seconds=3)[0]
    seen = good_run()._replace(started_ns=5 * 10**9)
    return DrillResult(
        list(checks),
        moments(seen, scenario=1, run=run.name),
        [Story(1, run, seen)],
        ["scenario 3: <needs> a server"],
        "Redis 7 & more",
    )


GOOD = Check("gate_shut_seconds", 1, True, 0.004, 5.0, "s", "first refusal")
BAD = Check("events_lost", 1, False, 2, 0, "events", "lost <events> & more")


def test_json_is_one_object_of_four_keys() -> None:
    told = json.loads(result(GOOD, BAD).as_json())
    assert list(told) == ["passed", "score", "checks", "timeline"]
    assert (told["passed"], told["score"]) == (False, 50.0)
    assert set(told["checks"][0]) == {
        "id", "scenario", "passed", "measured", "limit", "unit", "what"
    }  # fmt: skip
    assert [moment["kind"] for moment in told["timeline"]] == [
        "policy", "kill", "refusal", "restart", "pong", "order"
    ]  # fmt: skip


def test_no_check_is_no_pass() -> None:
    assert not DrillResult([], [], [], [], "").passed


def test_the_scorecard_says_it_in_words_and_without_colour_in_a_pipe() -> None:
    console = Console(file=None, record=True, width=110, force_terminal=False)
    with console.capture() as capture:
        terminal.scorecard(result(GOOD, BAD), console)
    text = capture.get()
    assert "\x1b[" not in text
    assert re.search(r"gate_shut_seconds +4\.0 ms +≤ 5 s +pass", text)
    assert re.search(r"events_lost +2 events +0 events +FAIL", text)
    assert "FAILED  score 50 of 100: 1 of 2 checks passed" in text
    assert "lost <events> & more" in text
    assert "skipped  scenario 3" in text


def test_the_page_is_whole_by_itself_and_escapes_what_it_shows() -> None:
    page = report.page(result(GOOD, BAD), options=DrillOptions(scenarios=(1,)))
    assert "lost &lt;events&gt; &amp; more" in page
    assert "<events>" not in page
    assert "$" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    assert not re.search(r"(src|href)=|@import|url\(|https?://(?!www\.w3\.org)", page)
    assert "prefers-color-scheme: dark" in page
    body = re.sub(r"<!doctype html>|<meta[^>]*>|<wbr>", "", page)
    ElementTree.fromstring(body)  # every element is closed


def test_a_run_is_told_with_its_figures() -> None:
    told = " ".join(story.sentences(good_run()))
    assert "stayed dead for 3.00 s" in told
    assert "refused 3.0 ms after the kill" in told
    assert "tried 300 opening orders and published 5 events" in told


def test_no_picture_without_transitions() -> None:
    assert picture(good_run(), title="x") is None


def test_a_picture_of_transitions() -> None:
    run = good_run()
    step = run.stream[0]._replace(
        type="engine.transition", happened_ns=KILLED, body={"source": "HEALTHY", "dest": "DEGRADED"}
    )
    healthy = step._replace(happened_ns=KILLED - 10**9, body={"dest": "HEALTHY"})
    drawn = picture(run._replace(stream=[*run.stream, step, healthy], started_ns=0), title="x")
    assert drawn is not None
    assert [span.state.value for span in drawn.states] == ["DEGRADED", "HEALTHY", "DEGRADED"]
    assert [span.is_open for span in drawn.gate] == [False, True, False]
    drawn.check()
