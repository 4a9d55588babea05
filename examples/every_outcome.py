"""What a bot does with each way in which an order can end.

The loop trades a few times and stops. What matters are the `except` clauses: they are
the whole error handling that a bot needs, and none of them sends an order again blindly.

    python examples/every_outcome.py examples/holdfast.toml
"""

import sys

import anyio

from holdfast import Engine, NotExecuted, Order, OutcomeUnknown, Rejected, TradingHalted

SYMBOL = "BTC/USDT:USDT"


async def decide(engine: Engine, number: int) -> None:
    opening = Order(SYMBOL, "buy", "0.010", key=f"every-outcome-{number}")
    try:
        report = await engine.submit(opening)
    except TradingHalted as halted:
        print(f"{number}: the gate is shut ({halted.reason}); the signal is dropped")
    except Rejected as rejected:
        print(f"{number}: refused for good: {rejected.reason}")
    except NotExecuted as missed:
        print(f"{number}: certainly not executed ({missed.reason}); a new signal may try again")
    except OutcomeUnknown as unknown:
        print(f"{number}: nobody knows yet; waiting for evidence instead of sending again")
        report = await unknown.resolved()
        print(f"{number}: {report.status} ({report.evidence})")
    else:
        print(f"{number}: filled {report.filled} at {report.average_price}")
        # Exits are reduce-only: they pass in every state while the venue can be reached.
        await engine.submit(Order(SYMBOL, "sell", "0.010", reduce_only=True))


async def main(config: str) -> None:
    async with Engine.open(config) as engine:
        engine.on_transition(lambda step: print(f"   {step.source} -> {step.dest}: {step.cause}"))
        engine.on_fill(lambda fill: print(f"   fill {fill.side} {fill.quantity} at {fill.price}"))
        await engine.until_healthy()
        for number in range(3):
            await decide(engine, number)
            await anyio.sleep(0.2)


anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else "holdfast.toml")
