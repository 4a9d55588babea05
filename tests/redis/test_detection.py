"""Faults are seen soon, told before anybody is woken, and named in words that help."""

from __future__ import annotations

import asyncio
import time
from asyncio import Future
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest
from redis_rigs import CLOCK, Clients, batch

from holdfast.errors import ConfigError, LinkDown
from holdfast.transports.conformance import Recorder, connected
from holdfast.transports.redis.bus import RedisBus
from holdfast.transports.redis.wire import Wire
from holdfast.transports.redis.words import explain, is_lasting
from holdfast.transports.server import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.server]

GENEROUS_SECONDS = 2.0


async def test_a_killed_server_is_seen_without_a_question(clients: Clients) -> None:
    # With a heartbeat of a minute, only the socket can tell.
    bus = clients.bus(heartbeat_ms=60_000, timeout_ms=60_000)
    async with connected(bus) as watch:
        began = CLOCK.monotonic()
        clients.server.kill()
        await watch.until("down", lambda: not watch.is_up)
        assert CLOCK.monotonic() - began < GENEROUS_SECONDS
        assert "connection closed" in watch.reasons[0]


async def test_a_stopped_server_is_seen_by_the_heartbeat(clients: Clients) -> None:
    bus, store = clients.bus(), clients.store()
    async with connected(bus) as bus_watch, connected(store) as store_watch:
        clients.server.stop()
        try:
            began = CLOCK.monotonic()
            await bus_watch.until("down", lambda: not bus_watch.is_up)
            await store_watch.until("down", lambda: not store_watch.is_up)
            assert 0.2 < CLOCK.monotonic() - began < GENEROUS_SECONDS
        finally:
            clients.server.cont()
        await bus_watch.until("up again", lambda: bus_watch.is_up)
        await store_watch.until("up again", lambda: store_watch.is_up)


@pytest.mark.parametrize("use_uvloop", [False, True])
def test_a_blocked_loop_is_no_dead_server(
    clients: Clients, use_uvloop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """User code blocks the loop for longer than the timeout, just after a question was sent."""
    if use_uvloop:
        pytest.importorskip("uvloop")
    bus = clients.bus(heartbeat_ms=10, timeout_ms=20)
    asked = 0
    ask = bus._link._ask

    def ask_and_block(wire: Wire) -> Future[Any]:
        nonlocal asked
        asked += 1
        # In the next pass: by then the watchdog is set, and the answer is not yet read.
        asyncio.get_running_loop().call_soon(time.sleep, 0.04)
        return ask(wire)

    monkeypatch.setattr(bus._link, "_ask", ask_and_block)

    async def main() -> list[str]:
        async with connected(bus) as watch:
            while asked < 15:  # noqa: ASYNC110
                await anyio.sleep(0.005)
            return watch.reasons

    assert anyio.run(main, backend_options={"use_uvloop": use_uvloop}) == []


async def test_down_is_told_before_a_waiter_wakes(clients: Clients) -> None:
    bus = clients.bus()
    order: list[str] = []

    class Ordered(Recorder):
        def down(self, reason: str) -> None:
            order.append("down")
            super().down(reason)

    watch = Ordered()

    async def wait(lineage: str) -> None:
        with pytest.raises(LinkDown):
            await bus.append(batch(lineage, 1, 1))
        order.append("waiter")

    async with anyio.create_task_group() as group:
        group.start_soon(bus.run, watch)
        await watch.until("up", lambda: watch.is_up)
        lineage = (await bus.position("p")).lineage
        clients.server.stop()
        group.start_soon(wait, lineage)
        await anyio.sleep(0.02)
        clients.server.kill()
        await watch.until("down", lambda: not watch.is_up)
        await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert order[:2] == ["down", "waiter"]


async def test_a_long_outage_is_one_piece_of_news(clients: Clients) -> None:
    bus = clients.bus()
    async with connected(bus) as watch:
        clients.server.kill()
        await anyio.sleep(0.5)
        assert len(watch.reasons) == 2, watch.reasons  # closed, then refused


@pytest.mark.parametrize(
    ("userinfo", "remedy"),
    [("", "wants a password"), (":wrong@", "user or password is wrong")],
)
async def test_a_wrong_password(
    start_redis: Callable[..., RedisServer], userinfo: str, remedy: str
) -> None:
    server = start_redis(options={"requirepass": "right"})
    clients = Clients(server, f"redis://{userinfo}{server.host}:{server.port}")
    await is_refused(clients.bus(), remedy)


async def is_refused(bus: RedisBus, remedy: str) -> None:
    """It never comes up, and says what to do about it."""
    watch = Recorder()
    async with anyio.create_task_group() as group:
        group.start_soon(bus.run, watch)
        await watch.until("down", lambda: bool(watch.reasons))
        assert remedy in watch.reasons[-1], watch.reasons
        assert "wrong@" not in watch.reasons[-1]
        with pytest.raises(LinkDown, match=remedy):
            await bus.position("p")
        assert watch.ups == 0
        group.cancel_scope.cancel()


async def test_a_password_with_every_special_character(
    start_redis: Callable[..., RedisServer],
) -> None:
    server = start_redis(options={"requirepass": "p:@/?#%"})
    url = f"redis://:p%3A%40%2F%3F%23%25@{server.host}:{server.port}"
    async with connected(Clients(server, url).bus()) as watch:
        assert watch.is_up


async def test_a_replica_is_not_up(clients: Clients) -> None:
    async with connected(clients.bus()) as watch:
        clients.server.command("REPLICAOF", "127.0.0.1", "1")
        await is_refused(clients.bus(), "this server is a replica")
        assert watch.ups == 1
        clients.server.command("REPLICAOF", "NO", "ONE")


async def test_a_probe_sees_what_a_ping_hides(clients: Clients) -> None:
    bus, store = clients.bus(), clients.store()
    async with connected(bus) as watch, connected(store) as store_watch:
        await bus.probe()
        clients.server.command("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(LinkDown, match="out of memory"):
            await bus.probe()
        with pytest.raises(LinkDown, match="out of memory"):
            await store.probe()
        assert not watch.is_up
        assert not store_watch.is_up
        clients.server.command("CONFIG", "SET", "maxmemory", "0")
        await watch.until("up again", lambda: watch.is_up)
        await bus.probe()


async def _turns_read_only(server: RedisServer) -> Callable[[], object]:
    server.command("REPLICAOF", "127.0.0.1", "1")
    return lambda: server.command("REPLICAOF", "NO", "ONE")


async def _fills_up(server: RedisServer) -> Callable[[], object]:
    server.command("CONFIG", "SET", "maxmemory", "1")
    return lambda: server.command("CONFIG", "SET", "maxmemory", "0")


async def _loses_its_replicas(server: RedisServer) -> Callable[[], object]:
    server.command("CONFIG", "SET", "min-replicas-to-write", "1")
    return lambda: server.command("CONFIG", "SET", "min-replicas-to-write", "0")


async def _cannot_save(server: RedisServer) -> Callable[[], object]:
    in_the_way = server.directory / "dump.rdb"
    in_the_way.mkdir()  # also root can not rename a file to it
    server.command("CONFIG", "SET", "save", "900 1")
    server.command("BGSAVE")
    with anyio.fail_after(GENEROUS_SECONDS):
        while "rdb_last_bgsave_status:err" not in server.command("INFO", "persistence"):  # noqa: ASYNC110
            await anyio.sleep(0.01)

    def mend() -> None:
        in_the_way.rmdir()
        server.command("CONFIG", "SET", "save", "")

    return mend


async def _pauses_writes(server: RedisServer) -> Callable[[], object]:
    """As a failover that was asked for does. Reads are answered all the while."""
    server.command("CLIENT", "PAUSE", "60000", "WRITE")
    return lambda: server.command("CLIENT", "UNPAUSE")


@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        (_turns_read_only, "this server is a replica"),
        (_fills_up, "out of memory"),
        (_loses_its_replicas, "too few replicas"),
        (_cannot_save, "cannot save to disk"),
        (_pauses_writes, "no answer"),
    ],
)
async def test_a_standing_connection_sees_that_writes_are_refused(
    breaks: Callable[[RedisServer], Awaitable[Callable[[], object]]],
    words: str,
    start_redis: Callable[..., RedisServer],
) -> None:
    """Nothing is appended or asked for: the heartbeat alone has to notice."""
    server = start_redis()
    bus, store = Clients(server).bus(), Clients(server).store()
    async with connected(bus) as bus_watch, connected(store) as store_watch:
        mend = await breaks(server)
        try:
            for watch in (bus_watch, store_watch):
                await watch.until("down", lambda watch=watch: not watch.is_up)  # type: ignore[misc]
                assert words in watch.reasons[0]
        finally:
            mend()
        for watch in (bus_watch, store_watch):
            await watch.until("up again", lambda watch=watch: watch.is_up)  # type: ignore[misc]


async def test_the_heartbeat_leaves_no_trace(clients: Clients) -> None:
    """It asks whether a write would be taken and writes nothing: no log grows by it."""

    def changes() -> str:
        stats = clients.server.command("INFO", "persistence")
        return next(line for line in stats.splitlines() if line.startswith("rdb_changes"))

    async with connected(clients.bus(heartbeat_ms=5)), connected(clients.store(heartbeat_ms=5)):
        before = changes()
        await anyio.sleep(0.2)
        assert changes() == before


async def test_a_script_that_never_ends(clients: Clients) -> None:
    bus = clients.bus(heartbeat_ms=5000, timeout_ms=5000)
    clients.server.command("CONFIG", "SET", "lua-time-limit", "10")
    async with connected(bus) as watch, anyio.create_task_group() as group:

        async def endless() -> None:
            with pytest.raises(Exception, match="EVAL"):
                await anyio.to_thread.run_sync(
                    lambda: clients.server.command(
                        "EVAL", "while true do end", "0", timeout_seconds=20
                    )
                )

        group.start_soon(endless)
        await anyio.sleep(0.1)
        with pytest.raises(LinkDown, match="SCRIPT KILL"):
            await bus.probe()
        clients.server.command("SCRIPT", "KILL")
        await watch.until("up again", lambda: watch.is_up)


async def test_what_does_not_speak_redis() -> None:
    async def babble(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await anyio.sleep(0.05)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, babble)
        clients = Clients(None, f"redis://127.0.0.1:{port}")  # type: ignore[arg-type]
        await is_refused(clients.bus(), "Redis protocol")
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://h?timout_ms=3", "timout_ms"),
        ("redis://h?timeout_ms=soon", "timeout_ms"),
        ("redis://h?timeout_ms=1", "timeout_ms"),
        ("redis://h?bot=a&bot=b", "bot"),
        ("redis://h/zero", "database"),
        ("redis://h:port", "port"),
        ("redis://a,b", "redis\\+sentinel"),
        ("redis+sentinel://a", "name of the primary"),
        ("http://:secret@h", "scheme"),
        ("rediss://h?ssl_ca_certs=/nowhere", "ssl_ca_certs"),
    ],
)
def test_a_wrong_url_is_named(url: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        Clients(None, url).bus()  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_redis_6_wraps_errors_of_scripts() -> None:
    wrapped = "ERR Error running script (call to f_1): @user_script:9: -READONLY You can't write"
    assert explain(wrapped).startswith("this server is a replica")
    assert is_lasting("WRONGPASS invalid username-password pair")
    assert not is_lasting("LOADING Redis is loading the dataset in memory")
    assert "ERR strange" in explain("ERR strange")
