"""Keys that the venue refuses: the reason is told, nothing is traded, and nobody storms."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from sim_rigs import BTC

from holdfast import Engine, Order
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import TradingHalted
from holdfast.states.table import Level
from holdfast.transports.sim import SimulatedVenue
from holdfast.transports.sim.server import VenueServer


@pytest.mark.parametrize(("key", "code"), [("k", "-1022"), ("another", "-2015")])
def test_wrong_keys_halt_with_the_venues_reason_and_without_a_storm(
    key: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG_KEY", key)
    monkeypatch.setenv("WRONG_SECRET", "not the secret")

    async def main() -> None:
        server = VenueServer(
            SimulatedVenue(time_ns=SystemClock().time_ns),
            key="k",
            secret="s",
            entropy=SystemEntropy(),
        )
        async with server.serve() as port:
            config = {
                "engine": {"bot": "wrong", "symbols": [BTC], "state_dir": str(tmp_path / "state")},
                "bus": {"url": "memory://bus"},
                "policy": {"url": "memory://policy", "initial": {"active_mode": "NORMAL"}},
                "lease": {"enabled": False},
                "exchange": {
                    "url": "binance://usdm",
                    "api_key": "${WRONG_KEY}",
                    "api_secret": "${WRONG_SECRET}",
                    "options": {"server": f"http://127.0.0.1:{port}"},
                },
            }
            async with Engine.open(config) as engine:
                await anyio.sleep(2.0)
                assert engine.level() is Level.HALTED
                with pytest.raises(TradingHalted, match=code):
                    await engine.submit(Order(BTC, "buy", "0.010"))
                told = server.describe()["requests"]
                # Doubling from a tenth of a second: five tries in two seconds, of two or
                # three requests each, and as many of whoever else has to know.
                assert told < 40

    anyio.run(main)
