"""SIGTERM and Ctrl-C: the venue, the bus and the journal are left as a successor wants them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from chaos_bot import FAR_BELOW
from chaos_rigs import LOST_REPLY, BotProcess, Stage, until

from holdfast.journal import FileJournal
from holdfast.transports.server import tied_to_this_process

pytestmark = [pytest.mark.server]

TERM_SECONDS = 3600.0
"""Of the lease: nobody here has the patience to wait until it runs out, so a successor that
becomes healthy was given it."""

PAUSE_MS = 150
"""Less than the heartbeat's patience: the link stays up."""

ENDINGS = {signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: -signal.SIGINT}
"""What ends it, and how that looks: SIGTERM as an exit status, Ctrl-C as Python has it."""


def with_orders(stage: Stage, *, on_leaving_active: str) -> BotProcess:
    """A bot with a position, a resting entry, and a reduce-only exit that rests above."""
    stage.configure(
        orders={"on_leaving_active": on_leaving_active},
        lease={"ttl_seconds": TERM_SECONDS},
        outbox={"batch_events": 5, "batches_in_flight": 1},
    )
    bot = stage.start().opened()
    bot.until_healthy()
    for order in (
        {"side": "buy", "quantity": "0.010", "key": "entry"},
        {"side": "buy", "quantity": "0.020", "price": FAR_BELOW, "key": "resting"},
        {"side": "sell", "quantity": "0.010", "price": "90000", "reduce_only": True},
    ):
        assert bot.ask("submit", **order)["outcome"] == "accepted"
    # The server takes no write for a moment, so that the end comes while events wait for it.
    stage.redis.command("CLIENT", "PAUSE", str(PAUSE_MS), "WRITE")
    for number in range(1, 200):
        bot.send("publish", number=number)
    assert bot.ask("publish", number=200)["outcome"] == "published"
    return bot


@pytest.mark.parametrize(
    ("number", "on_leaving_active"),
    [(signal.SIGTERM, "cancel"), (signal.SIGINT, "keep")],
    ids=["SIGTERM_cancel", "SIGINT_keep"],
)
def test_clean_end(stage: Stage, number: signal.Signals, on_leaving_active: str) -> None:
    bot = with_orders(stage, on_leaving_active=on_leaving_active)
    bot.signal(number)
    assert bot.wait() == ENDINGS[number], bot.errors
    if number == signal.SIGTERM:
        assert bot.errors == ""
    else:
        assert bot.errors.splitlines()[-1] == "KeyboardInterrupt"

    still_open = {
        (o["side"], o["quantity"]) for o in stage.exchange.orders() if o["status"] == "open"
    }
    entry = {("buy", "0.020")} if on_leaving_active == "keep" else set()
    assert still_open == {("sell", "0.010")} | entry
    # What was published was also shipped: there is nothing left for a successor.
    numbers = [entry.number for entry in stage.stream() if entry.number is not None]
    assert numbers == list(range(1, 201))

    report = FileJournal.inspect(bot.state_dir / "journal").report
    assert (report.torn, report.damaged, report.missing) == ((), (), 0)
    verified = subprocess.run(
        [sys.executable, "-m", "holdfast", "journal", "verify", "--json", str(bot.state_dir)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)
    assert not (bot.state_dir / "control.sock").exists()

    successor = stage.start().opened()
    successor.until_healthy()
    again = successor.ask("submit", side="buy", quantity="0.010", key="entry")
    assert (again["outcome"], Decimal(again["filled"])) == ("accepted", Decimal("0.010"))
    assert stage.exchange.position() == Decimal("0.010")


def test_ended_while_an_order_is_on_its_way(stage: Stage) -> None:
    """The venue takes it, the reply is lost, and nobody waits for it any more."""
    stage.configure()
    bot = stage.start().opened()
    bot.until_healthy()
    stage.exchange.arm("place", LOST_REPLY)
    order: dict[str, Any] = {"side": "buy", "quantity": "0.010", "key": "on its way"}
    bot.send("submit", **order)
    until(stage.exchange.orders, "the venue has it")
    bot.signal(signal.SIGTERM)
    assert bot.wait() == ENDINGS[signal.SIGTERM], bot.errors
    assert bot.errors == ""

    successor = stage.start().opened()
    successor.until_healthy()
    assert successor.ask("submit", **order)["outcome"] == "accepted"
    assert len(stage.exchange.orders()) == 1
    assert successor.ask("book")["positions"] == {"BTC/USDT:USDT": "0.010"}


SCRIPT = """
import sys, time
from holdfast import Engine

with Engine.open_blocking(sys.argv[1]) as engine:
    engine.publish("chaos.told", {"number": 1})
    print("open", flush=True)
    engine.until_healthy()
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("waiting", ["asleep", "for_recovery"])
def test_sigterm_ends_a_synchronous_script(stage: Stage, waiting: str) -> None:
    """Also while its thread waits for the engine's."""
    config = stage.configure(lease={"ttl_seconds": TERM_SECONDS})
    if waiting == "for_recovery":
        stage.redis.kill()
    script = subprocess.Popen(
        tied_to_this_process([sys.executable, "-W", "error", "-c", SCRIPT, str(config)]),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert script.stdout is not None
        assert script.stdout.readline() == "open\n"
        if waiting == "asleep":
            assert script.stdout.readline() == "ready\n"
        script.terminate()
        _, errors = script.communicate(timeout=30)
    finally:
        script.kill()
        script.communicate()
    assert (script.returncode, errors) == (128 + signal.SIGTERM, "")
    report = FileJournal.inspect(Path(stage.folder, "state-bot", "journal")).report
    assert (report.torn, report.damaged) == ((), ())
    if waiting == "for_recovery":
        stage.redis.start()
    successor = stage.start().opened()
    successor.until_healthy()
    stage.until_in_stream(1)
