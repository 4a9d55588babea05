"""Each client of the simulated venue keeps what is promised of every execution client.

Besides the shipped checks: what only this venue has.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
from client_cases import CASES
from sim_controls import HttpControl, LocalControl, on_http, on_local
from sim_rigs import RUNNERS, Case, signed_by_ccxt

from holdfast.transports.conformance import (
    EXECUTION_CHECKS,
    Check,
    VenueControl,
    check_execution_client,
)
from holdfast.transports.conformance.venue import OPTIONAL

CLIENTS: dict[str, Callable[[Check], None]] = {
    "local": on_local,
    "local-latency": functools.partial(on_local, latency_seconds=0.02),
    "http": on_http,
    "ccxt": functools.partial(on_http, make=signed_by_ccxt),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("check", EXECUTION_CHECKS)
def test_conformance(client: str, check: Check) -> None:
    CLIENTS[client](check)


@pytest.mark.parametrize("control", [LocalControl, HttpControl])
def test_no_check_is_skipped_here(control: type[VenueControl]) -> None:
    for name in OPTIONAL:
        assert getattr(control, name) is not getattr(VenueControl, name), name


def test_all_checks_at_one_venue() -> None:
    on_local(check_execution_client)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_client(runner: str, case: Case) -> None:
    RUNNERS[runner](case)
