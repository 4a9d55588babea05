"""The same engine for a script without `async`: it runs in a thread of its own.

python examples/synchronous.py examples/holdfast.toml
"""

import sys

from holdfast import Engine, Order, TradingHalted

config = sys.argv[1] if len(sys.argv) > 1 else "holdfast.toml"

with Engine.open_blocking(config) as engine:
    engine.until_healthy()
    try:
        report = engine.submit(Order("BTC/USDT:USDT", "buy", "0.010"))
    except TradingHalted as halted:
        print(f"not now: {halted.reason}")
    else:
        print(f"{report.client_order_id}: filled {report.filled}")
        engine.submit(Order("BTC/USDT:USDT", "sell", "0.010", reduce_only=True))
