"""A ccxt exchange whose calls that write orders go through the engine.

The exchange object stays the same; its class becomes a subclass made here. So whoever
holds it already has the guarded one, `isinstance` and attributes are as before, and
ccxt's own conveniences (`create_limit_buy_order`, `create_post_only_order`, …) end in the
guarded `create_order`, because they call it on themselves. What ends in `fetch` or
`watch` by another way meets `writes`, which lets no order pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Final

from holdfast.blocking import BlockingEngine
from holdfast.engine import Engine

from .calls import Calls
from .errors import BehindTheGate
from .session import BegunEdits, finished
from .writes import message_refusal, request_refusal

Call = Callable[..., Coroutine[Any, Any, Any]]

CALLS: Final[dict[str, Call]] = {
    "create_order": Calls.create_order,
    "create_order_ws": Calls.create_order,
    "create_orders": Calls.create_orders,
    "create_orders_ws": Calls.create_orders,
    "edit_order": Calls.edit_order,
    "edit_order_ws": Calls.edit_order,
    "edit_orders": Calls.edit_orders,
    "cancel_order": Calls.cancel_order,
    "cancel_order_ws": Calls.cancel_order,
    "cancel_orders": Calls.cancel_orders,
    "cancel_orders_ws": Calls.cancel_orders,
    "cancel_all_orders": Calls.cancel_all_orders,
    "cancel_all_orders_ws": Calls.cancel_all_orders,
    "fetch_order": Calls.fetch_order,
    "fetch_order_ws": Calls.fetch_order_ws,
}
"""The `_ws` calls go the same way: the engine has its own connection to the venue."""

DOORS: Final = ("fetch", "watch", "watch_multiple")


def unguarded(exchange: Any) -> type[Any]:
    """The class that the exchange had before it was guarded, if it was."""
    cls = type(exchange)
    return cls.unguarded if issubclass(cls, Guarded) else cls


def guarded(cls: type[Any], engine: Engine | BlockingEngine) -> type[Any]:
    """The subclass of an exchange's class that goes through `engine`."""
    asked = _now if isinstance(engine, BlockingEngine) else _later
    methods: dict[str, Any] = {"unguarded": cls, "begun_edits": BegunEdits()}
    for name, call in CALLS.items():
        # ccxt puts a twin in camel case beside each method, bound to its own.
        methods[name] = methods[_camel_case(name)] = asked(call, cls, engine)
    return type(f"Guarded{cls.__name__}", (Guarded, cls), methods)


def other_account(exchange: Any, engine: Engine | BlockingEngine) -> str:
    """What is different about the exchange's account, in words; "": nothing, or it has no key.

    What passes through (positions, leverage, cancels of another hand's orders) would speak of
    another account than the engine's orders.
    """
    if not exchange.apiKey:
        return ""
    server = exchange.urls["api"]["fapiPrivate"]
    return engine.other_account(server=server, api_key=str(exchange.apiKey))


def shadowed(exchange: Any) -> list[str]:
    """Names among the instance's own attributes that would hide the guarded methods."""
    names = {*CALLS, *map(_camel_case, CALLS), *DOORS}
    return sorted(names & vars(exchange).keys())


class Guarded:
    """The doors. First in the order of classes, so that no method of ccxt comes before it."""

    unguarded: type[Any]
    begun_edits: BegunEdits

    def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        _refuse(request_refusal(method, url))
        return self.unguarded.fetch(self, url, method, headers, body)

    def watch(
        self, url: str, message_hash: str, message: Any = None, *more: Any, **named: Any
    ) -> Any:
        _refuse(message_refusal(message))
        return self.unguarded.watch(self, url, message_hash, message, *more, **named)

    def watch_multiple(
        self, url: str, message_hashes: Any, message: Any = None, *more: Any, **named: Any
    ) -> Any:
        _refuse(message_refusal(message))
        return self.unguarded.watch_multiple(self, url, message_hashes, message, *more, **named)


def _refuse(refusal: str | None) -> None:
    if refusal is not None:
        raise BehindTheGate(refusal)


def _now(call: Call, raw: type[Any], engine: Engine | BlockingEngine) -> Any:
    @functools.wraps(call)
    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        return finished(call(Calls(self, raw, engine), *arguments, **named))

    return method


def _later(call: Call, raw: type[Any], engine: Engine | BlockingEngine) -> Any:
    @functools.wraps(call)
    async def method(self: Any, *arguments: Any, **named: Any) -> Any:
        return await call(Calls(self, raw, engine), *arguments, **named)

    return method


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
