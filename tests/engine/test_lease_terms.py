"""When the lease counts as held: terms, takeovers, stores that lost their memory or hang."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf

import anyio
import pytest

from holdfast.errors import LinkDown
from holdfast.lease import LeaseKeeper
from holdfast.ports import Fence, LeaseGrant
from holdfast.simulation import VirtualClock, run

TTL = 9.0


class Store:
    """One lease, its term, and the faults of whoever keeps it."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.owner: str | None = None
        self.token = 0
        self.expires_at = -inf
        self.virgin = False
        self.answers = True
        self.hangs = False
        self.answer_seconds = 0.0
        """From the grant to its arrival."""
        self.requests = 0

    async def acquire(self, owner: str, *, ttl_seconds: float, above: int = 0) -> LeaseGrant | None:
        self.requests += 1
        sent = self._clock.monotonic()
        if self.hangs:
            await anyio.sleep_forever()
        await anyio.sleep(0.01)
        if not self.answers:
            raise LinkDown("no answer")
        now = self._clock.monotonic()
        if self.owner not in (None, owner) and now < self.expires_at:
            return None
        if self.owner != owner or now >= self.expires_at or self.token <= above:
            self.token = max(self.token, above) + 1
        virgin, self.virgin = self.virgin, False
        self.owner, self.expires_at = owner, now + ttl_seconds
        await anyio.sleep(self.answer_seconds)
        return LeaseGrant(self.token, sent + ttl_seconds, virgin)

    async def release(self, owner: str) -> None:
        if self.owner == owner:
            self.owner = None


class Rig:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.store = Store(self.clock)
        self.lost: list[tuple[float, str]] = []
        self.changes = 0
        self.renewals = 0
        self.newest_token, self.written_at = 0, -inf
        """What the bus has seen."""
        self.keeper = self.new("alpha:1")

    def new(self, owner: str) -> LeaseKeeper:
        return LeaseKeeper(
            store=self.store,
            owner=owner,
            ttl_seconds=TTL,
            clock=self.clock,
            on_lost=lambda why: self.lost.append((self.clock.monotonic(), why)),
            on_change=self._changed,
            on_renewed=self._renewed,
            fence=self._fence,
        )

    def _changed(self) -> None:
        self.changes += 1

    def _renewed(self) -> None:
        self.renewals += 1

    async def _fence(self) -> Fence:
        await anyio.sleep(0.01)
        if not self.store.answers:
            raise LinkDown("no answer")
        return Fence(self.newest_token, self.clock.monotonic() - self.written_at)

    def somebody_writes(self, token: int) -> None:
        self.newest_token, self.written_at = token, self.clock.monotonic()


def with_keeper(body: Callable[[Rig], Awaitable[None]], *, virgin: bool = False) -> None:
    async def main() -> None:
        rig = Rig()
        rig.store.virgin = virgin
        async with anyio.create_task_group() as group:
            group.start_soon(rig.keeper.run)
            await anyio.sleep(0.1)
            assert not rig.keeper.held
            assert rig.store.requests == 0, "the store is not asked before it can be"
            rig.keeper.set_connected(True)
            await anyio.sleep(0.1)
            await body(rig)
            group.cancel_scope.cancel()

    run(main)


def test_a_grant_that_arrives_after_the_last_one_has_ended_is_told() -> None:
    """It was ours all along. But whoever asked the clock meanwhile was told that it was not, and
    would not ask again: an outbox that found its bus again just then shipped no more."""

    async def body(rig: Rig) -> None:
        await anyio.sleep(2)
        rig.store.answer_seconds = 0.1
        rig.keeper.renew_now()
        await anyio.sleep(0.05)
        rig.clock.suspend(8)
        assert not rig.keeper.held
        before = rig.changes
        await anyio.sleep(0.1)
        assert rig.keeper.held
        assert rig.keeper.fencing_token == 1
        assert rig.lost == []
        assert rig.changes == before + 1

    with_keeper(body)


def test_it_is_renewed_long_before_it_runs_out() -> None:
    async def body(rig: Rig) -> None:
        for _ in range(100):
            assert rig.keeper.held
            await anyio.sleep(1)
        assert rig.lost == []
        assert 30 <= rig.store.requests <= 40
        assert rig.keeper.reason == ""

    with_keeper(body)


@pytest.mark.parametrize("how", ["no answer", "disconnected", "hangs"])
def test_unanswered_it_is_held_to_the_end_of_its_term_and_no_longer(how: str) -> None:
    """The term counts from the moment in which the last answered request was sent."""

    async def body(rig: Rig) -> None:
        sent = rig.store.expires_at - TTL
        match how:
            case "no answer":
                rig.store.answers = False
            case "disconnected":
                rig.keeper.set_connected(False)
            case "hangs":
                rig.store.hangs = True
        await anyio.sleep(TTL - 0.5)
        assert rig.keeper.held
        assert rig.lost == []
        await anyio.sleep(0.6)
        assert not rig.keeper.held
        ((at, why),) = rig.lost
        assert at <= sent + TTL, "told at once, whatever request is under way"
        assert "ran out" in why
        rig.store.answers, rig.store.hangs = True, False
        rig.keeper.set_connected(True)
        await anyio.sleep(2)
        assert rig.keeper.held
        assert rig.keeper.fencing_token == 2

    with_keeper(body)


def test_a_takeover_ends_it_at_once_and_it_is_asked_for_again() -> None:
    async def body(rig: Rig) -> None:
        rig.store.owner, rig.store.token = "alpha:2", 2
        rig.store.expires_at = rig.clock.monotonic() + 20
        await anyio.sleep(TTL / 3 + 0.1)
        assert not rig.keeper.held
        assert [why for _, why in rig.lost] == ["another instance holds the lease"]
        await anyio.sleep(10)
        assert not rig.keeper.held
        assert rig.keeper.reason == "another instance holds the lease"
        await anyio.sleep(10)
        assert rig.keeper.held
        assert rig.keeper.fencing_token == 3
        assert len(rig.lost) == 1

    with_keeper(body)


def test_two_keepers_never_hold_it_at_once() -> None:
    async def body(rig: Rig) -> None:
        other = rig.new("alpha:2")
        both = neither = 0
        async with anyio.create_task_group() as group:
            group.start_soon(other.run)
            other.set_connected(True)
            for step in range(600):
                await anyio.sleep(0.1)
                both += rig.keeper.held and other.held
                neither += not (rig.keeper.held or other.held)
                if step == 100:
                    rig.keeper.set_connected(False)
                if step == 300:
                    rig.keeper.set_connected(True)
                    other.set_connected(False)
            group.cancel_scope.cancel()
        assert both == 0
        assert 0 < neither < 60

    with_keeper(body)


def test_a_store_without_memory_makes_it_wait_a_full_term() -> None:
    """Another instance could still be alive with a lease from before the data were lost."""

    async def body(rig: Rig) -> None:
        assert not rig.keeper.held
        assert "waiting 9 s" in rig.keeper.reason
        await anyio.sleep(TTL - 0.3)
        assert not rig.keeper.held
        await anyio.sleep(0.4)
        assert rig.keeper.held
        assert rig.changes, "those who wait for it are told"
        await anyio.sleep(TTL)
        assert rig.keeper.reason == ""

    with_keeper(body, virgin=True)


def test_a_store_that_loses_its_memory_under_a_running_lease_costs_nothing() -> None:
    async def body(rig: Rig) -> None:
        rig.store.owner, rig.store.expires_at, rig.store.virgin = None, -inf, True
        for _ in range(30):
            await anyio.sleep(1)
            assert rig.keeper.held
        assert rig.lost == []
        assert rig.keeper.fencing_token == 2

    with_keeper(body)


def test_released_it_is_free_and_not_held() -> None:
    async def body(rig: Rig) -> None:
        await rig.keeper.release()
        assert not rig.keeper.held
        assert rig.store.owner is None

    with_keeper(body)


# --- the bus as a second witness ------------------------------------------------------------


def test_fenced_off_it_is_given_up_at_once_and_taken_anew_above_a_silent_holder() -> None:
    async def body(rig: Rig) -> None:
        rig.somebody_writes(1000)
        rig.keeper.fenced()
        assert not rig.keeper.held, "at once: another instance trades"
        assert not rig.keeper.latest_holder
        assert "newer fencing token" in rig.lost[0][1]
        await anyio.sleep(TTL - 0.5)
        assert not rig.keeper.held
        assert "silent for 9 s" in rig.keeper.reason
        await anyio.sleep(1)
        assert rig.keeper.held
        assert rig.keeper.latest_holder
        assert rig.keeper.fencing_token == 1001
        assert rig.keeper.reason == ""
        await anyio.sleep(5 * TTL)
        assert rig.keeper.fencing_token == 1001
        assert len(rig.lost) == 1

    with_keeper(body)


def test_it_never_pushes_a_holder_aside_that_writes() -> None:
    async def body(rig: Rig) -> None:
        rig.keeper.fenced()
        asked = rig.store.requests
        for _ in range(100):
            rig.somebody_writes(1000)
            await anyio.sleep(TTL / 3)
            assert not rig.keeper.held
        assert rig.store.requests == asked
        assert rig.store.owner is None, "given back: a copy that waits for it may have it"
        await anyio.sleep(TTL + 1)
        assert rig.keeper.held

    with_keeper(body)


def test_what_is_granted_while_the_bus_refuses_the_token_counts_for_nothing() -> None:
    """The renewal was on its way when the bus spoke."""

    async def body(rig: Rig) -> None:
        asked = rig.store.requests
        rig.keeper.renew_now()
        while rig.store.requests == asked:  # noqa: ASYNC110
            await anyio.sleep(0.001)
        rig.somebody_writes(1000)
        rig.keeper.fenced()
        for _ in range(80):
            await anyio.sleep(0.1)
            assert not rig.keeper.held
        await anyio.sleep(1.5)
        assert rig.keeper.fencing_token == 1001

    with_keeper(body)


def test_a_bus_that_can_not_be_asked_keeps_it_given_up() -> None:
    async def body(rig: Rig) -> None:
        rig.newest_token = 1000
        rig.store.answers = False
        rig.keeper.fenced()
        await anyio.sleep(5 * TTL)
        assert not rig.keeper.held
        rig.store.answers = True
        await anyio.sleep(2)
        assert rig.keeper.held

    with_keeper(body)


def test_every_grant_is_a_time_to_show_that_the_holder_is_there() -> None:
    async def body(rig: Rig) -> None:
        before, asked = rig.renewals, rig.store.requests
        await anyio.sleep(10 * TTL)
        assert rig.renewals - before == rig.store.requests - asked >= 29

    with_keeper(body)
