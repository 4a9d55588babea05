"""binance-futures-connector: REST and streams, synchronous, with a thread for each stream.

It knows neither conditional orders nor the WebSocket API; the first are asked for as its users
do, through its `sign_request`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from binance.error import ClientError
from binance.um_futures import UMFutures
from binance.websocket.um_futures.websocket_client import UMFuturesWebsocketClient
from binance_words import read_event, read_order, terms
from trading_day import SYMBOL, Client, Refused, run, until

ALGO = "/fapi/v1/algoOrder"


def answer(call: Callable[..., Any], *arguments: Any, **terms: Any) -> Any:
    try:
        return call(*arguments, **terms)
    except ClientError as error:
        raise Refused(error.error_code) from error


class FuturesConnector(Client):
    async def open(self) -> None:
        self.client = UMFutures(self.key, self.secret, base_url=self.url, timeout=30)
        self.subscribed = 0
        self.socket = UMFuturesWebsocketClient(stream_url=self.streams, on_message=self.hear)
        self.socket.subscribe(self.client.new_listen_key()["listenKey"], id=1)
        self.socket.agg_trade(SYMBOL, id=2)
        await until(lambda: self.subscribed == 2, lambda: "the subscriptions were not answered")

    async def close(self) -> None:
        self.socket.stop()

    def hear(self, _manager: Any, text: str) -> None:
        frame = json.loads(text)
        if "result" in frame:
            self.subscribed += 1
        elif frame["e"] == "aggTrade":
            self.prices.append(frame["p"])
        elif frame["e"] == "ORDER_TRADE_UPDATE":
            self.events.append(read_event(frame))

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
        return read_order(
            answer(
                self.client.new_order,
                SYMBOL,
                side,
                quantity=quantity,
                newClientOrderId=name,
                newOrderRespType="RESULT",
                **terms(price, time_in_force=time_in_force, reduce_only=reduce_only),
            )
        )

    async def amend(self, name: str, order: dict[str, Any], quantity: str, price: str) -> Any:
        return read_order(
            answer(self.client.modify_order, SYMBOL, "BUY", quantity, price, origClientOrderId=name)
        )

    async def query(self, name: str) -> dict[str, Any]:
        return read_order(answer(self.client.query_order, SYMBOL, origClientOrderId=name))

    async def cancel(self, name: str) -> dict[str, Any]:
        return read_order(answer(self.client.cancel_order, SYMBOL, origClientOrderId=name))

    async def open_orders(self) -> list[dict[str, Any]]:
        # What it calls get_open_orders asks for one; those of a symbol are get_orders.
        return [read_order(order) for order in answer(self.client.get_orders, symbol=SYMBOL)]

    async def place_stop(self, name: str, kind: str, trigger_price: str, quantity: str) -> None:
        terms = {
            "symbol": SYMBOL,
            "algoType": "CONDITIONAL",
            "side": "SELL",
            "type": kind,
            "triggerPrice": trigger_price,
            "quantity": quantity,
            "reduceOnly": "true",
            "clientAlgoId": name,
        }
        answer(self.client.sign_request, "POST", ALGO, terms)

    async def cancel_stop(self, name: str) -> None:
        answer(self.client.sign_request, "DELETE", ALGO, {"clientAlgoId": name})

    async def open_stops(self) -> list[str]:
        asked = {"symbol": SYMBOL}
        waiting = answer(self.client.sign_request, "GET", "/fapi/v1/openAlgoOrders", asked)
        return [order["clientAlgoId"] for order in waiting]

    async def set_leverage(self, leverage: int) -> int:
        return int(answer(self.client.change_leverage, SYMBOL, leverage)["leverage"])

    async def trades(self) -> list[dict[str, Any]]:
        return [
            {
                "id": trade["id"],
                "order": trade["orderId"],
                "quantity": trade["qty"],
                "price": trade["price"],
                "fee": trade["commission"],
                "maker": trade["maker"],
            }
            for trade in answer(self.client.get_account_trades, SYMBOL)
        ]

    async def position(self) -> dict[str, Any]:
        (position,) = answer(self.client.get_position_risk, symbol=SYMBOL)
        return {"quantity": position["positionAmt"], "entry": position["entryPrice"]}

    async def wallet(self) -> str:
        return str(answer(self.client.account)["totalWalletBalance"])

    async def last_price(self) -> str:
        return str(answer(self.client.ticker_price, SYMBOL)["price"])


if __name__ == "__main__":
    run(FuturesConnector)
