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


def test_a_connection_that_was_closed_meanwhile_has_carried_nothing(signed: str) -> None:
    async def case(rig: Rig) -> None:
        client = client_of(rig)
        connector = client._line.session().connector
        assert connector is not None

        async def ready() -> None:
            for connection in [p for p in connector._acquired if p.transport is not None]:
                connection.transport.abort()  # one is the user stream's
            while any(p.is_connected() for p in connector._acquired):
                await anyio.lowlevel.checkpoint()

        outcome = await client.place_when_ready(
            rig.request(), ready=ready, permit=rig.permit, timeout_seconds=5
        )
        assert outcome.kind is OutcomeKind.NOT_EXECUTED
        assert rig.permits == 0
        assert rig.requests("place") == []
        assert "down" in rig.watch.heard

    run_http(case, WIRE_CLIENTS[signed])
