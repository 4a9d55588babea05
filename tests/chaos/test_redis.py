"""The server dies, hangs, forgets, refuses: the gate says why, and it ends by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from chaos_rigs import Stage, until

from holdfast.transports.server import RedisServer

pytestmark = [pytest.mark.server]


class Outage(NamedTuple):
    """
    :ivar words: at least one of them is in the reason that trading stopped for.
    :ivar renews: the lease still can be renewed; it adds nothing to the server's memory.
    """

    begin: Callable[[RedisServer], object]
    end: Callable[[RedisServer], object]
    words: tuple[str, ...]
    renews: bool = False


OUTAGES = {
    "killed": Outage(RedisServer.kill, RedisServer.start, ("closed", "lost", "reset", "refused")),
    "hangs": Outage(RedisServer.stop, RedisServer.cont, ("no answer", "silent")),
    "read_only": Outage(
        lambda server: server.command("CONFIG", "SET", "min-replicas-to-write", "1"),
        lambda server: server.command("CONFIG", "SET", "min-replicas-to-write", "0"),
        ("NOREPLICAS",),
    ),
    "out_of_memory": Outage(
        lambda server: server.command("CONFIG", "SET", "maxmemory", "1"),
        lambda server: server.command("CONFIG", "SET", "maxmemory", "0"),
        ("OOM",),
        renews=True,
    ),
}


@pytest.mark.parametrize("kind", OUTAGES)
def test_refusing_or_silent(stage: Stage, kind: str) -> None:
    outage = OUTAGES[kind]
    stage.configure()
    bot = stage.start().opened()
    bot.until_healthy()
    assert bot.ask("submit", side="buy", quantity="0.010")["outcome"] == "accepted"
    bot.ask("publish", number=1)
    stage.until_in_stream(1)

    outage.begin(stage.redis)
    bot.ask("publish", number=2)
    bot.until_shut()
    *_, left = (line for line in stage.lines() if line["what"] == "entered")
    assert left["state"] == "DEGRADED"
    assert any(word in left["cause"] for word in outage.words), left["cause"]
    assert left["cause"].startswith(("bus: ", "policy: "))
    opening = bot.ask("submit", side="buy", quantity="0.020")
    assert opening["outcome"] == "halted", opening
    assert bot.ask("publish", number=3)["outcome"] == "published"
    if not outage.renews:  # then it may be another's after its term: no exit either
        until(lambda: bot.status()["level"] == "HALTED", "the lease has run out")
        leaving = bot.ask("submit", side="sell", quantity="0.010", reduce_only=True)
        assert leaving["outcome"] == "halted", leaving
        assert "lease" in leaving["why"]

    outage.end(stage.redis)
    bot.until_healthy()
    assert bot.ask("submit", side="buy", quantity="0.030")["outcome"] == "accepted"
    stage.until_in_stream(3)
    numbers = [entry.number for entry in stage.stream() if entry.number is not None]
    assert numbers == [1, 2, 3]
    assert [order["quantity"] for order in stage.exchange.orders()] == ["0.010", "0.030"]
    assert "system.redis_recovered" in [entry.type for entry in stage.stream()]


def test_exits_pass_while_the_lease_runs(stage: Stage) -> None:
    stage.configure(lease={"ttl_seconds": 60.0})
    bot = stage.start().opened()
    bot.until_healthy()
    for side, quantity in (("buy", "0.010"), ("sell", "0.004")):
        assert bot.ask("submit", side=side, quantity=quantity)["outcome"] == "accepted"
    stage.redis.kill()
    assert bot.until_shut()["level"] == "REDUCING"
    assert bot.ask("submit", side="buy", quantity="0.010")["outcome"] == "halted"
    leaving = bot.ask("submit", side="sell", quantity="0.006", reduce_only=True, key="out")
    assert leaving["outcome"] == "accepted", leaving
    assert stage.exchange.position() == 0
    flat: dict[str, Any] = {"positions": {}, "open_orders": {}}
    until(lambda: bot.ask("book") == flat, "the fill is counted")
    # What happened in the dark is in the books of the next life, and is not done again.
    bot.kill()
    stage.redis.start()
    bot = stage.start().opened()
    assert bot.ask("submit", side="sell", quantity="0.006", reduce_only=True, key="out") == leaving
    assert bot.ask("book") == flat
    assert len(stage.exchange.orders()) == 3


FORGETTING = {
    "restarted_empty": lambda server: server.restart(empty=True),
    "flushed": lambda server: server.command("FLUSHALL"),
}


@pytest.mark.parametrize("how", FORGETTING)
def test_forgotten_policy_waits_for_a_person(stage: Stage, how: str) -> None:
    stage.configure(policy={"on_empty": "hold"})
    bot = stage.start().opened()
    bot.until_healthy()
    for number in range(1, 40):
        bot.ask("publish", number=number)
    stage.until_in_stream(39)

    FORGETTING[how](stage.redis)
    until(lambda: "came back without a policy" in str(bot.status()["policy_problem"]), "held")
    opening = bot.ask("submit", side="buy", quantity="0.010")
    assert opening["outcome"] == "halted", opening
    bot.ask("publish", number=40)
    # The events need no policy: all of them are sent again, though nobody has come yet.
    stage.until_in_stream(40)
    assert not bot.status()["gate"]["open"]

    stored = bot.operator("policy_set", policy={"active_mode": "DEFENSIVE"})
    bot.until_healthy()
    assert stored["version"] == 2, "above the version that was seen before it was forgotten"
    assert bot.ask("submit", side="buy", quantity="0.020")["outcome"] == "accepted"
    numbers = [entry.number for entry in stage.stream() if entry.number is not None]
    assert numbers == list(range(1, 41))


def test_flushed_and_restored_by_rule(stage: Stage) -> None:
    """Nothing is disconnected: only what the server says tells that its data are gone."""
    stage.configure()
    bot = stage.start().opened()
    bot.until_healthy()
    for number in range(1, 40):
        bot.ask("publish", number=number)
    stage.until_in_stream(39)

    stage.redis.command("FLUSHALL")
    bot.ask("publish", number=40)
    stage.until_in_stream(40)
    bot.until_healthy()
    until(lambda: bot.status()["policy"] == {"mode": "NORMAL", "version": 2}, "restored, above")
    assert bot.ask("submit", side="buy", quantity="0.020")["outcome"] == "accepted"
    numbers = [entry.number for entry in stage.stream() if entry.number is not None]
    assert numbers == list(range(1, 41))


def test_unreachable_at_the_start(stage: Stage) -> None:
    stage.redis.kill()
    stage.configure()
    bot = stage.start().opened()
    assert bot.ask("publish", number=1)["outcome"] == "published"
    opening = bot.ask("submit", side="buy", quantity="0.010")
    assert opening["outcome"] == "halted", opening

    def told() -> bool:
        links = {link["name"]: link for link in bot.operator("status")["links"]}
        return "refused" in links["bus"]["reason"] and "refused" in links["policy"]["reason"]

    until(told, "the status says that nobody listens")
    assert bot.status()["state"] == "DEGRADED"
    assert [line for line in stage.lines() if line["what"] == "entered"] == []

    stage.redis.start()
    bot.until_healthy()
    stage.until_in_stream(1)
    assert bot.ask("submit", side="buy", quantity="0.020")["outcome"] == "accepted"
    assert [order["quantity"] for order in stage.exchange.orders()] == ["0.020"]
