"""Checks that a transport keeps its promises, for those who write one.

Each check is an async function that raises `AssertionError` with the promise of
`holdfast.ports` that was broken. In the test suite of a venue's client, all of it is:

    from decimal import Decimal
    import pytest
    from holdfast.transports import conformance

    class Control(conformance.VenueControl):  # your hand on the venue, past the client
        symbol, quantity = "BTC/USDT:USDT", Decimal("0.01")
        async def reset(self): ...
        async def resting_price(self): ...
        async def times_taken(self, client_order_id): ...

    @pytest.mark.anyio
    @pytest.mark.parametrize("check", conformance.EXECUTION_CHECKS)
    async def test_client(check):
        await check(lambda: MyClient(URL), Control())

What the control cannot do is shown as skipped, with the reason. `check_execution_client`
runs all at once, and then has to be told of every ability that is missing (`without=`).
`BUS_CHECKS`, `POLICY_CHECKS` and `LEASE_CHECKS` are used in the same way, with a
`Control` that stops, starts and wipes the server behind the transport, and lets it refuse
writes.

The built-in transports pass the same checks in holdfast's own tests. They are
assertions: not for `python -O`.
"""

from __future__ import annotations

from .bench import Check, MakeClient
from .bus import BUS_CHECKS, MakeBus, check_bus
from .execution import EXECUTION_CHECKS, check_execution_client
from .lease import LEASE_CHECKS, check_lease_store
from .policy import POLICY_CHECKS, MakeStore, Store, check_policy_store
from .venue import Call, Mishap, NotChecked, VenueControl
from .watching import PATIENCE_SECONDS, Control, Recorder, connected

__all__ = [
    "BUS_CHECKS",
    "EXECUTION_CHECKS",
    "LEASE_CHECKS",
    "PATIENCE_SECONDS",
    "POLICY_CHECKS",
    "Call",
    "Check",
    "Control",
    "MakeBus",
    "MakeClient",
    "MakeStore",
    "Mishap",
    "NotChecked",
    "Recorder",
    "Store",
    "VenueControl",
    "check_bus",
    "check_execution_client",
    "check_lease_store",
    "check_policy_store",
    "connected",
]
