"""A synchronous script while its server is killed: the gate is seen from the script's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos_rigs import Stage, until

from holdfast import Engine, Order, TradingHalted

pytestmark = [pytest.mark.server]

SYMBOL = "BTC/USDT:USDT"


def refusal(check: Callable[[], int], *, seconds: float = 10.0) -> str:
    """Why `check` refuses, once it does. No call into the loop: only the slot is read."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            check()
        except TradingHalted as halted:
            return halted.reason
    return "it never refused"


def test_server_killed_under_a_script(stage: Stage) -> None:
    config = stage.configure()
    with Engine.open_blocking(Path(config)) as engine:
        engine.until_healthy()
        check = engine.gate.check
        check()
        engine.publish("chaos.told", {"number": 1})
        stage.until_in_stream(1)

        stage.redis.kill()
        assert "redis" in refusal(check)
        with pytest.raises(TradingHalted):
            engine.submit(Order(SYMBOL, "buy", "0.010", key="shut"))
        # The script goes on doing what needs no server, in its own thread.
        for number in range(2, 30):
            engine.publish("chaos.told", {"number": number})
        assert stage.exchange.orders() == []

        stage.redis.start()
        engine.until_healthy()
        check()
        report = engine.submit(Order(SYMBOL, "buy", "0.010", key="open"))
        assert report.status == "accepted"
        assert engine.submit(Order(SYMBOL, "buy", "0.010", key="open")) == report
        stage.until_in_stream(29)
        until(lambda: str(engine.position(SYMBOL)) == "0.010", "the fill is counted")
        engine.submit(Order(SYMBOL, "sell", "0.010", reduce_only=True))
        until(lambda: engine.position(SYMBOL) == 0, "the exit is counted")
    numbers = [entry.number for entry in stage.stream() if entry.number is not None]
    assert numbers == list(range(1, 30))
    assert stage.exchange.position() == 0
