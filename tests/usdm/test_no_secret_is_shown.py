"""Keys are in no log, repr, exception, traceback or journal, whatever goes wrong.

A life of an engine with real sockets, then everything that it has left behind is searched, for
keys and for signatures: a signed request is as good as the key while its window lasts.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from sim_rigs import BTC, WIRE_CLIENTS

from holdfast import Engine, Order
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import LinkDown, OrderError, Rejected
from holdfast.model import Order as ModelOrder
from holdfast.model import OutcomeKind, PlaceRequest
from holdfast.transports.sim import Fault, SimulatedVenue
from holdfast.transports.sim.server import VenueServer
from holdfast.transports.usdm.client import UsdmExecutionClient

KEY = "Kq3xw7-this-key-must-not-be-seen-AbCdEf"
SECRET = "Zt9vm1-this-secret-must-not-be-seen-GhIjKl"


def searched(text: str) -> None:
    for word in (KEY, SECRET, "signature="):
        assert word not in text, f"{word} is shown: …{text[max(0, text.find(word) - 200) :][:400]}"


def whole(error: BaseException) -> Iterator[str]:
    """All that a crash reporter could tell of an error: the chain, and each frame's locals."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        report = traceback.TracebackException.from_exception(one, capture_locals=True)
        for frame in report.stack:
            if frame.filename != __file__:  # this test knows the keys
                yield f"{frame.name}: {frame.line} {frame.locals}"
        yield "".join(report.format_exception_only())
        yield repr(one)
        yield repr(vars(one))
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def request() -> PlaceRequest:
    return PlaceRequest(
        client_order_id="h1",
        order=ModelOrder(BTC, "buy", "0.010", "50000"),
        timestamp_ms=SystemClock().time_ns() // 1_000_000,
        recv_window_ms=5000,
    )


class Abort(BaseException):
    """What a permit might raise."""


def refuse() -> None:
    raise Abort


@pytest.mark.parametrize("signer", WIRE_CLIENTS)
def test_not_in_what_a_client_raises(signer: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    errors: list[BaseException] = []
    shown: list[str] = []

    async def main() -> None:
        venue = SimulatedVenue(time_ns=SystemClock().time_ns)
        server = VenueServer(venue, key=KEY, secret="another", entropy=SystemEntropy())
        async with server.serve() as port:
            for url in (f"http://127.0.0.1:{port}", "http://127.0.0.1:1"):
                client = WIRE_CLIENTS[signer](url, key=KEY, secret=SECRET)
                try:
                    await misuse(client)
                finally:
                    await client.aclose()

    async def misuse(client: UsdmExecutionClient) -> None:
        shown.extend((repr(client), str(client), repr(vars(client))))
        outcome = await client.place(request(), permit=lambda: None, timeout_seconds=5)
        assert outcome.kind in (OutcomeKind.AUTH, OutcomeKind.NOT_EXECUTED)
        shown.append(repr(outcome))
        for call in (
            client.positions(timeout_seconds=5),
            client.balances(timeout_seconds=5),
            client.set_leverage(BTC, 5, timeout_seconds=5),
            client.fills(BTC, after_trade_id=0, timeout_seconds=5),
            client.probe(),
        ):
            try:
                await call
            except (LinkDown, Rejected) as error:
                errors.append(error)
        try:
            await client.place(request(), permit=refuse, timeout_seconds=5)
        except Abort as error:
            errors.append(error)
        with anyio.move_on_after(0):
            try:
                await client.place(request(), permit=lambda: None, timeout_seconds=5)
            except BaseException as error:
                errors.append(error)
                raise

    anyio.run(main)
    assert len(errors) >= 2 * 6
    for error in errors:
        shown.extend(whole(error))
    searched("".join(shown))
    searched(caplog.text)


@pytest.mark.parametrize("secret", [SECRET, f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END"])
def test_not_in_what_an_engine_leaves_behind(
    secret: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    keys = tmp_path / "keys.toml"
    keys.write_text(f'key = "{KEY}"\nsecret = """{secret}"""\n')
    keys.chmod(0o600)
    shown: list[str] = []

    async def life(engine: Engine, venue: SimulatedVenue) -> None:
        shown.append(repr(engine) + repr(vars(engine)))
        if secret != SECRET:
            await anyio.sleep(0.5)  # it tries, and can not sign
            return
        await engine.until_healthy()
        report = await engine.submit(Order(BTC, "buy", "0.010", key="one"))
        assert report.filled == report.quantity
        for fault in (
            Fault.refusal(-2019, "Margin is insufficient."),
            Fault.refusal(-1022, "Signature for this request is not valid."),
        ):
            venue.faults.arm("place", fault)
            with pytest.raises(OrderError) as raised:
                await engine.submit(Order(BTC, "buy", "0.010"))
            shown.extend(whole(raised.value))

    async def main() -> None:
        venue = SimulatedVenue(time_ns=SystemClock().time_ns)
        venue.on_price(BTC, Decimal(50_000))
        server = VenueServer(venue, key=KEY, secret=SECRET, entropy=SystemEntropy())
        async with server.serve() as port:
            config: dict[str, Any] = {
                "engine": {"bot": "leak", "symbols": [BTC], "state_dir": str(tmp_path / "state")},
                "bus": {"url": "memory://bus"},
                "policy": {"url": "memory://policy", "initial": {"active_mode": "NORMAL"}},
                "lease": {"enabled": False},
                "gate": {"loop_lease_seconds": 60.0},
                "exchange": {
                    "url": "binance://usdm",
                    "key_file": str(keys),
                    "options": {"server": f"http://127.0.0.1:{port}"},
                },
            }
            with anyio.fail_after(60):
                async with Engine.open(config) as engine:
                    await life(engine, venue)

    anyio.run(main)
    journal = b"".join(path.read_bytes() for path in _files(tmp_path / "state"))
    if secret == SECRET:
        assert b"one" in journal  # it is the journal that was read
    searched(journal.decode(errors="replace"))
    searched("".join(shown))
    searched(caplog.text)
    searched("".join(repr(vars(record)) for record in caplog.records))
    searched("".join(capfd.readouterr()))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
