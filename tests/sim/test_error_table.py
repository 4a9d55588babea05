"""What each kind of failure proves about an order, and what has to follow from it.

Each row goes through a real socket, for every client that speaks Binance's protocol.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import anyio
import pytest
from sim_rigs import BTC, WIRE_CLIENTS, MakeWireClient

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import LinkDown, TradingHalted
from holdfast.evidence import Decision, Next, decide
from holdfast.model import (
    Order,
    OrderStatus,
    OutcomeKind,
    PlaceOutcome,
    PlaceRequest,
    QueryKind,
    QueryOutcome,
)
from holdfast.transports.sim import Fault, SimulatedVenue
from holdfast.transports.sim.server import VenueServer
from holdfast.transports.usdm.client import UsdmExecutionClient
from holdfast.transports.usdm.errors import (
    CODES,
    SHORTEST_BAN_SECONDS,
    STATUSES,
    classify_refusal,
)

UNKNOWN, NOT_EXECUTED = OutcomeKind.UNKNOWN, OutcomeKind.NOT_EXECUTED
REJECTED, THROTTLED = OutcomeKind.REJECTED, OutcomeKind.THROTTLED
BANNED, AUTH, CLOCK = OutcomeKind.BANNED, OutcomeKind.AUTH, OutcomeKind.CLOCK
KEY = "key-that-must-not-leak"
SECRET = "s3cr3t-that-must-not-leak"


MakeClient = Callable[[str], UsdmExecutionClient]


@pytest.fixture(params=WIRE_CLIENTS)
def make(request: pytest.FixtureRequest) -> MakeClient:
    client: MakeWireClient = WIRE_CLIENTS[request.param]
    return functools.partial(client, key=KEY, secret=SECRET)


def request(client_order_id: str = "h1") -> PlaceRequest:
    return PlaceRequest(
        client_order_id=client_order_id,
        order=Order(symbol=BTC, side="buy", quantity="0.010", price="50000"),  # type: ignore[arg-type]
        timestamp_ms=SystemClock().time_ns() // 1_000_000,
        recv_window_ms=5000,
    )


async def place(
    make: MakeClient,
    url: str,
    *,
    permit: Callable[[], object] = lambda: None,
    timeout_seconds: float = 5.0,
) -> PlaceOutcome:
    client = make(url)
    try:
        return await client.place(request(), permit=permit, timeout_seconds=timeout_seconds)
    finally:
        await client.aclose()


class Met(NamedTuple):
    """How an order met a fault.

    :ivar decision: what the engine makes of the outcome of a first attempt.
    :ivar then: a second order at once, by the same client.
    :ivar read: whether a question at once was answered.
    :ivar arrived: how many orders the venue has seen in all.
    """

    outcome: PlaceOutcome
    decision: Decision
    then: PlaceOutcome
    read: bool
    arrived: int


def place_at(make: MakeClient, fault: Fault) -> Met:
    """Place one order at the venue that shows this fault, then another."""

    async def main() -> Met:
        venue = SimulatedVenue(time_ns=SystemClock().time_ns)
        venue.on_price(BTC, Decimal(60_000))
        server = VenueServer(venue, key=KEY, secret=SECRET, entropy=SystemEntropy())
        venue.faults.arm("place", fault)
        async with server.serve() as port:
            client = make(f"http://127.0.0.1:{port}")
            try:
                first = await client.place(request(), permit=lambda: None, timeout_seconds=5)
                then = await client.place(request("h2"), permit=lambda: None, timeout_seconds=5)
                try:
                    await client.positions(timeout_seconds=5)
                    read = True
                except LinkDown:
                    read = False
            finally:
                await client.aclose()
        assert venue.executions("h1") == fault.executes
        arrived = [seen for seen in server.requests.after(0) if seen.kind == "place"]
        decision = decide(first, attempts=1, backoff_seconds=(1.0, 2.0, 4.0), jitter=0.0)
        return Met(first, decision, then, read, len(arrived))

    return anyio.run(main)


UNKNOWN_503 = "Unknown error, please check your request or try again later."
WAF = "<html>Request blocked</html>"
BAN = "Way too many requests; IP banned until {}. Please use the websocket to avoid bans."

ROWS: list[tuple[int, int | None, str, OutcomeKind]] = [
    # Status, code, text (a body of its own where there is no code), what it proves; those without
    # an answer at all are below. In the order of Binance's "HTTP Return Codes" and "Error Codes".
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
    (400, -2018, "Balance is insufficient.", REJECTED),
    (400, -2019, "Margin is insufficient.", REJECTED),
    (400, -2020, "Unable to fill.", REJECTED),
    (400, -2021, "Order would immediately trigger.", REJECTED),
    (400, -2022, "ReduceOnly Order is rejected.", REJECTED),
    (400, -4118, "ReduceOnly Order Failed.", REJECTED),
    (400, -2023, "User in liquidation mode now.", REJECTED),
    (400, -2024, "Position is not sufficient.", REJECTED),
    (400, -2025, "Reach max open order limit.", REJECTED),
    (400, -2026, "This OrderType is not supported when reduceOnly.", REJECTED),
    (400, -2027, "Exceeded the maximum allowable position at current leverage.", REJECTED),
    (400, -2028, "Leverage is smaller than permitted: insufficient margin balance.", REJECTED),
    (400, -4116, "ClientOrderId is duplicated.", OutcomeKind.EXISTS),
    (400, -4164, "Order's notional must be no smaller than 100.", REJECTED),
    (400, -4120, "Order type not supported for this endpoint.", REJECTED),
    (400, -4109, "Inactive account.", REJECTED),
    (400, -4141, "Symbol is closed.", REJECTED),
    (400, -4142, "REJECT: take profit or stop order will be triggered immediately.", REJECTED),
    (400, -4183, "Price is higher than stop price multiplier cap.", REJECTED),
    (400, -4184, "Price is lower than stop price multiplier floor.", REJECTED),
    (400, -4210, "Stop price is higher than price multiplier cap.", REJECTED),
    (400, -4211, "Stop price is lower than price multiplier floor.", REJECTED),
    (400, -4401, "Only reduceOnly order is allowed, please reduce the position.", REJECTED),
    (400, -4402, "This feature is currently not available in your region.", REJECTED),
    (400, -2017, "API Keys are locked on this account.", AUTH),
    (400, -4131, "The counterparty's best price does not meet the PERCENT_PRICE filter.", REJECTED),
    (400, -4140, "Invalid symbol status for opening position.", REJECTED),
    (400, -1102, "A mandatory parameter was not sent.", REJECTED),
    (400, -1111, "Precision is over the maximum defined for this asset.", REJECTED),
    (400, -1121, "Invalid symbol.", REJECTED),
    (400, -4003, "Quantity less than or equal to zero.", REJECTED),
    (400, -4014, "Price not increased by tick size.", REJECTED),
    (400, -4015, "Client order id length should be less than 36 chars.", REJECTED),
    (400, -5021, "The FOK order has been rejected.", REJECTED),
    (400, -5022, "The post-only order would take.", REJECTED),
    (400, -4192, "Trading is in the cooling-off period.", REJECTED),
    (400, -4400, "Only reducing is allowed.", REJECTED),
    (400, -99999, "a number nobody has listed", UNKNOWN),
]
UNLISTED = -99999


def test_every_status_and_every_code_that_is_classified_has_a_row() -> None:
    codes = {code for _, code, _, _ in ROWS}
    assert set(CODES) <= codes
    refused_unread = [code for code in codes - set(CODES) if code not in (None, UNLISTED)]
    assert len(refused_unread) == 6, "of the two ranges whose codes are not listed one by one"
    bare = {status for status, code, _, _ in ROWS if code is None}
    assert set(STATUSES) <= bare


FOLLOWS: dict[OutcomeKind, tuple[Next, float]] = {
    # What follows, and after how many seconds at least.
    UNKNOWN: (Next.ASK, 0.0),
    OutcomeKind.EXISTS: (Next.ASK, 0.0),
    NOT_EXECUTED: (Next.SEND_AGAIN, 1.0),
    THROTTLED: (Next.SEND_AGAIN, 1.0),
    CLOCK: (Next.SEND_AGAIN, 1.0),
    REJECTED: (Next.REJECT, 0.0),
    BANNED: (Next.HALT, 0.0),
    AUTH: (Next.HALT, 0.0),
}


@pytest.mark.parametrize(("status", "code", "text", "kind"), ROWS)
def test_status_and_code(
    make: MakeClient, status: int, code: int | None, text: str, kind: OutcomeKind
) -> None:
    fault = Fault(
        executes=kind is UNKNOWN,
        reply="error",
        status=status,
        code=code,
        message=text,
        body=text if code is None else None,
    )
    met = place_at(make, fault)
    outcome, decision = met.outcome, met.decision
    assert (outcome.kind, outcome.code, outcome.order) == (kind, code, None)
    assert outcome.nothing_to_reduce is (code in (-2022, -4118))
    assert str(status) in outcome.reason
    assert (decision.next, decision.wait_seconds) == FOLLOWS[kind]
    assert decision.resync_clock == (kind is CLOCK)
    # Only a ban keeps the client from sending what comes next.
    if kind is BANNED:
        assert (met.then.kind, met.arrived, met.read) == (THROTTLED, 1, False)
        assert met.then.retry_after_seconds == pytest.approx(SHORTEST_BAN_SECONDS, abs=5)
    else:
        assert (met.then.kind, met.arrived, met.read) == (OutcomeKind.ACCEPTED, 2, True)


@pytest.mark.parametrize(
    ("status", "code", "kind", "follows"),
    [
        (429, -1003, THROTTLED, Next.SEND_AGAIN),
        (429, -1015, THROTTLED, Next.SEND_AGAIN),
        (418, -1003, BANNED, Next.HALT),
    ],
)
def test_nothing_is_sent_before_the_end_of_retry_after(
    make: MakeClient, status: int, code: int, kind: OutcomeKind, follows: Next
) -> None:
    fault = Fault(executes=False, reply="error", status=status, code=code, retry_after_seconds=700)
    met = place_at(make, fault)
    assert (met.outcome.kind, met.outcome.retry_after_seconds) == (kind, 700.0)
    assert met.decision.next is follows
    assert met.decision.wait_seconds == (700.0 if follows is Next.SEND_AGAIN else 0.0)
    assert (met.then.kind, met.arrived, met.read) == (THROTTLED, 1, False)
    assert met.then.retry_after_seconds == pytest.approx(700, abs=5)


def test_a_ban_lasts_until_the_moment_that_its_text_names(make: MakeClient) -> None:
    until_ms = SystemClock().time_ns() // 1_000_000 + 3_600_000
    fault = Fault(
        executes=False, reply="error", status=418, code=-1003, message=BAN.format(until_ms)
    )
    met = place_at(make, fault)
    assert (met.outcome.kind, met.decision.next) == (BANNED, Next.HALT)
    assert met.outcome.retry_after_seconds == pytest.approx(3600, abs=60)
    assert (met.then.kind, met.arrived, met.read) == (THROTTLED, 1, False)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (-2013, QueryKind.ABSENT),  # not yet a proof
        (-2011, QueryKind.UNANSWERED),  # no answer to a question
        (-1000, QueryKind.UNANSWERED),
        (-1021, QueryKind.UNANSWERED),
    ],
)
def test_what_a_question_for_an_order_may_be_told(
    make: MakeClient, code: int, kind: QueryKind
) -> None:
    async def ask(client: UsdmExecutionClient, venue: SimulatedVenue) -> QueryOutcome:
        venue.faults.arm("query", Fault.refusal(code, "no"))
        return await client.query(BTC, "h1", timeout_seconds=5)

    assert at_venue(make, ask).kind is kind


def test_an_unknown_order_to_a_cancel_is_asked_for(make: MakeClient) -> None:
    async def cancel(client: UsdmExecutionClient, venue: SimulatedVenue) -> QueryOutcome:
        venue.on_price(BTC, Decimal(50_000))
        outcome = await client.place(request(), permit=lambda: None, timeout_seconds=5)
        assert outcome.kind is OutcomeKind.ACCEPTED
        return await client.cancel(BTC, "h1", timeout_seconds=5)

    told = at_venue(make, cancel)
    assert told.kind is QueryKind.FOUND
    assert told.order is not None
    assert told.order.status is OrderStatus.FILLED


def at_venue(
    make: MakeClient,
    act: Callable[[UsdmExecutionClient, SimulatedVenue], Awaitable[QueryOutcome]],
) -> QueryOutcome:
    async def main() -> QueryOutcome:
        venue = SimulatedVenue(time_ns=SystemClock().time_ns)
        server = VenueServer(venue, key=KEY, secret=SECRET, entropy=SystemEntropy())
        async with server.serve() as port:
            client = make(f"http://127.0.0.1:{port}")
            try:
                return await act(client, venue)
            finally:
                await client.aclose()

    return anyio.run(main)


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
def test_answers_as_bytes(make: MakeClient, answer: bytes, kind: OutcomeKind) -> None:
    async def main() -> None:
        server = ByteServer(answer)
        async with server.serve() as url:
            outcome = await place(make, url)
        assert outcome.kind is kind, outcome
        assert len(server.requests) == 1

    anyio.run(main)


def test_reset_after_sending_is_unknown(make: MakeClient) -> None:
    async def main() -> None:
        async with ByteServer(b"", reset=True).serve() as url:
            assert (await place(make, url)).kind is UNKNOWN

    anyio.run(main)


def test_silence_is_unknown_within_the_timeout(make: MakeClient) -> None:
    async def main() -> None:
        async with ByteServer(b"", stay=True).serve() as url:
            with anyio.fail_after(5):
                assert (await place(make, url, timeout_seconds=0.2)).kind is UNKNOWN

    anyio.run(main)


def test_refused_connection_is_not_executed_and_takes_no_permit(make: MakeClient) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken_permits: list[int] = []

        async def main() -> None:
            outcome = await place(
                make, f"http://127.0.0.1:{port}", permit=lambda: taken_permits.append(1)
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


def test_unknown_name_is_not_executed(make: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    slow_names(monkeypatch, fail)
    outcome = anyio.run(lambda: place(make, "http://localhost:1"))
    assert outcome.kind is NOT_EXECUTED


def test_timeout_before_the_connection_stands_is_not_executed(
    make: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow_names(monkeypatch, lambda: None, seconds=30)
    outcome = anyio.run(lambda: place(make, "http://localhost:1", timeout_seconds=0.2))
    assert outcome.kind is NOT_EXECUTED


def test_gate_shut_during_name_resolution_stops_the_write(
    make: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut: list[bool] = []
    slow_names(monkeypatch, lambda: shut.append(True))

    def permit() -> None:
        if shut:
            raise TradingHalted("shut while connecting")

    async def main() -> None:
        server = ByteServer(ok(OURS))
        async with server.serve() as url:
            with pytest.raises(TradingHalted, match="shut while connecting"):
                await place(make, url.replace("127.0.0.1", "localhost"), permit=permit)
        assert server.requests == []

    anyio.run(main)


@pytest.mark.parametrize("refusal", [OSError(5, "x"), TimeoutError("y"), RuntimeError("z")])
def test_whatever_the_permit_raises_passes_through(
    make: MakeClient, refusal: BaseException
) -> None:
    def permit() -> None:
        raise refusal

    async def main() -> None:
        async with ByteServer(ok(OURS)).serve() as url:
            with pytest.raises(type(refusal)) as raised:
                await place(make, url, permit=permit)
            assert raised.value is refusal

    anyio.run(main)


def test_nothing_is_sent_twice_over_a_connection_that_dies(make: MakeClient) -> None:
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
            client = make(url)
            try:
                first = await client.cancel(BTC, "h1", timeout_seconds=2)
                assert first.kind is QueryKind.FOUND
                second: QueryOutcome = await client.cancel(BTC, "h1", timeout_seconds=2)
            finally:
                await client.aclose()
        assert second.kind is QueryKind.UNANSWERED
        assert len(server.requests) == 2

    anyio.run(main)


def test_neither_key_nor_secret_is_shown(
    make: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make("http://127.0.0.1:1")
    outcome = anyio.run(lambda: place(make, "http://127.0.0.1:1"))
    shown = f"{client!r} {client} {outcome} {caplog.text}"
    assert "must-not-leak" not in shown
    assert "signature" not in shown
