"""Checks of a policy store (`holdfast.ports.PolicyStore`)."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, Protocol

import anyio

from holdfast.errors import PolicyConflict
from holdfast.policy import Limits, Mode, Policy
from holdfast.ports import LeaseStore, PolicyStore

from .watching import (
    Control,
    connected,
    expect,
    patiently,
    raises_link_down,
    sees_that_writes_are_refused,
    until,
)


class Store(PolicyStore, LeaseStore, Protocol):
    """A lease lives on the connection of the policy store."""


MakeStore = Callable[[], Store]


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
        expect("the first version is 1", first.policy.version, 1)
        expect("what was stored is what is read", await store.read(), first)
        await _raises_conflict(store, expected_version=0)
        await _raises_conflict(store, expected_version=2)
        second = await store.compare_and_set(first.policy, expected_version=1)
        expect(
            "a policy is stored as the next version, in the same lineage",
            (second.policy.version, second.lineage),
            (2, first.lineage),
        )


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
    assert final is not None, "what was stored is read"
    expect("each version has one writer", sorted(won), list(range(1, final.policy.version + 1)))


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
            found = stored and stored.policy.version
            expect("`read` after `changed` is the new one", found, version + 1)


async def verified_only_in_this_connection(make_store: MakeStore, control: Control) -> None:
    store = make_store()
    expect("nothing is verified before `run`", store.verified_at(), -inf)
    async with connected(store) as watch:
        assert store.verified_at() == -inf, "connected is not verified: nothing was read"
        await store.compare_and_set(Policy(Mode.NORMAL), expected_version=0)
        await store.read()
        assert store.verified_at() > -inf, "`read` verifies"
        first = store.verified_at()
        await until("verification goes on without being asked", lambda: store.verified_at() > first)
        await control.stop()
        await watch.until("`down` is called", lambda: not watch.is_up)
        assert store.verified_at() == -inf, "what was read over a lost connection is void"
        await raises_link_down("read", store.read())
        await raises_link_down(
            "compare_and_set", store.compare_and_set(Policy(Mode.HALT), expected_version=1)
        )
        await control.start()
        await watch.until("`up` is called", lambda: watch.is_up)
        expect("a new connection has verified nothing", store.verified_at(), -inf)
        stored = await store.read()
        found = stored and stored.policy.active_mode
        expect("a write that raised LinkDown was not made later", found, Mode.NORMAL)


async def a_store_that_refuses_writes_is_down(make_store: MakeStore, control: Control) -> None:
    """What it lets read may be what a replica has that is cut off; and the lease needs writes."""
    await sees_that_writes_are_refused(make_store(), control)


async def a_lost_policy_can_be_restored(make_store: MakeStore, control: Control) -> None:
    store = make_store()
    async with connected(store) as watch:
        first = await store.compare_and_set(Policy(Mode.DEFENSIVE, version=7), expected_version=0)
        assert first.policy.version == 7, "a restored policy keeps its version"
        await control.wipe()
        await watch.until("`up` is called", lambda: watch.is_up)
        assert await patiently(store.read) is None, "None is the answer of an empty store"
        again = await store.compare_and_set(first.policy, expected_version=0)
        expect("a restored policy is the old one", again.policy, first.policy)
        assert again.lineage != first.lineage, "a replaced store has a new lineage"


async def anything_is_replaced_on_demand(make_store: MakeStore, control: Control) -> None:
    store = make_store()
    async with connected(store):
        for version in (5, 9, 3):
            wanted = Policy(Mode.DEFENSIVE, version=version)
            stored = await store.compare_and_set(wanted, expected_version=None)
            expect("without an expected version it is stored as it is", stored.policy, wanted)
            expect("what was stored is what is read", await store.read(), stored)


POLICY_CHECKS: Final = (
    stores_only_over_the_expected_version,
    one_of_many_writers_wins,
    a_change_by_another_is_pushed,
    verified_only_in_this_connection,
    a_store_that_refuses_writes_is_down,
    a_lost_policy_can_be_restored,
    anything_is_replaced_on_demand,
)


async def _raises_conflict(store: PolicyStore, *, expected_version: int) -> None:
    try:
        await store.compare_and_set(Policy(Mode.HALT), expected_version=expected_version)
    except PolicyConflict:
        return
    raise AssertionError(f"stored over expected version {expected_version}, which is not there")
