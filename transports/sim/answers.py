"""HTTP answers of the venue, and what a fault makes of one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from .faults import Fault
from .limits import LimitExceeded
from .rules import VenueError

_encode: Final = msgspec.json.Encoder().encode
_STATUS: Final = {-2014: 401, -2015: 401, -1003: 429, -1015: 429}
"""HTTP status of a refusal; all others are 400."""
CONNECTION_LOOK_SECONDS: Final = 0.01
GARBAGE: Final = b"<html><body>upstream connect error</body></html>"

Headers = Mapping[str, str]
JSON: Final[Headers] = {"Content-Type": "application/json;charset=UTF-8"}
"""What every answer's headers begin with."""


def answer(value: Any, headers: Headers = JSON, *, status: int = 200) -> web.Response:
    return web.Response(body=_encode(value), status=status, headers=headers)


def refusal(error: VenueError, headers: Headers = JSON) -> web.Response:
    status = status_of(error.code)
    return answer({"code": error.code, "msg": error.message}, headers, status=status)


def status_of(code: int) -> int:
    return _STATUS.get(code, 400)


def limited(error: LimitExceeded, headers: Headers) -> web.Response:
    return answer(
        {"code": error.code, "msg": error.message},
        {**headers, "Retry-After": str(error.retry_after_seconds)},
        status=error.status,
    )


def not_found(method: str, path: str, headers: Headers) -> web.Response:
    text = f"Path {path}, Method {method} is invalid"
    return answer({"code": -5000, "msg": printable(text)}, headers, status=404)


def printable(text: str) -> str:
    """Without what came as no text (the bytes of a path that are not UTF-8)."""
    return text.encode(errors="replace").decode()


def fault_error(fault: Fault) -> web.Response:
    """The error that the fault says."""
    wait = fault.retry_after_seconds
    headers = {} if wait is None else {"Retry-After": str(wait)}
    if fault.body is not None:
        return web.Response(
            text=fault.body, status=fault.status, content_type="text/html", headers=headers
        )
    return answer(fault_json(fault), {**JSON, **headers}, status=fault.status)


def fault_json(fault: Fault) -> dict[str, Any]:
    code = {} if fault.code is None else {"code": fault.code}
    return {**code, "msg": fault.message}


async def spoiled(
    request: web.BaseRequest, fault: Fault, made: web.Response | None
) -> web.StreamResponse:
    """What is sent in place of the answer `made` (None: the venue did nothing).

    Where nothing is to be sent any more, the connection has been ended.
    """
    match fault.reply:
        case "error":
            return fault_error(fault)
        case "normal" if made is not None:
            return made
        case "garbage":
            return web.Response(body=GARBAGE, content_type="text/html")
        case "truncated":
            whole = made.body if made is not None else b'{"orderId":'
            assert isinstance(whole, bytes)
            if (transport := request.transport) is not None:
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(whole) + 1}\r\n"
                transport.write(
                    head.encode()
                    + b"Content-Type: application/json\r\n\r\n"
                    + whole[: len(whole) // 2]
                )
                transport.close()
        case "lost":
            # The client must find out by itself; the handler ends with its connection.
            while request.transport is not None:  # noqa: ASYNC110  aiohttp has no event for it
                await asyncio.sleep(CONNECTION_LOOK_SECONDS)
        case _:
            if request.transport is not None:
                request.transport.abort()
    return web.Response()
