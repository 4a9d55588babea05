"""Fixtures for pytest: `pytest_plugins = ["holdfast.testing_fixtures"]` in a conftest.py.

`holdfast_play` is `testing.play` with the promises checked; `virtual_time` runs an async
function in virtual time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast import simulation, testing


@pytest.fixture
def holdfast_play() -> Callable[..., testing.Run]:
    """Plays as `holdfast.testing.play`; fails the test if a promise is broken or the bot raises."""

    def play(*arguments: Any, **options: Any) -> testing.Run:
        result = testing.play(*arguments, **options)
        testing.check(result)
        return result

    return play


@pytest.fixture
def virtual_time() -> Callable[..., Any]:
    """`virtual_time(async_function, *arguments)`: its result, however long it slept; see
    `holdfast.simulation.run`.
    """
    return simulation.run
