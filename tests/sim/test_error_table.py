"""What each kind of failure proves about an order, seen through a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from sim_rigs import BTC

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import TradingHalted
from holdfast.model import Order, OutcomeKind, PlaceOutcome, PlaceRequest, QueryKind, QueryOutcome
from holdfast.transports.sim import Fault, SimulatedVenue
from holdfast.transports.sim.http import SimHttpExecutionClient
from holdfast.transports.sim.server import VenueServer
from holdfast.transports.usdm.errors import classify_refusal

UNKNOWN, NOT_EXECUTED = OutcomeKind.UNKNOWN, OutcomeKind.NOT_EXECUTED
REJECTED, THROTTLED = OutcomeKind.REJECTED, OutcomeKind.THROTTLED
BANNED, AUTH, CLOCK = OutcomeKind.BANNED, OutcomeKind.AUTH, OutcomeKind.CLOCK
KEY = "key-that-must-not-leak"
SECRET = "s3cr3t-that-must-not-leak"


def client_of(url: str) -> SimHttpExecutionClient:
    return SimHttpExecutionClient(
        url,
        key=KEY,
        secret=SECRET,
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )


def request() -> PlaceRequest:
    return PlaceRequest(
        client_order_id="h1",
        order=Order(symbol=BTC, side="buy", quantity="0.010", price="50000"),  # type: ignore[arg-type]
        timestamp_ms=SystemClock().time_ns() // 1_000_000,
        recv_window_ms=5000,
    )


async def place(
    url: str,
    *,
    permit: Callable[[], object] = lambda: None,
    timeout_seconds: float = 5.0,
) -> PlaceOutcome:
    client = client_of(url)
    try:
        return await client.place(request(), permit=permit, timeout_seconds=timeout_seconds)
    finally:
        await client.aclose()


def place_at(fault: Fault) -> PlaceOutcome:
    """Place one order at the venue that shows this fault."""

    async def main() -> PlaceOutcome:
        venue = SimulatedVenue(time_ns=SystemClock().time_ns)
        server = VenueServer(venue, key=KEY, secret=SECRET, entropy=SystemEntropy())
        venue.faults.arm("place", fault)
        async with server.serve() as port:
            outcome = await place(f"http://127.0.0.1:{port}")
        assert venue.executions("h1") == fault.executes
        return outcome

    return anyio.run(main)


UNKNOWN_503 = "Unknown error, please check your request or try again later."
WAF = "<html>Request blocked</html>"
BAN = "Way too many requests; IP banned until {}. Please use the websocket to avoid bans."

ROWS: list[tuple[int, int | None, str, OutcomeKind]] = [
    # status, code, text (a body of its own where there is no code), what it proves
    (500, None, "<html>oops</html>", UNKNOWN),
    (502, None, "<html>Bad Gateway</html>", UNKNOWN),
    (520, None, "<html>origin</html>", UNKNOWN),
    (504, None, "<html>Gateway Timeout</html>", UNKNOWN),
    (408, None, "", UNKNOWN),
    (404, None, "<html>nothing here</html>", UNKNOWN),
    (301, None, "", UNKNOWN),
    (503, None, f'{{"msg":"{UNKNOWN_503}"}}', UNKNOWN),
    (503, -1000, UNKNOWN_503, UNKNOWN),
    (503, None, "Service Unavailable.", NOT_EXECUTED),
    (503, None, '{"msg":"Service Unavailable."}', NOT_EXECUTED),
    (503, -1001, "Internal error; unable to process your request. Please try again.", UNKNOWN),
    (503, -1008, "Request throttled by system-level protection.", NOT_EXECUTED),
    (400, -1000, "An unknown error occurred while processing the request.", UNKNOWN),
    (400, -1006, "An unexpected response was received from the message bus.", UNKNOWN),
    (408, -1007, "Timeout waiting for response from backend server.", UNKNOWN),
    (429, -1003, "Too many requests.", THROTTLED),
    (429, -1015, "Too many new orders.", THROTTLED),
    (429, None, "", THROTTLED),
    (418, -1003, "Way too many requests.", BANNED),
    (418, None, "", BANNED),
    (400, -1003, "Too many requests.", THROTTLED),
    (400, -1015, "Too many new orders.", THROTTLED),
    (403, None, WAF, BANNED),
    (451, None, "Service unavailable from a restricted location.", AUTH),
    (400, -1021, "Timestamp for this request is outside of the recvWindow.", CLOCK),
    (400, -5028, "Timestamp for this request is outside of the ME recvWindow.", CLOCK),
    (400, -1022, "Signature for this request is not valid.", AUTH),
    (401, -2014, "API-key format invalid.", AUTH),
    (401, -2015, "Invalid API-key, IP, or permissions for action.", AUTH),
    (401, -1002, "You are not authorized to execute this request.", AUTH),
    (400, -2010, "Account has insufficient balance for requested action.", REJECTED),
    (400, -2010, "Duplicate order sent.", OutcomeKind.EXISTS),
    (400, -4116, "ClientOrderId is duplicated.", OutcomeKind.EXISTS),
    (400, -99999, "a number nobody has listed", UNKNOWN),
    *(
        (400, code, "no", REJECTED)
        for code in (
            *(-2018, -2019, -2020, -2021, -2022, -4118, -4164, -4120),
            *(-1111, -4015, -5021, -5022, -4192, -4400, -1102, -1121, -4003, -4014),
        )
    ),
]


@pytest.mark.parametrize(("status", "code", "text", "kind"), ROWS)
def test_status_and_code(status: int, code: int | None, text: str, kind: OutcomeKind) -> None:
    fault = Fault(
        executes=kind is UNKNOWN,
        reply="error",
        status=status,
        code=code,
        message=text,
        body=text if code is None else None,
    )
    outcome = place_at(fault)
    assert (outcome.kind, outcome.code, outcome.order) == (kind, code, None)
    assert str(status) in outcome.reason


def test_retry_after_is_read() -> None:
    fault = Fault(executes=False, reply="error", status=429, code=-1003, retry_after_seconds=7)
    assert place_at(fault).retry_after_seconds == 7.0


def test_end_of_a_ban_is_read_from_its_text() -> None:
    outcome = classify_refusal(
        status=418, code=-1003, message=BAN.format(1_700_000_090_000), now_ms=1_700_000_000_000
    )
    assert (outcome.kind, outcome.retry_after_seconds) == (BANNED, 90.0)


OURS = (
    b'{"orderId":7,"clientOrderId":"h1","symbol":"BTCUSDT","status":"NEW","side":"BUY",'
    b'"price":"50000","origQty":"0.010","executedQty":"0","updateTime":1}'
)


def ok(body: bytes, *, length: int | None = None) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


class ByteServer:
    """Reads one request head, answers with given bytes, closes or stays silent."""

    def __init__(self, answer: bytes, *, stay: bool = False, reset: bool = False) -> None:
        self.answer = answer
        self.stay = stay
        self.reset = reset
        self.requests: list[bytes] = []

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        try:
            port = server.sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}"
        finally:
            server.close()
            await server.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                if self.reset:
                    writer.transport.abort()
                    return
                writer.write(self.answer)
                await writer.drain()
                if not self.stay:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ok(OURS), OutcomeKind.ACCEPTED),
        (ok(OURS.replace(b'"h1"', b'"h2"')), UNKNOWN),
        (ok(OURS.replace(b'"orderId":7', b'"orderId":0')), UNKNOWN),
        (ok(OURS.replace(b'"NEW"', b'"SOMETHING"')), UNKNOWN),
        (ok(b"<html>maintenance</html>"), UNKNOWN),
        (ok(b""), UNKNOWN),
        (ok(b"{}"), UNKNOWN),
        (ok(b"[]"), UNKNOWN),
        (ok(b"null"), UNKNOWN),
        (ok(OURS[:40]), UNKNOWN),
        (ok(b'{"code":-2019,"msg":"Margin is insufficient."}'), UNKNOWN),
        (ok(OURS, length=len(OURS) + 9), UNKNOWN),
        (ok(b"\xff\xfe\x00"), UNKNOWN),
        (b"", UNKNOWN),
        (b"not http at all\r\n\r\n", UNKNOWN),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", UNKNOWN),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", UNKNOWN),
    ],
)
def test_answers_as_bytes(answer: bytes, kind: OutcomeKind) -> None:
    async def main() -> None:
        server = ByteServer(answer)
        async with server.serve() as url:
            outcome = await place(url)
        assert outcome.kind is kind, outcome
        assert len(server.requests) == 1

    anyio.run(main)


def test_reset_after_sending_is_unknown() -> None:
    async def main() -> None:
        async with ByteServer(b"", reset=True).serve() as url:
            assert (await place(url)).kind is UNKNOWN

    anyio.run(main)


def test_silence_is_unknown_within_the_timeout() -> None:
    async def main() -> None:
        async with ByteServer(b"", stay=True).serve() as url:
            with anyio.fail_after(5):
                assert (await place(url, timeout_seconds=0.2)).kind is UNKNOWN

    anyio.run(main)


def test_refused_connection_is_not_executed_and_takes_no_permit() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken_permits: list[int] = []

        async def main() -> None:
            outcome = await place(
                f"http://127.0.0.1:{port}", permit=lambda: taken_permits.append(1)
            )
            assert outcome.kind is NOT_EXECUTED

        anyio.run(main)
        assert taken_permits == []


def slow_names(
    monkeypatch: pytest.MonkeyPatch, then: Callable[[], None], *, seconds: float = 0.05
) -> None:
    """Let every name mean this machine, after a while in which `then` happens."""

    async def getaddrinfo(
        self: asyncio.BaseEventLoop, host: str, port: int, **_: Any
    ) -> list[tuple[Any, ...]]:
        await asyncio.sleep(seconds)
        then()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


def test_unknown_name_is_not_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    slow_names(monkeypatch, fail)
    outcome = anyio.run(lambda: place("http://venue.example:1"))
    assert outcome.kind is NOT_EXECUTED


def test_timeout_before_the_connection_stands_is_not_executed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow_names(monkeypatch, lambda: None, seconds=30)
    outcome = anyio.run(lambda: place("http://venue.example:1", timeout_seconds=0.2))
    assert outcome.kind is NOT_EXECUTED


def test_gate_shut_during_name_resolution_stops_the_write(monkeypatch: pytest.MonkeyPatch) -> None:
    shut: list[bool] = []
    slow_names(monkeypatch, lambda: shut.append(True))

    def permit() -> None:
        if shut:
            raise TradingHalted("shut while connecting")

    async def main() -> None:
        server = ByteServer(ok(OURS))
        async with server.serve() as url:
            with pytest.raises(TradingHalted, match="shut while connecting"):
                await place(url.replace("127.0.0.1", "venue.example"), permit=permit)
        assert server.requests == []

    anyio.run(main)


@pytest.mark.parametrize("refusal", [OSError(5, "x"), TimeoutError("y"), RuntimeError("z")])
def test_whatever_the_permit_raises_passes_through(refusal: BaseException) -> None:
    def permit() -> None:
        raise refusal

    async def main() -> None:
        async with ByteServer(ok(OURS)).serve() as url:
            with pytest.raises(type(refusal)) as raised:
                await place(url, permit=permit)
            assert raised.value is refusal

    anyio.run(main)


def test_nothing_is_sent_twice_over_a_connection_that_dies() -> None:
    """aiohttp repeats GET, PUT and DELETE on a dead pooled connection unless stopped."""

    class DiesOnTheSecond(ByteServer):
        async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while True:
                    self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                    if len(self.requests) == 2:
                        return
                    writer.write(self.answer)
                    await writer.drain()
            except asyncio.IncompleteReadError:
                return
            finally:
                writer.close()

    async def main() -> None:
        server = DiesOnTheSecond(ok(OURS))
        async with server.serve() as url:
            client = client_of(url)
            try:
                first = await client.cancel(BTC, "h1", timeout_seconds=2)
                assert first.kind is QueryKind.FOUND
                second: QueryOutcome = await client.cancel(BTC, "h1", timeout_seconds=2)
            finally:
                await client.aclose()
        assert second.kind is QueryKind.UNANSWERED
        assert len(server.requests) == 2

    anyio.run(main)


def test_neither_key_nor_secret_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    client = client_of("http://127.0.0.1:1")
    outcome = anyio.run(lambda: place("http://127.0.0.1:1"))
    shown = f"{client!r} {client} {outcome} {caplog.text}"
    assert "must-not-leak" not in shown
    assert "signature" not in shown
