"""The lease as its keeper tells of it: nothing that happened between two looks is lost."""

from __future__ import annotations

from math import inf

import anyio

from holdfast.lease import LeaseKeeper
from holdfast.ports import Fence, LeaseGrant
from holdfast.simulation import VirtualClock, run

TTL = 5.0


class _Store:
    """Grants every request, for a term counted from the request."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.token = 1
        self.virgin = False

    async def acquire(self, owner: str, *, ttl_seconds: float, above: int = 0) -> LeaseGrant | None:
        return LeaseGrant(self.token, self._clock.monotonic() + ttl_seconds, self.virgin)

    async def release(self, owner: str) -> None: ...


async def _no_fence() -> Fence:
    raise AssertionError("nobody was fenced off")


class _Heard:
    def __init__(self) -> None:
        self.lost: list[str] = []
        self.changes: list[tuple[bool, int]] = []

    def keeper(self, store: _Store, clock: VirtualClock) -> LeaseKeeper:
        keeper = LeaseKeeper(
            store=store,
            owner="alpha",
            ttl_seconds=TTL,
            clock=clock,
            on_lost=self.lost.append,
            on_change=lambda: self.changes.append((keeper.held, keeper.fencing_token)),
            on_renewed=lambda: None,
            fence=_no_fence,
        )
        keeper.set_connected(True)
        return keeper


def test_a_lease_that_ran_out_while_the_machine_slept_is_told_of_as_lost() -> None:
    async def main() -> None:
        clock, heard = VirtualClock(), _Heard()
        keeper = heard.keeper(_Store(clock), clock)
        async with anyio.create_task_group() as group:
            group.start_soon(keeper.run)
            await anyio.sleep(0.1)
            clock.suspend(2 * TTL)
            assert not keeper.held
            await anyio.sleep(TTL)
            assert keeper.held
            assert len(heard.lost) == 1
            assert [held for held, _ in heard.changes] == [True, False, True]
            group.cancel_scope.cancel()

    run(main)


def test_a_new_fencing_token_of_a_lease_held_all_along_is_told() -> None:
    async def main() -> None:
        clock, heard = VirtualClock(), _Heard()
        store = _Store(clock)
        keeper = heard.keeper(store, clock)
        async with anyio.create_task_group() as group:
            group.start_soon(keeper.run)
            await anyio.sleep(0.1)
            store.token, store.virgin = 2, True  # it lost its data, and ours still runs
            await anyio.sleep(TTL)
            assert keeper.held
            assert not heard.lost
            assert heard.changes == [(True, 1), (True, 2)]
            group.cancel_scope.cancel()

    run(main)


def test_without_a_store_it_counts_as_held() -> None:
    async def main() -> None:
        keeper = LeaseKeeper(
            store=None,
            owner="alpha",
            ttl_seconds=TTL,
            clock=VirtualClock(),
            on_lost=lambda why: None,
            on_change=lambda: None,
            on_renewed=lambda: None,
            fence=_no_fence,
        )
        await keeper.run()
        assert keeper.held
        assert keeper._expires_at == inf

    run(main)
