"""What the doctor says of venue, account and key, asked of the served exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from doctor_rigs import BTC, ETH, the, verdicts, write

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.config import load
from holdfast.doctor.finding import Finding
from holdfast.doctor.venue import look_at_venue
from holdfast.doctor.venue_checks import ClockSeen, Problem, VenueSeen, check_venue
from holdfast.errors import ConfigError
from holdfast.model import ExpectedAccount, Instrument, KeyRights, SymbolSettings
from holdfast.transports.sim import Fault, SimulatedVenue
from holdfast.transports.sim.server import VenueServer

ONE = Decimal(1)
SOUND = VenueSeen(
    "binance://usdm",
    clock=ClockSeen(3, 1),
    instruments={BTC: Instrument(BTC, ONE, ONE, ONE, ONE)},
    rights=KeyRights(trade=True, withdraw=False, bound_to_addresses=True),
    hedge_mode=False,
    account={BTC: SymbolSettings(BTC, 5, "cross")},
)
SILENT = Problem("exchange: no answer")


def judged(
    *,
    symbols: tuple[str, ...] = (BTC,),
    allowed: float | None = 1.0,
    wants: Any = None,
    **seen: Any,
) -> list[Finding]:
    return check_venue(
        SOUND._replace(**seen),
        symbols=symbols,
        expected=wants or ExpectedAccount(),
        max_skew_seconds=allowed,
    )


def test_a_sound_venue_is_sound() -> None:
    assert set(verdicts(judged()).values()) == {"ok"}
    assert len(judged()) == 11


@pytest.mark.parametrize(
    ("check", "verdict", "changed"),
    [
        ("exchange.clock", "fail", {"clock": ClockSeen(-1011, 10)}),
        ("exchange.clock", "warn", {"clock": ClockSeen(1010, 10)}),
        ("exchange.clock", "warn", {"clock": ClockSeen(511, 10)}),
        ("exchange.clock", "ok", {"clock": ClockSeen(510, 10)}),
        ("exchange.clock", "ok", {"clock": ClockSeen(99_999, 1), "allowed": None}),
        ("exchange.symbol", "fail", {"instruments": {}}),
        ("exchange.symbol", "fail", {"instruments": SILENT}),
        ("exchange.symbol", "skip", {"instruments": None}),
        (
            "exchange.symbol",
            "fail",
            {"instruments": {BTC: Instrument(BTC, ONE, ONE, ONE, ONE, trading=False)}},
        ),
        ("exchange.trading_right", "fail", {"rights": KeyRights(False, False, True)}),
        ("exchange.trading_right", "skip", {"rights": KeyRights(None, False, True)}),
        ("exchange.withdrawal_right", "warn", {"rights": KeyRights(True, True, True)}),
        ("exchange.withdrawal_right", "skip", {"rights": KeyRights(True, None, True)}),
        ("exchange.addresses", "warn", {"rights": KeyRights(True, False, False)}),
        ("exchange.addresses", "skip", {"rights": KeyRights(True, False, None)}),
        ("exchange.position_mode", "warn", {"hedge_mode": True}),
        ("exchange.position_mode", "fail", {"hedge_mode": SILENT}),
        ("exchange.position_mode", "skip", {"hedge_mode": None}),
        ("exchange.position_mode", "fail", {"wants": ExpectedAccount(hedge_mode=True)}),
        (
            "exchange.position_mode",
            "fail",
            {"hedge_mode": True, "wants": ExpectedAccount(hedge_mode=False)},
        ),
        (
            "exchange.position_mode",
            "ok",
            {"hedge_mode": True, "wants": ExpectedAccount(hedge_mode=True)},
        ),
        ("exchange.account", "fail", {"wants": ExpectedAccount(margin_mode="isolated")}),
        ("exchange.account", "ok", {"wants": ExpectedAccount(margin_mode="cross", leverage=5)}),
        ("exchange.account", "fail", {"wants": ExpectedAccount(leverage=6)}),
        ("exchange.account", "fail", {"account": {BTC: SILENT}}),
        ("exchange.account", "skip", {"account": None}),
        ("exchange.stream", "fail", {"stream": SILENT}),
    ],
)
def test_each_fault_has_its_verdict_and_no_other(
    check: str, verdict: str, changed: dict[str, Any]
) -> None:
    findings = judged(**changed)
    assert the(findings, check).verdict == verdict
    others = {v for name, v in verdicts(findings).items() if not name.startswith(check)}
    assert others == {"ok"}


def test_every_check_is_named_whatever_goes_wrong_first() -> None:
    """Machines find each id in every answer."""
    names = set(verdicts(judged(symbols=(BTC, ETH))))
    for problem in ({"clock": SILENT}, {"keys_problem": "none"}, {"rights": Problem("no", True)}):
        found = verdicts(judged(symbols=(BTC, ETH), **problem))
        assert set(found) == names
        assert list(found.values()).count("fail") == (2 if "rights" in problem else 1)


def test_every_symbol_is_told_of() -> None:
    found = verdicts(judged(symbols=(BTC, ETH)))
    assert found[f"exchange.symbol {BTC}"] == "ok"
    assert found[f"exchange.symbol {ETH}"] == "fail"
    assert found[f"exchange.account {ETH}"] == "skip"


# --- the served exchange ------------------------------------------------------------


class Served:
    def __init__(self, folder: Path, server: VenueServer, port: int, exchange: str) -> None:
        self.server = server
        self.port = port
        self._exchange = exchange
        self._folder = folder

    async def examined(self, more: str = "") -> list[Finding]:
        section = self._exchange.format(port=self.port)
        config = load(write(self._folder, exchange=section, more=more))
        with anyio.fail_after(60):
            return check_venue(
                await look_at_venue(config),
                symbols=config.settings.symbols,
                expected=config.account,
                max_skew_seconds=config.settings.links.max_clock_skew_seconds,
            )


EXCHANGES = {
    "sim": 'url = "sim://127.0.0.1:{port}"\napi_key = "${{KEY}}"\napi_secret = "${{SECRET}}"',
    "binance": 'url = "binance://usdm"\napi_key = "${{KEY}}"\napi_secret = "${{SECRET}}"\n'
    'options = {{ server = "http://127.0.0.1:{port}" }}',
}
Case = Callable[[Served], Awaitable[None]]
Run = Callable[..., None]


@pytest.fixture(params=EXCHANGES)
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Serves an exchange, to both clients that speak its protocol."""
    monkeypatch.setenv("KEY", "the-key")
    monkeypatch.setenv("SECRET", "the-secret")

    @asynccontextmanager
    async def served(hedge_mode: bool) -> AsyncIterator[Served]:
        venue = SimulatedVenue(time_ns=SystemClock().time_ns, hedge_mode=hedge_mode)
        venue.on_price(BTC, Decimal(50_000))
        server = VenueServer(venue, key="the-key", secret="the-secret", entropy=SystemEntropy())
        async with server.serve() as port:
            yield Served(tmp_path, server, port, EXCHANGES[request.param])

    def run(case: Case, *, hedge_mode: bool = False) -> None:
        async def main() -> None:
            async with served(hedge_mode) as exchange:
                await case(exchange)

        anyio.run(main)

    return run


def test_all_is_well(run: Run) -> None:
    async def case(exchange: Served) -> None:
        findings = await exchange.examined()
        assert set(verdicts(findings).values()) == {"ok"}
        assert the(findings, "exchange.account").found == "cross margin, leverage 20"
        assert "tick 0.1, step 0.001" in the(findings, "exchange.symbol").found
        assert not exchange.server.venue.order_log, "it orders nothing"

    run(case)


@pytest.mark.parametrize(
    ("check", "verdict", "permissions"),
    [
        ("exchange.trading_right", "fail", {"can_trade": False}),
        ("exchange.withdrawal_right", "warn", {"withdrawals": True}),
        ("exchange.addresses", "warn", {"bound_to_addresses": False}),
        ("exchange.key", "fail", {"futures": False}),
    ],
)
def test_rights(run: Run, check: str, verdict: str, permissions: dict[str, bool]) -> None:
    async def case(exchange: Served) -> None:
        for name, value in permissions.items():
            setattr(exchange.server.permissions, name, value)
        findings = await exchange.examined()
        assert the(findings, check).verdict == verdict
        others = {v for name, v in verdicts(findings).items() if name != check}
        assert others <= {"ok", "skip"}

    run(case)


@pytest.mark.parametrize(("name", "code"), [("KEY", "-2015"), ("SECRET", "-1022")])
def test_wrong_keys(run: Run, monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> None:
    monkeypatch.setenv(name, "another-one")

    async def case(exchange: Served) -> None:
        findings = await exchange.examined()
        key = the(findings, "exchange.key")
        assert key.verdict == "fail"
        assert code in key.found
        assert the(findings, "exchange.symbol").verdict == "ok", "it needs no key"
        for hidden in ("another-one", "the-key", "the-secret"):
            assert hidden not in repr(findings)

    run(case)


def test_hedge_mode(run: Run) -> None:
    async def case(exchange: Served) -> None:
        mode = "exchange.position_mode"
        assert the(await exchange.examined(), mode).verdict == "warn"
        wanted = await exchange.examined("[account]\nhedge_mode = true")
        assert the(wanted, mode).verdict == "ok"
        other = await exchange.examined("[account]\nhedge_mode = false")
        assert the(other, mode).verdict == "fail"

    run(case, hedge_mode=True)


def test_margin_mode_and_leverage(run: Run) -> None:
    async def case(exchange: Served) -> None:
        exchange.server.venue.set_leverage("BTCUSDT", 7)
        exchange.server.venue.set_isolated("BTCUSDT", isolated=True)
        right = await exchange.examined('[account]\nmargin_mode = "isolated"\nleverage = 7')
        assert the(right, "exchange.account").verdict == "ok"
        wrong = await exchange.examined('[account]\nmargin_mode = "cross"\nleverage = 8')
        found = the(wrong, "exchange.account")
        assert found.verdict == "fail"
        assert "margin_mode" in found.found
        assert "leverage is 8" in found.found

    run(case)


def test_clock(run: Run) -> None:
    async def case(exchange: Served) -> None:
        exchange.server.venue.faults.clock_skew_ms = 60_000
        clock = the(await exchange.examined(), "exchange.clock")
        assert clock.verdict == "fail"
        assert "behind" in clock.found

    run(case)


def test_no_stream(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.doctor.venue.STREAM_SECONDS", 0.5)

    async def case(exchange: Served) -> None:
        refused = Fault(executes=False, reply="error", status=503, code=-1001, message="no")
        exchange.server.venue.faults.arm("stream", refused, count=10_000)
        stream = the(await exchange.examined(), "exchange.stream")
        assert stream.verdict == "fail"
        assert "-1001" in stream.found

    run(case)


def test_nobody_there(run: Run) -> None:
    async def case(exchange: Served) -> None:
        exchange.port = 1
        found = verdicts(await exchange.examined())
        assert found.pop("exchange.reachable") == "fail"
        assert found.pop("exchange.keys") == "ok"
        assert set(found.values()) == {"skip"}

    run(case)


def test_keys_that_are_missing(tmp_path: Path) -> None:
    async def main() -> None:
        config = load(write(tmp_path, exchange='url = "binance://usdm"'))
        seen = await look_at_venue(config)
        assert "api_key" in seen.keys_problem

    anyio.run(main)


def test_an_address_that_names_no_venue_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    config = load(write(tmp_path, exchange='url = "binance://spot"'))
    with pytest.raises(ConfigError, match="not known"):
        anyio.run(look_at_venue, config)
