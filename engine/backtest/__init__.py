"""Backtests of a user's bot, with and without failing infrastructure.

The bot, the engine, its journal and its rules are those of live trading; clock, servers,
exchange and prices are simulated. `holdfast backtest` is the command; `loading` finds bot and
data, `run` plays a `Scene`.
"""
