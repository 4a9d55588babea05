"""Each check of an execution client can fail: a client that is wrong makes it red."""

from __future__ import annotations

import pytest
from broken_clients import BROKEN
from sim_controls import on_local

from holdfast.transports.conformance import EXECUTION_CHECKS
from holdfast.transports.sim import SimExecutionClient

CHECKS = {check.__name__: check for check in EXECUTION_CHECKS}


@pytest.mark.parametrize(
    ("client", "check", "words"),
    [pytest.param(*row, id=f"{row[0].__name__}-{row[1]}") for row in BROKEN],
)
def test_a_broken_promise_is_named(
    client: type[SimExecutionClient], check: str, words: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        on_local(CHECKS[check], make=client)
    assert words in str(caught.value)


def test_there_is_a_broken_client_for_every_check() -> None:
    assert {check for _, check, _ in BROKEN} == set(CHECKS)
