"""How the account is set up, and changing it: `ports.AccountReader`, `AccountSetter`, `KeyReader`.

Every call may be repeated: what is set already is refused by Binance with a code of its own,
which is taken for what it is.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from holdfast.errors import LinkDown, Rejected
from holdfast.model import Balance, CashFlow, KeyRights, MarginMode, OutcomeKind, SymbolSettings

from . import endpoints
from .account_wire import (
    AccountConfigJson,
    AccountJson,
    IncomeJson,
    KeyPermissionsJson,
    PositionModeJson,
    SymbolConfigJson,
)
from .endpoints import Endpoint
from .errors import TIMESTAMP_CODES, kind_of_code
from .line import Countdown, Line
from .symbols import Symbols
from .wire import read_error

NO_NEED_TO_CHANGE: Final = (-4046, -4059)
"""The margin type, or the position side mode, is what it shall be."""
FIRST_OF_REQUESTS: Final = -1100
"""From here on codes speak of the request; those above, of the server ("Error Codes")."""
INCOME_PAGE: Final = 1000
"""Largest `limit` of income."""
MAX_INCOME_PAGES: Final = 20
"""A quarter of a minute's weight. An account that moves more has been left alone for long."""
INCOME_KEPT_MS: Final = 90 * 86_400_000
"""Income tells of the last three months ("Get Income History")."""
_MARGIN_TYPE: Final[dict[MarginMode, str]] = {"cross": "CROSSED", "isolated": "ISOLATED"}


class AccountAccess:
    """The part of the client that speaks of the account as a whole.

    :param tells_rights: whether the venue has the account API that knows what a key may do.
    """

    def __init__(self, line: Line, symbols: Symbols, *, tells_rights: bool) -> None:
        self._line = line
        self._symbols = symbols
        self._tells_rights = tells_rights

    async def balances(self, *, timeout_seconds: float) -> list[Balance]:
        """See `ports.AccountReader`."""
        account = await self._line.read(
            endpoints.ACCOUNT, [], AccountJson, timeout_seconds=timeout_seconds
        )
        return [asset.balance for asset in account.assets]

    async def cash_flows(
        self, *, since_ms: int, until_ms: int, timeout_seconds: float
    ) -> list[CashFlow]:
        """See `ports.CashFlowReader`. The end is fixed, so that no page moves while they are read.

        :raises ValueError: it is longer ago than the venue tells of.
        """
        line, endpoint = self._line, endpoints.INCOME
        if until_ms - since_ms > INCOME_KEPT_MS:
            raise ValueError(f"since_ms: {since_ms} is longer ago than the venue tells of")
        countdown, rows = Countdown(line, timeout_seconds), list[IncomeJson]()
        for page in range(1, MAX_INCOME_PAGES + 1):
            told = await line.read(
                endpoint,
                [
                    ("startTime", str(since_ms)),
                    ("endTime", str(until_ms)),
                    ("page", str(page)),
                    ("limit", str(INCOME_PAGE)),
                ],
                list[IncomeJson],
                timeout_seconds=countdown.seconds_left(),
            )
            rows += told
            if len(told) < INCOME_PAGE:
                rows.sort(key=lambda row: row.time)
                return [line.readable(partial(r.cash_flow, self._symbols.unified)) for r in rows]
        raise LinkDown(f"{line.name}: more than {MAX_INCOME_PAGES} pages of income")

    async def hedge_mode(self, *, timeout_seconds: float) -> bool:
        """See `ports.AccountReader`."""
        mode = await self._line.read(
            endpoints.POSITION_MODE, [], PositionModeJson, timeout_seconds=timeout_seconds
        )
        return mode.dualSidePosition

    async def symbol_settings(self, symbol: str, *, timeout_seconds: float) -> SymbolSettings:
        """See `ports.AccountReader`."""
        rows = await self._line.read(
            endpoints.SYMBOL_CONFIG,
            [("symbol", self._symbols.at_venue(symbol))],
            list[SymbolConfigJson],
            timeout_seconds=timeout_seconds,
        )
        for row in rows:
            if row.symbol == self._symbols.at_venue(symbol):
                return row.settings(lambda _name: symbol)
        raise LinkDown(f"{self._line.name}: the venue tells no settings of {symbol}")

    async def key_rights(self, *, timeout_seconds: float) -> KeyRights:
        """See `ports.KeyReader`. Not while orders are on their way: what is asked is answered at
        another address, which may be down when that of the orders is not.
        """
        reply = await self._line.ask(endpoints.ACCOUNT_CONFIG, [], timeout_seconds=timeout_seconds)
        code, message = (None, "") if reply.status == 200 else read_error(reply.body)
        if code is not None and kind_of_code(code, message) is OutcomeKind.AUTH:
            raise Rejected(f"{code}: {message}", code=code)
        account = self._line.decoded(endpoints.ACCOUNT_CONFIG, reply, AccountConfigJson)
        if not self._tells_rights:
            return KeyRights(trade=account.canTrade)
        key = await self._line.read(
            endpoints.KEY_PERMISSIONS, [], KeyPermissionsJson, timeout_seconds=timeout_seconds
        )
        return KeyRights(
            trade=account.canTrade and key.enableFutures,
            withdraw=key.enableWithdrawals,
            bound_to_addresses=key.ipRestrict,
        )

    async def set_leverage(self, symbol: str, leverage: int, *, timeout_seconds: float) -> None:
        """See `ports.AccountSetter`."""
        name = self._symbols.at_venue(symbol)
        await self._set(
            endpoints.SET_LEVERAGE,
            [("symbol", name), ("leverage", str(leverage))],
            timeout_seconds,
        )

    async def set_margin_mode(
        self, symbol: str, mode: MarginMode, *, timeout_seconds: float
    ) -> None:
        """See `ports.AccountSetter`."""
        name = self._symbols.at_venue(symbol)
        await self._set(
            endpoints.SET_MARGIN_TYPE,
            [("symbol", name), ("marginType", _MARGIN_TYPE[mode])],
            timeout_seconds,
        )

    async def set_hedge_mode(self, hedge: bool, *, timeout_seconds: float) -> None:
        """See `ports.AccountSetter`."""
        await self._set(
            endpoints.SET_POSITION_MODE,
            [("dualSidePosition", "true" if hedge else "false")],
            timeout_seconds,
        )

    async def _set(
        self, endpoint: Endpoint, params: list[tuple[str, str]], timeout_seconds: float
    ) -> None:
        """:raises Rejected, LinkDown:"""
        reply = await self._line.ask(endpoint, params, timeout_seconds=timeout_seconds)
        if reply.status == 200:
            return
        code, message = read_error(reply.body)
        if code in NO_NEED_TO_CHANGE:
            return
        reason = f"{endpoint.name}: HTTP {reply.status}, {code}: {message}"
        if code is not None and code <= FIRST_OF_REQUESTS and code not in TIMESTAMP_CODES:
            raise Rejected(reason, code=code)
        raise LinkDown(f"{self._line.name}: {reason}")
