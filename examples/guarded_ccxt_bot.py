"""An existing ccxt bot, guarded by one line. The bot is as bots are: retry loop and all.

    python examples/guarded_ccxt_bot.py examples/holdfast.toml

Its exchange is pointed at the simulated one that the configuration names; for Binance,
leave `urls` out. It must be the account that the engine trades on.
"""

import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import ccxt

import holdfast

SYMBOL = "BTC/USDT:USDT"


def venue(config: str) -> dict[str, Any]:
    """ccxt's settings for the simulated exchange of the configuration."""
    url = tomllib.loads(Path(config).read_text())["exchange"]["url"]
    addresses = ccxt.binanceusdm().urls["api"]
    return {
        "apiKey": "demo",
        "secret": "demo",
        "options": {"fetchCurrencies": False},
        "urls": {
            "api": {
                name: url.replace("sim://", "http://") + "/" + address.split("/", 3)[3]
                for name, address in addresses.items()
                if isinstance(address, str)
            }
        },
    }


def bot(exchange: ccxt.Exchange) -> None:
    """Not a line of it knows of holdfast."""
    for _signal in range(3):
        # One name for one decision, whatever the loop does: guarded, it is one order at most.
        params = {"clientOrderId": f"signal-{time.time_ns()}"}
        for _try in range(3):
            try:
                order = exchange.create_market_buy_order(SYMBOL, 0.010, params)
                print(f"bought {order['filled']} at {order['average']}: {order['status']}")
                break
            except ccxt.NetworkError as error:  # the loop that doubles positions
                print(f"again: {error}")
            except ccxt.ExchangeError as error:
                print(f"not this time: {error}")
                break
    (position,) = exchange.fetch_positions([SYMBOL])
    print(f"holding {position['contracts']}")
    exchange.create_market_sell_order(SYMBOL, position["contracts"], {"reduceOnly": True})


config = sys.argv[1] if len(sys.argv) > 1 else "holdfast.toml"

with holdfast.Engine.open_blocking(config) as engine:
    engine.until_healthy()
    exchange = holdfast.guard(ccxt.binanceusdm(venue(config)), engine)
    bot(exchange)
