"""All REST endpoints of the venue. Weights: each endpoint's page in Binance's documentation.

Not offered, and answered like any path that does not exist: what the venue can not know
honestly (open interest, ratios, index and mark price candles), conversions, downloads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from . import account_api as account
from . import algo_api as algo
from . import market_api as market
from . import order_api as orders
from .api import Route, Security, Weight
from .parameters import Params, integer
from .rules import VenueError

_NONE, _KEY, _SIGNED = Security.NONE, Security.KEY, Security.SIGNED
ONE_ORDER: Final = (1, 1)
ONE_BATCH: Final = (5, 1)


def _with_symbol(weight: int, without: int) -> Callable[[Params], int]:
    return lambda params: weight if params.get("symbol") else without


def _by_limit(default: int, *steps: tuple[int, int], above: int) -> Callable[[Params], int]:
    """:param steps: `(largest limit, weight)`, ascending."""

    def weight(params: Params) -> int:
        try:
            limit = integer(params, "limit", default)
        except VenueError:
            return above  # the handler will refuse it
        return next((weight for most, weight in steps if limit <= most), above)

    return weight


_DEPTH: Final[Weight] = _by_limit(500, (50, 2), (100, 5), (500, 10), above=20)
_KLINES: Final[Weight] = _by_limit(500, (99, 1), (499, 2), (1000, 5), above=10)

ROUTES: Final[Mapping[tuple[str, str], Route]] = {
    # The market.
    ("GET", "/fapi/v1/ping"): Route(market.ping, _NONE, "probe", 1),
    ("GET", "/fapi/v1/time"): Route(market.time, _NONE, "probe", 1),
    ("GET", "/fapi/v1/exchangeInfo"): Route(market.exchange_info, _NONE, "snapshot", 1),
    ("GET", "/fapi/v1/depth"): Route(market.depth, _NONE, "snapshot", _DEPTH),
    ("GET", "/fapi/v1/trades"): Route(market.trades, _NONE, "snapshot", 5),
    ("GET", "/fapi/v1/historicalTrades"): Route(market.historical_trades, _KEY, "snapshot", 200),
    ("GET", "/fapi/v1/aggTrades"): Route(market.agg_trades, _NONE, "snapshot", 20),
    ("GET", "/fapi/v1/klines"): Route(market.klines, _NONE, "snapshot", _KLINES),
    ("GET", "/fapi/v1/continuousKlines"): Route(
        market.continuous_klines, _NONE, "snapshot", _KLINES
    ),
    ("GET", "/fapi/v1/premiumIndex"): Route(
        market.premium_index, _NONE, "snapshot", _with_symbol(1, 10)
    ),
    ("GET", "/fapi/v1/fundingRate"): Route(market.funding_rate, _NONE, "snapshot", 0),
    ("GET", "/fapi/v1/fundingInfo"): Route(market.funding_info, _NONE, "snapshot", 0),
    ("GET", "/fapi/v1/ticker/24hr"): Route(
        market.ticker_24h, _NONE, "snapshot", _with_symbol(1, 40)
    ),
    ("GET", "/fapi/v1/ticker/price"): Route(
        market.ticker_price, _NONE, "snapshot", _with_symbol(1, 2)
    ),
    ("GET", "/fapi/v2/ticker/price"): Route(
        market.ticker_price, _NONE, "snapshot", _with_symbol(1, 2)
    ),
    ("GET", "/fapi/v1/ticker/bookTicker"): Route(
        market.book_ticker, _NONE, "snapshot", _with_symbol(2, 5)
    ),
    # Orders.
    ("POST", "/fapi/v1/order"): Route(orders.new_order, _SIGNED, "place", 0, ONE_ORDER),
    ("PUT", "/fapi/v1/order"): Route(orders.modify_order, _SIGNED, "place", 0, ONE_ORDER),
    ("POST", "/fapi/v1/order/test"): Route(orders.test_order, _SIGNED, "probe", 0),
    ("POST", "/fapi/v1/batchOrders"): Route(orders.batch_orders, _SIGNED, "place", 5, ONE_BATCH),
    ("GET", "/fapi/v1/order"): Route(orders.get_order, _SIGNED, "query", 1),
    ("GET", "/fapi/v1/openOrder"): Route(orders.get_open_order, _SIGNED, "query", 1),
    ("DELETE", "/fapi/v1/order"): Route(orders.cancel_order, _SIGNED, "cancel", 1),
    ("DELETE", "/fapi/v1/batchOrders"): Route(orders.cancel_batch, _SIGNED, "cancel", 1),
    ("DELETE", "/fapi/v1/allOpenOrders"): Route(orders.cancel_all, _SIGNED, "cancel", 1),
    ("POST", "/fapi/v1/countdownCancelAll"): Route(
        orders.countdown_cancel_all, _SIGNED, "cancel", 10
    ),
    ("GET", "/fapi/v1/openOrders"): Route(
        orders.open_orders, _SIGNED, "snapshot", _with_symbol(1, 40)
    ),
    ("GET", "/fapi/v1/allOrders"): Route(orders.all_orders, _SIGNED, "snapshot", 5),
    ("GET", "/fapi/v1/userTrades"): Route(orders.user_trades, _SIGNED, "snapshot", 5),
    ("GET", "/fapi/v1/forceOrders"): Route(
        orders.force_orders, _SIGNED, "snapshot", _with_symbol(20, 50)
    ),
    # Conditional orders.
    ("POST", "/fapi/v1/algoOrder"): Route(algo.new_algo_order, _SIGNED, "place", 0, ONE_ORDER),
    ("GET", "/fapi/v1/algoOrder"): Route(algo.query_algo_order, _SIGNED, "query", 1),
    ("DELETE", "/fapi/v1/algoOrder"): Route(algo.cancel_algo_order, _SIGNED, "cancel", 1),
    ("DELETE", "/fapi/v1/algoOpenOrders"): Route(algo.cancel_all_algo_orders, _SIGNED, "cancel", 1),
    ("GET", "/fapi/v1/openAlgoOrders"): Route(
        algo.open_algo_orders, _SIGNED, "snapshot", _with_symbol(1, 40)
    ),
    ("GET", "/fapi/v1/allAlgoOrders"): Route(algo.all_algo_orders, _SIGNED, "snapshot", 5),
    # The account.
    ("GET", "/fapi/v2/positionRisk"): Route(account.position_risk_v2, _SIGNED, "snapshot", 5),
    ("GET", "/fapi/v3/positionRisk"): Route(account.position_risk_v3, _SIGNED, "snapshot", 5),
    ("GET", "/fapi/v2/account"): Route(account.account_info, _SIGNED, "snapshot", 5),
    ("GET", "/fapi/v3/account"): Route(account.account_info, _SIGNED, "snapshot", 5),
    ("GET", "/fapi/v2/balance"): Route(account.balance, _SIGNED, "probe", 5),
    ("GET", "/fapi/v3/balance"): Route(account.balance, _SIGNED, "probe", 5),
    ("GET", "/fapi/v1/accountConfig"): Route(account.account_config, _SIGNED, "snapshot", 5),
    ("GET", "/sapi/v1/account/apiRestrictions"): Route(
        account.api_restrictions, Security.ACCOUNT, "snapshot", 0
    ),
    ("GET", "/fapi/v1/symbolConfig"): Route(account.symbol_config, _SIGNED, "snapshot", 5),
    ("GET", "/fapi/v1/leverageBracket"): Route(account.leverage_bracket, _SIGNED, "snapshot", 1),
    ("GET", "/fapi/v1/commissionRate"): Route(account.commission_rate, _SIGNED, "snapshot", 20),
    ("GET", "/fapi/v1/income"): Route(account.income, _SIGNED, "snapshot", 30),
    ("GET", "/fapi/v1/apiTradingStatus"): Route(
        account.trading_status, _SIGNED, "snapshot", _with_symbol(1, 10)
    ),
    ("GET", "/fapi/v1/rateLimit/order"): Route(account.order_rate_limits, _SIGNED, "snapshot", 1),
    ("GET", "/fapi/v1/multiAssetsMargin"): Route(
        account.multi_assets_mode, _SIGNED, "snapshot", 30
    ),
    ("POST", "/fapi/v1/multiAssetsMargin"): Route(
        account.set_multi_assets_mode, _SIGNED, "snapshot", 1
    ),
    ("GET", "/fapi/v1/positionSide/dual"): Route(account.position_mode, _SIGNED, "snapshot", 30),
    ("POST", "/fapi/v1/positionSide/dual"): Route(
        account.set_position_mode, _SIGNED, "snapshot", 1
    ),
    ("POST", "/fapi/v1/leverage"): Route(account.leverage, _SIGNED, "snapshot", 1),
    ("POST", "/fapi/v1/marginType"): Route(account.margin_type, _SIGNED, "snapshot", 1),
    ("POST", "/fapi/v1/positionMargin"): Route(account.position_margin, _SIGNED, "snapshot", 1),
    ("POST", "/fapi/v1/listenKey"): Route(account.listen_key_create, _KEY, "stream", 1),
    ("PUT", "/fapi/v1/listenKey"): Route(account.listen_key_extend, _KEY, "stream", 1),
    ("DELETE", "/fapi/v1/listenKey"): Route(account.listen_key_delete, _KEY, "stream", 1),
}
