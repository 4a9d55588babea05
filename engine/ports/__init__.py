"""The ports: everything that comes from outside the engine comes through these.

A transport is an object with the methods of one of them; no base class, no registration
beyond its entry point (see `registry`). Three habits hold for all of them:

- `run(...)` keeps the connection for as long as it is not cancelled: it connects,
  reconnects with its own backoff, and reports each change through the `LinkWatch`
  *synchronously, in the callback that saw it*. The engine owns the task.
- A call takes its deadline as an argument instead of being wrapped in a cancel
  scope: one timer instead of two, and the transport knows whether it had written.
- What could not be asked raises `LinkDown`; `None` or an empty list is an answer.

Built-in transports use no door that is not here. There is a module for each thing that a
transport may stand for; all names are imported from here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .account import (
    AccountComparer,
    AccountReader,
    AccountSetter,
    BalanceReader,
    CashFlowReader,
    FillHistory,
    KeyReader,
)
from .bus import AppendStatus, Batch, BusEntry, BusPosition, Fence, MessageBus
from .link import Link, LinkWatch
from .market import MarketData, MarketWatch, Replay, Subscription
from .server import ServerFacts, ServerReader
from .store import LeaseGrant, LeaseStore, PolicyStore, PolicyWatch, StoredPolicy
from .surroundings import Clock, Entropy
from .venue import CountsDown, ExecutionClient, ExecutionWatch, PreparesOrders

__all__ = [
    "AccountComparer",
    "AccountReader",
    "AccountSetter",
    "AppendStatus",
    "BalanceReader",
    "Batch",
    "BusEntry",
    "BusPosition",
    "CashFlowReader",
    "Clock",
    "CountsDown",
    "Entropy",
    "ExecutionClient",
    "ExecutionWatch",
    "Factory",
    "Fence",
    "FillHistory",
    "KeyReader",
    "LeaseGrant",
    "LeaseStore",
    "Link",
    "LinkWatch",
    "MarketData",
    "MarketWatch",
    "MessageBus",
    "PolicyStore",
    "PolicyWatch",
    "PreparesOrders",
    "Replay",
    "ServerFacts",
    "ServerReader",
    "StoredPolicy",
    "Subscription",
]

Factory = Callable[..., Any]
"""What an entry point names: `factory(url, *, clock, entropy, **settings)`.

It raises `ConfigError` for what it can not use; the text begins with `NAME: ` where that is an
option. Nothing is connected yet."""
