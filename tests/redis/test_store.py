"""Freshness of the policy and exclusivity of the lease, on a real server."""

from __future__ import annotations

from math import inf

import anyio
import anyio.lowlevel
import pytest
from redis_rigs import CLOCK, Clients, batch

from holdfast.errors import PolicyConflict, PolicyUnreadable
from holdfast.policy import Mode, Policy
from holdfast.ports import LeaseGrant
from holdfast.transports.conformance import Recorder, connected
from holdfast.transports.redis.store import RedisStore

pytestmark = [pytest.mark.anyio, pytest.mark.server]


async def test_no_update_is_lost_among_many_writers(clients: Clients) -> None:
    conflicts = 0

    async def write(store: RedisStore) -> None:
        nonlocal conflicts
        done = 0
        while done < 50:
            stored = await store.read()
            count = 0 if stored is None else int(stored.policy.updated_by)
            version = 0 if stored is None else stored.policy.version
            policy = Policy(Mode.NORMAL, updated_by=str(count + 1))
            try:
                await store.compare_and_set(policy, expected_version=version)
            except PolicyConflict:
                conflicts += 1
            else:
                done += 1

    a, b, c, d = (clients.store() for _ in range(4))
    async with connected(a), connected(b), connected(c), connected(d):
        async with anyio.create_task_group() as group:
            for store in (a, b, c, d):
                group.start_soon(write, store)
        final = await a.read()
    assert final is not None
    assert final.policy.version == 200
    assert final.policy.updated_by == "200", "every writer counted on from the one before"
    assert conflicts > 0, "the writers never met: the test proves nothing"


async def test_a_verified_policy_was_current_when_it_was_verified(clients: Clients) -> None:
    """A writer that has its answer never finds a reader verified later on an older version."""
    writer, reader = clients.store(), clients.store(heartbeat_ms=5, timeout_ms=1000)
    written: list[tuple[float, int]] = []
    stop = anyio.Event()

    async def write() -> None:
        for version in range(300):
            await writer.compare_and_set(Policy(Mode.NORMAL), expected_version=version)
            written.append((CLOCK.monotonic(), version + 1))
            if version % 7 == 0:
                await anyio.sleep(0.01)
        stop.set()

    async with connected(writer), connected(reader), anyio.create_task_group() as group:
        group.start_soon(write)
        checks = 0
        while not stop.is_set():
            stored = await reader.read()
            version = 0 if stored is None else stored.policy.version
            for _ in range(3):
                verified_at = reader.verified_at()
                newest = max((v for at, v in written if at <= verified_at), default=0)
                assert version >= newest
                checks += verified_at > -inf
                await anyio.sleep(0.002)
                if reader.verified_at() == -inf:
                    break
    assert checks > 20


async def test_a_hung_server_does_not_verify(clients: Clients) -> None:
    store = clients.store()
    async with connected(store) as watch:
        await store.compare_and_set(Policy(Mode.NORMAL), expected_version=0)
        await store.read()
        clients.server.stop()
        try:
            await anyio.sleep(0.05)
            stopped_at = CLOCK.monotonic()
            while watch.is_up:
                assert store.verified_at() <= stopped_at
                await anyio.sleep(0.01)
            assert store.verified_at() == -inf
        finally:
            clients.server.cont()


async def test_verified_counts_from_the_question_not_from_the_answer(clients: Clients) -> None:
    store = clients.store(heartbeat_ms=100, timeout_ms=5000)
    async with connected(store):
        await store.compare_and_set(Policy(Mode.NORMAL), expected_version=0)
        await store.read()
        clients.server.stop()
        await anyio.sleep(0.3)  # a question is on its way for at least 0.2 s
        before, continued_at = store.verified_at(), CLOCK.monotonic()
        clients.server.cont()
        with anyio.fail_after(5):
            while store.verified_at() == before:
                await anyio.lowlevel.checkpoint()
        assert store.verified_at() < continued_at - 0.1


async def test_a_read_overtaken_by_a_change_is_read_again(clients: Clients) -> None:
    """The old value and the news of its change arrive in one piece."""
    reader = clients.store(heartbeat_ms=60_000, timeout_ms=60_000)
    writer = clients.store(heartbeat_ms=60_000, timeout_ms=60_000)
    results: list[tuple[int, int]] = []

    async def read() -> None:
        stored = await reader.read()
        assert stored is not None
        results.append((stored.policy.version, watch.changes))

    async with connected(reader) as watch, connected(writer):
        await writer.compare_and_set(Policy(Mode.NORMAL), expected_version=0)
        await reader.read()
        for version in range(1, 6):
            watch.changes = 0
            clients.server.stop()
            async with anyio.create_task_group() as group:
                group.start_soon(read)
                await anyio.sleep(0.01)
                group.start_soon(lambda v=version: write(writer, v))  # type: ignore[misc]
                await anyio.sleep(0.01)
                clients.server.cont()
            await watch.until("changed", lambda: watch.changes > 0)
            # The two may come in two pieces all the same; then the read was over before the
            # news, and whoever has the old value hears it afterwards.
            read_version, heard_before = results[-1]
            if heard_before:
                assert read_version == version + 1
                assert reader.verified_at() > -inf


async def write(store: RedisStore, expected_version: int) -> None:
    await store.compare_and_set(Policy(Mode.NORMAL), expected_version=expected_version)


async def test_flushall_is_pushed(clients: Clients) -> None:
    store = clients.store(heartbeat_ms=60_000, timeout_ms=60_000)
    async with connected(store) as watch:
        await store.compare_and_set(Policy(Mode.NORMAL), expected_version=0)
        await store.read()
        watch.changes = 0
        clients.server.command("FLUSHALL")
        await watch.until("changed", lambda: watch.changes > 0)
        assert store.verified_at() == -inf
        assert await store.read() is None


KEY = "{hf:bot}:policy"


async def test_a_policy_that_nobody_understands_is_not_traded_on(clients: Clients) -> None:
    store = clients.store()
    async with connected(store) as watch:
        await store.compare_and_set(Policy(Mode.NORMAL), expected_version=0)
        clients.server.command("HSET", KEY, "document", "{}", "version", "2")
        with pytest.raises(PolicyUnreadable, match="active_mode"):
            await store.read()
        clients.server.command("HSET", KEY, "document", '{"active_mode":"NORMAL"}')
        with pytest.raises(PolicyUnreadable, match="version"):
            await store.read()
        assert watch.is_up
        await store.compare_and_set(Policy(Mode.HALT), expected_version=2)
        stored = await store.read()
        assert stored is not None
        assert stored.policy == Policy(Mode.HALT, version=3)


@pytest.mark.parametrize(
    "garbage",
    [
        {"version": "x2"},
        {"version": ""},
        {"version": "9" * 5000},
        {"document": "no \x00 policy"},
        {"document": "x" * 5000, "version": "-1"},
    ],
    ids=["no number", "no version", "a long one", "no document", "a long document"],
)
async def test_garbage_is_told_of_and_replaced_on_demand(
    clients: Clients, garbage: dict[str, str]
) -> None:
    store = clients.store()
    async with connected(store):
        await store.compare_and_set(Policy(Mode.NORMAL), expected_version=0)
        for field, value in garbage.items():
            clients.server.command("HSET", KEY, field, value)
        with pytest.raises(PolicyUnreadable, match="--replace") as raised:
            await store.read()
        assert repr(next(iter(garbage.values())).encode()[:20])[2:-1] in raised.value.found
        assert len(str(raised.value)) < 1500
        with pytest.raises(PolicyConflict):
            await store.compare_and_set(Policy(Mode.HALT), expected_version=7)
        await store.compare_and_set(Policy(Mode.HALT, version=4), expected_version=None)
        stored = await store.read()
        assert stored is not None
        assert stored.policy == Policy(Mode.HALT, version=4)


async def test_half_a_policy_is_no_empty_store(clients: Clients) -> None:
    store = clients.store()
    async with connected(store):
        clients.server.command("HSET", KEY, "version", "9")
        with pytest.raises(PolicyUnreadable, match="document none"):
            await store.read()


async def test_a_lease_whose_token_was_taken_away_is_given_anew(clients: Clients) -> None:
    store, other = clients.store(), clients.store()
    async with connected(store), connected(other):
        first = await granted(store, "a")
        for spoil in (("HDEL", "token"), ("HSET", "token", "x")):
            clients.server.command(spoil[0], "{hf:bot}:lease", *spoil[1:])
            assert await other.acquire("b", ttl_seconds=5) is None
            again = await granted(store, "a")
            assert again.fencing_token > first.fencing_token


async def test_a_lease_is_never_held_twice(clients: Clients) -> None:
    """Contenders on their own connections; each trades while its own clock allows it."""
    holding: set[str] = set()
    tokens: list[int] = []

    async def contend(name: str, store: RedisStore) -> None:
        for _ in range(12):
            grant = await store.acquire(name, ttl_seconds=0.05)
            if grant is None:
                await anyio.sleep(0.005)
                continue
            if CLOCK.monotonic() < grant.expires_at:
                # No await between the look at the clock and the end of the trade.
                assert not holding
                holding.add(name)
                tokens.append(grant.fencing_token)
                holding.discard(name)
            if len(tokens) % 2:
                await store.release(name)
            await anyio.sleep(0.06)

    a, b, c = (clients.store() for _ in range(3))
    async with connected(a), connected(b), connected(c), anyio.create_task_group() as group:
        for name, store in (("a", a), ("b", b), ("c", c)):
            group.start_soon(contend, name, store)
    assert len(tokens) > 3
    assert tokens == sorted(tokens), "a later holder has a greater token"


async def granted(store: RedisStore, owner: str, ttl_seconds: float = 5.0) -> LeaseGrant:
    grant = await store.acquire(owner, ttl_seconds=ttl_seconds)
    assert grant is not None
    return grant


async def test_a_lease_runs_out_by_itself(clients: Clients) -> None:
    ours, theirs = clients.store(), clients.store()
    async with connected(ours), connected(theirs):
        asked_at = CLOCK.monotonic()
        first = await granted(ours, "a", 0.1)
        assert asked_at < first.expires_at <= asked_at + 0.2
        assert await theirs.acquire("b", ttl_seconds=5) is None
        await anyio.sleep(0.15)
        second = await granted(theirs, "b")
        assert second.fencing_token > first.fencing_token
        assert await ours.acquire("a", ttl_seconds=5) is None


async def test_after_a_loss_of_data_the_bus_does_not_hide_that_leases_were_lost(
    clients: Clients,
) -> None:
    """The old holder writes on after the flush; the next one must still hear `virgin`."""
    bus, store = clients.bus(), clients.store()
    async with connected(bus), connected(store):
        first = await granted(store, "a")
        assert first.virgin
        clients.server.command("FLUSHALL")
        position = await bus.position("p")
        token = first.fencing_token
        assert (await bus.append(batch(position.lineage, 1, 1, fencing_token=token))).kind == "ok"
        second = await granted(store, "b")
        assert second.virgin
        assert second.fencing_token > token
        fenced = await bus.append(batch(position.lineage, 2, 1, fencing_token=token))
        assert (fenced.kind, fenced.last_sequence) == ("fenced", 1)


async def test_the_newest_grant_fences_off_at_once(clients: Clients) -> None:
    """Before the new holder has written anything."""
    bus, store = clients.bus(), clients.store()
    async with connected(bus), connected(store):
        first = await granted(store, "a")
        await store.release("a")
        await granted(store, "b")
        position = await bus.position("p")
        old = batch(position.lineage, 1, 1, fencing_token=first.fencing_token)
        assert (await bus.append(old)).kind == "fenced"


async def test_two_bots_share_a_server(clients: Clients) -> None:
    one, two = clients.store(bot="one"), clients.store(bot="two")
    async with connected(one), connected(two):
        await granted(one, "a")
        await granted(two, "b")
        await one.compare_and_set(Policy(Mode.HALT), expected_version=0)
        assert await two.read() is None


async def test_a_store_can_be_run_again(clients: Clients) -> None:
    store = clients.store()
    for _ in range(2):
        async with connected(store) as watch:
            assert isinstance(watch, Recorder)
            assert await store.read() is None
            assert store.verified_at() > -inf
        assert store.verified_at() == -inf
