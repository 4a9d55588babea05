"""The faults of a request, by name: where on its way it goes wrong, and how.

| name | is it done | what the client sees |
|---|---|---|
| `request_hangs` | no | nothing; the connection stays open |
| `request_reset` | no | the connection is cut without an answer |
| `request_slow` | yes, later | its answer, `seconds` late: the wait is before acceptance |
| `reply_hangs` | yes | nothing; the connection stays open |
| `reply_reset` | yes | the connection is cut without an answer |
| `reply_slow` | yes | its answer, `seconds` late: the wait is after acceptance |
| `reply_truncated` | yes | half of its answer, then the end of the connection |
| `reply_garbage` | yes | status 200 and a page that is no JSON |
| `unknown_503` | yes | 503, "Unknown error …": nobody knows what became of it |
| `timeout_1007` | yes | 408, -1007: the venue's own time-out |
| `unknown_1006` | yes | -1006: execution status unknown |
| `unavailable_503` | no | 503, "Service Unavailable." |
| `internal_1001` | no | 503, -1001: internal error |
| `overloaded_1008` | no | 503, -1008: throttled by system-level protection |
| `throttled_429` | no | 429, -1003, with Retry-After |
| `orders_429` | no | 429, -1015, with Retry-After |
| `banned_418` | no | 418, -1003, with Retry-After |
| `blocked_403` | no | 403 and a page: the firewall |
| `clock_1021` | no | -1021: the time stamp is outside of the recvWindow |
| `bad_key_2015` | no | 401, -2015 |

What Binance means by each: "HTTP Return Codes" and "Error Codes" of its documentation.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .core import RECV_WINDOW_MESSAGE
from .faults import Fault

UNKNOWN_503: Final = "Unknown error, please check your request or try again later."
SLOW_SECONDS: Final = 1.0
_UNKNOWN_1006: Final = (
    "An unexpected response was received from the message bus. Execution status unknown."
)
_TIMEOUT_1007: Final = (
    "Timeout waiting for response from backend server. Send status unknown; execution status"
    " unknown."
)
_OVERLOADED_1008: Final = (
    "Request throttled by system-level protection. Reduce-only/close-position orders are exempt."
    " Please try again."
)
_INTERNAL_1001: Final = "Internal error; unable to process your request. Please try again."


def _done_but(status: int, code: int, message: str) -> Fault:
    return Fault(reply="error", status=status, code=code, message=message)


def _waiting(status: int, code: int, message: str, seconds: int) -> Fault:
    return Fault(
        executes=False,
        reply="error",
        status=status,
        code=code,
        message=message,
        retry_after_seconds=seconds,
    )


POINTS: Final = {
    "request_hangs": Fault.lost_request(),
    "request_reset": Fault(executes=False, reply="reset"),
    "request_slow": Fault(delay_before_seconds=SLOW_SECONDS),
    "reply_hangs": Fault.lost_reply(),
    "reply_reset": Fault(reply="reset"),
    "reply_slow": Fault(delay_after_seconds=SLOW_SECONDS),
    "reply_truncated": Fault(reply="truncated"),
    "reply_garbage": Fault(reply="garbage"),
    "unknown_503": _done_but(503, -1000, UNKNOWN_503),
    "timeout_1007": _done_but(408, -1007, _TIMEOUT_1007),
    "unknown_1006": _done_but(400, -1006, _UNKNOWN_1006),
    "unavailable_503": Fault(
        executes=False, reply="error", status=503, message="Service Unavailable."
    ),
    "internal_1001": Fault.refusal(-1001, _INTERNAL_1001, status=503),
    "overloaded_1008": Fault.refusal(-1008, _OVERLOADED_1008, status=503),
    "throttled_429": _waiting(429, -1003, "Too many requests.", 5),
    "orders_429": _waiting(429, -1015, "Too many new orders.", 5),
    "banned_418": _waiting(418, -1003, "Way too many requests; IP banned.", 120),
    "blocked_403": Fault(
        executes=False, reply="error", status=403, body="<html>Request blocked</html>"
    ),
    "clock_1021": Fault.refusal(-1021, RECV_WINDOW_MESSAGE),
    "bad_key_2015": Fault.refusal(
        -2015, "Invalid API-key, IP, or permissions for action.", status=401
    ),
}


def fault_at(point: str, *, seconds: float | None = None) -> Fault:
    """The fault of that name.

    :param seconds: how late, for `request_slow` and `reply_slow`.
    :raises ValueError: there is none, or it is never late.
    """
    try:
        fault = POINTS[point]
    except KeyError:
        raise ValueError(f"point: no fault {point!r}; there are {', '.join(POINTS)}") from None
    if seconds is None:
        return fault
    if seconds < 0 or not fault.delayed:
        raise ValueError(f"seconds: {seconds} for {point}; only request_slow and reply_slow wait")
    if fault.delay_before_seconds:
        return msgspec.structs.replace(fault, delay_before_seconds=seconds)
    return msgspec.structs.replace(fault, delay_after_seconds=seconds)
