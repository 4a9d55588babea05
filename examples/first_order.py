"""The smallest bot: wait until it is safe, send one order, tell the world.

holdfast exchange --port 9000 &
python examples/first_order.py examples/holdfast.toml
"""

import sys

import anyio

from holdfast import Engine, Order


async def main(config: str) -> None:
    async with Engine.open(config) as engine:
        await engine.until_healthy()
        report = await engine.submit(
            Order("BTC/USDT:USDT", "buy", "0.010", price="64000", key="signal-17")
        )
        await engine.publish("trade.opened", {"order": report.client_order_id})
        print(f"{report.client_order_id}: {report.order_status}, filled {report.filled}")


anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else "holdfast.toml")
