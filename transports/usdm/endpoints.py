"""The requests of Binance's USDⓈ-M REST interface that are made, with what each costs.

Paths, security types and weights: developers.binance.com, USDⓈ-M, "Trade" and "Account"
endpoints. What depends on parameters is given for the way in which it is asked here.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, NamedTuple


class Security(Enum):
    """What a request must prove."""

    NONE = "none"
    KEY = "key"
    SIGNED = "signed"


class Endpoint(NamedTuple):
    """One request.

    :ivar name: the path after the version.
    :ivar weight: of the address's budget.
    :ivar orders: of the account's budget of orders.
    :ivar api: `sapi` is the account as a whole, beyond futures: at another address, with
        budgets of its own.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    version: int
    name: str
    security: Security
    weight: int
    orders: int = 0
    api: Literal["fapi", "sapi"] = "fapi"

    @property
    def path(self) -> str:
        return f"/{self.api}/v{self.version}/{self.name}"


_NONE, _KEY, _SIGNED = Security.NONE, Security.KEY, Security.SIGNED

TIME: Final = Endpoint("GET", 1, "time", _NONE, 1)
EXCHANGE_INFO: Final = Endpoint("GET", 1, "exchangeInfo", _NONE, 1)
LAST_PRICE: Final = Endpoint("GET", 2, "ticker/price", _NONE, 1)

NEW_ORDER: Final = Endpoint("POST", 1, "order", _SIGNED, 0, orders=1)
QUERY_ORDER: Final = Endpoint("GET", 1, "order", _SIGNED, 1)
CANCEL_ORDER: Final = Endpoint("DELETE", 1, "order", _SIGNED, 1)
OPEN_ORDERS: Final = Endpoint("GET", 1, "openOrders", _SIGNED, 40)
ALL_ORDERS: Final = Endpoint("GET", 1, "allOrders", _SIGNED, 5)
USER_TRADES: Final = Endpoint("GET", 1, "userTrades", _SIGNED, 5)
NEW_ALGO_ORDER: Final = Endpoint("POST", 1, "algoOrder", _SIGNED, 0, orders=1)
QUERY_ALGO_ORDER: Final = Endpoint("GET", 1, "algoOrder", _SIGNED, 1)
CANCEL_ALGO_ORDER: Final = Endpoint("DELETE", 1, "algoOrder", _SIGNED, 1)
OPEN_ALGO_ORDERS: Final = Endpoint("GET", 1, "openAlgoOrders", _SIGNED, 40)
COUNTDOWN_CANCEL_ALL: Final = Endpoint("POST", 1, "countdownCancelAll", _SIGNED, 10)

POSITIONS: Final = Endpoint("GET", 3, "positionRisk", _SIGNED, 5)
ACCOUNT: Final = Endpoint("GET", 3, "account", _SIGNED, 5)
BALANCES: Final = Endpoint("GET", 3, "balance", _SIGNED, 5)
INCOME: Final = Endpoint("GET", 1, "income", _SIGNED, 30)
POSITION_MODE: Final = Endpoint("GET", 1, "positionSide/dual", _SIGNED, 30)
SET_POSITION_MODE: Final = Endpoint("POST", 1, "positionSide/dual", _SIGNED, 1)
ACCOUNT_CONFIG: Final = Endpoint("GET", 1, "accountConfig", _SIGNED, 5)
KEY_PERMISSIONS: Final = Endpoint("GET", 1, "account/apiRestrictions", _SIGNED, 0, api="sapi")
SYMBOL_CONFIG: Final = Endpoint("GET", 1, "symbolConfig", _SIGNED, 5)
SET_LEVERAGE: Final = Endpoint("POST", 1, "leverage", _SIGNED, 1)
SET_MARGIN_TYPE: Final = Endpoint("POST", 1, "marginType", _SIGNED, 1)

NEW_LISTEN_KEY: Final = Endpoint("POST", 1, "listenKey", _KEY, 1)
EXTEND_LISTEN_KEY: Final = Endpoint("PUT", 1, "listenKey", _KEY, 1)

ENDPOINTS: Final = tuple(value for value in vars().values() if isinstance(value, Endpoint))
