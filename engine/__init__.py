"""holdfast keeps a trading bot safe while its infrastructure fails.

    async with Engine.open("holdfast.toml") as engine:
        await engine.until_healthy()
        report = await engine.submit(Order("BTC/USDT:USDT", "buy", "0.010", price="64000"))

What stands in `__all__` is the public interface: it changes only with a note in the
changelog. Everything else may change at any time. Importing this package is cheap;
transports, ccxt and the command line are loaded when they are first used.
"""

import logging

from holdfast.states.table import Level, State, Trigger

from . import events
from .bot import Bot
from .engine import Engine
from .errors import (
    ConfigError,
    EngineClosed,
    HoldfastError,
    InvalidOrder,
    InvalidPayload,
    InvalidPolicy,
    LinkDown,
    NotExecuted,
    OrderError,
    OutcomeUnknown,
    PolicyConflict,
    PolicyUnreadable,
    Rejected,
    ResolveRefused,
    TradingHalted,
)
from .guarding import guard
from .intent import Intent
from .journal import Durability
from .market import Bar, MarketGap, Quote, Trade
from .model import Event, Fill, Instrument, Order, OrderReport, OrderSnapshot, OrderStatus, Position
from .policy import Limits, Mode, Policy
from .settings import Settings

__version__ = "0.1.0"

# A library is silent until asked; `holdfast.logs.configure` is one way to ask.
logging.getLogger("holdfast").addHandler(logging.NullHandler())

__all__ = [
    "Bar",
    "Bot",
    "ConfigError",
    "Durability",
    "Engine",
    "EngineClosed",
    "Event",
    "Fill",
    "HoldfastError",
    "Instrument",
    "Intent",
    "InvalidOrder",
    "InvalidPayload",
    "InvalidPolicy",
    "Level",
    "Limits",
    "LinkDown",
    "MarketGap",
    "Mode",
    "NotExecuted",
    "Order",
    "OrderError",
    "OrderReport",
    "OrderSnapshot",
    "OrderStatus",
    "OutcomeUnknown",
    "Policy",
    "PolicyConflict",
    "PolicyUnreadable",
    "Position",
    "Quote",
    "Rejected",
    "ResolveRefused",
    "Settings",
    "State",
    "Trade",
    "TradingHalted",
    "Trigger",
    "__version__",
    "events",
    "guard",
]
