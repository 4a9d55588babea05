"""Connects again and again, and how long to wait before the next attempt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import aiohttp
import anyio

from holdfast.errors import LinkDown
from holdfast.ports import Entropy

FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 5.0


def delay_seconds(failures: int, chance: float) -> float:
    """Doubling with half of it left to chance, so that many clients do not return as one.

    :param failures: attempts that failed in a row, from 1.
    :param chance: in [0, 1).
    """
    longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 16))
    return longest * (0.5 + 0.5 * chance)


async def keep_connected(
    connect: Callable[[Callable[[], None]], Awaitable[str]],
    *,
    on_up: Callable[[], None],
    on_down: Callable[[str], None],
    entropy: Entropy,
) -> NoReturn:
    """One connection after the other, until cancelled.

    :param connect: one connection, from its beginning to its end. It calls what it is given
        once it stands, and returns, or raises as `LinkDown`, why it ended.
    """
    failures = 0
    while True:
        was_up = False

        def up() -> None:
            nonlocal was_up
            was_up = True
            on_up()

        try:
            reason = await connect(up)
        except LinkDown as error:
            reason = str(error)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = type(error).__name__  # its text may contain a listen key
        on_down(reason)
        failures = 1 if was_up else failures + 1
        await anyio.sleep(delay_seconds(failures, entropy.random()))
