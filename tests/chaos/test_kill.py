"""kill -9 of the bot, again and again, with everything it was promised read back.

Between the kills Redis dies, hangs or comes back empty, and the exchange loses requests
and replies. The last life is left alone, and then the books must be straight.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from decimal import Decimal

import pytest
from chaos_bot import SYMBOL
from chaos_rigs import LEASE_SECONDS, LOST_REPLY, LOST_REQUEST, RESET, BotProcess, Stage, until
from chaos_witness import wrong_events, wrong_orders, wrong_resends

pytestmark = [pytest.mark.server]


MISHAPS = (
    "killed while opening",
    "orders lost",
    "reports lost",
    "exchange hangs",
    "redis killed",
    "redis hangs",
    "redis empty",
    "bot frozen",
    "filled in the dark",
)
ORDERS_SECONDS = 2.0
"""Enough to prove an order absent and send it again, and to be killed in the middle of it."""


def befall(stage: Stage, bot: BotProcess, mishap: str) -> None:
    """What happens besides the kill."""
    match mishap:
        case "redis killed":
            stage.redis.restart()
        case "redis empty":
            stage.redis.restart(empty=True)
        case "redis hangs":
            stage.redis.stop()
        case "orders lost":
            for fault in (LOST_REQUEST, LOST_REPLY, RESET, LOST_REQUEST):
                stage.exchange.arm("place", fault)
            time.sleep(ORDERS_SECONDS)
        case "reports lost":
            stage.exchange.post("faults", stream="drop", count=5)
            time.sleep(0.3)
            stage.exchange.post("faults", cut_streams=True)
        case "exchange hangs":  # what reaches its socket meanwhile is read, too late, afterwards
            stage.exchange.signal(signal.SIGSTOP)
            time.sleep(1.0)
            stage.exchange.signal(signal.SIGCONT)
        case "bot frozen":
            bot.signal(signal.SIGSTOP)
            time.sleep(1.5 * LEASE_SECONDS)
            bot.signal(signal.SIGCONT)
        case "filled in the dark":
            bot.until_healthy()
            until(stage.exchange.open_orders, "an entry rests")


def one_life(stage: Stage, dice: random.Random, mishap: str) -> None:
    """Start the bot, and kill it at a random moment: on its way up, or while it trades."""
    bot = stage.start()
    if mishap == "killed while opening":
        time.sleep(dice.random())
        bot.close()
        return
    bot.opened().send("trade")
    if dice.random() < 0.25:
        time.sleep(dice.random() * 0.3)
    else:
        bot.until_healthy()
        time.sleep(dice.random() * 0.4)
    befall(stage, bot, mishap)
    if mishap != "filled in the dark":
        time.sleep(dice.random() * 0.4)
    bot.kill()
    stage.redis.cont()
    bot.close()
    if mishap == "filled in the dark":
        for price in ("29000", "64000"):
            stage.exchange.post("price", symbol="BTCUSDT", price=price)


def last_life(stage: Stage) -> BotProcess:
    """Left alone until it has ended everything that was begun and the stream has it all."""
    stage.exchange.post("faults", clear=True)
    bot = stage.start().opened()
    bot.send("trade")
    bot.until_healthy()
    bot.ask("rest")
    bot.until_healthy()
    until(lambda: bot.status()["outbox"]["behind"] == 0, "the outbox is shipped")
    return bot


def judge(stage: Stage, bot: BotProcess) -> None:
    lines, orders = stage.lines(), stage.exchange.orders()
    assert wrong_events(lines, stage.stream()) == []
    assert wrong_orders(lines, orders) == []
    assert wrong_resends(stage.exchange.get("requests")) == []
    # Two looks at once are not one moment, and the market stands still: it has to become equal.
    until(lambda: bot.ask("book")["open_orders"] == stage.exchange.open_orders(), "same orders")
    held = Decimal(bot.ask("book")["positions"].get(SYMBOL, "0"))
    assert held == stage.exchange.position()
    status = bot.operator("status")
    assert (status["state"], status["unknown_orders"], status["differences"]) == ("HEALTHY", [], [])


def kill_loop(stage: Stage, *, lives: int, seed: int) -> None:
    dice = random.Random(seed)
    stage.configure()
    mishaps = [MISHAPS[number % len(MISHAPS)] for number in range(lives)]
    dice.shuffle(mishaps)
    for mishap in mishaps:
        one_life(stage, dice, mishap)
    judge(stage, last_life(stage))


def ends(stage: Stage) -> Counter[str]:
    return Counter(line["outcome"] for line in stage.lines() if line["what"] == "ended")


@pytest.mark.timeout(400)
def test_killed_in_a_loop(stage: Stage) -> None:
    kill_loop(stage, lives=len(MISHAPS), seed=7)
    told = [line for line in stage.lines() if line["what"] == "told"]
    # The judges are content with an empty run: this one was not.
    assert ends(stage)["accepted"] > 30, ends(stage)
    assert len(told) > 50
    attempts = [seen for seen in stage.exchange.get("requests") if seen["kind"] == "place"]
    assert any(seen["status"] == 0 for seen in attempts), "no order met a fault of the exchange"
    assert len({seen["clientOrderId"] for seen in attempts}) < len(attempts), "none was sent again"
    entries = [order for order in stage.exchange.orders() if order["price"] is not None]
    assert any(Decimal(order["filled"]) for order in entries), "none was filled in the dark"


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(4))
def test_killed_a_hundred_times(stage: Stage, seed: int) -> None:
    """25 kills each."""
    kill_loop(stage, lives=25, seed=seed)
