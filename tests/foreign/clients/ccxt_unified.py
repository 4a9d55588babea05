"""What both kinds of ccxt are told and say: the unified calls of `binanceusdm`.

The exchange object is `self.exchange`, whose calls are awaited by `self.call`.
"""

from __future__ import annotations

from typing import Any

import ccxt
from trading_day import Client, Refused

UNIFIED = "BTC/USDT:USDT"


def options(url: str, key: str, secret: str) -> dict[str, Any]:
    """Every address is the exchange's: nothing of ccxt's own is left."""
    addresses = ccxt.binanceusdm().urls["api"]
    api = {
        name: f"{url}/{address.split('/', 3)[3]}"
        for name, address in addresses.items()
        if isinstance(address, str)
    }
    streams = "ws" + url.removeprefix("http")
    sockets = {
        "linear": f"{streams}/ws",
        "ws-api": {"linear": f"{streams}/ws-fapi/v1"},
    }
    return {
        "apiKey": key,
        "secret": secret,
        "number": str,
        "options": {"fetchCurrencies": False},
        "urls": {"api": {**api, "ws": sockets}},
    }


def read_order(order: dict[str, Any]) -> dict[str, Any]:
    status = {"closed": "filled"}.get(order["status"], order["status"])
    if status == "open" and float(order["filled"] or 0):
        status = "partially_filled"
    return {
        "id": order["id"],
        "name": order["clientOrderId"],
        "status": status,
        "filled": order["filled"],
        "quantity": order["amount"],
        "price": "0" if order["type"] == "market" else order["price"],
    }


def code_of(error: Exception) -> int:
    """ccxt's exceptions carry the answer as text: `binanceusdm {"code":-2011,"msg":…}`."""
    return int(str(error).partition('"code":')[2].partition(",")[0])


class Unified(Client):
    exchange: Any

    async def call(self, name: str, *arguments: Any, **terms: Any) -> Any:
        """Of the exchange object; refusals are raised as `Refused`."""
        raise NotImplementedError

    async def asked(self, name: str, *arguments: Any, **terms: Any) -> Any:
        try:
            return await self.call(name, *arguments, **terms)
        except ccxt.ExchangeError as error:
            raise Refused(code_of(error)) from error

    async def place(
        self,
        name: str,
        side: str,
        quantity: str,
        price: str | None = None,
        *,
        time_in_force: str = "GTC",
        reduce_only: bool = False,
    ) -> dict[str, Any]:
        params: dict[str, Any] = {"clientOrderId": name}
        if time_in_force == "GTX":
            params["postOnly"] = True
        if reduce_only:
            params["reduceOnly"] = True
        kind = "market" if price is None else "limit"
        return read_order(
            await self.asked("create_order", UNIFIED, kind, side.lower(), quantity, price, params)
        )

    async def amend(self, name: str, order: dict[str, Any], quantity: str, price: str) -> Any:
        return read_order(
            await self.asked("edit_order", order["id"], UNIFIED, "limit", "buy", quantity, price)
        )

    async def query(self, name: str) -> dict[str, Any]:
        asked = {"origClientOrderId": name}
        return read_order(await self.asked("fetch_order", None, UNIFIED, asked))

    async def cancel(self, name: str) -> dict[str, Any]:
        asked = {"origClientOrderId": name}
        return read_order(await self.asked("cancel_order", None, UNIFIED, asked))

    async def open_orders(self) -> list[dict[str, Any]]:
        return [read_order(order) for order in await self.asked("fetch_open_orders", UNIFIED)]

    async def place_stop(self, name: str, kind: str, trigger_price: str, quantity: str) -> None:
        price = "stopLossPrice" if kind == "STOP_MARKET" else "takeProfitPrice"
        params = {"clientOrderId": name, price: trigger_price, "reduceOnly": True}
        await self.asked("create_order", UNIFIED, "market", "sell", quantity, None, params)

    async def cancel_stop(self, name: str) -> None:
        asked = {"clientAlgoId": name, "trigger": True}
        await self.asked("cancel_order", None, UNIFIED, asked)

    async def open_stops(self) -> list[str]:
        waiting = await self.asked("fetch_open_orders", UNIFIED, params={"trigger": True})
        return [order["clientOrderId"] for order in waiting]

    async def set_leverage(self, leverage: int) -> int:
        return int((await self.asked("set_leverage", leverage, UNIFIED))["leverage"])

    async def trades(self) -> list[dict[str, Any]]:
        return [
            {
                "id": trade["id"],
                "order": trade["order"],
                "quantity": trade["amount"],
                "price": trade["price"],
                "fee": trade["fee"]["cost"],
                "maker": trade["takerOrMaker"] == "maker",
            }
            for trade in await self.asked("fetch_my_trades", UNIFIED)
        ]

    async def position(self) -> dict[str, Any]:
        (position,) = await self.asked("fetch_positions", [UNIFIED])
        quantity = position["contracts"]
        signed = quantity if position["side"] == "long" else f"-{quantity}"
        return {"quantity": signed, "entry": position["entryPrice"]}

    async def wallet(self) -> str:
        return str((await self.asked("fetch_balance"))["info"]["totalWalletBalance"])

    async def last_price(self) -> str:
        return str((await self.asked("fetch_ticker", UNIFIED))["last"])
