"""The venue's records as Binance's USDⓈ-M JSON (REST bodies and user-stream frames)."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from holdfast.model import PositionSide
from holdfast.order_words import WORD_OF

from .book import Book
from .core import SimulatedVenue
from .ledger import ZERO, Holding
from .margin import initial, maintenance_of
from .records import AccountEvent, PositionNow, Trade, VenueEvent, VenueOrder
from .rules import Market

SIDE: Final = {"buy": "BUY", "sell": "SELL"}
_MARGIN_TYPE: Final = {False: "cross", True: "isolated"}
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
        "status": "NEW" if acknowledged_only else WORD_OF[order.status],
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
        "side": SIDE[order.side],
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
        "side": SIDE[order.side],
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
    venue: SimulatedVenue, book: Book, side: PositionSide, holding: Holding, *, now_ms: int
) -> dict[str, Any]:
    """One row of positionRisk; the fields of v3, and v2's leverage and margin type."""
    mark = book.mark if book.mark is not None else ZERO
    notional = holding.quantity * mark
    margin = initial(abs(notional), book.leverage)
    bids = book.bid_notional if side != "SHORT" else ZERO
    asks = book.ask_notional if side != "LONG" else ZERO
    if side == "BOTH":
        total = max(abs(notional + bids), abs(notional - asks))
    else:
        total = abs(notional) + bids + asks
    required = initial(total, book.leverage)
    liquidation, maintenance, isolated = None, ZERO, ZERO
    if holding.quantity:
        liquidation = venue.account.liquidation_price(book, holding)
        maintenance = maintenance_of(book, holding)
        if book.isolated:
            isolated = holding.isolated_wallet + holding.unrealized(mark)
    return {
        "symbol": book.market.name,
        "positionSide": side,
        "positionAmt": text(holding.quantity),
        "entryPrice": rounded(holding.entry_price),
        "breakEvenPrice": rounded(holding.entry_price),
        "markPrice": text(mark),
        "unRealizedProfit": rounded(holding.unrealized(mark)),
        "liquidationPrice": rounded(liquidation),
        "isolatedMargin": rounded(isolated),
        "notional": rounded(notional),
        "marginAsset": book.market.quote,
        "isolatedWallet": rounded(holding.isolated_wallet),
        "initialMargin": rounded(required),
        "maintMargin": rounded(maintenance),
        "positionInitialMargin": rounded(margin),
        "openOrderInitialMargin": rounded(required - margin),
        "adl": 1,
        "bidNotional": rounded(bids),
        "askNotional": rounded(asks),
        "leverage": str(book.leverage),
        "maxNotionalValue": text(book.max_notional),
        "marginType": _MARGIN_TYPE[book.isolated],
        "isolated": book.isolated,
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
        position_json(venue, book, side, book.holdings[side], now_ms=now_ms)
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
        "crossWalletBalance": rounded(venue.account.cross_wallet),
        "crossUnPnl": rounded(venue.account.totals().cross_unrealized),
        "availableBalance": available,
        "maxWithdrawAmount": available,
        "marginAvailable": True,
        "updateTime": venue.now_ms(),
    }


def account_json(venue: SimulatedVenue) -> dict[str, Any]:
    totals = venue.account.totals()
    available = rounded(max(ZERO, venue.available_balance()))
    amounts = {
        "initialMargin": rounded(totals.position_margin + totals.order_margin),
        "maintMargin": rounded(totals.maintenance),
        "walletBalance": rounded(venue.wallet_balance),
        "unrealizedProfit": rounded(totals.unrealized),
        "marginBalance": rounded(venue.wallet_balance + totals.unrealized),
        "positionInitialMargin": rounded(totals.position_margin),
        "openOrderInitialMargin": rounded(totals.order_margin),
        "crossWalletBalance": rounded(venue.account.cross_wallet),
        "crossUnPnl": rounded(totals.cross_unrealized),
    }
    free = {"availableBalance": available, "maxWithdrawAmount": available}
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": venue.hedge_mode,
        "multiAssetsMargin": False,
        **{f"total{name[0].upper()}{name[1:]}": amount for name, amount in amounts.items()},
        **free,
        "assets": [
            {
                "asset": MARGIN_ASSET,
                "marginAvailable": True,
                "updateTime": venue.now_ms(),
                **amounts,
                **free,
            }
        ],
        "positions": [
            {**row, "unrealizedProfit": row["unRealizedProfit"]} for row in positions_json(venue)
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
        "liquidationFee": text(market.liquidation_fee),
        "orderTypes": [
            "LIMIT",
            "MARKET",
            "STOP",
            "STOP_MARKET",
            "TAKE_PROFIT",
            "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET",
        ],
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
            "S": SIDE[order.side],
            "o": order.type,
            "f": order.time_in_force,
            "q": text(order.quantity),
            "p": text(order.price),
            "ap": rounded(event.average_price),
            "sp": "0",
            "x": event.execution,
            "X": WORD_OF[event.status],
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


def trade_lite(event: VenueEvent) -> dict[str, Any]:
    """TRADE_LITE: an execution in few words ("Event: Trade Lite")."""
    order, trade = event.order, event.trade
    return {
        "e": "TRADE_LITE",
        "E": event.time_ms,
        "T": event.time_ms,
        "s": order.market.name,
        "c": order.client_order_id,
        "S": SIDE[order.side],
        "q": text(order.quantity),
        "p": text(order.price),
        "i": order.order_id,
        "l": text(trade.quantity if trade else None),
        "L": text(trade.price if trade else None),
        "t": trade.trade_id if trade else 0,
        "m": trade.maker if trade else False,
    }


def account_update(event: AccountEvent) -> dict[str, Any]:
    """ACCOUNT_UPDATE ("Event: Balance and Position Update"). `bep`, the break-even price, is
    given without the fees.
    """
    return {
        "e": "ACCOUNT_UPDATE",
        "E": event.time_ms,
        "T": event.time_ms,
        "a": {
            "m": event.reason,
            "B": [
                {
                    "a": event.asset,
                    "wb": rounded(event.wallet),
                    "cw": rounded(event.cross_wallet),
                    "bc": rounded(event.change),
                }
            ],
            "P": [_position_frame(position) for position in event.positions],
        },
    }


def _position_frame(position: PositionNow) -> dict[str, Any]:
    return {
        "s": position.market.name,
        "pa": text(position.quantity),
        "ep": rounded(position.entry_price),
        "bep": rounded(position.entry_price),
        "cr": rounded(position.realized),
        "up": rounded(position.unrealized),
        "mt": _MARGIN_TYPE[position.isolated],
        "iw": rounded(position.isolated_wallet),
        "ps": position.side,
    }


def force_order(event: VenueEvent) -> dict[str, Any]:
    """`<symbol>@forceOrder` of the market streams ("Liquidation Order Streams"), from the
    CALCULATED execution of a liquidation.
    """
    order, trade = event.order, event.trade
    return {
        "e": "forceOrder",
        "E": event.time_ms,
        "o": {
            "s": order.market.name,
            "S": SIDE[order.side],
            "o": order.type,
            "f": order.time_in_force,
            "q": text(order.quantity),
            "p": text(order.price),
            "ap": rounded(event.average_price),
            "X": WORD_OF[event.status],
            "l": text(trade.quantity if trade else None),
            "z": text(event.filled),
            "T": event.time_ms,
        },
    }


def _digits(step: Decimal) -> int:
    return max(0, -int(step.normalize().as_tuple().exponent))
