"""A WebSocket that is kept: connects again and again, and waits ever longer in between.

A connection counts as good only once it has stood for a while. One that the venue takes and ends
at once (a maintenance, a key that it does not know any more) would otherwise be made ten times a
second: an address may make 300 in five minutes (Binance, "Connection limits"), and whoever goes on
is banned, orders and all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, NoReturn

import aiohttp
import anyio

from holdfast.errors import LinkDown
from holdfast.ports import Entropy

FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 5.0
STEADY_SECONDS: Final = 10.0
"""A connection that stood for so long was a good one; the waits begin anew after it."""
CONNECT_SECONDS: Final = 10.0
"""For name, connection, TLS and handshake. aiohttp alone would wait for five minutes."""
MAX_FRAME_BYTES: Final = 1_048_576


def delay_seconds(failures: int, chance: float) -> float:
    """Doubling with half of it left to chance, so that many clients do not return as one.

    :param failures: attempts that failed in a row, from 1.
    :param chance: in [0, 1).
    """
    longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 16))
    return longest * (0.5 + 0.5 * chance)


async def connect_socket(
    session: aiohttp.ClientSession, url: str, *, ping_seconds: float
) -> aiohttp.ClientWebSocketResponse:
    """A WebSocket that notices within one and a half `ping_seconds` when nobody is there any more.

    :raises aiohttp.ClientError, OSError, TimeoutError: the venue does not take it.
    """
    with anyio.fail_after(CONNECT_SECONDS):
        return await session.ws_connect(
            url,
            heartbeat=ping_seconds,
            max_msg_size=MAX_FRAME_BYTES,
            timeout=aiohttp.ClientWSTimeout(ws_close=0.5),
        )


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
        up_at = inf

        def up() -> None:
            nonlocal up_at
            up_at = anyio.current_time()
            on_up()

        try:
            reason = await connect(up)
        except LinkDown as error:
            reason = str(error)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = type(error).__name__  # its text may contain a listen key
        on_down(reason)
        failures = 1 if anyio.current_time() - up_at >= STEADY_SECONDS else failures + 1
        await anyio.sleep(delay_seconds(failures, entropy.random()))
