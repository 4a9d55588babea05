"""Checks that a transport keeps its promises, for those who write one.

Each check is an async function that raises `AssertionError` with the promise that
was broken. Run them one by one from your own test suite (`BUS_CHECKS`,
`POLICY_CHECKS`, `LEASE_CHECKS`) or all at once:

    await check_bus(lambda: MyBus(url), control)

`control` is what the checks use to break the server behind the transport; see
`Control`. The built-in transports pass the same checks in holdfast's own tests. They
are assertions: not for `python -O`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Any, Final, Protocol, TypeVar

import anyio
import anyio.lowlevel

from holdfast.errors import LinkDown, PolicyConflict
from holdfast.model import Gap
from holdfast.policy import Limits, Mode, Policy
from holdfast.ports import Batch, BusEntry, BusPosition, LeaseStore, MessageBus, PolicyStore

PATIENCE_SECONDS: Final = 10.0
"""For what has to happen by itself; generous, a loaded machine is no broken transport."""

_T = TypeVar("_T")


class Control(Protocol):
    """Breaks and mends the server behind the transport."""

    async def stop(self) -> None:
        """Make it unreachable. Its data stay."""

    async def start(self) -> None:
        """Make it reachable again."""

    async def wipe(self) -> None:
        """Lose all data. The server runs before and after, and may restart in between."""


class Store(PolicyStore, LeaseStore, Protocol):
    """A lease lives on the connection of the policy store."""


MakeBus = Callable[[], MessageBus]
MakeStore = Callable[[], Store]


class Recorder:
    """A watch that writes down what it is told and lets a check wait for it."""

    def __init__(self) -> None:
        self.is_up = False
        self.ups = 0
        self.reasons: list[str] = []
        self.changes = 0
        self._news = anyio.Event()

    def up(self) -> None:
        self.is_up = True
        self.ups += 1
        self._tell()

    def down(self, reason: str) -> None:
        self.is_up = False
        self.reasons.append(reason)
        self._tell()

    def changed(self) -> None:
        self.changes += 1
        self._tell()

    async def until(self, promise: str, holds: Callable[[], bool]) -> None:
        """:raises AssertionError: `promise`, if `holds` stays false."""
        with anyio.move_on_after(PATIENCE_SECONDS):
            while not holds():
                await self._news.wait()
        assert holds(), f"{promise}; down because of: {self.reasons[-3:]}"

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()


@asynccontextmanager
async def connected(link: Any) -> AsyncIterator[Recorder]:
    """Run `link` (anything with `run(watch)`) and wait until it says that it is up."""
    watch = Recorder()
    async with anyio.create_task_group() as group:
        group.start_soon(link.run, watch)
        await watch.until("`run` connects and calls `up`", lambda: watch.is_up)
        yield watch
        group.cancel_scope.cancel()


# --- the bus -----------------------------------------------------------------------


async def check_bus(make_bus: MakeBus, control: Control) -> None:
    """Run every check of `BUS_CHECKS`, each on an emptied server."""
    for check in BUS_CHECKS:
        await control.wipe()
        await check(make_bus, control)


async def appends_once_and_in_order(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        assert await _append(bus, lineage, 1, 5) == ("ok", 5)
        assert await _append(bus, lineage, 1, 5) == ("ok", 5), "sending again appends nothing"
        assert await _append(bus, lineage, 4, 5) == ("ok", 8), "what is new of a batch is appended"
        assert await _append(bus, lineage, 1, 1) == ("ok", 8), "an old batch changes nothing"
        assert await _append(bus, lineage, 9, 0) == ("ok", 8), "an empty batch is no error"
        assert await bus.position("a") == (lineage, 8), "`position` tells what was appended"
        entries = await _collect(bus, 8)
        assert [(e.sequence, e.payload) for e in entries] == [(n, _payload(n)) for n in range(1, 9)]


async def refuses_a_hole(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        assert await _append(bus, lineage, 2, 3) == ("gap", 0), "a batch may not leave a hole"
        await _append(bus, lineage, 1, 3)
        in_flight = [bus.append(_batch(lineage, first, 3)) for first in (4, 10, 7, 13)]
        answers = [tuple(await answer)[:2] for answer in in_flight]
        assert answers == [("ok", 6), ("gap", 6), ("ok", 9), ("gap", 9)], (
            f"batches are judged in call order, each by itself: {answers}"
        )


async def keeps_producers_apart(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        await _append(bus, lineage, 1, 3, producer="a")
        assert await bus.position("b") == (lineage, 0), "each producer counts from 1"
        await _append(bus, lineage, 1, 2, producer="b")
        assert await bus.position("a") == (lineage, 3)
        entries = await _collect(bus, 5)
        assert [(e.producer, e.sequence) for e in entries] == [
            ("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2)
        ]  # fmt: skip


async def marks_a_gap(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        await _append(bus, lineage, 1, 2)
        wrong = Gap("a", 4, 9)
        assert await _append(bus, lineage, 10, 1, gap=wrong) == ("gap", 2), (
            "a marker has to begin where the bus ends"
        )
        gap = Gap("a", 3, 9)
        assert await _append(bus, lineage, 10, 2, gap=gap) == ("ok", 11)
        assert await _append(bus, lineage, 10, 2, gap=gap) == ("ok", 11), "sent again: no effect"
        entries = await _collect(bus, 5)
        assert [e.gap for e in entries] == [None, None, gap, None, None]
        assert [e.sequence for e in entries] == [1, 2, 9, 10, 11], (
            "the marker carries the last sequence it stands for"
        )


async def refuses_another_lineage(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        assert (await _append(bus, "other", 1, 1))[0] == "lineage"
        assert await bus.position("a") == (lineage, 0), "nothing was appended"


async def fences_off_an_older_token(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        assert await _append(bus, lineage, 1, 1, fencing_token=7) == ("ok", 1)
        assert await _append(bus, lineage, 2, 1, fencing_token=6) == ("fenced", 1)
        assert await _append(bus, lineage, 2, 1, fencing_token=8) == ("ok", 2)
        assert await _append(bus, lineage, 3, 1, fencing_token=7) == ("fenced", 2)
        assert await _append(bus, lineage, 3, 1) == ("ok", 3), "0 takes no part in leases"


async def survives_an_outage(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus) as watch:
        lineage = await _fresh(bus, "a")
        await _append(bus, lineage, 1, 3)
        await control.stop()
        await watch.until("a stopped server is reported by `down`", lambda: not watch.is_up)
        assert all(watch.reasons), "`down` says why"
        await _raises_link_down("position", bus.position("a"))
        await _raises_link_down("append", bus.append(_batch(lineage, 4, 1)))
        await _raises_link_down("probe", bus.probe())
        await control.start()
        await watch.until("`run` reconnects by itself and calls `up`", lambda: watch.is_up)
        await bus.probe()
        position = await bus.position("a")
        assert position == (lineage, 3), f"data that survived keep their lineage: {position}"
        assert await _append(bus, lineage, 3, 2) == ("ok", 4)


async def tells_that_the_data_were_lost(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus) as watch:
        before = await _fresh(bus, "a")
        await _append(bus, before, 1, 3)
        await control.wipe()
        await watch.until("`run` reconnects by itself", lambda: watch.is_up)
        after = await _position(bus, "a")
        assert after.lineage != before, "lost data have a new lineage"
        assert after.last_sequence == 0
        assert (await _append(bus, before, 4, 1))[0] == "lineage", (
            "what was made for the lost data is refused"
        )
        assert await _append(bus, after.lineage, 1, 4) == ("ok", 4)


async def a_subscription_loses_nothing(make_bus: MakeBus, control: Control) -> None:
    """Across an outage and a loss of all data, which is filled up again from the start."""
    bus = make_bus()
    seen: list[BusEntry] = []
    watch = Recorder()

    async def follow() -> None:
        async for entry in bus.subscribe():
            seen.append(entry)
            watch._tell()

    async def until_seen(count: int) -> None:
        await watch.until(
            f"a subscription goes on by itself: {count} entries", lambda: len(seen) >= count
        )

    async with connected(bus) as link, anyio.create_task_group() as group:
        group.start_soon(follow)
        lineage = await _fresh(bus, "a")
        await _append(bus, lineage, 1, 3)
        await until_seen(3)
        await control.stop()
        await link.until("`down` is called", lambda: not link.is_up)
        await control.start()
        await link.until("`up` is called", lambda: link.is_up)
        await _append(bus, (await _position(bus, "a")).lineage, 4, 3)
        await until_seen(6)
        await control.wipe()
        await link.until("`up` is called", lambda: link.is_up)
        await _append(bus, (await _position(bus, "a")).lineage, 1, 8)
        await until_seen(8)
        assert [e.sequence for e in seen] == list(range(1, 9)), "each event once, in order"
        group.cancel_scope.cancel()


async def a_subscription_resumes(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        await _append(bus, lineage, 1, 5)
        entries = await _collect(bus, 5)
        rest = await _collect(bus, 2, after=entries[2].id)
        assert [e.sequence for e in rest] == [4, 5], "`after` is not delivered again"


async def a_cancelled_append_harms_nobody(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    async with connected(bus):
        lineage = await _fresh(bus, "a")
        for first in range(1, 20):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await bus.append(_batch(lineage, first, 1))
            assert (await _append(bus, lineage, first, 1, producer="b"))[1] == first, (
                "a reply went to the wrong question"
            )
        assert (await bus.position("b")).last_sequence == 19


async def a_link_that_is_not_run_says_so(make_bus: MakeBus, control: Control) -> None:
    bus = make_bus()
    await _raises_link_down("position before run", bus.position("a"))
    async with connected(bus):
        await bus.position("a")
    await _raises_link_down("position after run", bus.position("a"))
    await _raises_link_down("append after run", bus.append(_batch("any", 1, 1)))


BUS_CHECKS: Final = (
    appends_once_and_in_order,
    refuses_a_hole,
    keeps_producers_apart,
    marks_a_gap,
    refuses_another_lineage,
    fences_off_an_older_token,
    survives_an_outage,
    tells_that_the_data_were_lost,
    a_subscription_loses_nothing,
    a_subscription_resumes,
    a_cancelled_append_harms_nobody,
    a_link_that_is_not_run_says_so,
)


# --- policy ------------------------------------------------------------------------


async def check_policy_store(make_store: MakeStore, control: Control) -> None:
    """Run every check of `POLICY_CHECKS`, each on an emptied server."""
    for check in POLICY_CHECKS:
        await control.wipe()
        await check(make_store, control)


async def stores_only_over_the_expected_version(make_store: MakeStore, control: Control) -> None:
    store = make_store()
    async with connected(store):
        assert await store.read() is None, "an empty store has no policy"
        first = await store.compare_and_set(
            Policy(Mode.NORMAL, Limits(allowed_symbols=())), expected_version=0
        )
        assert first.policy.version == 1
        assert await store.read() == first, "what was stored is what is read"
        await _raises_conflict(store, expected_version=0)
        await _raises_conflict(store, expected_version=2)
        second = await store.compare_and_set(first.policy, expected_version=1)
        assert (second.policy.version, second.lineage) == (2, first.lineage)


async def one_of_many_writers_wins(make_store: MakeStore, control: Control) -> None:
    stores = [make_store() for _ in range(3)]
    won: list[int] = []

    async def write(store: Store) -> None:
        for _ in range(10):
            stored = await store.read()
            version = 0 if stored is None else stored.policy.version
            try:
                result = await store.compare_and_set(Policy(Mode.NORMAL), expected_version=version)
            except PolicyConflict:
                continue
            won.append(result.policy.version)

    async with connected(stores[0]), connected(stores[1]), connected(stores[2]):
        async with anyio.create_task_group() as group:
            for store in stores:
                group.start_soon(write, store)
        final = await stores[0].read()
    assert final is not None
    assert sorted(won) == list(range(1, final.policy.version + 1)), "each version has one writer"


async def a_change_by_another_is_pushed(make_store: MakeStore, control: Control) -> None:
    ours, theirs = make_store(), make_store()
    async with connected(ours) as watch, connected(theirs):
        await theirs.compare_and_set(Policy(Mode.NORMAL), expected_version=0)
        await ours.read()
        for version in range(1, 6):
            watch.changes = 0
            await theirs.compare_and_set(Policy(Mode.DEFENSIVE), expected_version=version)
            await watch.until("a change is reported by `changed`", lambda: watch.changes > 0)
            assert ours.verified_at() == -inf, "a changed policy is unfit until it is read again"
            stored = await ours.read()
            assert stored is not None
            assert stored.policy.version == version + 1, "`read` after `changed` is the new one"


async def verified_only_in_this_connection(make_store: MakeStore, control: Control) -> None:
    store = make_store()
    assert store.verified_at() == -inf
    async with connected(store) as watch:
        assert store.verified_at() == -inf, "connected is not verified: nothing was read"
        await store.compare_and_set(Policy(Mode.NORMAL), expected_version=0)
        await store.read()
        assert store.verified_at() > -inf, "`read` verifies"
        first = store.verified_at()
        await _until(
            "verification goes on without being asked", lambda: store.verified_at() > first
        )
        await control.stop()
        await watch.until("`down` is called", lambda: not watch.is_up)
        assert store.verified_at() == -inf, "what was read over a lost connection is void"
        await _raises_link_down("read", store.read())
        await _raises_link_down(
            "compare_and_set", store.compare_and_set(Policy(Mode.HALT), expected_version=1)
        )
        await control.start()
        await watch.until("`up` is called", lambda: watch.is_up)
        assert store.verified_at() == -inf
        stored = await store.read()
        assert stored is not None
        assert stored.policy.active_mode is Mode.NORMAL


async def a_lost_policy_can_be_restored(make_store: MakeStore, control: Control) -> None:
    store = make_store()
    async with connected(store) as watch:
        first = await store.compare_and_set(Policy(Mode.DEFENSIVE, version=7), expected_version=0)
        assert first.policy.version == 7, "a restored policy keeps its version"
        await control.wipe()
        await watch.until("`up` is called", lambda: watch.is_up)
        assert await _patiently(store.read) is None, "None is the answer of an empty store"
        again = await store.compare_and_set(first.policy, expected_version=0)
        assert again.policy == first.policy
        assert again.lineage != first.lineage, "a replaced store has a new lineage"


POLICY_CHECKS: Final = (
    stores_only_over_the_expected_version,
    one_of_many_writers_wins,
    a_change_by_another_is_pushed,
    verified_only_in_this_connection,
    a_lost_policy_can_be_restored,
)


# --- lease -------------------------------------------------------------------------


async def check_lease_store(make_store: MakeStore, control: Control) -> None:
    """Run every check of `LEASE_CHECKS`, each on an emptied server."""
    for check in LEASE_CHECKS:
        await control.wipe()
        await check(make_store, control)


async def one_owner_at_a_time(make_store: MakeStore, control: Control) -> None:
    ours, theirs = make_store(), make_store()
    async with connected(ours), connected(theirs):
        first = await ours.acquire("ours", ttl_seconds=30)
        assert first is not None
        assert first.fencing_token > 0
        assert await theirs.acquire("theirs", ttl_seconds=30) is None, "the lease is held"
        await theirs.release("theirs")
        assert await theirs.acquire("theirs", ttl_seconds=30) is None, "only its owner releases it"
        renewed = await ours.acquire("ours", ttl_seconds=30)
        assert renewed is not None
        assert renewed.fencing_token == first.fencing_token, "a renewal keeps the token"
        assert renewed.expires_at >= first.expires_at
        assert not renewed.virgin
        await ours.release("ours")
        second = await theirs.acquire("theirs", ttl_seconds=30)
        assert second is not None
        assert second.fencing_token > first.fencing_token, "a new holder has a greater token"
        assert not second.virgin, "the store knows that there was a lease"


async def a_forgotten_lease_is_told(make_store: MakeStore, control: Control) -> None:
    store = make_store()
    async with connected(store) as watch:
        first = await store.acquire("ours", ttl_seconds=30)
        assert first is not None
        await control.wipe()
        await watch.until("`up` is called", lambda: watch.is_up)
        second = await _patiently(lambda: store.acquire("theirs", ttl_seconds=30))
        assert second is not None
        assert second.virgin, "a store that lost its data cannot know who holds the lease"
        assert second.fencing_token > first.fencing_token, "tokens grow also over a loss of data"


async def a_lease_needs_the_store(make_store: MakeStore, control: Control) -> None:
    store = make_store()
    async with connected(store) as watch:
        await control.stop()
        await watch.until("`down` is called", lambda: not watch.is_up)
        await _raises_link_down("acquire", store.acquire("ours", ttl_seconds=30))
        await control.start()
        await watch.until("`up` is called", lambda: watch.is_up)
        assert await store.acquire("ours", ttl_seconds=30) is not None


LEASE_CHECKS: Final = (one_owner_at_a_time, a_forgotten_lease_is_told, a_lease_needs_the_store)


# --- shared by the checks ----------------------------------------------------------


def _payload(sequence: int) -> bytes:
    return b"event %d" % sequence


def _batch(lineage: str, first: int, count: int, *, producer: str = "a", **more: Any) -> Batch:
    payloads = [_payload(n) for n in range(first, first + count)]
    return Batch(producer, first, payloads, lineage, **more)


async def _append(
    bus: MessageBus, lineage: str, first: int, count: int, **more: Any
) -> tuple[str, int]:
    with anyio.fail_after(PATIENCE_SECONDS):
        status = await bus.append(_batch(lineage, first, count, **more))
    return status.kind, status.last_sequence


async def _fresh(bus: MessageBus, producer: str) -> str:
    position = await _position(bus, producer)
    assert position.last_sequence == 0, "the check needs an empty server"
    return position.lineage


async def _position(bus: MessageBus, producer: str) -> BusPosition:
    return await _patiently(lambda: bus.position(producer))


async def _patiently(ask: Callable[[], Awaitable[_T]]) -> _T:
    """Ask again while the link is down: a server that was just wiped may yet be restarting."""
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            try:
                return await ask()
            except LinkDown:
                await anyio.sleep(0.01)


async def _collect(bus: MessageBus, count: int, *, after: str | None = None) -> list[BusEntry]:
    found: list[BusEntry] = []
    with anyio.move_on_after(PATIENCE_SECONDS):
        async for entry in bus.subscribe(after=after):
            found.append(entry)
            if len(found) == count:
                break
    assert len(found) == count, f"a subscription delivers what is there: {len(found)} of {count}"
    return found


async def _raises_link_down(what: str, call: Awaitable[Any]) -> None:
    reason = None
    with anyio.move_on_after(PATIENCE_SECONDS) as scope:
        try:
            await call
        except LinkDown as error:
            reason = str(error)
    assert not scope.cancelled_caught, f"{what}: hangs without a connection instead of LinkDown"
    assert reason is not None, f"{what}: returns without a connection instead of raising LinkDown"
    assert reason, f"{what}: LinkDown says why"


async def _until(promise: str, holds: Callable[[], bool]) -> None:
    """For what nobody reports."""
    with anyio.move_on_after(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110
            await anyio.sleep(0.01)
    assert holds(), promise


async def _raises_conflict(store: PolicyStore, *, expected_version: int) -> None:
    try:
        await store.compare_and_set(Policy(Mode.HALT), expected_version=expected_version)
    except PolicyConflict:
        return
    raise AssertionError(f"stored over expected version {expected_version}, which is not there")
