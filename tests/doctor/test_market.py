"""What the doctor says of the market data, listened to at the served exchange."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from doctor_rigs import BTC, ETH, the, verdicts, write

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.config import load
from holdfast.doctor.finding import Finding
from holdfast.doctor.market import look_at_market
from holdfast.doctor.market_checks import MarketSeen, check_market
from holdfast.errors import ConfigError
from holdfast.transports.sim import Market, SimulatedVenue
from holdfast.transports.sim.server import VenueServer

HEARD = MarketSeen("sim://", 5, 0.1, "", {BTC: 0.2})


def config_file(folder: Path, market: str) -> Path:
    path = write(folder, exchange='url = "sim://127.0.0.1:1"', more=f"[market]\n{market}")
    path.write_text(path.read_text().replace(f'["{BTC}"]', f'["{BTC}", "{ETH}"]'))
    return path


async def examined(path: Path) -> list[Finding]:
    config = load(path)
    return check_market(await look_at_market(config), symbols=config.settings.symbols)


@pytest.mark.parametrize("silent", [True, False])
def test_each_symbol_is_heard_or_told(tmp_path: Path, silent: bool) -> None:
    async def main() -> None:
        clock = SystemClock()
        venue = SimulatedVenue(
            time_ns=clock.time_ns, markets=[Market.perpetual(base) for base in ("BTC", "ETH")]
        )
        server = VenueServer(venue, key="k", secret="s", entropy=SystemEntropy())

        async def trade() -> None:
            while True:
                for symbol in (BTC,) if silent else (BTC, ETH):
                    venue.on_price(symbol, Decimal(64_000))
                await anyio.sleep(0.05)

        async with server.serve() as port, anyio.create_task_group() as tasks:
            tasks.start_soon(trade)
            stale_seconds = 3 if silent else 25
            market = f'url = "sim://127.0.0.1:{port}"\nstale_seconds = {stale_seconds}\n'
            findings = await examined(config_file(tmp_path, market))
            tasks.cancel_scope.cancel()
        assert verdicts(findings) == {
            "market.reachable": "ok",
            f"market.symbol {BTC}": "ok",
            f"market.symbol {ETH}": "fail" if silent else "ok",
        }
        if silent:
            assert "no message in 3 s" in findings[-1].found
            assert "market.stale_seconds" in findings[-1].remedy

    anyio.run(main)


def test_nobody_there(tmp_path: Path) -> None:
    market = 'url = "sim://127.0.0.1:1"\nstale_seconds = 0.5\n'
    findings = anyio.run(examined, config_file(tmp_path, market))
    reachable = the(findings, "market.reachable")
    assert (reachable.verdict, "127.0.0.1:1" in reachable.found) == ("fail", True)
    assert {f.verdict for f in findings if f.id == "market.symbol"} == {"skip"}


def test_a_bot_with_data_of_its_own(tmp_path: Path) -> None:
    config = load(write(tmp_path, exchange='url = "sim://127.0.0.1:1"'))
    assert anyio.run(look_at_market, config) is None
    assert verdicts(check_market(None, symbols=(BTC,))) == {"market.reachable": "skip"}


def test_an_address_that_names_no_market_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    config = load(config_file(tmp_path, 'url = "binance://spot"'))
    with pytest.raises(ConfigError, match="not known"):
        anyio.run(look_at_market, config)


def test_a_connection_that_was_lost_again_is_told_with_its_reason() -> None:
    seen = HEARD._replace(reason="the connection broke")
    assert set(verdicts(check_market(seen, symbols=(BTC,))).values()) == {"ok"}
    silent = check_market(seen, symbols=(ETH,))[1]
    assert silent.found == "no message in 5 s (the connection broke)"
