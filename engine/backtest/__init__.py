"""Backtests of a user's bot, with and without failing infrastructure.

The bot, the engine, its journal and its rules are those of live trading; clock, servers,
exchange and prices are simulated. `holdfast backtest` is the command, `backtest` the same for
a script; `holdfast sweep` and `sweep` do it at many values of a bot's arguments; `frames` makes
tables of the results for pandas or polars.
"""

from .account import Account
from .conduct import backtest
from .result import Backtest, BotFailure, Run
from .sweeping import Point, sweep

__all__ = ["Account", "Backtest", "BotFailure", "Point", "Run", "backtest", "sweep"]
