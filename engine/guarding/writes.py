"""Which of ccxt's requests may go to the venue without the engine.

Every REST request of a ccxt exchange ends in its `fetch`, every WebSocket message in its
`watch`, whichever of its four thousand methods it began in. So the back doors are closed
there, once, and not by a list of method names: what only reads passes, what cancels
passes, and of what writes only what is listed here, since it is known to place no order.
A method that a later ccxt adds is refused until somebody has looked at it. Pure.

Source of the paths: ccxt 4.5 `binance.describe()["api"]` and Binance's documentation.
"""

from __future__ import annotations

import re
from typing import Any, Final

_HARMLESS_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS", "DELETE"))
"""Binance places nothing by them; DELETE cancels, or ends a listen key."""

# To the end of the path: whatever follows the name would make it another one.
_ENDPOINT: Final = re.compile(r"/(?P<family>[fdesp]?api)/v\d/(?P<name>[^?#]+)$")

_FUTURES: Final = frozenset(
    (
        "feeBurn",
        "leverage",
        "listenKey",
        "marginType",
        "multiAssetsMargin",
        "positionMargin",
        "positionSide/dual",
    )
)
_WRITES: Final[dict[str, frozenset[str]]] = {
    "fapi": _FUTURES,
    "dapi": _FUTURES,
    "eapi": frozenset(("listenKey",)),
    "papi": frozenset(
        (
            "cm/leverage",
            "cm/positionSide/dual",
            "listenKey",
            "um/feeBurn",
            "um/leverage",
            "um/positionSide/dual",
        )
    ),
    "api": frozenset(("userDataStream",)),
    "sapi": frozenset(
        (
            "asset/get-funding-asset",  # these two read, though by POST
            "asset/getUserAsset",
            "asset/transfer",
            "capital/withdraw/apply",
            "futures/transfer",
            "userDataStream",
            "userDataStream/isolated",
            "userListenToken",
        )
    ),
}

_MESSAGES: Final = frozenset(
    (
        "account.balance",
        "account.position",
        "account.status",
        "allOrders",
        "algoOrder.cancel",
        "depth",
        "exchangeInfo",
        "klines",
        "LIST_SUBSCRIPTIONS",
        "myTrades",
        "openOrders.cancelAll",
        "openOrders.status",
        "order.cancel",
        "order.status",
        "ping",
        "session.logon",
        "session.logout",
        "session.status",
        "SUBSCRIBE",
        "ticker.book",
        "ticker.price",
        "time",
        "trades.historical",
        "UNSUBSCRIBE",
        "userDataStream.ping",
        "userDataStream.start",
        "userDataStream.stop",
        "userDataStream.subscribe",
        "userDataStream.subscribe.listenToken",
        "userDataStream.subscribe.signature",
        "userDataStream.unsubscribe",
        "v2/account.balance",
        "v2/account.position",
        "v2/account.status",
    )
)
"""Of the WebSocket API: what reads, what subscribes, what cancels."""

_REMEDY: Final = (
    "through a guarded exchange orders are placed by create_order, create_orders, "
    "edit_order and edit_orders only; what has nothing to do with orders may be called on a "
    "ccxt exchange of its own that is not guarded"
)

_SWITCH: Final = "countdownCancelAll"
_SWITCH_REMEDY: Final = (
    "the engine keeps the venue's dead-man switch itself; set orders.dead_man_seconds"
)


def request_refusal(method: str, url: str) -> str | None:
    """Why this HTTP request must not be sent past the engine; None if it may."""
    if method.upper() in _HARMLESS_METHODS:
        return None
    path = re.split(r"[?#]", url, maxsplit=1)[0]
    endpoint = _ENDPOINT.search(path)
    if endpoint is not None and endpoint["name"] in _WRITES.get(endpoint["family"], ()):
        return None
    return f"{method} {path}: {_SWITCH_REMEDY if path.endswith(_SWITCH) else _REMEDY}"


def message_refusal(message: Any) -> str | None:
    """Why this WebSocket message must not be sent past the engine; None if it may."""
    if not message:
        return None  # `watch` without one only waits for what comes
    name = message.get("method") if isinstance(message, dict) else None
    if isinstance(name, str) and name in _MESSAGES:
        return None
    return f"WebSocket method {name!r}: {_REMEDY}"
