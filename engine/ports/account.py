"""What an `ExecutionClient` may offer besides: a look at the account, and its settings.

Each protocol is one thing that a venue can be asked or told, so that one which can do the one
and not the other says so by what it has; the engine does without what is missing, and
`holdfast doctor` tells of it.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from holdfast.model import Balance, CashFlow, Fill, KeyRights, MarginMode, SymbolSettings


@runtime_checkable
class BalanceReader(Protocol):
    """What an `ExecutionClient` may offer besides: what the account has. Then reconciliation
    compares it with what our fills have made of it.
    """

    async def balances(self, *, timeout_seconds: float) -> list[Balance]:
        """Of every asset that the account has or has had. :raises LinkDown:"""


@runtime_checkable
class CashFlowReader(Protocol):
    """What an `ExecutionClient` may offer besides: why a balance is what it is. Then
    reconciliation reports as unexplained only what this history does not explain.
    """

    async def cash_flows(
        self, *, since_ms: int, until_ms: int, timeout_seconds: float
    ) -> list[CashFlow]:
        """All that came and went from one moment to another (UTC, both included), by time.

        :raises ValueError: it is longer ago than the venue tells of.
        :raises LinkDown: not all of it could be read.
        """


@runtime_checkable
class AccountReader(BalanceReader, Protocol):
    """What an `ExecutionClient` may offer besides: how the account is set up."""

    async def hedge_mode(self, *, timeout_seconds: float) -> bool:
        """Whether long and short positions of a symbol are held side by side.

        :raises LinkDown:
        """

    async def symbol_settings(self, symbol: str, *, timeout_seconds: float) -> SymbolSettings:
        """:raises LinkDown:"""


@runtime_checkable
class AccountComparer(Protocol):
    """What an `ExecutionClient` may offer besides: whether somebody else's account is its own."""

    def other_account(self, *, server: str, api_key: str) -> str:
        """What is different about the account that this key opens at this server, in words;
        "": nothing is. Nothing of a key is told.

        :param server: a URL; what comes after host and port does not count.
        """


@runtime_checkable
class KeyReader(Protocol):
    """What an `ExecutionClient` may offer besides: what its API key may do."""

    async def key_rights(self, *, timeout_seconds: float) -> KeyRights:
        """
        :raises Rejected: the venue does not accept the key; the reason says why.
        :raises LinkDown:
        """


@runtime_checkable
class AccountSetter(Protocol):
    """What an `ExecutionClient` may offer besides. Each call is safe to repeat, and setting
    what is set already succeeds.
    """

    async def set_leverage(self, symbol: str, leverage: int, *, timeout_seconds: float) -> None:
        """
        :raises Rejected: the venue refuses it; the reason says why.
        :raises LinkDown: it may or may not have been set; call again.
        """

    async def set_margin_mode(
        self, symbol: str, mode: MarginMode, *, timeout_seconds: float
    ) -> None:
        """:raises Rejected: :raises LinkDown: as `set_leverage`."""

    async def set_hedge_mode(self, hedge: bool, *, timeout_seconds: float) -> None:
        """:raises Rejected: :raises LinkDown: as `set_leverage`."""


@runtime_checkable
class FillHistory(Protocol):
    """What an `ExecutionClient` may offer besides: own fills by their time."""

    async def fills_since(
        self, symbol: str, *, since_ms: int, timeout_seconds: float
    ) -> list[Fill]:
        """Own fills since a moment (UTC), ascending by trade id, all of them.

        :raises ValueError: it is longer ago than the venue tells fills of.
        :raises LinkDown: not all of them could be read.
        """
