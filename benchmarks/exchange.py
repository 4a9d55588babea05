"""How many orders a second `holdfast exchange` serves on one core, beside bare aiohttp.

    python benchmarks/exchange.py [--json] [--rounds N] [--quick]

Signed orders, half of them limit orders that rest and half at the market, are sent over
keep-alive connections from this process; the servers are processes of their own: the exchange,
with nobody and with somebody on its user stream, and an aiohttp handler that reads the request
and answers with the same bytes, which is as fast as a server of that kind can be. They take
turns. CPU seconds of the server are counted beside the clock, since they tell the same on a
busy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
from aiohttp import web
from report import Figures, Goal, show

from holdfast.transports.sim.limits import UNLIMITED
from holdfast.transports.sim.process import ExchangeOptions, run_exchange
from holdfast.transports.usdm.signing import sign

KEY, SECRET = "k", b"s"
CONNECTIONS = 16
BARE, ALONE, HEARD = "bare aiohttp handler", "exchange", "exchange, user stream attached"
ORDERS_PER_SECOND = 3000
ORDER_PATH = "/fapi/v1/order"


# --- the servers, each in a process of its own ---------------------------------------------


async def tell_cpu_time() -> None:
    """Answer each line on the standard input with the CPU seconds of this process."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while await reader.readline():
        print(time.process_time(), flush=True)


async def serve_exchange() -> None:
    teller = asyncio.create_task(tell_cpu_time())
    options = ExchangeOptions(key=KEY, secret=SECRET.decode(), limits=UNLIMITED)
    await run_exchange(options, ready=lambda _host, port: print(port, flush=True))
    teller.cancel()


async def serve_bare(body: bytes, headers: dict[str, str]) -> None:
    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(body=body, headers=headers)

    runner = web.ServerRunner(web.Server(handle, access_log=None), handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await tell_cpu_time()


class Server:
    """A server process, as this one sees it."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.port = port
        self._process = process

    async def cpu_seconds(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        return float(await self._process.stdout.readline())


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield Server(process, int(await process.stdout.readline()))
    finally:
        process.terminate()
        await process.wait()


# --- the load ------------------------------------------------------------------------------


class Sender(asyncio.Protocol):
    """Sends one request after another over one connection, each once the last was answered."""

    def __init__(self, requests: list[bytes]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        answer = self._answer = self._answer + data
        head, found, body = answer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.partition(b"Content-Length: ")[2].split(b"\r")[0]):
            return
        if not answer.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(answer.decode()))
            self._transport.abort()
            return
        self._answer = b""
        self._next()

    def _next(self) -> None:
        if self._requests:
            self._transport.write(self._requests.pop())
        elif not self.done.done():
            self.done.set_result(None)
            self._transport.close()


def order_request(number: int) -> bytes:
    """A signed order: every other one rests, the others trade and leave the position as it was."""
    side = "BUY" if number % 4 < 2 else "SELL"
    terms = [("symbol", "BTCUSDT"), ("side", side), ("quantity", "0.010")]
    if number % 2:
        terms += [("type", "MARKET")]
    else:
        price = 60000 - number % 50 if side == "BUY" else 68000 + number % 50
        terms += [("type", "LIMIT"), ("price", str(price)), ("timeInForce", "GTC")]
    terms += [("newClientOrderId", f"b{number}"), ("newOrderRespType", "RESULT")]
    terms += [("recvWindow", "60000"), ("timestamp", str(time.time_ns() // 1_000_000))]
    body = sign(terms, SECRET).encode()
    head = (
        f"POST {ORDER_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-MBX-APIKEY: {KEY}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def load(server: Server, first: int, count: int) -> tuple[float, float]:
    """Seconds by the clock, and CPU seconds of the server, for so many orders."""
    requests = [order_request(number) for number in range(first, first + count)]
    each = math.ceil(count / CONNECTIONS)
    shares = [requests[begin : begin + each] for begin in range(0, count, each)]
    loop, cpu = asyncio.get_running_loop(), await server.cpu_seconds()
    began = time.perf_counter()
    senders = [
        (await loop.create_connection(lambda part=part: Sender(part), "127.0.0.1", server.port))[1]
        for part in shares
    ]
    await asyncio.gather(*(sender.done for sender in senders))
    seconds = time.perf_counter() - began
    return seconds, await server.cpu_seconds() - cpu


class Listener(asyncio.Protocol):
    """A user stream: the bytes are counted and dropped, which costs this process the least."""

    def __init__(self, listen_key: str) -> None:
        self.bytes = 0
        self._key = listen_key

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(
            f"GET /ws/{self._key} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)


async def signed(
    session: aiohttp.ClientSession, server: Server, method: str, path: str
) -> tuple[bytes, dict[str, str]]:
    now = ("timestamp", str(time.time_ns() // 1_000_000))
    query = sign([("symbol", "BTCUSDT"), now], SECRET)
    address = f"http://127.0.0.1:{server.port}{path}?{query}"
    async with session.request(method, address, headers={"X-MBX-APIKEY": KEY}) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read(), dict(answer.headers)


async def sample_answer(server: Server) -> tuple[str, str]:
    """Body and headers of the answer to an order, for the bare handler."""
    request = order_request(0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
    body = (await reader.readexactly(int(fields["Content-Length"]))).decode()
    writer.close()
    own = {"Content-Length", "Date", "Server"}
    return body, json.dumps({name: value for name, value in fields.items() if name not in own})


async def measure(rounds: int, count: int) -> Figures:
    figures = Figures()
    async with AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(started("--serve", "exchange"))
            for name in (ALONE, HEARD)
        }
        answer = await sample_answer(servers[ALONE])
        servers[BARE] = await stack.enter_async_context(started("--serve", "bare", *answer))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        key, _ = await signed(session, servers[HEARD], "POST", "/fapi/v1/listenKey")
        _, listener = await asyncio.get_running_loop().create_connection(
            lambda: Listener(json.loads(key)["listenKey"]), "127.0.0.1", servers[HEARD].port
        )
        for number in range(rounds + 1):  # the first one warms up
            for name, server in servers.items():
                before = listener.bytes
                seconds, cpu = await load(server, 1 + number * count, count)
                if name is HEARD:
                    assert listener.bytes - before > 500 * count, "the user stream told nothing"
                if name is not BARE:
                    await signed(session, server, "DELETE", "/fapi/v1/allOpenOrders")
                if number:
                    figures.add(f"{name}, orders/s", count / seconds)
                    figures.add(f"{name}, CPU us per order", cpu / count * 1e6)
                    figures.add(f"{name}, orders per CPU second", count / cpu)
    return figures


def goals(figures: Figures) -> list[Goal]:
    table = []
    for name in (BARE, ALONE, HEARD):
        cpu = figures[f"{name}, CPU us per order"] or 0.0
        asked = ORDERS_PER_SECOND if name is not BARE else None
        for unit in ("orders/s", "orders per CPU second"):
            what = f"{name}, {unit}"
            table.append(Goal(what, asked, figures[what], f"{cpu:.0f} us CPU each", higher=True))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=9, help="of the interleaved comparison")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller samples")
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        kind, *answer = options.serve
        asyncio.run(
            serve_exchange()
            if kind == "exchange"
            else serve_bare(answer[0].encode(), json.loads(answer[1]))
        )
        return
    rounds, count = (3, 1000) if options.quick else (options.rounds, 4000)
    figures = asyncio.run(measure(rounds, count))
    show(
        goals(figures),
        as_json=options.json,
        medians=figures.medians(),
        setting=f"{rounds} rounds of {count:,} orders over {CONNECTIONS} connections",
    )


if __name__ == "__main__":
    main()
