"""Binance's WebSocket API for USDⓈ-M futures (`/ws-fapi/v1`): requests over a WebSocket.

Each method is a REST endpoint with another envelope, so parameters, checks and errors are
the same. Requests are signed one by one with HMAC-SHA256 over their parameters by name; a
session can only be begun with an Ed25519 key ("session.logon"), which this venue does not
know, so `session.logon` is refused as Binance refuses it of an HMAC key.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from .access import Access, sorted_payloads
from .answers import GARBAGE, fault_json, status_of
from .api import Account, Route
from .faults import Fault
from .limits import LimitExceeded, RateLimiter
from .requests import RequestLog
from .routes import ROUTES
from .rules import VenueError
from .streams import Connection

_log = logging.getLogger(__name__)
_encode: Final = msgspec.json.Encoder().encode
MAX_PENDING: Final = 1000
"""Requests of one connection that faults hold back."""

METHODS: Final[Mapping[str, tuple[str, str]]] = {
    "ping": ("GET", "/fapi/v1/ping"),
    "time": ("GET", "/fapi/v1/time"),
    "order.place": ("POST", "/fapi/v1/order"),
    "order.modify": ("PUT", "/fapi/v1/order"),
    "order.cancel": ("DELETE", "/fapi/v1/order"),
    "order.status": ("GET", "/fapi/v1/order"),
    "algoOrder.place": ("POST", "/fapi/v1/algoOrder"),
    "algoOrder.cancel": ("DELETE", "/fapi/v1/algoOrder"),
    "account.balance": ("GET", "/fapi/v2/balance"),
    "account.position": ("GET", "/fapi/v2/positionRisk"),
    "account.status": ("GET", "/fapi/v2/account"),
    "v2/account.balance": ("GET", "/fapi/v3/balance"),
    "v2/account.position": ("GET", "/fapi/v3/positionRisk"),
    "v2/account.status": ("GET", "/fapi/v3/account"),
    "depth": ("GET", "/fapi/v1/depth"),
    "ticker.price": ("GET", "/fapi/v1/ticker/price"),
    "ticker.book": ("GET", "/fapi/v1/ticker/bookTicker"),
    "userDataStream.start": ("POST", "/fapi/v1/listenKey"),
    "userDataStream.ping": ("PUT", "/fapi/v1/listenKey"),
    "userDataStream.stop": ("DELETE", "/fapi/v1/listenKey"),
}
"""The REST endpoint that each method is."""
_OURS: Final = frozenset(("apiKey", "returnRateLimits"))
"""Parameters of the envelope, which no endpoint reads."""


class _Request(msgspec.Struct):
    id: int | str | None = None
    method: str = ""
    params: dict[str, Any] = msgspec.field(default_factory=dict)


_requests = msgspec.json.Decoder(_Request, float_hook=str)


class WsApi:
    """Answers the messages of all WebSocket API connections of one venue."""

    def __init__(
        self, account: Account, access: Access, limiter: RateLimiter, requests: RequestLog
    ) -> None:
        self._account = account
        self._venue = account.venue
        self._access = access
        self._limiter = limiter
        self._log = requests
        self._waiting: set[asyncio.Task[None]] = set()

    def session(self, address: str, connection: Connection) -> _Session:
        return _Session(self, address, connection)

    def answer(self, session: _Session, message: str | bytes) -> bytes | None:
        """The answer to one message; None if a fault holds it back, or swallows it."""
        try:
            request = _requests.decode(message)
        except msgspec.DecodeError as error:
            return session.envelope(
                None, 400, {"error": {"code": -1100, "msg": f"Illegal characters found: {error}"}}
            )
        now_ms = self._venue.machine_ns() // 1_000_000
        if request.method.startswith("session."):
            return session.about_itself(request.method, request.id, self._venue.now_ms())
        route = ROUTES.get(METHODS.get(request.method, ("", "")))
        try:
            params = _as_text(request.params)
            if route is None:
                self._limiter.charge(session.address, now_ms, 1)
                raise VenueError(-1099, f"Unknown method: {request.method!r}")
            weight = route.weight if isinstance(route.weight, int) else route.weight(params)
            self._limiter.charge(session.address, now_ms, weight, route.orders)
            key, payloads = params.get("apiKey"), sorted_payloads(params)
            self._access.check(route.security, key, params, *payloads)
        except LimitExceeded as error:
            data = {"serverTime": now_ms, "retryAfter": now_ms + error.retry_after_seconds * 1000}
            return session.envelope(
                request.id,
                error.status,
                {"error": {"code": error.code, "msg": error.message, "data": data}},
            )
        except VenueError as error:
            return session.envelope(
                request.id, status_of(error.code), _error(error.code, error.message)
            )
        return self._perform(session, request, route, params)

    def _perform(
        self, session: _Session, request: _Request, route: Route, params: dict[str, str]
    ) -> bytes | None:
        asked = {name: value for name, value in params.items() if name not in _OURS}
        seen = self._log.arrived(route.kind, f"ws-fapi:{request.method}", asked)
        shows_limits = params.get("returnRateLimits", "true") != "false"

        def act() -> bytes:
            try:
                result = route.handle(self._account, asked)
            except VenueError as error:
                seen.status, seen.code = status_of(error.code), error.code
                return session.envelope(
                    request.id, seen.status, _error(error.code, error.message), shows_limits
                )
            except Exception:  # whatever a request does to a handler, the venue must go on
                _log.exception("a handler of the simulated venue failed")
                seen.status, seen.code = 500, -1000
                text = "An unknown error occurred while processing the request."
                return session.envelope(request.id, 500, _error(-1000, text), shows_limits)
            seen.status, seen.taken = 200, True
            return session.envelope(request.id, 200, {"result": result}, shows_limits)

        faults = self._venue.faults
        fault = None if faults.idle else faults.take(route.kind, self._venue.now_ms())
        if fault is None:
            return act()
        if len(self._waiting) < MAX_PENDING:
            task = asyncio.create_task(_with_fault(session, request.id, fault, act))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
        return None

    def rate_limits(self, address: str) -> list[dict[str, Any]]:
        return self._limiter.describe(address, self._venue.machine_ns() // 1_000_000)


class _Session:
    """One connection to the WebSocket API."""

    def __init__(self, api: WsApi, address: str, connection: Connection) -> None:
        self.address = address
        self.connection = connection
        self._api = api
        self._since_ms: int | None = None

    def envelope(
        self, request_id: int | str | None, status: int, body: dict[str, Any], limits: bool = True
    ) -> bytes:
        answer: dict[str, Any] = {"id": request_id, "status": status, **body}
        if limits:
            answer["rateLimits"] = self._api.rate_limits(self.address)
        return _encode(answer)

    def about_itself(self, method: str, request_id: int | str | None, now_ms: int) -> bytes:
        if self._since_ms is None:
            self._since_ms = now_ms
        if method == "session.logon":
            return self.envelope(
                request_id, 400, _error(-4056, "HMAC_SHA256 API key is not supported.")
            )
        if method not in ("session.status", "session.logout"):
            return self.envelope(request_id, 400, _error(-1099, f"Unknown method: {method!r}"))
        result = {
            "apiKey": None,
            "authorizedSince": None,
            "connectedSince": self._since_ms,
            "returnRateLimits": True,
            "serverTime": now_ms,
        }
        return self.envelope(request_id, 200, {"result": result})


async def _with_fault(
    session: _Session, request_id: int | str | None, fault: Fault, act: Callable[[], bytes]
) -> None:
    if fault.delay_before_seconds:
        await asyncio.sleep(fault.delay_before_seconds)
    made = act() if fault.executes else None
    if fault.delay_after_seconds:
        await asyncio.sleep(fault.delay_after_seconds)
    connection = session.connection
    match fault.reply:
        case "normal" if made is not None:
            connection.put(made)
        case "error":
            error = {"error": fault_json(fault)}
            connection.put(session.envelope(request_id, fault.status, error))
        case "garbage":
            connection.put(GARBAGE)
        case "truncated":
            whole = made or session.envelope(request_id, 200, {"result": {}})
            connection.put(whole[: len(whole) // 2])
        case "lost":
            pass
        case _:
            connection.cut()


def _error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "msg": message}}


def _as_text(params: Mapping[str, Any]) -> dict[str, str]:
    """Values as a form would carry them, and as clients sign them.

    :raises VenueError: -1100, one is neither text nor number nor flag.
    """
    texts: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, str):
            texts[name] = value
        elif isinstance(value, bool):
            texts[name] = "true" if value else "false"
        elif isinstance(value, int):
            texts[name] = str(value)
        elif value is not None:
            raise VenueError(-1100, f"Illegal characters found in parameter '{name}'.")
    return texts
