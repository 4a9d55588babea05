"""Policy: what may follow what was seen, what may be traded on, and why not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from math import inf
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from engine_world import World, healthy, in_a_world
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import ConfigError, LinkDown, PolicyConflict, PolicyUnreadable, Rejected
from holdfast.journal import MemoryDisk, MemoryJournal
from holdfast.ledger import Ledger
from holdfast.links import LinkHealth, Links
from holdfast.model import Order, PositionSide, Side
from holdfast.policy import (
    Exposure,
    Identity,
    Limits,
    Mode,
    Policy,
    Regression,
    decode,
    encode,
    objection,
    regression,
)
from holdfast.policy_cell import PolicyCell
from holdfast.ports import StoredPolicy
from holdfast.recorder import Recorder
from holdfast.settings import PolicySettings
from holdfast.simulation import SeededEntropy, VirtualClock, run
from holdfast.transports.memory import MemoryServer, MemoryStore

BTC = "BTC/USDT:USDT"
ENTRY = Order(BTC, "buy", "0.010", price="64000")
FLAT = Exposure(Decimal(0), Decimal(0), Decimal(64000), 0)

# --- regression --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "read", "expected"),
    [
        (None, ("a", 1, "x"), Regression.FRESH),
        (("a", 3, "x"), ("a", 4, "y"), Regression.FRESH),
        (("a", 3, "x"), ("a", 3, "x"), Regression.FRESH),
        (("a", 3, "x"), ("b", 3, "x"), Regression.FRESH),
        (("a", 3, "x"), ("b", 9, "y"), Regression.FRESH),
        (("a", 3, "x"), ("a", 2, "x"), Regression.OLDER),
        (("a", 3, "x"), ("b", 2, "x"), Regression.OLDER),
        (("a", 3, "x"), ("a", 3, "y"), Regression.CONFLICT),
        (("a", 3, "x"), ("b", 3, "y"), Regression.CONFLICT),
        (("a", 3, "x"), None, Regression.EMPTY),
        (None, None, Regression.EMPTY),
    ],
)
def test_what_may_follow_what_was_seen(
    seen: tuple[str, int, str] | None, read: tuple[str, int, str] | None, expected: Regression
) -> None:
    assert regression(seen and Identity(*seen), read and Identity(*read)) is expected


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from("xy")), max_size=20))
def test_what_is_served_never_steps_back(reads: list[tuple[int, str]]) -> None:
    seen: Identity | None = None
    for version, content in reads:
        read = Identity("a", version, content)
        if regression(seen, read) is Regression.FRESH:
            assert seen is None or read == seen or read.version > seen.version
            seen = read


def test_a_policy_survives_writing() -> None:
    policy = Policy(Mode.DEFENSIVE, Limits(max_order_notional=Decimal("100.50")), version=7)
    assert decode(encode(policy)) == policy
    assert decode(encode(policy)).content_hash == policy.content_hash


# --- objections --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "limits"),
    [
        ("not among the allowed symbols", Limits(allowed_symbols=("ETH/USDT:USDT",))),
        ("not among the allowed symbols", Limits(allowed_symbols=())),
        ("orders are open", Limits(max_open_orders=0)),
        ("order notional", Limits(max_order_notional=Decimal(639))),
        ("position notional", Limits(max_position_notional=Decimal(639))),
    ],
)
def test_limits_are_named(why: str, limits: Limits) -> None:
    policy = Policy(Mode.NORMAL, limits)
    told = objection(policy, ENTRY, FLAT)
    assert told is not None
    assert why in told
    assert objection(policy, Order(BTC, "sell", "9", reduce_only=True), FLAT) is None


def test_at_the_limit_is_within_it() -> None:
    limits = Limits(
        max_order_notional=Decimal(640),
        max_position_notional=Decimal(640),
        max_open_orders=1,
        allowed_symbols=(BTC,),
    )
    assert objection(Policy(Mode.NORMAL, limits), ENTRY, FLAT) is None


def test_pending_orders_count_as_filled() -> None:
    policy = Policy(Mode.NORMAL, Limits(max_position_notional=Decimal(1000)))
    pending = FLAT._replace(pending_quantity=Decimal("0.010"))
    assert objection(policy, ENTRY, pending) is not None
    hedging = FLAT._replace(position_quantity=Decimal("-0.010"))
    assert objection(policy, ENTRY, hedging) is None


@in_a_world
async def test_each_side_of_a_hedged_position_has_the_limit_for_itself(world: World) -> None:
    """What is short makes no room for what is long, open or held."""
    world.venue.hedge_mode = True
    limits = Limits(max_position_notional=Decimal(1300))
    policy = PolicySettings(initial=Policy(Mode.NORMAL, limits))
    async with world.engine(policy=policy) as engine:
        await healthy(engine)

        def order(side: Side, position_side: PositionSide, price: str = "64000") -> Order:
            return Order(BTC, side, "0.010", price=price, position_side=position_side)

        await engine.submit(order("buy", "LONG"))
        await engine.submit(order("sell", "SHORT"))
        await engine.submit(order("sell", "SHORT"))
        await anyio.sleep(1)
        assert sorted(p.quantity for p in engine.positions()) == [
            Decimal("-0.020"),
            Decimal("0.010"),
        ]
        await engine.submit(order("buy", "LONG", "60000"))  # rests, and counts as filled
        for refused in (order("buy", "LONG", "60000"), order("sell", "SHORT", "66000")):
            with pytest.raises(Rejected, match="position notional"):
                await engine.submit(refused)
        await engine.submit(order("buy", "SHORT"))  # an exit has no limit, and makes room
        await engine.submit(order("sell", "SHORT"))


def test_without_a_price_a_notional_limit_can_not_be_judged() -> None:
    policy = Policy(Mode.NORMAL, Limits(max_order_notional=Decimal(1000)))
    market = Order(BTC, "buy", "0.010")
    assert objection(policy, market, FLAT) is None
    assert objection(policy, market, FLAT._replace(reference_price=None)) is not None


def test_halt_refuses_entries_only() -> None:
    assert objection(Policy(Mode.HALT), ENTRY, FLAT) == "policy mode is HALT"
    assert objection(Policy(Mode.HALT), Order(BTC, "sell", "1", reduce_only=True), FLAT) is None


# --- the cell ----------------------------------------------------------------------------


class CellRig:
    """A policy cell on an in-memory store."""

    def __init__(self, **changes: Any) -> None:
        self.clock = VirtualClock()
        self.server = MemoryServer(entropy=SeededEntropy(1, "server"), latency_seconds=0.001)
        self.disk = MemoryDisk()
        self.store = MemoryStore(self.server, clock=self.clock)
        journal = MemoryJournal.open(
            self.disk,
            clock=self.clock,
            randbits=SeededEntropy(1, "journal").randbits,
            on_fault=lambda reason: None,
        )
        self.recorder = Recorder(
            journal,
            Ledger(keys_kept=100),
            segment_bytes=1 << 20,
            on_fault=lambda reason: None,
        )
        self.faults: list[str] = []
        self.changed: list[Policy] = []
        self.reloads: list[float] = []
        links = Links(
            monotonic=self.clock.monotonic,
            on_fault=self.faults.append,
            on_change=lambda link: self.cell.changes.notify(),
        )
        self.link: LinkHealth = links.add("policy", probe=self.store.probe)
        self.cell = PolicyCell(
            store=self.store,
            link=self.link,
            recorder=self.recorder,
            clock=self.clock,
            settings=PolicySettings(**changes),
            on_change=self.changed.append,
            on_reloaded=self.reloads.append,
            on_fault=self.faults.append,
        )

    def put(self, mode: Mode, version: int | None = None) -> None:
        """By another hand."""
        held = self.server.policy
        expected = 0 if held is None else held.policy.version
        self.server.compare_and_set(Policy(mode, version=version or 0), expected)

    async def served(self) -> Policy:
        with anyio.fail_after(5):
            while (policy := self.cell.get()) is None:
                await self.cell.changes.wait()
        return policy


def with_cell(body: Callable[[CellRig], Awaitable[None]], **changes: Any) -> None:
    async def main() -> None:
        rig = CellRig(**changes)
        async with anyio.create_task_group() as group:
            group.start_soon(rig.cell.run)
            await anyio.lowlevel.checkpoint()
            group.start_soon(rig.store.run, rig.cell)
            await anyio.sleep(0.1)
            await body(rig)
            group.cancel_scope.cancel()

    run(main)


def test_the_initial_policy_is_written_once() -> None:
    async def body(rig: CellRig) -> None:
        assert (await rig.served()).active_mode is Mode.NORMAL
        assert rig.server.policy is not None
        assert rig.server.policy.policy.version == 1
        rig.put(Mode.DEFENSIVE)
        assert rig.cell.get() is None, "the push voids what was read, at once"
        assert (await rig.served()).active_mode is Mode.DEFENSIVE
        assert [p.version for p in rig.changed] == [1, 2]
        rig.server.wipe()
        await anyio.sleep(1)
        assert rig.cell.get() is None, "the initial policy is for the very first start only"

    with_cell(body, initial=Policy(Mode.NORMAL))


def test_without_an_initial_policy_a_person_sets_the_first() -> None:
    async def body(rig: CellRig) -> None:
        assert rig.cell.needs_person
        assert "holdfast policy set" in (rig.cell.problem() or "")
        served = await rig.cell.set(Policy(Mode.AGGRESSIVE))
        assert rig.cell.get() == served
        assert served.version == 1

    with_cell(body)


def test_a_value_of_an_earlier_connection_is_never_served() -> None:
    async def body(rig: CellRig) -> None:
        await rig.served()
        rig.server.down("killed")
        assert rig.cell.get() is None
        assert "killed" in (rig.cell.problem() or "")
        assert rig.server.policy is not None
        rig.server.policy = rig.server.policy._replace(policy=Policy(Mode.DEFENSIVE, version=2))
        rig.server.up()
        assert rig.cell.get() is None
        assert (await rig.served()).active_mode is Mode.DEFENSIVE
        assert rig.reloads
        assert rig.reloads[-1] < 1.0

    with_cell(body, initial=Policy(Mode.NORMAL))


def test_a_reply_of_an_earlier_connection_is_not_served_either() -> None:
    async def body(rig: CellRig) -> None:
        await rig.served()
        rig.cell.drop()
        async with anyio.create_task_group() as group:

            async def reload() -> None:
                with pytest.raises(LinkDown):
                    await rig.cell.reload()

            group.start_soon(reload)
            await anyio.sleep(0.0005)
            rig.server.drop_connections("reset")

    with_cell(body, initial=Policy(Mode.NORMAL))


def test_what_the_store_has_not_confirmed_for_too_long_is_unfit() -> None:
    async def body(rig: CellRig) -> None:
        await rig.served()
        verified = rig.clock.monotonic()
        rig.store.verified_at = lambda: verified  # type: ignore[method-assign]
        await anyio.sleep(0.99)
        assert rig.cell.get() is not None
        await anyio.sleep(0.02)
        assert rig.cell.get() is None
        assert "has not confirmed the policy for 1.01 s" in (rig.cell.problem() or "")
        rig.store.verified_at = lambda: -inf  # type: ignore[method-assign]
        assert rig.cell.get() is None

    with_cell(body, initial=Policy(Mode.NORMAL), freshness_seconds=1.0)


@pytest.mark.parametrize("on_empty", ["hold", "restore"])
def test_an_older_version_is_not_served(on_empty: Any) -> None:
    async def body(rig: CellRig) -> None:
        for mode in (Mode.DEFENSIVE, Mode.AGGRESSIVE):
            rig.put(mode)
        await anyio.sleep(0.1)
        held = rig.server.policy
        assert held is not None
        rig.server.down("failover")
        rig.server.policy = held._replace(policy=Policy(Mode.NORMAL, version=1))
        rig.server.up()
        await anyio.sleep(1)
        if on_empty == "restore":
            assert (await rig.served()).active_mode is Mode.AGGRESSIVE
            assert rig.server.policy.policy.version == 4
            return
        assert rig.cell.get() is None
        assert rig.cell.needs_person
        assert "came back with version 1 (version 3 was seen)" in (rig.cell.problem() or "")
        assert (await rig.cell.confirm()).version == 1
        assert rig.cell.get() is not None
        assert rig.recorder.ledger.policy_identity is not None
        assert rig.recorder.ledger.policy_identity.version == 1

    with_cell(body, initial=Policy(Mode.NORMAL), on_empty=on_empty)


def test_the_same_version_with_another_content_is_a_conflict() -> None:
    async def body(rig: CellRig) -> None:
        held = rig.server.policy
        assert held is not None
        rig.server.down("failover")
        rig.server.policy = held._replace(policy=Policy(Mode.AGGRESSIVE, version=1))
        rig.server.up()
        await anyio.sleep(1)
        assert rig.cell.get() is None
        assert "another version 1" in (rig.cell.problem() or "")

    with_cell(body, initial=Policy(Mode.NORMAL))


def test_setting_is_above_everything_ever_seen_and_refuses_a_race() -> None:
    async def body(rig: CellRig) -> None:
        rig.put(Mode.DEFENSIVE, version=9)
        await rig.served()
        rig.server.wipe()
        await anyio.sleep(0.1)
        assert (await rig.cell.set(Policy(Mode.NORMAL))).version == 10

        read = rig.store.read

        async def read_and_lose() -> Any:
            stored = await read()
            rig.put(Mode.AGGRESSIVE)
            return stored

        rig.store.read = read_and_lose  # type: ignore[method-assign]
        with pytest.raises(PolicyConflict):
            await rig.cell.set(Policy(Mode.HALT))

    with_cell(body, initial=Policy(Mode.NORMAL))


def test_a_change_between_the_answer_and_its_reader_is_read_too() -> None:
    async def body(rig: CellRig) -> None:
        await rig.served()
        read, times = rig.store.read, 0

        async def read_and_change() -> Any:
            nonlocal times
            stored = await read()
            times += 1
            if times == 1:
                rig.put(Mode.HALT)
            return stored

        rig.store.read = read_and_change  # type: ignore[method-assign]
        await rig.cell.reload()
        policy = rig.cell.get()
        assert policy is not None
        assert policy.active_mode is Mode.HALT
        assert [p.active_mode for p in rig.changed] == [Mode.NORMAL, Mode.HALT]

    with_cell(body, initial=Policy(Mode.NORMAL))


def test_confirming_nothing_is_an_error() -> None:
    async def body(rig: CellRig) -> None:
        rig.server.wipe()
        await anyio.sleep(0.1)
        with pytest.raises(LinkDown, match="holds no policy to confirm"):
            await rig.cell.confirm()

    with_cell(body, initial=Policy(Mode.NORMAL))


def test_a_storm_of_changes_ends_with_the_newest() -> None:
    async def body(rig: CellRig) -> None:
        for number in range(50):
            rig.put(Mode.NORMAL if number % 2 else Mode.DEFENSIVE)
            await anyio.sleep(0.0003 * (number % 5))
        await anyio.sleep(0.1)
        policy = await rig.served()
        assert rig.server.policy is not None
        assert policy == rig.server.policy.policy
        assert policy.version == 51

    with_cell(body, initial=Policy(Mode.NORMAL))


def test_a_policy_too_large_to_be_journalled_is_neither_served_nor_set() -> None:
    huge = Policy(
        Mode.NORMAL, Limits(allowed_symbols=tuple(f"S{n}/USDT:USDT" for n in range(70_000)))
    )

    async def body(rig: CellRig) -> None:
        await rig.served()
        with pytest.raises(ConfigError, match="at most"):
            await rig.cell.set(huge)
        assert rig.cell.get() is not None
        rig.server.compare_and_set(huge, 1)
        await anyio.sleep(1)
        assert rig.cell.get() is None
        assert any("at most" in fault for fault in rig.faults)
        with pytest.raises(LinkDown, match="at most"):
            await rig.cell.confirm()
        rig.put(Mode.DEFENSIVE)
        await rig.cell.reload()
        assert (await rig.served()).active_mode is Mode.DEFENSIVE

    with_cell(body, initial=Policy(Mode.NORMAL))


def test_what_is_no_policy_is_told_and_replaced_by_a_person_only() -> None:
    async def body(rig: CellRig) -> None:
        await rig.served()
        garbage = True

        async def read() -> StoredPolicy | None:
            if garbage:
                raise PolicyUnreadable("it rhymes", found="a poem")
            return await MemoryStore.read(rig.store)

        rig.store.read = read  # type: ignore[method-assign]
        rig.put(Mode.NORMAL, version=7)
        await anyio.sleep(1)
        assert rig.cell.get() is None
        assert rig.cell.needs_person
        assert "a poem" in str(rig.cell.problem())
        assert any("a poem" in fault for fault in rig.faults)
        with pytest.raises(PolicyUnreadable):
            await rig.cell.confirm()
        with pytest.raises(PolicyUnreadable, match="--replace"):
            await rig.cell.set(Policy(Mode.DEFENSIVE))
        store = rig.store.compare_and_set

        async def over(policy: Policy, *, expected_version: int | None) -> StoredPolicy:
            nonlocal garbage
            assert expected_version is None
            garbage = False
            return await store(policy, expected_version=expected_version)

        rig.store.compare_and_set = over  # type: ignore[method-assign]
        served = await rig.cell.set(Policy(Mode.DEFENSIVE), replace=True)
        assert (served.active_mode, served.version) == (Mode.DEFENSIVE, 2), "above what was seen"
        assert rig.cell.problem() is None

    with_cell(body, initial=Policy(Mode.NORMAL))


def test_what_changes_while_it_is_confirmed_is_read_again() -> None:
    async def body(rig: CellRig) -> None:
        rig.put(Mode.NORMAL)
        read = rig.store.read

        async def overtaken() -> StoredPolicy | None:
            stored = await read()
            if stored is not None and stored.policy.active_mode is Mode.NORMAL:
                rig.put(Mode.HALT)
                rig.cell.changed()
            return stored

        rig.store.read = overtaken  # type: ignore[method-assign]
        assert (await rig.cell.confirm()).active_mode is Mode.HALT

    with_cell(body)
