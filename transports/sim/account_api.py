"""Binance's USDⓈ-M endpoints for the account: money, positions, settings, listen keys.

"Futures Account Balance", "Account Information", "Position Information", "Change Initial
Leverage", "Change Margin Type", "Modify Isolated Position Margin", "Change Position Mode",
"Notional and Leverage Brackets", "Symbol Configuration", "Account Configuration", "User
Commission Rate", "Get Current Multi-Assets Mode", "Get Income History", "Query User Rate
Limit", "Futures Trading Quantitative Rules Indicators", "Start/Keepalive/Close User Data
Stream".
"""

from __future__ import annotations

from typing import Any, Final, cast

from holdfast.model import PositionSide

from .api import Account
from .book import Book
from .limits import declared
from .parameters import Params, decimal, flag, integer, malformed, page_size, period, required
from .rules import VenueError
from .wire import account_json, balance_json, positions_json, text

MAX_INCOME_PAGE: Final = 1000


def position_risk_v2(account: Account, params: Params) -> Any:
    return positions_json(account.venue, params.get("symbol"), flat=True)


def position_risk_v3(account: Account, params: Params) -> Any:
    """Only symbols with a position or open orders, says the documentation; we: a position."""
    return positions_json(account.venue, params.get("symbol"))


def account_info(account: Account, _params: Params) -> Any:
    return account_json(account.venue)


def account_config(account: Account, _params: Params) -> Any:
    return {
        "feeTier": 0,
        "canTrade": account.permissions.can_trade,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": account.venue.hedge_mode,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def api_restrictions(account: Account, _params: Params) -> Any:
    """Of the wallet's API ("Get API Key Permission"), which is at another address at Binance."""
    allowed = account.permissions
    return {
        "ipRestrict": allowed.bound_to_addresses,
        "createTime": 0,
        "enableReading": True,
        "enableWithdrawals": allowed.withdrawals,
        "enableInternalTransfer": False,
        "enableMargin": False,
        "enableFutures": allowed.futures,
        "permitsUniversalTransfer": False,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
        "enableSpotAndMarginTrading": False,
        "enablePortfolioMarginTrading": False,
    }


def balance(account: Account, _params: Params) -> Any:
    return [balance_json(account.venue)]


def leverage(account: Account, params: Params) -> Any:
    book = account.venue.book(required(params, "symbol"))
    wanted = integer(params, "leverage")
    account.venue.set_leverage(book.market.name, wanted)
    return {
        "leverage": wanted,
        "maxNotionalValue": text(book.max_notional),
        "symbol": book.market.name,
    }


def margin_type(account: Account, params: Params) -> Any:
    wanted = required(params, "marginType")
    if wanted not in ("ISOLATED", "CROSSED"):
        raise malformed("marginType")
    account.venue.set_isolated(required(params, "symbol"), isolated=wanted == "ISOLATED")
    return {"code": 200, "msg": "success"}


def position_margin(account: Account, params: Params) -> Any:
    """Type 1 adds margin to an isolated position, type 2 takes it away."""
    amount, kind = decimal(params, "amount"), integer(params, "type")
    if kind not in (1, 2) or amount <= 0:
        raise malformed("type" if amount > 0 else "amount")
    side = params.get("positionSide", "BOTH")
    if side not in ("BOTH", "LONG", "SHORT"):
        raise VenueError(-4060, "Invalid position side.")
    account.venue.move_margin(
        required(params, "symbol"),
        amount if kind == 1 else -amount,
        position_side=cast("PositionSide", side),
    )
    return {
        "amount": float(amount),
        "code": 200,
        "msg": "Successfully modify position margin.",
        "type": kind,
    }


def position_mode(account: Account, _params: Params) -> Any:
    return {"dualSidePosition": account.venue.hedge_mode}


def set_position_mode(account: Account, params: Params) -> Any:
    required(params, "dualSidePosition")
    account.venue.set_hedge_mode(hedge_mode=flag(params, "dualSidePosition"))
    return {"code": 200, "msg": "success"}


def multi_assets_mode(_account: Account, _params: Params) -> Any:
    return {"multiAssetsMargin": False}


def set_multi_assets_mode(_account: Account, params: Params) -> Any:
    """The account has one asset, so the mode can not be left."""
    required(params, "multiAssetsMargin")
    if flag(params, "multiAssetsMargin"):
        raise VenueError(-1020, "This operation is not supported.")
    raise VenueError(
        -4171, "Adjusted asset mode is currently set and does not need to be adjusted repeatedly."
    )


def leverage_bracket(account: Account, params: Params) -> Any:
    """The margin tiers that the venue itself goes by."""
    return [
        {
            "symbol": book.market.name,
            "brackets": [
                {
                    "bracket": number,
                    "initialLeverage": bracket.max_leverage,
                    "notionalCap": float(bracket.cap),
                    "notionalFloor": float(bracket.floor),
                    "maintMarginRatio": float(bracket.rate),
                    "cum": float(bracket.cum),
                }
                for number, bracket in enumerate(book.market.brackets, 1)
            ],
        }
        for book in _books(account, params)
    ]


def symbol_config(account: Account, params: Params) -> Any:
    return [
        {
            "symbol": book.market.name,
            "marginType": "ISOLATED" if book.isolated else "CROSSED",
            "isAutoAddMargin": False,
            "leverage": book.leverage,
            "maxNotionalValue": text(book.max_notional),
        }
        for book in _books(account, params)
    ]


def commission_rate(account: Account, params: Params) -> Any:
    book = account.venue.book(required(params, "symbol"))
    return {
        "symbol": book.market.name,
        "makerCommissionRate": text(account.venue.account.maker_fee),
        "takerCommissionRate": text(account.venue.account.taker_fee),
    }


def trading_status(account: Account, _params: Params) -> Any:
    """No rule of Binance's is measured here, so no indicator is ever near its limit."""
    return {"indicators": {}, "updateTime": account.venue.now_ms()}


def order_rate_limits(account: Account, _params: Params) -> Any:
    return [row for row in declared(account.limits) if row["rateLimitType"] == "ORDERS"]


def income(account: Account, params: Params) -> Any:
    """By ascending time: the first of the time asked for, or of the last seven days."""
    limit = page_size(params, default=100, most=MAX_INCOME_PAGE)
    page = integer(params, "page", 1)
    kind, symbol = params.get("incomeType"), params.get("symbol")
    name = None if symbol is None else account.venue.book(symbol).market.name
    start, end = period(params, account.venue.now_ms())
    chosen = [
        flow
        for flow in account.venue.income()
        if (kind is None or flow.kind == kind)
        and (name is None or (flow.market is not None and flow.market.name == name))
        and start <= flow.time_ms
        and (end is None or flow.time_ms <= end)
    ]
    return [
        {
            "symbol": "" if flow.market is None else flow.market.name,
            "incomeType": flow.kind,
            "income": text(flow.amount),
            "asset": "USDT" if flow.market is None else flow.market.quote,
            "info": str(flow.trade_id or flow.kind),
            "time": flow.time_ms,
            "tranId": flow.number,
            "tradeId": str(flow.trade_id or ""),
        }
        for flow in chosen[max(0, page - 1) * limit :][:limit]
    ]


def listen_key_create(account: Account, _params: Params) -> Any:
    return {"listenKey": account.listen_keys.create(account.venue.now_ms())}


def listen_key_extend(account: Account, _params: Params) -> Any:
    account.listen_keys.extend(account.venue.now_ms())
    return {"listenKey": account.listen_keys.current}


def listen_key_delete(account: Account, _params: Params) -> Any:
    account.listen_keys.expire()
    return {}


def _books(account: Account, params: Params) -> list[Book]:
    symbol = params.get("symbol")
    venue = account.venue
    return list(venue.books.values()) if symbol is None else [venue.book(symbol)]
