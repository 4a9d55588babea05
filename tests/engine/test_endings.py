"""The end of an engine, and what is still said to it or by it when that has begun."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from engine_world import BTC, World, healthy, in_a_world

from holdfast import Order, TradingHalted
from holdfast.broadcast import Broadcast
from holdfast.control import ControlServer
from holdfast.dead_man import DeadManSwitch
from holdfast.errors import LinkDown
from holdfast.events import RedisLost, body_of
from holdfast.settings import OrderSettings
from holdfast.simulation import VirtualClock, run
from holdfast.states.table import State
from holdfast.transports.sim.faults import Fault

RESTING = Order(BTC, "buy", "0.010", price="60000")


@in_a_world
async def test_a_fault_while_it_winds_down_does_not_open_the_gate_again(world: World) -> None:
    """The way up takes a moment, and winding down waits for the venue for longer."""
    seen: list[tuple[State, bool]] = []
    async with anyio.create_task_group() as group:
        async with world.engine(orders=OrderSettings(on_leaving_active="keep")) as engine:
            await healthy(engine)
            await engine.submit(RESTING)
            world.venue.faults.arm("cancel", Fault(delay_before_seconds=2.5))  # the countdown's

            async def look() -> None:
                await anyio.sleep(0.1)
                engine.fault("feed", "gone")
                for _ in range(200):
                    await anyio.sleep(0.01)
                    seen.append((engine.state, engine.gate.is_open))

            group.start_soon(look)
        assert len(seen) > 100, "it had ended before anything could happen"
        assert not any(is_open for _, is_open in seen)
        group.cancel_scope.cancel()


@in_a_world
async def test_a_closed_gate_is_told_of_by_an_error_and_by_nothing_else(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with world.engine() as engine:
        await healthy(engine)
    epoch = engine.gate.epoch
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(TradingHalted, match="stopping"):
                engine.gate.check()
    assert caplog.records == []
    assert engine.gate.epoch == epoch


class SlowVenue:
    """Takes a second for each request; what it did last stands."""

    def __init__(self) -> None:
        self.countdowns: dict[str, float] = {}

    async def countdown_cancel_all(
        self, symbol: str, *, countdown_seconds: float, timeout_seconds: float
    ) -> None:
        await anyio.sleep(1)
        self.countdowns[symbol] = countdown_seconds


class HalfDeafVenue(SlowVenue):
    """Does as it is told; of B the answer is lost."""

    async def countdown_cancel_all(
        self, symbol: str, *, countdown_seconds: float, timeout_seconds: float
    ) -> None:
        self.countdowns[symbol] = countdown_seconds
        if symbol == "B":
            raise LinkDown("no answer")


@pytest.mark.parametrize("forgotten", [False, True])
def test_countdowns_that_may_run_are_released_though_not_all_were_armed(*, forgotten: bool) -> None:
    """Else the venue cancels, two minutes after a clean stop, what was meant to rest."""

    async def main() -> None:
        venue = SlowVenue() if forgotten else HalfDeafVenue()
        switch = DeadManSwitch(
            venue=venue,
            symbols=("A", "B"),
            countdown_seconds=20,
            timeout_seconds=5,
            clock=VirtualClock(),
            may_renew=lambda: True,
            may_release=lambda: True,
            on_lapsed=lambda _: None,
            changes=Broadcast(),
        )
        async with anyio.create_task_group() as group:
            group.start_soon(switch.run)
            await anyio.sleep(4.5)
            if forgotten:
                switch.forget()
            await switch.release()
            group.cancel_scope.cancel()
        assert venue.countdowns == {"A": 0.0, "B": 0.0}

    run(main)


@pytest.mark.parametrize("after", [0.5, 1.5, 2.5])
def test_a_switch_released_while_it_is_being_renewed_stays_released(after: float) -> None:
    """Else the venue cancels, two minutes after a clean stop, what was meant to rest."""

    async def main() -> None:
        venue = SlowVenue()
        switch = DeadManSwitch(
            venue=venue,
            symbols=("A", "B", "C"),
            countdown_seconds=20,
            timeout_seconds=5,
            clock=VirtualClock(),
            may_renew=lambda: True,
            may_release=lambda: True,
            on_lapsed=lambda why: None,
            changes=Broadcast(),
        )
        async with anyio.create_task_group() as group:
            group.start_soon(switch.run)
            await switch.until_armed()
            await anyio.sleep(2 + after)  # three requests took three seconds; each five it is due
            await switch.release()
            await anyio.sleep(30)
            assert set(venue.countdowns.values()) == {0.0}
            group.cancel_scope.cancel()

    run(main)


@in_a_world
async def test_what_could_not_be_cancelled_is_left_to_the_dead_man_switch(world: World) -> None:
    """A stop that leaves entries behind is none that the switch may be released for."""
    async with world.engine() as engine:
        await healthy(engine)
        await engine.submit(RESTING)
        world.venue.faults.arm("cancel", Fault.lost_request())
    assert [order.side for order in world.venue.open_orders()] == ["buy"]
    await anyio.sleep(130)
    world.venue.advance()
    assert world.venue.open_orders() == []


@in_a_world
async def test_an_entry_that_may_rest_is_left_to_it_as_well(world: World) -> None:
    async with world.engine() as engine, anyio.create_task_group() as group:
        await healthy(engine)
        world.venue.faults.arm("place", Fault.lost_reply())
        world.venue.faults.arm("query", Fault.lost_request(), count=100)
        world.venue.faults.arm_stream("drop", count=10)
        group.start_soon(engine.submit, RESTING)
        await anyio.sleep(5)
        assert len(engine.pending()) == 1
        group.cancel_scope.cancel()
    assert [order.side for order in world.venue.open_orders()] == ["buy"]
    await anyio.sleep(130)
    world.venue.advance()
    assert world.venue.open_orders() == []


TERMINATED = """
import anyio, os, signal, sys
from decimal import Decimal
from holdfast import Engine
from holdfast.clock import SystemClock
from holdfast.transports.sim import SimulatedVenue

venue = SimulatedVenue(time_ns=SystemClock().time_ns)
venue.on_price("BTC/USDT:USDT", Decimal(64000))
config = {
    "engine": {"symbols": ["BTC/USDT:USDT"], "state_dir": sys.argv[1]},
    "bus": {"url": "memory://b"},
    "exchange": {"url": "sim://local", "options": {"core": venue}},
}

async def main():
    async with Engine.open(config):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await anyio.sleep_forever()
        finally:
            if sys.argv[2] == "fails":
                raise LookupError("the bot's own clean-up")

anyio.run(main)
"""


@pytest.mark.parametrize("ending", ["clean", "fails"])
def test_sigterm_does_not_hide_what_went_wrong_in_the_bot(tmp_path: Path, ending: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TERMINATED, str(tmp_path), ending],
        capture_output=True,
        text=True,
        timeout=100,
    )
    if ending == "clean":
        assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "")
    else:
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == "LookupError: the bot's own clean-up"


UNWRITABLE = "bytes that were no text: \udc80" + "x" * 2_000_000


@in_a_world
async def test_whatever_a_transport_says_of_its_link_is_taken(world: World) -> None:
    async with world.engine() as engine:
        await healthy(engine)
        engine._core.bus_link.down(UNWRITABLE)
        engine._core.exchange_link.down(UNWRITABLE)
        with pytest.raises(TradingHalted, match="bytes that were no text"):
            await engine.submit(Order(BTC, "sell", "0.010", reduce_only=True))
        engine._core.bus_link.up()
        engine._core.exchange_link.up()
        await healthy(engine)
        await anyio.sleep(1)
    (told,) = [body for e in world.events() if isinstance(body := body_of(e), RedisLost)]
    assert told.reason.startswith("bytes that were no text")
    assert len(told.reason) <= 1000


@in_a_world
async def test_an_operator_is_told_what_flatten_could_not_do(world: World, tmp_path: Any) -> None:
    async with world.engine() as engine:
        await healthy(engine)
        await engine.submit(RESTING)
        world.venue.faults.arm("cancel", Fault.lost_request(), count=10)
        line = b'{"command": "flatten"}'
        answer = await ControlServer(engine, tmp_path)._answer(line)
        assert answer["ok"] is False
        assert "1 resting entry could not be cancelled yet" in answer["error"]


@in_a_world
async def test_a_long_outage_does_not_push_the_run_out_of_its_timeline(world: World) -> None:
    async with world.engine() as engine:
        await healthy(engine)
        for number in range(1_500):
            engine.fault("feed", f"number {number}")
        assert engine.timeline().states[0].state is State.DEGRADED
        assert [span.state for span in engine.timeline().states][-2:] == [
            State.HEALTHY,
            State.DEGRADED,
        ]
        assert "RECOVERING" in [span.state for span in engine.timeline().states]
