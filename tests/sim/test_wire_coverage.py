"""Every endpoint and method that the venue offers is asked for over a socket by some test."""

from __future__ import annotations

import test_wire_account
import test_wire_algo
import test_wire_limits
import test_wire_market
import test_wire_orders
import test_wire_streams
import test_wire_ws_api
from wire_rig import COVERED

from holdfast.transports.sim.routes import ROUTES
from holdfast.transports.sim.ws_api import METHODS

MODULES = (
    test_wire_account,
    test_wire_algo,
    test_wire_limits,
    test_wire_market,
    test_wire_orders,
    test_wire_streams,
    test_wire_ws_api,
)
NEVER_GRANTED = {"POST /fapi/v1/multiAssetsMargin"}
"""Refused whatever is asked; a test names the codes."""


def test_every_endpoint_and_method_has_a_test() -> None:
    endpoints = {f"{method} {path}" for method, path in ROUTES}
    methods = {f"ws {method}" for method in METHODS}
    assert endpoints | methods <= COVERED | NEVER_GRANTED
    assert NEVER_GRANTED.isdisjoint(COVERED)
