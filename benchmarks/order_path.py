"""What `engine.submit` costs an order, beside aiohttp with a signature, and ccxt.

    python benchmarks/order_path.py [--json] [--rounds N] [--quick] [--folder DIR]

From the call to the report: gate, policy, journal, signature, write, reply. Each subject sends
market orders, one after another, to a served exchange in a process of its own (one for what
has no engine, one for each engine, each with somebody on its user stream); they take turns in
shuffled rounds. "process" journals an intent so that it survives kill -9, "power" so that it
survives a power cut. The floor is the least that any Python client does with aiohttp: make the
parameters, sign them, post them, read the JSON of the answer.

Where an order's CPU time goes, by a sampling profiler (sim://, process): two fifths are aiohttp
and the event loop, which the floor has too; a sixth the two frames in which the user stream
tells of the order, read, counted and journalled; a tenth the shipping of its event to the bus;
a tenth what comes before the request (limits, gate, policy, the record of the intent), and once
more before the write (permit, lease, policy); a fifteenth writing down how it ended. The frames
and the shipping run while the next answer is waited for. binance:// adds ccxt's making and
signing of the request, about twice what our own takes.

What "power" adds to "process" is one fdatasync, and what it takes to have a thread make it: twice
one has to be woken (40 us each on a virtual machine), it runs a little Python on a cold cache
(60 us), and what the pause has cooled down is slower after it. While the device is at it the
request is made, signed and handed to the connection, up to the last step before the write, which
takes about as long: of the two the longer one counts. One fdatasync after another, the yardstick
of the goal, is also faster than one in each order: a device that has rested for a millisecond
answers later. So there is a second figure, of an fdatasync after each order of the floor, and
beside the goal what the bound would be with it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import itertools
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import ccxt.async_support
from exchange import KEY, ORDER_PATH, SECRET, Listener, Server, started
from report import Figures, Goal, show

import holdfast
from holdfast import Engine, Order

BTC, NAME = "BTC/USDT:USDT", "BTCUSDT"
FLOOR, SYNC, PACED = "aiohttp + signature", "fdatasync", "fdatasync after each order"
CCXT, IMPLICIT = "ccxt create_order", "ccxt fapiPrivatePostOrder"
SIM, BINANCE = "engine.submit, sim://", "engine.submit, binance://"
GUARD = "guarded ccxt create_order"
PROCESS, POWER = ", process", ", power"
RATIO_OF_FLOOR, RATIO_OF_SYNC = 1.3, 1.7

Send = Callable[[], Awaitable[object]]


def sides() -> Callable[[], str]:
    """buy, sell, buy, …: the position is flat after every other order."""
    turns = itertools.cycle(("buy", "sell"))
    return lambda: next(turns)


def with_aiohttp(session: aiohttp.ClientSession, server: Server) -> Send:
    side, numbers = sides(), itertools.count()
    url, headers = f"http://127.0.0.1:{server.port}{ORDER_PATH}", {"X-MBX-APIKEY": KEY}
    form = {**headers, "Content-Type": "application/x-www-form-urlencoded"}

    async def send() -> None:
        body = urlencode(
            {
                "symbol": NAME,
                "side": side().upper(),
                "type": "MARKET",
                "quantity": "0.010",
                "newClientOrderId": f"floor-{next(numbers)}",
                "newOrderRespType": "RESULT",
                "recvWindow": 5000,
                "timestamp": time.time_ns() // 1_000_000,
            }
        )
        signed = hmac.new(SECRET, body.encode(), hashlib.sha256).hexdigest()
        async with session.post(url, data=f"{body}&signature={signed}", headers=form) as answer:
            order = json.loads(await answer.read())
        assert order["status"] == "FILLED", order

    return send


def with_ccxt(exchange: Any) -> Send:
    side = sides()

    async def send() -> None:
        order = await exchange.create_order(BTC, "market", side(), "0.010")
        assert order["status"] == "closed", order

    return send


def with_implicit(exchange: Any) -> Send:
    side = sides()

    async def send() -> None:
        terms = {"symbol": NAME, "side": side().upper(), "type": "MARKET", "quantity": "0.010"}
        order = await exchange.fapiPrivatePostOrder({**terms, "newOrderRespType": "RESULT"})
        assert order["status"] == "FILLED", order

    return send


def with_engine(engine: Engine) -> Send:
    side = sides()

    async def send() -> None:
        report = await engine.submit(Order(BTC, side(), "0.010"))  # type: ignore[arg-type]
        assert report.filled == report.quantity, report

    return send


def with_disk(folder: Path) -> Send:
    """One write of the size of an intent, and the flush, in a file that has its blocks."""
    size, offsets = 1 << 22, itertools.count(0, 300)
    file = os.open(folder / "raw", os.O_RDWR | os.O_CREAT)
    os.write(file, bytes(size))
    os.fsync(file)
    flush = getattr(os, "fdatasync", os.fsync)
    block = random.Random(1).randbytes(300)

    async def send() -> None:
        os.pwrite(file, block, next(offsets) % (size - 300))
        flush(file)

    return send


def ccxt_options(server: Server) -> dict[str, Any]:
    """Every address of ccxt's is that server."""
    api = {
        name: f"http://127.0.0.1:{server.port}/{address.split('/', 3)[3]}"
        for name, address in ccxt.async_support.binanceusdm().urls["api"].items()
        if isinstance(address, str)
    }
    return {
        "apiKey": KEY,
        "secret": SECRET.decode(),
        "enableRateLimit": False,
        "options": {"fetchCurrencies": False},
        "urls": {"api": api},
    }


def engine_config(exchange: dict[str, Any], folder: Path, durability: str) -> dict[str, Any]:
    return {
        "engine": {"bot": "bench", "symbols": [BTC], "state_dir": str(folder)},
        "bus": {"url": "memory://bus"},
        "policy": {"initial": {"active_mode": "NORMAL"}},
        "lease": {"enabled": False},
        "gate": {"loop_lease_seconds": 5.0},  # the loop is shared by all subjects
        "orders": {"durability": durability},
        "exchange": exchange,
    }


class Bench:
    """The subjects, set up within one stack.

    :ivar engines: to be HEALTHY before each turn.
    :ivar before: what is done before each of a subject's, and not measured.
    """

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self.subjects: dict[str, Send] = {}
        self.engines: list[Engine] = []
        self.before: dict[str, Send] = {}
        self._stack = stack
        self._folder = folder
        self._keys = folder / "keys.toml"
        self._keys.touch(0o600)
        self._keys.write_text(f'key = "{KEY}"\nsecret = "{SECRET.decode()}"\n')

    async def set_up(self) -> None:
        server = await self._server()
        session = await self._stack.enter_async_context(aiohttp.ClientSession())
        await self._listen(session, server)
        plain = await self._ccxt(server)
        self.subjects |= {
            SYNC: with_disk(self._folder),
            PACED: with_disk(self._folder),
            FLOOR: with_aiohttp(session, server),
            CCXT: with_ccxt(plain),
            IMPLICIT: with_implicit(plain),
        }
        self.before[PACED] = self.subjects[FLOOR]
        for name in (SIM, BINANCE):
            for durability in (PROCESS, POWER):
                server = await self._server()
                engine = await self._engine(name, durability, server)
                self.subjects[name + durability] = with_engine(engine)
                if (name, durability) == (BINANCE, PROCESS):
                    exchange = holdfast.guard(await self._ccxt(server), engine)
                    self.subjects[GUARD + durability] = with_ccxt(exchange)

    async def _server(self) -> Server:
        return await self._stack.enter_async_context(started("--serve", "exchange"))

    async def _listen(self, session: aiohttp.ClientSession, server: Server) -> None:
        """Somebody listens, as the engines do at theirs."""
        url = f"http://127.0.0.1:{server.port}/fapi/v1/listenKey"
        async with session.post(url, headers={"X-MBX-APIKEY": KEY}) as answer:
            key = (await answer.json())["listenKey"]
        await asyncio.get_running_loop().create_connection(
            lambda: Listener(key), "127.0.0.1", server.port
        )

    async def _ccxt(self, server: Server) -> Any:
        exchange = ccxt.async_support.binanceusdm(ccxt_options(server))
        await self._stack.enter_async_context(exchange)
        await exchange.load_markets()
        return exchange

    async def _engine(self, name: str, durability: str, server: Server) -> Engine:
        address = f"127.0.0.1:{server.port}"
        keys = {"key_file": str(self._keys)}
        exchange: dict[str, Any] = {"url": f"sim://{address}", **keys}
        if name is BINANCE:
            exchange = {"url": "binance://usdm", "options": {"server": f"http://{address}"}, **keys}
        folder = self._folder / f"state-{len(self.engines)}"
        config = engine_config(exchange, folder, durability.strip(", "))
        engine = await self._stack.enter_async_context(Engine.open(config))
        self.engines.append(engine)
        return engine


async def measure(folder: Path, rounds: int, count: int) -> Figures:
    figures = Figures()
    async with AsyncExitStack() as stack:
        bench = Bench(stack, folder)
        await bench.set_up()
        for number in range(rounds + 1):  # the first one warms up
            turn = list(bench.subjects)
            random.shuffle(turn)
            for name in turn:
                for engine in bench.engines:
                    await engine.until_healthy()
                seconds, cpu = await latencies(
                    bench.subjects[name], count, before=bench.before.get(name)
                )
                if number:
                    figures.add(name, seconds * 1e6)
                    figures.add(f"{name}, CPU", cpu * 1e6)
    return figures


async def latencies(send: Send, count: int, *, before: Send | None) -> tuple[float, float]:
    """Median seconds of one, and CPU seconds of this process for each."""
    samples, cpu = [], time.process_time()
    for _ in range(count):
        if before is not None:
            await before()
        begun = time.perf_counter()
        await send()
        samples.append(time.perf_counter() - begun)
    return statistics.median(samples), (time.process_time() - cpu) / count


def goals(figures: Figures) -> list[Goal]:
    def detail(name: str) -> str:
        return f"{figures[name]:.0f} us, of CPU {figures[f'{name}, CPU']:.0f}"

    floor = [Goal(f"{name}, us", None, figures[name], detail(name)) for name in (FLOOR, SYNC)]
    floor.append(Goal(f"{PACED}, us", None, figures[PACED]))
    table = [*floor, *(_beside(figures, name, detail(name)) for name in (IMPLICIT, CCXT))]
    for name in (SIM + PROCESS, BINANCE + PROCESS, GUARD + PROCESS):
        asked = None if name.startswith(GUARD) else RATIO_OF_FLOOR
        table.append(_beside(figures, name, detail(name), asked))
    for name in (SIM + POWER, BINANCE + POWER):
        for yardstick, asked in ((SYNC, 1.0), (PACED, None)):
            allowed = [
                RATIO_OF_FLOOR * floor + RATIO_OF_SYNC * sync
                for floor, sync in zip(
                    figures.samples[FLOOR], figures.samples[yardstick], strict=True
                )
            ]
            ratios = [m / a for m, a in zip(figures.samples[name], allowed, strict=True)]
            what = f"{name} / ({RATIO_OF_FLOOR} {FLOOR} + {RATIO_OF_SYNC} {yardstick})"
            table.append(Goal(what, asked, statistics.median(ratios), detail(name)))
    ours = (SIM + PROCESS, SIM + POWER, BINANCE + PROCESS, BINANCE + POWER)
    return table + [Goal(f"{name} / {CCXT}", 1.0, figures.ratio(name, CCXT)) for name in ours]


def _beside(figures: Figures, name: str, detail: str, asked: float | None = None) -> Goal:
    return Goal(f"{name} / {FLOOR}", asked, figures.ratio(name, FLOOR), detail)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=21, help="of the interleaved comparison")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller samples")
    parser.add_argument("--folder", type=Path, help="where to journal; decides the device")
    options = parser.parse_args()
    rounds, count = (3, 50) if options.quick else (options.rounds, 100)
    folder = Path(tempfile.mkdtemp(prefix="order-path-", dir=options.folder))
    try:
        figures = asyncio.run(measure(folder, rounds, count))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(
        goals(figures),
        as_json=options.json,
        medians=figures.medians(),
        setting=f"{rounds} rounds of {count} orders each, ccxt {ccxt.__version__}",
    )


if __name__ == "__main__":
    main()
