"""One bot, one instance: by the journal's lock on one folder, by the lease on two."""

from __future__ import annotations

import signal
import time
from decimal import Decimal
from typing import Any

import pytest
from chaos_bot import FAR_BELOW
from chaos_rigs import LEASE_SECONDS, BotProcess, Stage, until

pytestmark = [pytest.mark.server]

BUY: dict[str, Any] = {"side": "buy", "quantity": "0.010"}


def two_folders(stage: Stage) -> BotProcess:
    """The first of two copies that know nothing of each other's folder, HEALTHY."""
    stage.configure("first")
    stage.configure("second")
    first = stage.start("first").opened()
    first.until_healthy()
    return first


def kept_out(bot: BotProcess) -> bool:
    status = bot.status()
    return bool(status["lease"]["reason"] == "another instance holds the lease")


def test_same_folder_is_locked(stage: Stage) -> None:
    stage.configure()
    first = stage.start().opened()
    first.until_healthy()
    second = stage.start()
    assert second.wait() == 1
    last = second.errors.splitlines()[-1]
    assert "JournalLocked" in last
    assert str(first.pid) in last
    # The refused one has broken nothing of the other's: not even its control socket.
    assert first.operator("status")["state"] == "HEALTHY"
    assert first.ask("submit", **BUY)["outcome"] == "accepted"


def test_other_folder_waits_for_the_lease_and_takes_over(stage: Stage) -> None:
    first = two_folders(stage)
    assert first.ask("submit", **BUY)["outcome"] == "accepted"
    second = stage.start("second").opened()
    until(lambda: kept_out(second), "the second is told that there is a first")
    for order in (BUY, {**BUY, "reduce_only": True, "side": "sell"}):
        refused = second.ask("submit", **order)
        assert refused["outcome"] == "halted", refused
        assert "lease" in refused["why"] or refused["why"].startswith("starting"), refused
    # Longer than a term: it is renewed as long as the first lives.
    time.sleep(1.5 * LEASE_SECONDS)
    assert (first.status()["state"], second.status()["state"]) == ("HEALTHY", "DEGRADED")
    resting = first.ask("submit", side="buy", quantity="0.020", price=FAR_BELOW)
    assert resting["outcome"] == "accepted"

    first.kill()
    until(lambda: second.status()["lease"]["held"], "the lease of the dead one has run out")

    # The dead one's order and position are ours by name, and nobody here has decided them.
    def found() -> bool:
        kinds = sorted(text.split(" ")[0] for text in second.operator("status")["differences"])
        return kinds == ["orphan_order", "orphan_position"]

    until(found, "what the dead one left waits for the operator")
    assert second.status()["state"] == "RECONCILING"
    opening = second.ask("submit", **BUY)
    assert opening["outcome"] == "halted", opening
    assert resting["cid"] in stage.exchange.open_orders()

    second.operator("adopt")
    second.until_healthy()
    assert second.ask("book") == {"positions": {"BTC/USDT:USDT": "0.010"}, "open_orders": {}}
    assert stage.exchange.open_orders() == {}
    assert stage.exchange.position() == Decimal("0.010")
    assert second.ask("submit", **BUY)["outcome"] == "accepted"


def test_frozen_first_comes_back_too_late(stage: Stage) -> None:
    """The worst of all: the first believes that it holds the lease, and it is another's."""
    first = two_folders(stage)
    second = stage.start("second").opened()
    until(lambda: kept_out(second), "the second is told that there is a first")
    first.ask("trade")
    until(lambda: len(stage.exchange.orders()) > 10, "the first trades")
    first.signal(signal.SIGSTOP)

    until(lambda: second.status()["differences"], "the second has taken over")
    second.operator("adopt")
    second.until_healthy()
    second.ask("publish", number=1)
    stage.until_in_stream(1)
    taken = len(stage.exchange.orders())
    of_first = sum(entry.producer != second_producer(stage) for entry in stage.stream())

    first.signal(signal.SIGCONT)
    until(lambda: kept_out(first), "the first is told that there is a second")
    told = len(stage.lines("first"))
    until(lambda: len(stage.lines("first")) > told + 50, "the first goes on trying")
    assert second.ask("submit", **BUY)["outcome"] == "accepted"
    second.ask("publish", number=2)
    stage.until_in_stream(2)

    late = stage.exchange.orders()[taken:]
    assert [(o["side"], o["quantity"]) for o in late] == [("buy", "0.010")], "only the second's"
    written = sum(entry.producer != second_producer(stage) for entry in stage.stream())
    assert written == of_first, "the first wrote to the bus after the takeover"
    assert first.status()["level"] == "HALTED"
    assert first.status()["outbox"]["behind"] > 0, "kept, for the day it holds the lease again"

    # And that day comes: nothing of what the first was promised is lost.
    first.ask("rest")
    second.signal(signal.SIGTERM)
    second.wait()
    until(lambda: first.status()["lease"]["held"], "the first has the lease again")
    told_by_first = [
        line["number"] for line in stage.lines("first") if line.get("outcome") == "published"
    ]
    until(lambda: first.status()["outbox"]["behind"] == 0, "the first ships what it kept")
    there = [e.number for e in stage.stream() if (e.number or 0) > 1000]
    assert there == told_by_first


def second_producer(stage: Stage) -> str:
    """Who published event 1, which is the second's."""
    return next(entry.producer for entry in stage.stream() if entry.number == 1)
