"""The log of requests: what an observer judges resends by."""

from __future__ import annotations

from holdfast.transports.sim import requests
from holdfast.transports.sim.requests import RequestLog


def test_requests_are_numbered_and_read_on_from_a_number() -> None:
    log = RequestLog(lambda: 1_700_000_000_123_456_789)
    for name in ("a", "b", "c"):
        log.arrived("place", "/fapi/v1/order", {"newClientOrderId": name, "timestamp": "5"})
    log.arrived("query", "/fapi/v1/order", {"origClientOrderId": "a"})
    assert [(seen.number, seen.client_order_id) for seen in log.after(2)] == [(2, "c"), (3, "a")]
    first = log.after(0)[0]
    assert (first.arrived_us, first.timestamp, first.taken) == (1_700_000_000_123_456, "5", False)


def test_the_oldest_are_forgotten_but_keep_their_numbers() -> None:
    log = RequestLog(lambda: 0)
    for _ in range(requests.MAX_REQUESTS + 5):
        log.arrived("time", "/fapi/v1/time", {})
    assert log.after(0)[0].number == 5
    assert log.after(requests.MAX_REQUESTS + 4)[0].number == requests.MAX_REQUESTS + 4
