"""The dead-man switch on real processes: a killed bot's orders go, a lost Redis takes none."""

from __future__ import annotations

import time

import pytest
from chaos_rigs import Stage, until

pytestmark = [pytest.mark.server]

COUNTDOWN_SECONDS = 5.0


def test_what_a_killed_bot_left_resting_is_cancelled_by_the_venue(stage: Stage) -> None:
    stage.configure(orders={"dead_man_seconds": COUNTDOWN_SECONDS})
    bot = stage.start().opened()
    bot.until_healthy()
    told = bot.ask("submit", side="buy", quantity="0.010", price="30000")
    assert told["outcome"] == "accepted"
    bot.kill()
    assert list(stage.exchange.open_orders()) == [told["cid"]]
    until(lambda: not stage.exchange.open_orders(), "the countdown has ended")


def test_an_exit_outlives_an_outage_of_redis_longer_than_the_countdown(stage: Stage) -> None:
    stage.configure(orders={"dead_man_seconds": COUNTDOWN_SECONDS})
    bot = stage.start().opened()
    bot.until_healthy()
    bot.ask("submit", side="buy", quantity="0.010")
    exit_order = bot.ask("submit", side="sell", quantity="0.010", price="90000", reduce_only=True)
    assert exit_order["outcome"] == "accepted"
    stage.redis.kill()
    bot.until_shut()
    time.sleep(1.5 * COUNTDOWN_SECONDS)
    assert list(stage.exchange.open_orders()) == [exit_order["cid"]]
