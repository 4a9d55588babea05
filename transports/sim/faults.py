"""Which faults the venue shows, to whom and how often. Nothing here decides by chance.

A fault is armed for a class of requests, for a number of requests or until a
moment, or comes from a callable, so that a plan drawn from a seed can drive it.
The core knows clock skew and lagging reads; everything else is played by the
front end (in-process client or HTTP server) that asks `take` once per request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

RequestKind = Literal["place", "cancel", "query", "snapshot", "probe", "stream"]
"""`snapshot`: open orders, positions, account, fills; `probe`: ping, time, balance, which
clients ask by themselves; `stream`: listen keys."""
Reply = Literal["normal", "error", "lost", "reset", "truncated", "garbage"]
Action = Literal["drop", "duplicate", "swap"]

_T = TypeVar("_T")
_ALWAYS: Final = 1 << 60


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to one request.

    :ivar executes: whether the venue does what was asked before the reply goes wrong.
    :ivar reply: `normal`; `error` (`status` with `code`/`message`, or with `body` as it
        stands); `lost` (no answer, the connection stays open); `reset` (the connection
        is cut without an answer); `truncated` (it is cut in the middle of the answer);
        `garbage` (status 200 with a page that is no JSON).
    :ivar delay_before_seconds: between arrival and acceptance.
    :ivar delay_after_seconds: between acceptance and reply.
    """

    executes: bool = True
    reply: Reply = "normal"
    status: int = 400
    code: int | None = None
    message: str = ""
    body: str | None = None
    retry_after_seconds: int | None = None
    delay_before_seconds: float = 0.0
    delay_after_seconds: float = 0.0

    @classmethod
    def refusal(cls, code: int, message: str, *, status: int = 400) -> Fault:
        """The venue refuses without doing anything (-1008, -1003, -1015, -1021, ...)."""
        return cls(executes=False, reply="error", status=status, code=code, message=message)

    @classmethod
    def lost_request(cls) -> Fault:
        """Sent, never taken: the client waits in vain, and the venue has nothing."""
        return cls(executes=False, reply="lost")

    @classmethod
    def lost_reply(cls) -> Fault:
        """Taken, and the reply lost: the client waits in vain, and the venue has it."""
        return cls(executes=True, reply="lost")

    @property
    def delayed(self) -> bool:
        return self.delay_before_seconds > 0 or self.delay_after_seconds > 0


class _Armed:
    __slots__ = ("fault", "remaining", "until_ms")

    def __init__(self, fault: Fault, remaining: int, until_ms: int | None) -> None:
        self.fault = fault
        self.remaining = remaining
        self.until_ms = until_ms


Decide = Callable[[RequestKind, int], Fault | None]
"""`(kind, now_ms) -> fault`; asked after the armed faults."""


class VenueFaults:
    """The faults of one venue.

    :ivar clock_skew_ms: added to the venue's clock.
    :ivar query_lag_ms: for so long a new order is invisible to queries and snapshots
        (reported of Binance: ccxt#6615, Binance.Net#692).
    :ivar position_lag_ms: so old is what the client in this process is told of positions.
    :ivar decide: asked for each request that no armed fault takes.
    """

    clock_skew_ms: int
    query_lag_ms: int
    position_lag_ms: int
    decide: Decide | None

    def __init__(self) -> None:
        self._armed: dict[RequestKind, list[_Armed]] = {}
        self._stream: list[tuple[Action, int]] = []
        self.clear()

    def clear(self) -> None:
        """Disarm everything, skew and lag included."""
        self.clock_skew_ms = 0
        self.query_lag_ms = 0
        self.position_lag_ms = 0
        self.decide = None
        self._armed.clear()
        self._stream.clear()

    def arm(
        self,
        kind: RequestKind,
        fault: Fault,
        *,
        count: int | None = None,
        until_ms: int | None = None,
    ) -> None:
        """Show `fault` to the next `count` requests of `kind`, or until `until_ms`.

        With neither: to one. Faults of one kind are used up in the order they were armed.
        """
        if count is None:
            count = 1 if until_ms is None else _ALWAYS
        if count < 1:
            raise ValueError(f"count: {count} requests is none; give at least 1")
        self._armed.setdefault(kind, []).append(_Armed(fault, count, until_ms))

    def arm_stream(self, action: Action, *, count: int = 1) -> None:
        """Drop or double the next `count` frames of the user stream, or swap so many pairs."""
        if count < 1:
            raise ValueError(f"count: {count} frames is none; give at least 1")
        self._stream.append((action, count))

    @property
    def idle(self) -> bool:
        """Whether no request can meet a fault now."""
        return not self._armed and self.decide is None

    def take(self, kind: RequestKind, now_ms: int) -> Fault | None:
        """The fault of this request; using it up."""
        queue = self._armed.get(kind)
        while queue:
            first = queue[0]
            if first.until_ms is not None and now_ms >= first.until_ms:
                queue.pop(0)
                continue
            first.remaining -= 1
            if not first.remaining:
                queue.pop(0)
            self._forget_empty(kind)
            return first.fault
        self._forget_empty(kind)
        return self.decide(kind, now_ms) if self.decide is not None else None

    def take_stream(self) -> Action | None:
        """What happens to the next frame; using it up."""
        if not self._stream:
            return None
        action, count = self._stream[0]
        if count == 1:
            self._stream.pop(0)
        else:
            self._stream[0] = (action, count - 1)
        return action

    def describe(self) -> dict[str, Any]:
        return {
            "clock_skew_ms": self.clock_skew_ms,
            "query_lag_ms": self.query_lag_ms,
            "armed": {
                kind: sum(item.remaining for item in queue) for kind, queue in self._armed.items()
            },
            "stream": list(self._stream),
        }

    def _forget_empty(self, kind: RequestKind) -> None:
        if not self._armed.get(kind, True):
            del self._armed[kind]


class StreamFilter(Generic[_T]):
    """Puts the stream faults into one subscriber's frames."""

    def __init__(self, faults: VenueFaults) -> None:
        self._faults = faults
        self._held: _T | None = None

    def __call__(self, frame: _T) -> tuple[_T, ...]:
        """The frames to deliver in place of this one.

        A frame to be swapped is held back until the next one comes.
        """
        if (held := self._held) is not None:
            self._held = None
            return (frame, held)
        action = self._faults.take_stream()
        if action is None:
            return (frame,)
        if action == "drop":
            return ()
        if action == "duplicate":
            return (frame, frame)
        self._held = frame
        return ()
