"""Virtual time: what sleeps and deadlines cost, and when exactly they end."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime

import anyio
import anyio.lowlevel
import freezegun
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.simulation import SimLoop, Simulation, VirtualClock, run

DAY_SECONDS = 86_400


def test_sleeping_adds_up_without_drift() -> None:
    async def program() -> tuple[float, int]:
        for _ in range(100_000):
            await anyio.sleep(0.1)
        return anyio.current_time(), SimLoop.current().elapsed_ns

    seconds, nanoseconds = run(program)
    assert nanoseconds == 10_000 * 1_000_000_000
    assert seconds == pytest.approx(10_000, abs=1e-9)


def test_four_hundred_days_pass_at_once() -> None:
    simulation = Simulation()
    simulation.run(anyio.sleep, 400 * DAY_SECONDS)
    assert simulation.loop.elapsed_ns == 400 * DAY_SECONDS * 1_000_000_000
    assert simulation.loop.timers_fired == 1
    assert simulation.loop.steps < 20


def test_timers_below_a_millisecond_keep_their_distance() -> None:
    async def program() -> list[int]:
        loop = SimLoop.current()
        fired: list[int] = []
        for microseconds in (900, 100, 300, 200):
            loop.call_later(microseconds * 1e-6, lambda: fired.append(loop.elapsed_ns))
        await anyio.sleep(1)
        return fired

    assert run(program) == [100_000, 200_000, 300_000, 900_000]


def test_deadlines_of_anyio_and_asyncio() -> None:
    async def program() -> list[int]:
        loop = SimLoop.current()
        seen = []
        with anyio.move_on_after(5) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        seen.append(loop.elapsed_ns)
        with pytest.raises(TimeoutError), anyio.fail_after(0.25):
            await anyio.Event().wait()
        seen.append(loop.elapsed_ns)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.create_future(), 0.75)
        seen.append(loop.elapsed_ns)
        with anyio.move_on_after(5):
            await anyio.sleep(1)
        seen.append(loop.elapsed_ns)
        await anyio.sleep_until(10)
        seen.append(loop.elapsed_ns)
        return seen

    assert [ns / 1e9 for ns in run(program)] == [5, 5.25, 6, 7, 10]


@settings(max_examples=100, deadline=None)
@given(
    offset=st.floats(0, 400 * DAY_SECONDS),
    delays=st.lists(st.floats(1e-12, 1e4), min_size=1, max_size=20),
)
def test_no_deadline_is_early_and_none_spins(offset: float, delays: list[float]) -> None:
    """anyio re-arms a deadline that fires early; with time at rest that would never end."""

    async def program() -> None:
        await anyio.sleep(offset)
        for delay in delays:
            deadline = anyio.current_time() + delay
            with anyio.CancelScope(deadline=deadline) as scope:
                await anyio.sleep_forever()
            assert scope.cancelled_caught
            assert anyio.current_time() >= deadline
            deadline = anyio.current_time() + delay
            while anyio.current_time() < deadline:  # noqa: ASYNC110 - has to end
                await anyio.sleep(deadline - anyio.current_time())

    run(program, max_steps_per_instant=50)


@settings(max_examples=100, deadline=None)
@given(delays=st.lists(st.integers(0, 3_000), max_size=50), seed=st.integers(0, 2**32))
def test_timers_fire_in_order_and_on_their_nanosecond(delays: list[int], seed: int) -> None:
    async def program() -> list[tuple[int, int]]:
        loop = SimLoop.current()
        fired: list[tuple[int, int]] = []
        for delay in delays:
            loop.call_later(delay * 1e-9, lambda due: fired.append((due, loop.elapsed_ns)), delay)
        await anyio.sleep(1)
        return fired

    fired = run(program, seed=seed)
    assert [due for due, _ in fired] == sorted(delays)
    assert all(due == at for due, at in fired)


def test_cancelled_timers_leave_the_heap() -> None:
    async def program() -> int:
        loop = SimLoop.current()
        fired: list[int] = []
        for number in range(5_000):
            handle = loop.call_later(100 + number, fired.append, number)
            if number % 10:
                handle.cancel()
        assert len(loop._timers) < 2_000
        await anyio.sleep(DAY_SECONDS)
        assert fired == list(range(0, 5_000, 10))
        return len(loop._timers)

    assert run(program) == 0


def _order_of_equal_timers(seed: int | None) -> list[int]:
    async def program() -> list[int]:
        order: list[int] = []

        async def sleeper(number: int) -> None:
            await anyio.sleep(1)
            order.append(number)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(sleeper, number)
        return order

    return run(program, seed=seed)


def test_the_seed_breaks_ties() -> None:
    assert _order_of_equal_timers(7) == _order_of_equal_timers(7)
    assert len({tuple(_order_of_equal_timers(seed)) for seed in range(5)}) == 5
    assert _order_of_equal_timers(None) == list(range(20))


def test_the_ready_queue_is_never_shuffled() -> None:
    async def program() -> list[int]:
        order: list[int] = []
        for number in range(100):
            SimLoop.current().call_soon(order.append, number)
        await anyio.lowlevel.checkpoint()
        return order

    assert all(run(program, seed=seed) == list(range(100)) for seed in range(3))


def test_on_advance_keeps_a_frozen_datetime_in_step() -> None:
    with freezegun.freeze_time("2026-01-01T00:00:00") as frozen:

        def follow(now_ns: int) -> None:
            frozen.time_to_freeze = datetime.fromtimestamp(now_ns / 1e9, UTC).replace(tzinfo=None)

        async def program() -> list[str]:
            seen = []
            for _ in range(3):
                await anyio.sleep(DAY_SECONDS / 2)
                seen.append(datetime.now(UTC).isoformat())
            return seen

        assert run(program, on_advance=follow) == [
            "2026-01-01T12:00:00+00:00",
            "2026-01-02T00:00:00+00:00",
            "2026-01-02T12:00:00+00:00",
        ]


def test_a_frozen_clock_does_not_hold_the_loop() -> None:
    with freezegun.freeze_time("2026-01-01"):
        assert run(_elapsed_after, 60.0) == 60.0


async def _elapsed_after(seconds: float) -> float:
    await anyio.sleep(seconds)
    return anyio.current_time()


def test_start_as_text_and_as_nanoseconds() -> None:
    async def now_ns() -> int:
        return VirtualClock().time_ns()

    assert run(now_ns, start="2024-02-29T12:00:00.000001+02:00") == 1_709_200_800_000_001_000
    assert run(now_ns, start=5) == 5
    with pytest.raises(ValueError, match="offset"):
        run(now_ns, start="2026-01-01T00:00:00")


def test_a_stall_makes_timers_late_and_keeps_their_order() -> None:
    async def program() -> list[tuple[str, float]]:
        loop = SimLoop.current()
        fired: list[tuple[str, float]] = []
        loop.call_later(3, lambda: fired.append(("third", loop.time())))
        loop.call_later(1, lambda: fired.append(("first", loop.time())))
        loop.call_later(20, lambda: fired.append(("after", loop.time())))
        loop.stall(10)
        await anyio.sleep(15)
        return fired

    assert run(program) == [("first", 10), ("third", 10), ("after", 20)]
    with pytest.raises(ValueError, match="finite"):
        SimLoop.stall(None, math.inf)  # type: ignore[arg-type]


def test_a_suspension_moves_the_clocks_but_not_the_timers() -> None:
    async def program() -> None:
        loop, clock, other = SimLoop.current(), VirtualClock(), VirtualClock()
        began_ns = clock.time_ns()

        async def wake() -> None:
            await anyio.sleep(2)
            assert loop.time() == 2
            assert clock.monotonic() == 3602
            assert clock.monotonic_ns() == 3602 * 10**9
            assert clock.time_ns() - began_ns == 3602 * 10**9
            assert other.monotonic() == 2

        async with anyio.create_task_group() as group:
            group.start_soon(wake)
            await anyio.sleep(1)
            clock.suspend(3600)

    run(program)


def test_a_jump_of_the_wall_clock_leaves_durations_alone() -> None:
    async def program() -> None:
        clock = VirtualClock()
        before_ns = clock.time_ns()
        clock.jump_wall(-0.25)
        assert clock.time_ns() == before_ns - 250_000_000
        assert clock.monotonic_ns() == 0
        await anyio.sleep(1)
        clock.jump_wall(10)
        assert clock.time_ns() == before_ns + 10_750_000_000
        assert clock.monotonic() == 1

    run(program)
