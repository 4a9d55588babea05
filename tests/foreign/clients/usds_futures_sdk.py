"""Binance's own SDK for USDⓈ-M futures: REST, user stream, market stream and WebSocket API.

Its models are strict: a field of the wrong type is an error of the SDK's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_common.errors import BadRequestError
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import (
    DerivativesTradingUsdsFutures,
)
from binance_sdk_derivatives_trading_usds_futures.rest_api.models import (
    ModifyOrderSideEnum,
    NewAlgoOrderAlgoTypeEnum,
    NewAlgoOrderReduceOnlyEnum,
    NewAlgoOrderSideEnum,
    NewAlgoOrderTypeEnum,
    NewOrderNewOrderRespTypeEnum,
    NewOrderReduceOnlyEnum,
    NewOrderSideEnum,
    NewOrderTimeInForceEnum,
)
from binance_sdk_derivatives_trading_usds_futures.websocket_api import models as ws_models
from binance_sdk_derivatives_trading_usds_futures.websocket_streams.models import OrderTradeUpdate
from trading_day import STATUS, SYMBOL, Client, Refused, run


def read_order(order: Any) -> dict[str, Any]:
    return {
        "id": order.order_id,
        "name": order.client_order_id,
        "status": STATUS[order.status],
        "filled": order.executed_qty,
        "quantity": order.orig_qty,
        "price": order.price,
    }


def answer(call: Callable[..., Any], *arguments: Any, **terms: Any) -> Any:
    try:
        return call(*arguments, **terms).data()
    except BadRequestError as error:
        raise Refused(error.status_code or 0) from error  # the SDK puts Binance's code there


class UsdsFuturesSdk(Client):
    has_websocket_api = True

    async def open(self) -> None:
        keys = {"api_key": self.key, "api_secret": self.secret}
        client = DerivativesTradingUsdsFutures(
            config_rest_api=ConfigurationRestAPI(base_path=self.url, timeout=30_000, **keys),
            config_ws_api=ConfigurationWebSocketAPI(
                stream_url=f"{self.streams}/ws-fapi/v1", return_rate_limits=False, **keys
            ),
            config_ws_streams=ConfigurationWebSocketStreams(stream_url=self.streams),
        )
        self.rest = client.rest_api
        self.api = client.websocket_api
        self.feed = client.websocket_streams
        await self.feed.create_connection()
        listen_key = answer(self.rest.start_user_data_stream).listen_key
        user = await self.feed.user_data(listen_key)
        user.on("message", self.hear_user)
        market = await self.feed.aggregate_trade_streams(symbol=SYMBOL.lower())
        market.on("message", lambda trade: self.prices.append(trade.p))
        await self.api.create_connection()

    async def close(self) -> None:
        await self.feed.close_connection(close_session=True)
        await self.api.close_connection(close_session=True)

    def hear_user(self, message: Any) -> None:
        event = message.actual_instance
        if isinstance(event, OrderTradeUpdate):
            order = event.o
            self.events.append((order.c, order.x, STATUS[order.X], order.z))

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
        terms: dict[str, Any] = {"type": "MARKET"}
        if price is not None:
            terms = {"type": "LIMIT", "price": float(price)}
            terms["time_in_force"] = NewOrderTimeInForceEnum(time_in_force)
        if reduce_only:
            terms["reduce_only"] = NewOrderReduceOnlyEnum.TRUE
        return read_order(
            answer(
                self.rest.new_order,
                symbol=SYMBOL,
                side=NewOrderSideEnum(side),
                quantity=float(quantity),
                new_client_order_id=name,
                new_order_resp_type=NewOrderNewOrderRespTypeEnum.RESULT,
                **terms,
            )
        )

    async def amend(self, name: str, order: dict[str, Any], quantity: str, price: str) -> Any:
        return read_order(
            answer(
                self.rest.modify_order,
                symbol=SYMBOL,
                side=ModifyOrderSideEnum.BUY,
                quantity=float(quantity),
                price=float(price),
                order_id=order["id"],
            )
        )

    async def query(self, name: str) -> dict[str, Any]:
        return read_order(answer(self.rest.query_order, SYMBOL, orig_client_order_id=name))

    async def cancel(self, name: str) -> dict[str, Any]:
        return read_order(answer(self.rest.cancel_order, SYMBOL, orig_client_order_id=name))

    async def open_orders(self) -> list[dict[str, Any]]:
        return [read_order(o) for o in answer(self.rest.current_all_open_orders, symbol=SYMBOL)]

    async def place_stop(self, name: str, kind: str, trigger_price: str, quantity: str) -> None:
        answer(
            self.rest.new_algo_order,
            algo_type=NewAlgoOrderAlgoTypeEnum.CONDITIONAL,
            symbol=SYMBOL,
            side=NewAlgoOrderSideEnum.SELL,
            type=NewAlgoOrderTypeEnum(kind),
            trigger_price=float(trigger_price),
            quantity=float(quantity),
            reduce_only=NewAlgoOrderReduceOnlyEnum.TRUE,
            client_algo_id=name,
        )

    async def cancel_stop(self, name: str) -> None:
        answer(self.rest.cancel_algo_order, client_algo_id=name)

    async def open_stops(self) -> list[str]:
        waiting = answer(self.rest.current_all_algo_open_orders, symbol=SYMBOL)
        return [order.client_algo_id for order in waiting]

    async def set_leverage(self, leverage: int) -> int:
        changed = answer(self.rest.change_initial_leverage, symbol=SYMBOL, leverage=leverage)
        return int(changed.leverage)

    async def trades(self) -> list[dict[str, Any]]:
        return [
            {
                "id": trade.id,
                "order": trade.order_id,
                "quantity": trade.qty,
                "price": trade.price,
                "fee": trade.commission,
                "maker": trade.maker,
            }
            for trade in answer(self.rest.account_trade_list, symbol=SYMBOL)
        ]

    async def position(self) -> dict[str, Any]:
        (position,) = answer(self.rest.position_information_v3, symbol=SYMBOL)
        return {"quantity": position.position_amt, "entry": position.entry_price}

    async def wallet(self) -> str:
        return str(answer(self.rest.account_information_v3).total_wallet_balance)

    async def last_price(self) -> str:
        return str(answer(self.rest.symbol_price_ticker, symbol=SYMBOL).actual_instance.price)

    async def ws_place(self, name: str, side: str, quantity: str, price: str) -> dict[str, Any]:
        response = await self.api.new_order(
            symbol=SYMBOL,
            side=ws_models.NewOrderSideEnum(side),
            type="LIMIT",
            time_in_force=ws_models.NewOrderTimeInForceEnum.GTC,
            quantity=float(quantity),
            price=float(price),
            new_client_order_id=name,
        )
        return read_order(response.data().result)

    async def ws_amend(self, name: str, order: dict[str, Any], quantity: str, price: str) -> Any:
        response = await self.api.modify_order(
            symbol=SYMBOL,
            side=ws_models.ModifyOrderSideEnum.BUY,
            quantity=float(quantity),
            price=float(price),
            orig_client_order_id=name,
        )
        return read_order(response.data().result)

    async def ws_query(self, name: str) -> dict[str, Any]:
        response = await self.api.query_order(symbol=SYMBOL, orig_client_order_id=name)
        return read_order(response.data().result)

    async def ws_cancel(self, name: str) -> dict[str, Any]:
        response = await self.api.cancel_order(symbol=SYMBOL, orig_client_order_id=name)
        return read_order(response.data().result)


if __name__ == "__main__":
    run(UsdsFuturesSdk)
