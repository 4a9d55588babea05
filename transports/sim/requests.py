"""What was asked of the served venue, answered or not: the observer's second witness.

The order log holds what was accepted; only this one shows an attempt that was lost
on its way, and the questions that were asked before it was sent again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final

import msgspec

MAX_REQUESTS: Final = 200_000
"""The oldest are forgotten first."""


class SeenRequest(msgspec.Struct, rename="camel", kw_only=True, gc=False):
    """One authorized request.

    :ivar arrived_us: UTC on the machine's clock, never skewed.
    :ivar timestamp, recv_window: as they were signed, in milliseconds.
    :ivar status: of the reply; 0: it was never (wholly) sent.
    :ivar code: of the refusal, if there was one.
    :ivar taken: the venue did what was asked, whatever became of the reply.
    """

    number: int
    arrived_us: int
    kind: str
    path: str
    client_order_id: str | None
    timestamp: str | None
    recv_window: str | None
    status: int = 0
    code: int | None = None
    taken: bool = False


class RequestLog:
    """
    :param time_ns: UTC clock of the machine.
    """

    def __init__(self, time_ns: Callable[[], int]) -> None:
        self._time_ns = time_ns
        self._entries: deque[SeenRequest] = deque(maxlen=MAX_REQUESTS)
        self._count = 0

    def arrived(self, kind: str, path: str, params: Mapping[str, str]) -> SeenRequest:
        """Note a request; how it ended is filled in later."""
        seen = SeenRequest(
            number=self._count,
            arrived_us=self._time_ns() // 1000,
            kind=kind,
            path=path,
            client_order_id=params.get("newClientOrderId")
            or params.get("origClientOrderId")
            or params.get("clientAlgoId"),
            timestamp=params.get("timestamp"),
            recv_window=params.get("recvWindow"),
        )
        self._entries.append(seen)
        self._count += 1
        return seen

    def after(self, number: int) -> list[SeenRequest]:
        """Entries from `number` on, as far as they are kept."""
        first = self._count - len(self._entries)
        return list(islice(self._entries, max(0, number - first), None))
