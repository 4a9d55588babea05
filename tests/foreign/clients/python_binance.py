"""python-binance: REST, user stream, market stream and WebSocket API, asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from binance import AsyncClient, BinanceSocketManager
from binance.exceptions import BinanceAPIException
from binance_words import read_event, read_order, terms
from trading_day import SYMBOL, Client, Refused, run


async def answer(request: Awaitable[Any]) -> Any:
    try:
        return await request
    except BinanceAPIException as error:
        raise Refused(error.code) from error


class PythonBinance(Client):
    has_websocket_api = True

    async def open(self) -> None:
        self.client = AsyncClient(self.key, self.secret)
        self.client.FUTURES_URL = self.url + "/fapi"
        self.client.ws_future._url = self.streams + "/ws-fapi/v1"
        sockets = BinanceSocketManager(self.client)
        sockets.FSTREAM_URL = self.streams + "/"
        self.sockets = [
            sockets.futures_user_socket(),
            sockets.aggtrade_futures_socket(SYMBOL.lower()),
        ]
        for socket in self.sockets:
            await socket.__aenter__()
        self.tasks = [
            asyncio.create_task(self.listen(socket, hear))
            for socket, hear in zip(self.sockets, (self.hear_user, self.hear_market), strict=True)
        ]

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for socket in self.sockets:
            await socket.__aexit__(None, None, None)
        await self.client.close_connection()

    async def listen(self, socket: Any, hear: Any) -> None:
        while True:
            hear(await socket.recv())

    def hear_user(self, frame: dict[str, Any]) -> None:
        if frame["e"] == "ORDER_TRADE_UPDATE":
            self.events.append(read_event(frame))

    def hear_market(self, frame: dict[str, Any]) -> None:
        self.prices.append(frame["data"]["p"])

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
            await answer(
                self.client.futures_create_order(
                    symbol=SYMBOL,
                    side=side,
                    quantity=quantity,
                    newClientOrderId=name,
                    newOrderRespType="RESULT",
                    **terms(price, time_in_force=time_in_force, reduce_only=reduce_only),
                )
            )
        )

    async def amend(self, name: str, order: dict[str, Any], quantity: str, price: str) -> Any:
        return read_order(
            await answer(
                self.client.futures_modify_order(
                    symbol=SYMBOL,
                    side="BUY",
                    origClientOrderId=name,
                    quantity=quantity,
                    price=price,
                )
            )
        )

    async def query(self, name: str) -> dict[str, Any]:
        found = await answer(self.client.futures_get_order(symbol=SYMBOL, origClientOrderId=name))
        return read_order(found)

    async def cancel(self, name: str) -> dict[str, Any]:
        return read_order(
            await answer(self.client.futures_cancel_order(symbol=SYMBOL, origClientOrderId=name))
        )

    async def open_orders(self) -> list[dict[str, Any]]:
        return [read_order(o) for o in await self.client.futures_get_open_orders(symbol=SYMBOL)]

    async def place_stop(self, name: str, kind: str, trigger_price: str, quantity: str) -> None:
        await answer(
            self.client.futures_create_order(
                symbol=SYMBOL,
                side="SELL",
                type=kind,
                stopPrice=trigger_price,
                quantity=quantity,
                reduceOnly="true",
                clientAlgoId=name,
            )
        )

    async def cancel_stop(self, name: str) -> None:
        await answer(self.client.futures_cancel_algo_order(clientAlgoId=name))

    async def open_stops(self) -> list[str]:
        waiting = await self.client.futures_get_open_algo_orders(symbol=SYMBOL)
        return [order["clientAlgoId"] for order in waiting]

    async def set_leverage(self, leverage: int) -> int:
        changed = await self.client.futures_change_leverage(symbol=SYMBOL, leverage=leverage)
        return int(changed["leverage"])

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
            for trade in await self.client.futures_account_trades(symbol=SYMBOL)
        ]

    async def position(self) -> dict[str, Any]:
        (position,) = await self.client.futures_position_information(symbol=SYMBOL)
        return {"quantity": position["positionAmt"], "entry": position["entryPrice"]}

    async def wallet(self) -> str:
        return str((await self.client.futures_account())["totalWalletBalance"])

    async def last_price(self) -> str:
        return str((await self.client.futures_symbol_ticker(symbol=SYMBOL))["price"])

    async def ws_place(self, name: str, side: str, quantity: str, price: str) -> dict[str, Any]:
        return read_order(
            await self.client.ws_futures_create_order(
                symbol=SYMBOL,
                side=side,
                type="LIMIT",
                timeInForce="GTC",
                quantity=quantity,
                price=price,
                newClientOrderId=name,
            )
        )

    async def ws_amend(self, name: str, order: dict[str, Any], quantity: str, price: str) -> Any:
        return read_order(
            await self.client.ws_futures_edit_order(
                symbol=SYMBOL, side="BUY", origClientOrderId=name, quantity=quantity, price=price
            )
        )

    async def ws_query(self, name: str) -> dict[str, Any]:
        return read_order(
            await self.client.ws_futures_get_order(symbol=SYMBOL, origClientOrderId=name)
        )

    async def ws_cancel(self, name: str) -> dict[str, Any]:
        return read_order(
            await self.client.ws_futures_cancel_order(symbol=SYMBOL, origClientOrderId=name)
        )


if __name__ == "__main__":
    run(PythonBinance)
