"""Clients that others wrote trade at `holdfast exchange`; what they saw is what it did.

Each spends the same day there (`clients/trading_day.py`) in a process of its own, over real
sockets, without knowing that it is not at Binance. Afterwards its report is compared with the
exchange's own log.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from environments import environment

from holdfast.transports.usdm.signing import sign

HERE = Path(__file__).parent
KEY, SECRET = "foreign-key", "foreign-secret"
START_SECONDS = 60
DAY_SECONDS = 200
CLIENTS = ("ccxt_rest", "ccxt_pro", "python_binance", "futures_connector", "usds_futures_sdk")
OURS = {"ccxt_rest", "ccxt_pro"}
"""Those of our own dependency."""
WEBSOCKET_API = {"ccxt_pro", "python_binance", "usds_futures_sdk"}
WITHOUT_STREAMS = {"ccxt_rest"}
COALESCING = {"ccxt_pro"}
"""Where frames that come together are told as one, the last."""

STEPS = {
    "market": [("NEW", "open", "0"), ("TRADE", "filled", "0.020")],
    "limit": [("NEW", "open", "0"), ("AMENDMENT", "open", "0"), ("TRADE", "filled", "0.012")],
    "maker": [("NEW", "open", "0"), ("CANCELED", "canceled", "0")],
    "exit": [("NEW", "open", "0"), ("TRADE", "filled", "0.005")],
    "stop": [("NEW", "open", "0"), ("TRADE", "filled", "0.010")],
    "a/b:c": [("NEW", "open", "0"), ("AMENDMENT", "open", "0"), ("CANCELED", "canceled", "0")],
}
"""What becomes of each order of the day, step by step."""


@pytest.fixture
def url() -> Iterator[str]:
    """The address of an exchange of its own, with Binance's limits and prices that stand still."""
    command = [sys.executable, "-m", "holdfast", "exchange", "--port=0", "--json", "--still"]
    command += [f"--key={KEY}", f"--secret={SECRET}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], START_SECONDS)[0]
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.terminate()
            process.wait(START_SECONDS)


@pytest.fixture
def python(request: pytest.FixtureRequest) -> str:
    """The interpreter that has the client."""
    if request.param in OURS:
        return sys.executable
    requirements = HERE / "requirements" / f"{request.param}.txt"
    return str(environment(requirements, request.config.cache.mkdir("foreign")))


def spend_day(name: str, python: str, url: str) -> dict[str, Any]:
    """What the client says that it saw."""
    script = HERE / "clients" / f"{name}.py"
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")
    done = subprocess.run(
        [python, script, url, KEY, SECRET],
        capture_output=True,
        text=True,
        timeout=DAY_SECONDS,
        env={name: os.environ[name] for name in kept if name in os.environ},
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def get(url: str, path: str) -> Any:
    request = urllib.request.Request(url + path, headers={"X-MBX-APIKEY": KEY})
    with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
        return json.load(answer)


def signed(url: str, path: str) -> Any:
    now = ("timestamp", str(time.time_ns() // 1_000_000))
    return get(url, f"{path}?{sign([('symbol', 'BTCUSDT'), now], SECRET.encode())}")


def order_of(entry: dict[str, Any]) -> tuple[Any, ...]:
    """An order, of the log or as a client tells it."""
    return (
        int(entry.get("orderId") or entry["id"]),
        entry["status"],
        Decimal(entry["filled"]),
        Decimal(entry["quantity"]),
        Decimal(entry["price"] or 0),
    )


def is_subsequence(part: list[Any], whole: list[Any]) -> bool:
    rest = iter(whole)
    return all(one in rest for one in part)


@pytest.mark.timeout(900)  # the first time its environment is made
@pytest.mark.parametrize(("name", "python"), [(n, n) for n in CLIENTS], indirect=["python"])
def test_a_foreign_client_sees_what_the_exchange_did(name: str, python: str, url: str) -> None:
    seen = spend_day(name, python, url)
    names = {"market", "limit", "maker", "exit", "stop"}
    if name in WEBSOCKET_API:
        names.add("a/b:c")

    # Its orders are the exchange's orders, and there are no others.
    log = {entry["clientOrderId"]: entry for entry in get(url, "/control/orders")}
    assert set(log) == set(seen["orders"]) == names
    assert {n: order_of(o) for n, o in seen["orders"].items()} == {
        n: order_of(entry) for n, entry in log.items()
    }
    assert {entry["clientOrderId"] for entry in log.values() if entry["reduceOnly"]} == {
        "exit",
        "stop",
    }
    for ours, told in seen["answers"].items():
        assert (int(told["id"]), told["name"]) == (log[ours]["orderId"], ours)
        filled = ours == "market"
        assert told["status"] == ("filled" if filled else "open")

    # What it was told on the way.
    assert seen["refusals"] == {
        "duplicate": -4116,
        "taker": -5022,
        "wrong way": -2022,
        "cancelled twice": -2011,
    }
    assert seen["open"] == ["exit", "limit", "maker"]
    assert seen["amended"]["id"] == seen["answers"]["limit"]["id"]
    assert Decimal(seen["amended"]["quantity"]) == Decimal("0.012")
    assert Decimal(seen["amended"]["price"]) == Decimal(49500)
    assert seen["cancelled"]["status"] == "canceled"
    assert (seen["stops"], seen["stops left"]) == (["spare", "stop"], ["stop"])
    assert (seen["leverage"], Decimal(seen["first price"])) == (10, Decimal(64000))
    if name in WEBSOCKET_API:
        for answer, status in (("ws amended", "open"), ("ws found", "open")):
            number, *state = order_of(seen[answer])
            assert number == log["a/b:c"]["orderId"]
            assert state == [status, 0, Decimal("0.011"), Decimal(47100)]
        assert seen["ws cancelled"]["status"] == "canceled"

    # Trades, position, money.
    trades = signed(url, "/fapi/v1/userTrades")
    assert len(trades) == sum(entry["fills"] for entry in log.values()) == 4
    assert [
        (int(t["id"]), int(t["order"]), *map(Decimal, (t["quantity"], t["price"], t["fee"])))
        for t in seen["trades"]
    ] == [
        (t["id"], t["orderId"], *map(Decimal, (t["qty"], t["price"], t["commission"])))
        for t in trades
    ]
    assert [t["maker"] for t in seen["trades"]] == [t["maker"] for t in trades]
    state = get(url, "/control/state")
    (position,) = state["positions"]
    assert Decimal(seen["position"]["quantity"]) == Decimal(position["positionAmt"])
    assert Decimal(position["positionAmt"]) == Decimal("0.017")
    assert Decimal(seen["position"]["entry"]) == Decimal(position["entryPrice"])
    assert Decimal(seen["wallet"]) == Decimal(state["wallet_balance"])

    # What the streams told.
    if name in WITHOUT_STREAMS:
        return
    events: dict[str, list[tuple[str, str, Decimal]]] = defaultdict(list)
    for order, execution, status, filled in seen["events"]:
        events[order].append((execution, status, Decimal(filled)))
    assert set(events) == names
    for order, told in events.items():
        steps = [(execution, status, Decimal(at)) for execution, status, at in STEPS[order]]
        if name in COALESCING:
            assert is_subsequence(told, steps)
            assert told[-1] == steps[-1]
        else:
            assert told == steps
    assert {Decimal(price) for price in seen["prices"]} == {50000, 50600, 49400, 48400}
