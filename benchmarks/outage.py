"""How fast a dying Redis shuts the gate, and how fast trading is safe again.

    python benchmarks/outage.py [--json] [--rounds 15]

One real server for each part; the engine runs with a journal on disk, its real Redis
transports and the simulated venue in this process. Each round kills (or stops) the
server once and measures everything on that one event, so that the rows compare:

- the limit: a thread that blocks in `recv` on a raw socket;
- holdfast: the moment the gate is shut;
- redis-py, as most bots use it: `redis.asyncio.Redis` with its defaults, pinging
  every 100 ms, until a ping raises.

The last part takes a day's outage in virtual time.
"""

from __future__ import annotations

import argparse
import json
import platform
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import redis.asyncio
from anyio import to_thread

from holdfast import Engine, Mode, Policy, Settings, State
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.journal import FileJournal, MemoryDisk, MemoryJournal
from holdfast.settings import AlertSettings, GateSettings, LeaseSettings, PolicySettings
from holdfast.simulation import SeededEntropy, Simulation, VirtualClock
from holdfast.transports.memory import MemoryBus, MemoryServer, MemoryStore
from holdfast.transports.redis import bus_factory, store_factory
from holdfast.transports.server import RedisServer
from holdfast.transports.sim import LocalLine, SimExecutionClient, SimulatedVenue

BTC = "BTC/USDT:USDT"
HEARTBEAT_MS, TIMEOUT_MS = 100, 250
BACKLOG = 10_000


def settings(**changes: Any) -> Settings:
    return Settings(
        bot="bench",
        symbols=(BTC,),
        policy=PolicySettings(initial=Policy(Mode.NORMAL)),
        lease=LeaseSettings(ttl_seconds=1.0),
        **changes,
    )


@asynccontextmanager
async def running(server: RedisServer, folder: Path) -> AsyncIterator[Engine]:
    clock, entropy = SystemClock(), SystemEntropy()
    url = f"{server.url}?heartbeat_ms={HEARTBEAT_MS}&timeout_ms={TIMEOUT_MS}"
    venue = SimulatedVenue(time_ns=clock.time_ns)
    venue.on_price(BTC, Decimal(64000))
    journal = await FileJournal.open(
        folder, clock=clock, randbits=entropy.randbits, on_fault=lambda _: None
    )
    store = store_factory(url, clock=clock, entropy=entropy, bot="bench")
    engine = Engine(
        settings=settings(),
        journal=journal,
        bus=bus_factory(url, clock=clock, entropy=entropy, bot="bench"),
        policy=store,
        lease=store,
        exchange=SimExecutionClient(LocalLine(venue)),
        clock=clock,
        entropy=entropy,
    )
    async with engine:
        await engine.until_healthy()
        yield engine


class RawReader:
    """A thread blocked in `recv`: as soon as the kernel knows, it knows."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self.ended_at = 0.0
        self.done = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with suppress(OSError):
            self._socket.recv(1)
        self.ended_at = time.monotonic()
        self.done.set()
        self._socket.close()


async def redis_py_notices(port: int, report: dict[str, float], began: anyio.Event) -> None:
    client = redis.asyncio.Redis(port=port)
    try:
        while True:
            await client.ping()
            began.set()
            await anyio.sleep(0.1)
    except (redis.exceptions.RedisError, OSError):
        report["redis-py"] = time.monotonic()
    finally:
        await client.aclose()


async def kill_to_shut(rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"raw socket": [], "holdfast": [], "redis-py": []}
    with RedisServer(appendonly=True) as server, tempfile.TemporaryDirectory() as folder:
        async with running(server, Path(folder)) as engine:
            for _ in range(rounds):
                await engine.until_healthy()
                shut: list[float] = []
                engine.on_transition(
                    lambda step, shut=shut: shut.append(time.monotonic())  # type: ignore[misc]
                )
                raw, peer, began = RawReader(server.port), {}, anyio.Event()
                async with anyio.create_task_group() as group:
                    group.start_soon(redis_py_notices, server.port, peer, began)
                    await began.wait()
                    await anyio.sleep(0.05)
                    pid = server.pid
                    assert pid is not None
                    killed = time.monotonic()
                    await to_thread.run_sync(server.kill)
                    await engine.until(State.DEGRADED)
                    await to_thread.run_sync(raw.done.wait)
                found["raw socket"].append(raw.ended_at - killed)
                found["holdfast"].append(shut[0] - killed)
                found["redis-py"].append(peer["redis-py"] - killed)
                await to_thread.run_sync(server.start)
    return found


async def stop_to_shut(rounds: int) -> list[float]:
    found = []
    with RedisServer(appendonly=True) as server, tempfile.TemporaryDirectory() as folder:
        async with running(server, Path(folder)) as engine:
            entropy = SystemEntropy()
            for _ in range(rounds):
                await engine.until_healthy()
                # Anywhere within the heartbeat's interval, as life would have it.
                await anyio.sleep(0.3 + entropy.random() * HEARTBEAT_MS / 1000)
                stopped = time.monotonic()
                server.stop()
                await engine.until(State.DEGRADED)
                found.append(time.monotonic() - stopped)
                server.cont()
    return found


def first_pong(port: int, found: list[float]) -> None:
    while not found:
        try:
            with socket.create_connection(("127.0.0.1", port), 0.5) as connection:
                connection.sendall(b"*1\r\n$4\r\nPING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    found.append(time.monotonic())
        except OSError:
            time.sleep(0.0005)


async def pong_to_healthy(rounds: int) -> list[float]:
    found = []
    with RedisServer(appendonly=True) as server, tempfile.TemporaryDirectory() as folder:
        async with running(server, Path(folder)) as engine:
            for _ in range(rounds):
                await to_thread.run_sync(server.kill)
                await engine.until(State.DEGRADED)
                for number in range(BACKLOG):
                    await engine.publish("bench.event", {"number": number, "pad": "x" * 150})
                pong: list[float] = []
                watcher = threading.Thread(target=first_pong, args=(server.port, pong))
                watcher.start()
                await to_thread.run_sync(server.start)
                await engine.until_healthy()
                healthy = time.monotonic()
                await to_thread.run_sync(watcher.join)
                found.append(healthy - pong[0])
    return found


def day_in_virtual_time() -> tuple[float, int]:
    async def main() -> None:
        clock, entropy = VirtualClock(), SeededEntropy(1)
        server = MemoryServer(entropy=entropy.child("server"))
        venue = SimulatedVenue(time_ns=clock.time_ns)
        venue.on_price(BTC, Decimal(64000))
        store = MemoryStore(server, clock=clock)
        journal = MemoryJournal.open(
            MemoryDisk(),
            clock=clock,
            randbits=entropy.child("journal").randbits,
            on_fault=lambda _: None,
        )
        engine = Engine(
            settings=settings(
                gate=GateSettings(loop_lease_seconds=None),
                alerts=AlertSettings(sample_seconds=None),
            ),
            journal=journal,
            bus=MemoryBus(server),
            policy=store,
            lease=store,
            exchange=SimExecutionClient(LocalLine(venue)),
            clock=clock,
            entropy=entropy,
        )
        async with engine:
            await engine.until_healthy()
            server.down("a day without a bus")
            await anyio.sleep(24 * 3600)
            server.up()
            await engine.until_healthy()

    simulation = Simulation()
    began = time.process_time()
    simulation.run(main)
    return time.process_time() - began, simulation.loop.steps


def row(name: str, seconds: list[float], goal_ms: float | None) -> dict[str, Any]:
    median = statistics.median(seconds) * 1000
    return {
        "what": name,
        "median_ms": round(median, 3),
        "max_ms": round(max(seconds) * 1000, 3),
        "goal_ms": goal_ms,
        "met": None if goal_ms is None else median <= goal_ms,
        "rounds": len(seconds),
    }


async def measure(rounds: int) -> list[dict[str, Any]]:
    killed = await kill_to_shut(rounds)
    rows = [
        row("SIGKILL -> a thread in recv sees it (the limit)", killed["raw socket"], None),
        row("SIGKILL -> gate shut", killed["holdfast"], 3),
        row("SIGKILL -> redis-py with its defaults raises", killed["redis-py"], None),
    ]
    bound = HEARTBEAT_MS + TIMEOUT_MS + 10
    rows.append(row("SIGSTOP -> gate shut", await stop_to_shut(rounds), bound))
    rows.append(
        row(
            f"first PONG -> HEALTHY, {BACKLOG:,} events waiting", await pong_to_healthy(rounds), 250
        )
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rows = anyio.run(measure, options.rounds)
    days = [day_in_virtual_time() for _ in range(5)]
    rows.append(row("24-hour outage in virtual time (CPU)", [seconds for seconds, _ in days], 500))
    rows[-1]["loop_steps"] = days[0][1]
    if options.json:
        print(json.dumps({"python": platform.python_version(), "rows": rows}, indent=1))
        return
    print(f"{'what':<58}{'median':>11}{'max':>11}{'goal':>9}  met")
    for r in rows:
        goal = "" if r["goal_ms"] is None else f"{r['goal_ms']:g} ms"
        met = {None: "", True: "yes", False: "NO"}[r["met"]]
        print(f"{r['what']:<58}{r['median_ms']:>8.2f} ms{r['max_ms']:>8.1f} ms{goal:>9}  {met}")
    print(f"loop steps of the virtual day: {days[0][1]} (bound: 20,000)")


if __name__ == "__main__":
    main()
