"""ccxt.pro: REST, user stream, market stream and WebSocket API."""

from __future__ import annotations

import asyncio
from typing import Any

import ccxt.pro
from ccxt_unified import UNIFIED, Unified, options, read_order
from trading_day import STATUS, run, until


class CcxtPro(Unified):
    has_websocket_api = True

    async def open(self) -> None:
        self.exchange = ccxt.pro.binanceusdm(options(self.url, self.key, self.secret))
        await self.exchange.load_markets()
        self.tasks = [
            asyncio.create_task(self.watch_orders()),
            asyncio.create_task(self.watch_trades()),
        ]
        await until(self.connected, lambda: "the user stream did not open")

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.exchange.close()

    def connected(self) -> bool:
        return any(
            "listenKey=" in url and client.connected.done()
            for url, client in self.exchange.clients.items()
        )

    async def call(self, name: str, *arguments: Any, **terms: Any) -> Any:
        return await getattr(self.exchange, name)(*arguments, **terms)

    async def watch_orders(self) -> None:
        """Each call tells what came since the last one; the raw events are kept in `info`."""
        while True:
            for order in await self.exchange.watch_orders(UNIFIED):
                told = order["info"]
                if "x" in told:  # else it is conditional
                    self.events.append((told["c"], told["x"], STATUS[told["X"]], told["z"]))

    async def watch_trades(self) -> None:
        while True:
            for trade in await self.exchange.watch_trades(UNIFIED):
                self.prices.append(trade["price"])

    async def ws_place(self, name: str, side: str, quantity: str, price: str) -> dict[str, Any]:
        params = {"clientOrderId": name}
        return read_order(
            await self.asked(
                "create_order_ws", UNIFIED, "limit", side.lower(), quantity, price, params
            )
        )

    async def ws_amend(self, name: str, order: dict[str, Any], quantity: str, price: str) -> Any:
        return read_order(
            await self.asked("edit_order_ws", order["id"], UNIFIED, "limit", "buy", quantity, price)
        )

    async def ws_query(self, name: str) -> dict[str, Any]:
        asked = {"origClientOrderId": name}
        return read_order(await self.asked("fetch_order_ws", None, UNIFIED, asked))

    async def ws_cancel(self, name: str) -> dict[str, Any]:
        asked = {"origClientOrderId": name}
        return read_order(await self.asked("cancel_order_ws", None, UNIFIED, asked))


if __name__ == "__main__":
    run(CcxtPro)
