"""How a simulation ends that cannot go on, and what it says about it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import socket
import threading
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import anyio.to_process
import pytest

from holdfast.simulation import (
    SimDeadlock,
    SimEscape,
    SimLivelock,
    SimLoop,
    Simulation,
    SimulationError,
    run,
)


def test_a_deadlock_names_the_waiting_tasks_and_lets_them_clean_up() -> None:
    cleaned: list[str] = []

    async def waiter() -> None:
        try:
            await anyio.Event().wait()
        finally:
            cleaned.append("waiter")

    async def program() -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(waiter, name="the-waiter")
                await anyio.sleep(3)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(60)  # cleanup may use the loop, and takes virtual time
            cleaned.append("program")

    simulation = Simulation()
    with pytest.raises(SimDeadlock) as caught:
        simulation.run(program)
    assert "3.000000000 s" in str(caught.value)
    main, child = caught.value.tasks
    assert "program" in main
    assert "TaskGroup.__aexit__" in main
    assert child.startswith("the-waiter: ")
    assert f"{__file__}:" in child
    assert "in test_a_deadlock_names_the_waiting_tasks_and_lets_them_clean_up" in child
    assert "awaiting Event.wait" in child
    assert cleaned == ["waiter", "program"]
    assert simulation.loop.is_closed()
    assert simulation.loop.elapsed_ns == 63 * 10**9


def test_sleeping_for_ever_is_no_event_to_wait_for() -> None:
    with pytest.raises(SimDeadlock):
        run(anyio.sleep_forever)


def test_the_first_deadlock_is_the_one_reported() -> None:
    async def stubborn() -> None:
        try:
            await anyio.Event().wait()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.Event().wait()

    with pytest.raises(SimDeadlock) as caught:
        run(stubborn)
    (note,) = caught.value.__notes__
    assert "while cleaning up" in note


async def _spin() -> None:
    while True:
        await anyio.lowlevel.checkpoint()


async def _poll() -> None:
    while True:  # noqa: ASYNC110
        await anyio.sleep(1)


def test_a_livelock_names_the_callbacks() -> None:
    async def program() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(_spin, name="the-spinner")
            group.start_soon(anyio.sleep, 3600)
            await anyio.sleep(2)

    async def delayed() -> None:
        await anyio.sleep(1)
        await program()

    with pytest.raises(SimLivelock, match="while time stood still") as caught:
        run(delayed, max_steps_per_instant=5_000)
    assert "1.000000000 s" in str(caught.value)
    assert caught.value.callbacks[0].startswith("1000 x the-spinner: ")
    assert "in _spin" in caught.value.callbacks[0]


def test_the_limit_of_an_instant_is_counted_anew_at_each() -> None:
    async def program() -> None:
        for _ in range(100):
            for _ in range(90):
                await anyio.lowlevel.checkpoint()
            await anyio.sleep(1)

    run(program, max_steps_per_instant=100)


def test_the_limit_of_the_whole_run() -> None:
    simulation = Simulation(max_steps=1_000)
    with pytest.raises(SimLivelock, match="more than 1000 steps in total"):
        simulation.run(_poll)
    assert 1_000 < simulation.loop.steps < 1_100

    exact = Simulation()
    exact.run(anyio.sleep, 1)
    Simulation(max_steps=exact.loop.steps).run(anyio.sleep, 1)
    with pytest.raises(SimLivelock):
        Simulation(max_steps=exact.loop.steps - 1).run(anyio.sleep, 1)


@pytest.mark.parametrize("limit", ["max_steps", "max_steps_per_instant"])
def test_cleanup_after_a_livelock_may_take_steps(limit: str) -> None:
    cleaned: list[int] = []

    async def program() -> None:
        try:
            await _spin()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(50):
                    await anyio.lowlevel.checkpoint()
                await anyio.sleep(1)
            cleaned.append(1)

    with pytest.raises(SimLivelock):
        run(program, **{limit: 200})  # type: ignore[arg-type]
    assert cleaned


def test_a_program_that_ends_at_the_limit_leaves_a_loop_that_can_clean_up() -> None:
    cleaned: list[int] = []

    async def left_behind() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)
            cleaned.append(1)

    async def program() -> asyncio.Task[None]:
        task = asyncio.create_task(left_behind())
        await anyio.sleep(1)
        for _ in range(5_000):
            SimLoop.current().call_soon(int)
        return task

    with pytest.raises(SimLivelock):
        run(program, max_steps_per_instant=4_000)
    assert cleaned


async def _to_thread() -> None:
    await anyio.to_thread.run_sync(int)


async def _asyncio_thread() -> None:
    await asyncio.to_thread(int)


async def _tcp() -> None:
    await anyio.connect_tcp("127.0.0.1", 9)


async def _streams() -> None:
    await asyncio.open_connection("127.0.0.1", 9)


async def _server() -> None:
    await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)


async def _subprocess() -> None:
    await anyio.run_process(["true"])


async def _worker_process() -> None:
    await anyio.to_process.run_sync(int)


async def _file() -> None:
    await anyio.Path(__file__).read_bytes()


async def _readable() -> None:
    left, right = socket.socketpair()
    with left, right:
        await anyio.wait_readable(left)


async def _signals() -> None:
    import signal

    with anyio.open_signal_receiver(signal.SIGUSR1):
        pass


ESCAPES = [
    _to_thread,
    _asyncio_thread,
    _tcp,
    _streams,
    _server,
    _subprocess,
    _worker_process,
    _file,
    _readable,
    _signals,
]


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.__name__.strip("_"))
def test_the_world_outside_is_refused(escape: Callable[[], Awaitable[None]]) -> None:
    threads = threading.active_count()
    with pytest.raises(SimEscape, match="leaves the simulation"):
        run(escape)
    assert threading.active_count() == threads


@pytest.mark.parametrize("escape", [_to_thread, _tcp])
def test_a_broad_except_cannot_hide_an_escape(escape: Callable[[], Awaitable[None]]) -> None:
    async def program() -> None:
        while True:
            try:
                await escape()
            except Exception:
                await anyio.sleep(1)

    with pytest.raises(SimEscape):
        run(program)


def test_a_swallowed_escape_is_reported_at_the_end() -> None:
    async def program() -> int:
        with contextlib.suppress(SimEscape):
            await _to_thread()
        return 1

    with pytest.raises(SimEscape):
        run(program)


def test_an_escape_tried_for_ever_is_an_escape_not_a_livelock() -> None:
    async def program() -> None:
        while True:
            with contextlib.suppress(SimEscape):
                await _to_thread()

    with pytest.raises(SimEscape):
        run(program, max_steps_per_instant=1_000)


def test_an_escape_in_a_task_group_is_not_wrapped_and_logs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def program() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(_to_thread)

    with caplog.at_level(logging.DEBUG), pytest.raises(SimEscape):
        run(program)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_call_soon_threadsafe_serves_its_own_thread_only() -> None:
    async def program() -> list[str]:
        loop = SimLoop.current()
        seen: list[str] = []
        loop.call_soon_threadsafe(seen.append, "own")
        await anyio.lowlevel.checkpoint()
        return seen

    assert run(program) == ["own"]

    async def foreign() -> None:
        loop = SimLoop.current()

        def intrude() -> None:
            with pytest.raises(SimEscape):
                loop.call_soon_threadsafe(int)

        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()
        await anyio.sleep(1)

    with pytest.raises(SimEscape, match="another thread"):
        run(foreign)


def test_an_error_of_the_program_comes_out_as_it_is() -> None:
    async def program() -> None:
        await anyio.sleep(1)
        raise LookupError("own")

    with pytest.raises(LookupError, match="own"):
        run(program)


def test_verdicts_cross_a_process_boundary() -> None:
    for verdict in (
        SimDeadlock("stuck", ("a", "b")),
        SimLivelock("busy", ("c",)),
        SimEscape("out", "loop.add_reader"),
    ):
        copy = pickle.loads(pickle.dumps(verdict))
        assert str(copy) == str(verdict)
        assert vars(copy) == vars(verdict)


def test_a_simulation_runs_once_and_current_needs_one() -> None:
    simulation = Simulation()
    with pytest.raises(RuntimeError, match="not been run"):
        _ = simulation.loop
    simulation.run(anyio.sleep, 0)
    with pytest.raises(RuntimeError, match="once"):
        simulation.run(anyio.sleep, 0)

    async def outside() -> None:
        with pytest.raises(RuntimeError, match="not inside a simulation"):
            SimLoop.current()

    anyio.run(outside)


def test_a_simulation_inside_another_is_refused() -> None:
    async def program() -> None:
        with pytest.raises(SimulationError, match="already running in this process"):
            run(anyio.sleep, 0)

    run(program)
    run(anyio.sleep, 0)  # and the refusal left nothing locked


def test_a_simulation_beside_another_is_refused() -> None:
    refused: list[BaseException] = []

    def beside() -> None:
        try:
            run(anyio.sleep, 0)
        except SimulationError as error:
            refused.append(error)

    async def program() -> None:
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()

    run(program)
    assert "processes of their own" in str(refused[0])
