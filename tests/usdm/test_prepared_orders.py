"""An order whose request is made while its record is on the way to the disk: the write waits."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from sim_rigs import WIRE_CLIENTS, Rig, run_http

from holdfast.model import OutcomeKind
from holdfast.transports.usdm.client import UsdmExecutionClient

pytestmark = pytest.mark.parametrize("signed", sorted(WIRE_CLIENTS))


def client_of(rig: Rig) -> UsdmExecutionClient:
    assert isinstance(rig.client, UsdmExecutionClient)
    rig.watch.heard.clear()
    return rig.client


def test_a_disk_that_takes_too_long_is_no_fault_of_the_line(signed: str) -> None:
    async def case(rig: Rig) -> None:
        outcome = await client_of(rig).place_when_ready(
            rig.request(), ready=anyio.sleep_forever, permit=rig.permit, timeout_seconds=0.2
        )
        assert outcome.kind is OutcomeKind.NOT_EXECUTED
        assert rig.permits == 0
        assert rig.watch.heard == []
        assert (await rig.place()).kind is OutcomeKind.ACCEPTED

    run_http(case, WIRE_CLIENTS[signed])


@pytest.mark.parametrize("closings", [1, 2])
def test_a_connection_that_was_closed_meanwhile_has_carried_nothing(
    signed: str, closings: int
) -> None:
    """So another one carries the order; a venue that closes that as well is a fault of the line."""

    async def case(rig: Rig) -> None:
        client = client_of(rig)
        connector = client._line.session().connector
        assert connector is not None
        before = set(connector._acquired)  # the user stream's
        closed = 0

        async def ready() -> None:
            nonlocal closed
            if closed == closings:
                return
            closed += 1
            for connection in connector._acquired - before:
                assert connection.transport is not None
                connection.transport.abort()
            while any(p.is_connected() for p in connector._acquired - before):
                await anyio.lowlevel.checkpoint()

        outcome = await client.place_when_ready(
            rig.request(), ready=ready, permit=rig.permit, timeout_seconds=5
        )
        assert closed == closings
        if closings == 1:
            assert outcome.kind is OutcomeKind.ACCEPTED
            assert (rig.permits, len(rig.requests("place"))) == (1, 1)
            assert rig.watch.heard == []
        else:
            assert outcome.kind is OutcomeKind.NOT_EXECUTED
            assert (rig.permits, rig.requests("place")) == (0, [])
            assert "down" in rig.watch.heard

    run_http(case, WIRE_CLIENTS[signed])
