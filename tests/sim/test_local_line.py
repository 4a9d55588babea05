"""The in-process client in virtual time: what it costs, and what an outage does to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest
from sim_rigs import BTC, TIMEOUT_SECONDS, RecordingWatch, Rig, local_rig

from holdfast.errors import ConfigError, LinkDown
from holdfast.model import OutcomeKind, QueryKind
from holdfast.simulation import (
    SeededEntropy,
    SimDeadlock,
    Simulation,
    VirtualClock,
    run,
)
from holdfast.transports.sim import (
    Fault,
    LocalLine,
    SimExecutionClient,
    SimulatedVenue,
    factory,
)

Test = Callable[[Rig, LocalLine], Awaitable[None]]


def in_virtual_time(latency_seconds: float = 0.0) -> Callable[[Test], Callable[[], None]]:
    def decorate(test: Test) -> Callable[[], None]:
        async def main() -> None:
            async with local_rig(latency_seconds=latency_seconds) as rig:
                assert isinstance(rig.client, SimExecutionClient)
                rig.watch.heard.clear()
                await test(rig, rig.client.line)

        def wrapped() -> None:
            run(main)

        wrapped.__name__ = test.__name__
        return wrapped

    return decorate


def now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time()
async def test_down_is_told_at_once_and_refuses_before_the_permit(
    rig: Rig, line: LocalLine
) -> None:
    line.set_down("power cut")
    assert rig.watch.heard == ["stream_down", "down"]
    outcome = await rig.place()
    assert (outcome.kind, rig.permits) == (OutcomeKind.NOT_EXECUTED, 0)
    assert (await rig.client.query(BTC, "h1", timeout_seconds=1)).kind is QueryKind.UNANSWERED
    with pytest.raises(LinkDown, match="power cut"):
        await rig.client.probe()
    with pytest.raises(LinkDown):
        await rig.client.open_orders(timeout_seconds=1)
    line.set_up()
    assert rig.watch.heard[2:] == ["up", "stream_up"]
    assert (await rig.place()).kind is OutcomeKind.ACCEPTED


@in_virtual_time(latency_seconds=0.1)
async def test_a_request_under_way_is_lost_with_the_line(rig: Rig, line: LocalLine) -> None:
    asyncio.get_running_loop().call_later(0.05, line.set_down, "cut")
    began = now()
    assert (await rig.place()).kind is OutcomeKind.UNKNOWN
    assert now() - began == pytest.approx(TIMEOUT_SECONDS)
    assert rig.venue.order_log == []


@in_virtual_time(latency_seconds=0.1)
async def test_a_reply_under_way_is_lost_with_the_line(rig: Rig, line: LocalLine) -> None:
    rig.venue.faults.arm("place", Fault(delay_after_seconds=0.1))
    asyncio.get_running_loop().call_later(0.15, line.set_down, "cut")
    began = now()
    assert (await rig.place()).kind is OutcomeKind.UNKNOWN
    assert now() - began == pytest.approx(TIMEOUT_SECONDS)
    assert rig.venue.executions("h1") == 1


@in_virtual_time(latency_seconds=0.1)
async def test_a_cut_that_is_over_has_still_lost_what_was_under_way(
    rig: Rig, line: LocalLine
) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, line.set_down, "blink")
    loop.call_later(0.06, line.set_up)
    assert (await rig.place()).kind is OutcomeKind.UNKNOWN
    assert rig.venue.order_log == []


@in_virtual_time()
async def test_what_the_venue_holds_up_is_taken_though_the_line_is_cut(
    rig: Rig, line: LocalLine
) -> None:
    rig.venue.faults.arm("place", Fault(delay_before_seconds=2))
    asyncio.get_running_loop().call_later(0.1, line.set_down, "cut")
    assert (await rig.place()).kind is OutcomeKind.UNKNOWN
    await anyio.sleep(3)
    assert rig.venue.executions("h1") == 1


@in_virtual_time()
async def test_a_silent_cut_is_known_by_timeouts_only(rig: Rig, line: LocalLine) -> None:
    line.set_down("a cable", silent=True)
    assert rig.watch.heard == []
    began = now()
    assert (await rig.place()).kind is OutcomeKind.UNKNOWN
    assert now() - began == pytest.approx(TIMEOUT_SECONDS)
    assert (rig.permits, rig.venue.order_log) == (1, [])
    with pytest.raises(LinkDown):
        await rig.client.probe()
    line.set_up()
    assert rig.watch.heard == ["stream_down", "down", "up", "stream_up"]


@in_virtual_time()
async def test_a_cut_stream_loses_reports_and_nothing_else(rig: Rig, line: LocalLine) -> None:
    line.set_down("stream only", rest=False)
    assert (await rig.place()).kind is OutcomeKind.ACCEPTED
    assert rig.watch.reports == []
    line.set_up()
    assert rig.watch.heard == ["stream_down", "stream_up"]
    assert rig.watch.reports == []


@in_virtual_time()
async def test_countdown_reaches_the_venue(rig: Rig, line: LocalLine) -> None:
    assert isinstance(rig.client, SimExecutionClient)
    await rig.place(price="49000")
    await rig.client.countdown_cancel_all(BTC, countdown_seconds=1, timeout_seconds=1)
    await anyio.sleep(1)
    assert await rig.client.open_orders(timeout_seconds=1) == []


@pytest.mark.parametrize(("latency_seconds", "timers"), [(0.0, 0), (0.02, 100)])
def test_an_order_costs_at_most_one_timer(latency_seconds: float, timers: int) -> None:
    fired: list[int] = []
    simulation = Simulation()

    async def main() -> None:
        async with local_rig(latency_seconds=latency_seconds) as rig:
            before = simulation.loop.timers_fired
            for number in range(100):
                await rig.place(f"n{number}")
            fired.append(simulation.loop.timers_fired - before)

    simulation.run(main)
    assert fired == [timers]


def test_an_idle_client_waits_for_nothing() -> None:
    """So that a simulation sees that nothing is left to do."""

    async def main() -> None:
        clock = VirtualClock()
        line = LocalLine(SimulatedVenue(time_ns=clock.time_ns))
        await SimExecutionClient(line).run(RecordingWatch())

    with pytest.raises(SimDeadlock):
        run(main)


def test_a_client_that_ends_hears_nothing_more() -> None:
    async def main() -> None:
        async with local_rig() as rig:
            watch, venue = rig.watch, rig.venue
        heard = len(watch.reports), list(watch.heard)
        rig.price("48000")
        await SimExecutionClient(LocalLine(venue)).place(
            rig.request(), permit=rig.permit, timeout_seconds=1
        )
        assert (len(watch.reports), watch.heard) == heard

    run(main)


def test_factory_names_what_is_missing() -> None:
    clock, entropy = None, SeededEntropy(1)
    venue = SimulatedVenue(time_ns=lambda: 0)
    client = factory("sim://local", clock=clock, entropy=entropy, core=venue)  # type: ignore[arg-type]
    assert isinstance(client, SimExecutionClient)
    for url in ("sim://local", "sim://", "sim://127.0.0.1", "sim://127.0.0.1:99999999"):
        with pytest.raises(ConfigError, match="sim://"):
            factory(url, clock=clock, entropy=entropy)  # type: ignore[arg-type]
