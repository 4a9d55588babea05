"""The wrappers that make mishaps keep the promises of the ports they stand before."""

from __future__ import annotations

import contextlib
from typing import Any

import anyio
import pytest

from holdfast.clock import SystemClock
from holdfast.errors import LinkDown
from holdfast.ports import AppendStatus, Batch
from holdfast.simulation import SeededEntropy, run
from holdfast.transports import conformance
from holdfast.transports.faults import (
    FaultRates,
    FaultSwitch,
    FaultyBus,
    FaultyExecutionClient,
    FaultyStore,
)
from holdfast.transports.memory import MemoryBus, MemoryServer, MemoryStore

RATES = {
    "quiet": FaultRates(),
    "late": FaultRates(delayed=0.5, longest_delay_seconds=0.005),
}


class _Control:
    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def stop(self) -> None:
        self._server.down()

    async def start(self) -> None:
        self._server.up()

    async def refuse_writes(self) -> None:
        self._server.down("it became a replica")

    async def accept_writes(self) -> None:
        self._server.up()

    async def wipe(self) -> None:
        self._server.down()
        self._server.wipe()
        self._server.up()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize("rates", RATES.values(), ids=RATES)
@pytest.mark.parametrize("check", conformance.BUS_CHECKS)
async def test_the_bus_conforms(check: Any, rates: FaultRates) -> None:
    server, switch = MemoryServer(), FaultSwitch(rates)
    await check(lambda: FaultyBus(MemoryBus(server), switch, SeededEntropy(1)), _Control(server))


@pytest.mark.anyio
@pytest.mark.parametrize("rates", RATES.values(), ids=RATES)
@pytest.mark.parametrize("check", [*conformance.POLICY_CHECKS, *conformance.LEASE_CHECKS])
async def test_the_store_conforms(check: Any, rates: FaultRates) -> None:
    server, switch = MemoryServer(), FaultSwitch(rates)

    def make() -> FaultyStore:
        store = MemoryStore(server, clock=SystemClock())
        return FaultyStore(store, store, switch, SeededEntropy(1))

    await check(make, _Control(server))


class _Watch:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def up(self) -> None:
        self.heard.append("up")

    def down(self, reason: str) -> None:
        self.heard.append("down")


def _batch(server: MemoryServer, sequence: int) -> Batch:
    return Batch("a", sequence, [b"x"], server.log.lineage)


def test_a_lost_reply_is_told_as_lost_though_it_took_effect() -> None:
    async def main() -> None:
        server, watch = MemoryServer(entropy=SeededEntropy(1)), _Watch()
        bus = FaultyBus(
            MemoryBus(server), FaultSwitch(FaultRates(lost_reply=1.0)), SeededEntropy(2)
        )
        async with anyio.create_task_group() as group:
            group.start_soon(bus.run, watch)
            await anyio.sleep(1)
            with pytest.raises(LinkDown):
                await bus.append(_batch(server, 1))
            assert server.log.last_sequences == {"a": 1}
            assert watch.heard == ["up", "down"]
            await anyio.sleep(1)
            assert watch.heard == ["up", "down", "up"]
            group.cancel_scope.cancel()

    run(main)


def test_a_lost_request_never_arrives() -> None:
    async def main() -> None:
        server = MemoryServer(entropy=SeededEntropy(1))
        bus = FaultyBus(
            MemoryBus(server), FaultSwitch(FaultRates(lost_request=1.0)), SeededEntropy(2)
        )
        async with anyio.create_task_group() as group:
            group.start_soon(bus.run, _Watch())
            await anyio.sleep(1)
            with pytest.raises(LinkDown):
                await bus.append(_batch(server, 1))
            assert not server.log.last_sequences
            group.cancel_scope.cancel()

    run(main)


def test_what_a_method_meets_does_not_depend_on_other_methods() -> None:
    """Calls of one kind more, or fewer, leave the fate of all others as it was."""

    async def outcomes(probes: int) -> list[str]:
        server, heard = MemoryServer(entropy=SeededEntropy(1)), []
        rates = FaultRates(refused=0.3)
        bus = FaultyBus(MemoryBus(server), FaultSwitch(rates), SeededEntropy(2))
        async with anyio.create_task_group() as group:
            group.start_soon(bus.run, _Watch())
            await anyio.sleep(1)
            for _ in range(30):
                for _ in range(probes):
                    with contextlib.suppress(LinkDown):
                        await bus.probe()
                try:
                    await bus.position("a")
                except LinkDown:
                    heard.append("refused")
                else:
                    heard.append("answered")
            group.cancel_scope.cancel()
        return heard

    first = run(outcomes, 0)
    assert first == run(outcomes, 3)
    assert len(set(first)) == 2


def test_late_answers_to_appends_keep_their_order() -> None:
    async def main() -> None:
        server = MemoryServer(entropy=SeededEntropy(1))
        rates = FaultRates(delayed=0.7, longest_delay_seconds=1.0)
        bus = FaultyBus(MemoryBus(server), FaultSwitch(rates), SeededEntropy(2))
        answered: list[int] = []

        async def wait(answer: Any, sequence: int) -> None:
            status: AppendStatus = await answer
            assert status.kind == "ok"
            answered.append(sequence)

        async with anyio.create_task_group() as group:
            group.start_soon(bus.run, _Watch())
            await anyio.sleep(1)
            async with anyio.create_task_group() as waiting:
                for sequence in range(1, 51):
                    waiting.start_soon(wait, bus.append(_batch(server, sequence)), sequence)
            group.cancel_scope.cancel()
        assert answered == list(range(1, 51))

    run(main)


def test_chances_that_add_up_to_more_than_one_are_refused() -> None:
    with pytest.raises(ValueError, match="together at most 1"):
        FaultRates(lost_request=0.6, refused=0.6)


def test_the_execution_client_names_its_venue() -> None:
    from holdfast.transports.sim import LocalLine, SimExecutionClient, SimulatedVenue

    inner = SimExecutionClient(LocalLine(SimulatedVenue(time_ns=lambda: 0)))
    client = FaultyExecutionClient(inner, FaultSwitch(FaultRates()), SeededEntropy(1))
    assert (client.name, client.venue) == (inner.name, inner.venue)
