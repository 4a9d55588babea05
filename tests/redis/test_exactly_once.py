"""Every event once and in order, whatever happens to the server and its data."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import aclosing, suppress

import anyio
import anyio.to_thread
import pytest
from redis_rigs import Clients, Producer, ServerControl, batch

from holdfast.errors import LinkDown
from holdfast.model import Gap
from holdfast.ports import BusEntry
from holdfast.transports.conformance import connected
from holdfast.transports.redis.bus import RedisBus
from holdfast.transports.server import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.server]


async def read_back(bus: RedisBus, last: int) -> list[BusEntry]:
    found: list[BusEntry] = []
    with anyio.fail_after(30):
        async with aclosing(bus.subscribe()) as entries:
            async for entry in entries:
                found.append(entry)
                if entry.sequence >= last:
                    return found
    raise AssertionError


async def stream_length(server: RedisServer) -> int:
    reply = await anyio.to_thread.run_sync(server.command, "XLEN", "{hf:bot}:events")
    return int(reply[1:])


@pytest.mark.parametrize("fsync", ["always", "everysec"])
async def test_kill_9_with_batches_in_flight(
    start_redis: Callable[..., RedisServer], fsync: str
) -> None:
    server = start_redis(appendonly=True, options={"appendfsync": fsync})
    bus = Clients(server).bus(stream_maxlen=10_000_000)
    producer = Producer(bus)
    control = ServerControl(server)
    stop = anyio.Event()
    followed: list[int] = []

    async def follow() -> None:
        async for entry in bus.subscribe():
            assert entry.gap is None
            followed.append(entry.sequence)

    async with connected(bus) as watch, anyio.create_task_group() as group:
        group.start_soon(follow)
        group.start_soon(producer.ship, stop)
        for _ in range(8):
            await anyio.sleep(random.uniform(0.02, 0.1))
            await control.stop()
            acknowledged = producer.acknowledged
            await control.start()
            await watch.until("up again", lambda: watch.is_up)
            position = await bus.position("p")
            # `everysec` may postpone a write for two seconds while the disk is busy.
            assert position.last_sequence >= acknowledged or fsync == "everysec"
        await anyio.sleep(0.1)
        stop.set()
        await producer.finished.wait()
        last = (await bus.position("p")).last_sequence
        # More only by a repeated tail: see the next test.
        assert await stream_length(server) >= last
        entries = await read_back(bus, last)
        assert [entry.sequence for entry in entries] == list(range(1, last + 1))
        assert all(entry.payload == b"%d" % entry.sequence for entry in entries)
        with anyio.fail_after(20):
            while len(followed) < last:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        assert followed == list(range(1, last + 1)), "the live subscription saw the same"
        group.cancel_scope.cancel()
    assert producer.failures >= 8
    assert last > 1000


async def test_a_script_cut_off_in_the_append_only_file(clients: Clients) -> None:
    """A kill in the middle of write(2), and a second one later.

    Redis 7.0 drops the half of the script's transaction when it loads the file, but leaves
    its MULTI in it: the second load runs that half after all, beside what was sent again
    (mended in Valkey 9.1, valkey-io/valkey#4342). The stream then repeats a few events.
    """
    bus, server = clients.bus(), clients.server
    server.command("CONFIG", "SET", "appendfsync", "always")
    async with connected(bus) as watch:
        lineage = (await bus.position("p")).lineage
        await bus.append(batch(lineage, 1, 100))
        await bus.append(batch(lineage, 101, 100))
        server.kill()
        await watch.until("down", lambda: not watch.is_up)
        (file,) = (path for path in server.directory.rglob("*.aof") if "base" not in path.name)
        content = file.read_bytes()
        begin = content.rindex(b"MULTI")
        os.truncate(file, begin + (len(content) - begin) // 3)
        await anyio.to_thread.run_sync(server.start)
        await watch.until("up again", lambda: watch.is_up)
        assert await bus.position("p") == (lineage, 100)
        await bus.append(batch(lineage, 101, 300))
        server.kill()
        await watch.until("down", lambda: not watch.is_up)
        await anyio.to_thread.run_sync(server.start)
        await watch.until("up again", lambda: watch.is_up)
        position = await bus.position("p")
        await bus.append(batch(lineage, position.last_sequence + 1, 10))
        last = (await bus.position("p")).last_sequence
        entries = await read_back(bus, last)
        assert [entry.sequence for entry in entries] == list(range(1, last + 1))


async def test_data_rolled_back_are_sent_again(start_redis: Callable[..., RedisServer]) -> None:
    """As after a failover to a replica that lagged: acknowledged, and gone."""
    server = start_redis()
    bus = Clients(server).bus()
    seen: list[BusEntry] = []

    async def follow() -> None:
        async for entry in bus.subscribe():
            seen.append(entry)  # noqa: PERF401

    async with connected(bus) as watch, anyio.create_task_group() as group:
        group.start_soon(follow)
        lineage = (await bus.position("p")).lineage
        await bus.append(batch(lineage, 1, 500))
        server.command("SAVE")
        await bus.append(batch(lineage, 501, 500))
        with anyio.fail_after(5):
            while len(seen) < 1000:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        server.kill()
        await watch.until("down", lambda: not watch.is_up)
        await anyio.to_thread.run_sync(server.start)
        await watch.until("up again", lambda: watch.is_up)
        assert await bus.append(batch(lineage, 1001, 10)) == ("gap", 500, "")
        assert (await bus.append(batch(lineage, 501, 510))).last_sequence == 1010
        with anyio.fail_after(5):
            while len(seen) < 1010:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        assert [entry.sequence for entry in seen] == list(range(1, 1011))
        group.cancel_scope.cancel()


async def test_lost_progress_is_rebuilt_before_anything_is_accepted(clients: Clients) -> None:
    bus = clients.bus()
    async with connected(bus):
        lineage = (await bus.position("p")).lineage
        await bus.append(batch(lineage, 1, 2500))
        await bus.append(batch(lineage, 1, 3, producer="q"))
        await bus.append(batch(lineage, 10, 0, producer="q", gap=Gap("q", 4, 9)))
        clients.server.command("DEL", "{hf:bot}:progress")
        refused = await bus.append(batch(lineage, 1, 10))
        assert refused.kind == "lineage", "nothing is accepted without progress"
        rebuilt = await bus.position("p")
        assert rebuilt.last_sequence == 2500
        assert rebuilt.lineage != lineage
        assert await bus.position("q") == (rebuilt.lineage, 9)
        assert (await bus.append(batch(rebuilt.lineage, 2400, 110))).last_sequence == 2509
        entries = await read_back(bus, 2509)
        assert [e.sequence for e in entries if e.producer == "p"] == list(range(1, 2510))


async def test_a_lost_stream_is_no_empty_bus(clients: Clients) -> None:
    """Deleted or evicted alone: the progress next to it counts events that are gone."""
    bus = clients.bus()
    async with connected(bus):
        lineage = (await bus.position("p")).lineage
        await bus.append(batch(lineage, 1, 5))
        clients.server.command("DEL", "{hf:bot}:events")
        assert (await bus.append(batch(lineage, 6, 1))).kind == "lineage"
        position = await bus.position("p")
        assert position.last_sequence == 0
        assert position.lineage != lineage


async def test_flushall_and_script_flush_in_the_midst(clients: Clients) -> None:
    bus = clients.bus()
    async with connected(bus) as watch:
        lineage = (await bus.position("p")).lineage
        first = bus.append(batch(lineage, 1, 100))
        clients.server.command("SCRIPT", "FLUSH")
        second = bus.append(batch(lineage, 101, 100))
        assert ((await first).kind, (await second).kind) == ("ok", "ok")
        clients.server.command("FLUSHALL")
        assert (await bus.append(batch(lineage, 201, 100))).kind == "lineage"
        assert (await bus.position("p")).last_sequence == 0
        assert watch.ups == 1, "neither is a reason to lose the connection"


async def test_an_error_in_the_middle_of_a_batch_counts_what_was_added(clients: Clients) -> None:
    bus = clients.bus()
    async with connected(bus) as watch:
        lineage = (await bus.position("p")).lineage
        await bus.append(batch(lineage, 1, 10))
        # Three ids below the greatest there is: the fourth event has none.
        greatest = 2**64 - 1
        clients.server.command(
            "XADD", "{hf:bot}:events", f"{greatest}-{greatest - 3}", "p", "q", "s", "1", "d", ""
        )
        answers = [bus.append(batch(lineage, 11, 10)), bus.append(batch(lineage, 21, 10))]
        status = await answers[0]
        assert (status.kind, status.last_sequence) == ("error", 13)
        with pytest.raises(LinkDown):
            await answers[1]
        assert len(watch.reasons) == 1
        await watch.until("up again", lambda: watch.is_up)
        assert (await bus.position("p")).last_sequence == 13
        assert await stream_length(clients.server) == 14


async def test_a_server_that_refuses_writes_is_not_up(clients: Clients) -> None:
    bus = clients.bus()
    server = clients.server
    async with connected(bus) as watch:
        lineage = (await bus.position("p")).lineage
        server.command("CONFIG", "SET", "min-replicas-to-write", "1")
        # Refused in the script by some versions, as a whole by others.
        with suppress(LinkDown):
            status = await bus.append(batch(lineage, 1, 10))
            assert (status.kind, status.last_sequence) == ("error", 0)
        assert not watch.is_up
        assert "min-replicas" in watch.reasons[0]
        await anyio.sleep(0.1)
        assert not watch.is_up, "though it answers every PING"
        server.command("CONFIG", "SET", "min-replicas-to-write", "0")
        await watch.until("up again", lambda: watch.is_up)
        assert (await bus.append(batch(lineage, 1, 10))).last_sequence == 10


async def test_the_stream_is_trimmed_and_a_late_reader_is_told(clients: Clients) -> None:
    bus = clients.bus(stream_maxlen=1000)
    async with connected(bus):
        lineage = (await bus.position("p")).lineage
        await bus.append(batch(lineage, 1, 500))
        seen: list[BusEntry] = []
        async with aclosing(bus.subscribe()) as entries:
            async for entry in entries:
                seen.append(entry)
                if entry.sequence == 500:
                    for first in range(501, 6501, 500):
                        await bus.append(batch(lineage, first, 500))
                if entry.sequence == 6500:
                    break
        assert await stream_length(clients.server) < 1500
        gaps = [entry.gap for entry in seen if entry.gap is not None]
        assert len(gaps) == 1
        assert gaps[0].first == 501
        counted = sum(1 for entry in seen if entry.gap is None)
        assert counted + gaps[0].last - gaps[0].first + 1 == 6500


@pytest.mark.parametrize("loss", ["flush", "rollback"])
async def test_a_subscription_survives_a_clock_that_went_back(
    start_redis: Callable[..., RedisServer], loss: str
) -> None:
    """Ids are times: what is appended after the loss has ids below the reader's cursor."""
    server = start_redis()
    bus = Clients(server).bus()
    seen: list[BusEntry] = []

    async def follow() -> None:
        async for entry in bus.subscribe():
            seen.append(entry)  # noqa: PERF401

    async def until_seen(count: int) -> None:
        with anyio.fail_after(10):
            while len(seen) < count:  # noqa: ASYNC110
                await anyio.sleep(0.01)

    async with connected(bus) as watch, anyio.create_task_group() as group:
        group.start_soon(follow)
        lineage = (await bus.position("p")).lineage
        await bus.append(batch(lineage, 1, 3))
        server.command("SAVE")
        future = "99999999999999-0"
        server.command("XADD", "{hf:bot}:events", future, "p", "q", "s", "1", "d", "")
        await until_seen(4)
        if loss == "flush":
            server.command("FLUSHALL")
        else:
            server.kill()
            await watch.until("down", lambda: not watch.is_up)
            await anyio.to_thread.run_sync(server.start)
            await watch.until("up again", lambda: watch.is_up)
        lineage = (await bus.position("p")).lineage
        assert (await bus.append(batch(lineage, 4 if loss == "rollback" else 1, 6))).kind == "ok"
        await until_seen(7)
        assert [e.sequence for e in seen if e.producer == "p"][:6] == [1, 2, 3, 4, 5, 6]
        group.cancel_scope.cancel()


async def test_entries_of_another_hand_are_passed_over(clients: Clients) -> None:
    """By the reader and by the rebuilding of a lost progress alike."""
    bus = clients.bus()
    async with connected(bus):
        position = await bus.position("p")
        assert (await bus.append(batch(position.lineage, 1, 2))).kind == "ok"
        for fields in (("note", "by hand"), ("p", "p", "s", "x"), ("p", "p")):
            clients.server.command("XADD", "{hf:bot}:events", "*", *fields)
        clients.server.command("DEL", "{hf:bot}:progress")
        position = await bus.position("p")
        assert position.last_sequence == 2
        assert (await bus.append(batch(position.lineage, 3, 1))).kind == "ok"
        read: list[int] = []
        with anyio.fail_after(10):
            async with aclosing(bus.subscribe()) as entries:
                async for entry in entries:
                    read.append(entry.sequence)
                    if len(read) == 3:
                        break
        assert read == [1, 2, 3]


async def test_a_progress_that_is_no_number_is_a_fault_of_the_link(clients: Clients) -> None:
    bus = clients.bus()
    async with connected(bus):
        position = await bus.position("p")
        assert (await bus.append(batch(position.lineage, 1, 1))).kind == "ok"
        clients.server.command("HSET", "{hf:bot}:progress", "last:p", "x")
        with pytest.raises(LinkDown, match="delete that key"):
            await bus.position("p")
        clients.server.command("DEL", "{hf:bot}:progress")
        assert (await bus.position("p")).last_sequence == 1
