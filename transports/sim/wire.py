"""The venue's records as Binance's USDⓈ-M JSON (REST bodies and user-stream frames)."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from holdfast.model import OrderStatus, PositionSide

from .book import Book
from .core import SimulatedVenue
from .ledger import ZERO, Holding
from .records import Trade, VenueEvent, VenueOrder
from .rules import Market

_STATUS: Final = {
    OrderStatus.OPEN: "NEW",
    OrderStatus.PARTIALLY_FILLED: "PARTIALLY_FILLED",
    OrderStatus.FILLED: "FILLED",
    OrderStatus.CANCELED: "CANCELED",
    OrderStatus.EXPIRED: "EXPIRED",
    OrderStatus.REJECTED: "REJECTED",
}
_SIDE: Final = {"buy": "BUY", "sell": "SELL"}
_AVERAGE_STEP: Final = Decimal("0.00000001")
MARGIN_ASSET: Final = "USDT"


def text(value: Decimal | None) -> str:
    """Plain digits; Binance writes an absent number as "0"."""
    return "0" if value is None else f"{value:f}"


def rounded(value: Decimal | None) -> str:
    """A quotient, with eight decimals."""
    return "0" if value is None else f"{value.quantize(_AVERAGE_STEP, ROUND_HALF_EVEN):f}"


def order_json(order: VenueOrder, *, acknowledged_only: bool = False) -> dict[str, Any]:
    """:param acknowledged_only: as `newOrderRespType=ACK` answers: before any execution."""
    filled = ZERO if acknowledged_only else order.filled
    return {
        "orderId": order.order_id,
        "symbol": order.market.name,
        "status": "NEW" if acknowledged_only else _STATUS[order.status],
        "clientOrderId": order.client_order_id,
        "price": text(order.price),
        "avgPrice": "0.00" if acknowledged_only else rounded(order.average_price),
        "origQty": text(order.quantity),
        "executedQty": text(filled),
        "cumQty": text(filled),
        "cumQuote": "0" if acknowledged_only else text(order.cost),
        "timeInForce": order.time_in_force,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": False,
        "side": _SIDE[order.side],
        "positionSide": order.position_side,
        "stopPrice": "0",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "NONE",
        "goodTillDate": 0,
        "time": order.accepted_ms,
        "updateTime": order.updated_ms,
    }


def trade_json(trade: Trade) -> dict[str, Any]:
    order = trade.order
    return {
        "symbol": order.market.name,
        "id": trade.trade_id,
        "orderId": order.order_id,
        "side": _SIDE[order.side],
        "price": text(trade.price),
        "qty": text(trade.quantity),
        "quoteQty": text(trade.price * trade.quantity),
        "realizedPnl": text(trade.realized),
        "commission": text(trade.fee),
        "commissionAsset": order.market.quote,
        "time": trade.time_ms,
        "positionSide": order.position_side,
        "buyer": order.side == "buy",
        "maker": trade.maker,
    }


def position_json(
    book: Book, side: PositionSide, holding: Holding, *, now_ms: int
) -> dict[str, Any]:
    """One row of positionRisk; the fields of v3, and v2's leverage and margin type."""
    mark = book.last if book.last is not None else ZERO
    notional = holding.quantity * mark
    margin = abs(notional) / book.leverage
    return {
        "symbol": book.market.name,
        "positionSide": side,
        "positionAmt": text(holding.quantity),
        "entryPrice": rounded(holding.entry_price),
        "breakEvenPrice": rounded(holding.entry_price),
        "markPrice": text(mark),
        "unRealizedProfit": rounded(holding.unrealized(mark)),
        "liquidationPrice": "0",
        "isolatedMargin": "0",
        "notional": rounded(notional),
        "marginAsset": book.market.quote,
        "isolatedWallet": "0",
        "initialMargin": rounded(margin),
        "maintMargin": "0",
        "positionInitialMargin": rounded(margin),
        "openOrderInitialMargin": "0",
        "adl": 1,
        "bidNotional": "0",
        "askNotional": "0",
        "leverage": str(book.leverage),
        "marginType": "cross",
        "updateTime": now_ms if holding.quantity else 0,
    }


def positions_json(
    venue: SimulatedVenue, symbol: str | None = None, *, flat: bool = False
) -> list[dict[str, Any]]:
    """:param flat: also what is flat, as v2 does."""
    now_ms = venue.now_ms()
    sides: tuple[PositionSide, ...] = ("LONG", "SHORT") if venue.hedge_mode else ("BOTH",)
    books = venue.books.values() if symbol is None else (venue.book(symbol),)
    return [
        position_json(book, side, book.holdings[side], now_ms=now_ms)
        for book in books
        for side in sides
        if flat or book.holdings[side].quantity
    ]


def balance_json(venue: SimulatedVenue) -> dict[str, Any]:
    available = rounded(max(ZERO, venue.available_balance()))
    return {
        "accountAlias": "SgsR",
        "asset": MARGIN_ASSET,
        "balance": rounded(venue.wallet_balance),
        "crossWalletBalance": rounded(venue.wallet_balance),
        "crossUnPnl": rounded(venue.unrealized()),
        "availableBalance": available,
        "maxWithdrawAmount": available,
        "marginAvailable": True,
        "updateTime": venue.now_ms(),
    }


def account_json(venue: SimulatedVenue) -> dict[str, Any]:
    wallet, unrealized = venue.wallet_balance, venue.unrealized()
    available = rounded(max(ZERO, venue.available_balance()))
    used = rounded(wallet + unrealized - venue.available_balance())
    totals = {
        "initialMargin": used,
        "maintMargin": "0",
        "positionInitialMargin": used,
        "openOrderInitialMargin": "0",
        "maxWithdrawAmount": available,
        "availableBalance": available,
    }
    asset = {
        "asset": MARGIN_ASSET,
        "walletBalance": rounded(wallet),
        "unrealizedProfit": rounded(unrealized),
        "marginBalance": rounded(wallet + unrealized),
        "crossWalletBalance": rounded(wallet),
        "crossUnPnl": rounded(unrealized),
        "marginAvailable": True,
        "updateTime": venue.now_ms(),
        **totals,
    }
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": venue.hedge_mode,
        "multiAssetsMargin": False,
        "totalInitialMargin": used,
        "totalMaintMargin": "0",
        "totalWalletBalance": rounded(wallet),
        "totalUnrealizedProfit": rounded(unrealized),
        "totalMarginBalance": rounded(wallet + unrealized),
        "totalPositionInitialMargin": used,
        "totalOpenOrderInitialMargin": "0",
        "totalCrossWalletBalance": rounded(wallet),
        "totalCrossUnPnl": rounded(unrealized),
        "availableBalance": available,
        "maxWithdrawAmount": available,
        "assets": [asset],
        "positions": [
            {
                **row,
                "unrealizedProfit": row["unRealizedProfit"],
                "isolated": False,
            }
            for row in positions_json(venue)
        ],
    }


def market_json(market: Market) -> dict[str, Any]:
    """One symbol of exchangeInfo."""
    return {
        "symbol": market.name,
        "pair": market.name,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "baseAsset": market.base,
        "quoteAsset": market.quote,
        "marginAsset": market.quote,
        "pricePrecision": _digits(market.price_step),
        "quantityPrecision": _digits(market.quantity_step),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": text(market.price_step),
                "maxPrice": "10000000",
                "tickSize": text(market.price_step),
            },
            *(
                {
                    "filterType": kind,
                    "minQty": text(market.min_quantity),
                    "maxQty": text(market.max_quantity),
                    "stepSize": text(market.quantity_step),
                }
                for kind in ("LOT_SIZE", "MARKET_LOT_SIZE")
            ),
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": text(market.min_notional)},
        ],
    }


def order_update(event: VenueEvent) -> dict[str, Any]:
    """ORDER_TRADE_UPDATE, with Binance's one-letter names ("Event: Order Update")."""
    order, trade = event.order, event.trade
    return {
        "e": "ORDER_TRADE_UPDATE",
        "E": event.time_ms,
        "T": event.time_ms,
        "o": {
            "s": order.market.name,
            "c": order.client_order_id,
            "S": _SIDE[order.side],
            "o": order.type,
            "f": order.time_in_force,
            "q": text(order.quantity),
            "p": text(order.price),
            "ap": rounded(event.average_price),
            "sp": "0",
            "x": event.execution,
            "X": _STATUS[event.status],
            "i": order.order_id,
            "l": text(trade.quantity if trade else None),
            "z": text(event.filled),
            "L": text(trade.price if trade else None),
            "N": order.market.quote,
            "n": text(trade.fee if trade else None),
            "T": event.time_ms,
            "t": trade.trade_id if trade else 0,
            "b": "0",
            "a": "0",
            "m": trade.maker if trade else False,
            "R": order.reduce_only,
            "wt": "CONTRACT_PRICE",
            "ot": order.type,
            "ps": order.position_side,
            "cp": False,
            "rp": text(trade.realized if trade else None),
            "pP": False,
            "si": 0,
            "ss": 0,
            "V": "NONE",
            "pm": "NONE",
            "gtd": 0,
        },
    }


def account_update(venue: SimulatedVenue, event: VenueEvent) -> dict[str, Any]:
    """ACCOUNT_UPDATE after an execution: wallet and the one position it changed."""
    order = event.order
    book = venue.book(order.market.name)
    holding = book.holdings[order.position_side]
    mark = book.last if book.last is not None else ZERO
    wallet = rounded(venue.wallet_balance)
    return {
        "e": "ACCOUNT_UPDATE",
        "E": event.time_ms,
        "T": event.time_ms,
        "a": {
            "m": "ORDER",
            "B": [{"a": order.market.quote, "wb": wallet, "cw": wallet, "bc": "0"}],
            "P": [
                {
                    "s": order.market.name,
                    "pa": text(holding.quantity),
                    "ep": rounded(holding.entry_price),
                    "bep": rounded(holding.entry_price),
                    "cr": rounded(holding.realized),
                    "up": rounded(holding.unrealized(mark)),
                    "mt": "cross",
                    "iw": "0",
                    "ps": order.position_side,
                }
            ],
        },
    }


def _digits(step: Decimal) -> int:
    return max(0, -int(step.normalize().as_tuple().exponent))
