"""The bot that is killed: an ordinary program around the engine, obeying its standard input.

Commands come as JSON lines, each answered by one JSON line with the same `id`. The
command `trade` begins to decide by itself: numbered decisions, each an order with its
own key and a quantity that no other decision has, and numbered events. What it tries
and what it is told goes to a log of its own, one write(2) a line after the call
returned, so that whatever the log says was promised before the kill. A new life reads
the log of the former ones and repeats every decision that has no end there.

    python chaos_bot.py CONFIG LOG
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import anyio

from holdfast import Engine, Order
from holdfast.errors import (
    HoldfastError,
    NotExecuted,
    OutcomeUnknown,
    Rejected,
    TradingHalted,
)
from holdfast.journal import JournalError

SYMBOL: Final = "BTC/USDT:USDT"
STEP: Final = Decimal("0.001")
FAR_BELOW: Final = "30000"
"""A buy at this price rests: the market stands at 64000."""
TRADERS: Final = 3
REPEATED: Final = 3
"""So many decisions that had ended are asked for again in the next life."""


def order_of(number: int) -> Order:
    """The order of a decision: always the same for the same number, also in the next life.

    Side and quantity together are unique, which is how an observer who has nothing but
    the exchange's log tells which decision an order belongs to.
    """
    key = f"decision-{number}"
    if number % 3 == 1:
        return Order(SYMBOL, "sell", (1 + number) * STEP, reduce_only=True, key=key)
    price = FAR_BELOW if number % 3 == 2 else None
    return Order(SYMBOL, "buy", (10 + number) * STEP, price=price, key=key)


class Log:
    """Appends JSON lines; each is one write(2)."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, what: str, **fields: Any) -> None:
        line = {"what": what, "pid": os.getpid(), "at": time.monotonic(), **fields}
        os.write(self._file, json.dumps(line).encode() + b"\n")


async def outcome_of(call: Awaitable[Any]) -> dict[str, Any]:
    """What an order call returned or raised, as JSON."""
    try:
        report = await call
    except OutcomeUnknown as error:
        return {"outcome": "unknown", "cid": error.intent.client_order_id, "why": str(error)}
    except TradingHalted as error:
        return {"outcome": "halted", "why": error.reason}
    except Rejected as error:
        return {"outcome": "rejected", "why": error.reason}
    except NotExecuted as error:
        return {"outcome": "not_executed", "why": error.reason}
    except (HoldfastError, JournalError) as error:
        return {"outcome": type(error).__name__, "why": str(error)}
    return {"outcome": report.status, "cid": report.client_order_id, "filled": str(report.filled)}


class Bot:
    def __init__(self, engine: Engine, log: Log, past: list[dict[str, Any]]) -> None:
        self._engine = engine
        self._log = log
        tried = {line["number"] for line in past if line["what"] == "tried"}
        ended = [line for line in past if line["what"] == "ended"]
        settled = {line["number"] for line in ended if line["outcome"] not in ("unknown", "halted")}
        self._again = sorted(tried - settled) + sorted(settled)[-REPEATED:]
        self._next = max(tried, default=0) + 1
        self._events = 0
        self._life = len({line["pid"] for line in past}) + 1
        self._resting = False
        self._idle = anyio.Event()
        self._hog: int | None = None
        self.commands: dict[str, Callable[..., Awaitable[Any]]] = {
            "status": self._status,
            "until_healthy": self._until_healthy,
            "book": self._book,
            "submit": self._submit,
            "publish": self._publish,
            "trade": self._trade,
            "rest": self._rest,
            "fill_disk": self._fill_disk,
            "free_disk": self._free_disk,
        }

    async def _status(self) -> Any:
        return self._engine.status()

    async def _until_healthy(self) -> Any:
        await self._engine.until_healthy()
        return True

    async def _book(self) -> Any:
        """What the engine takes for true at the venue."""
        return {
            "positions": {p.symbol: str(p.quantity) for p in self._engine.positions()},
            "open_orders": {o.client_order_id: str(o.filled) for o in self._engine.open_orders()},
        }

    async def _submit(self, **order: Any) -> Any:
        return await outcome_of(self._engine.submit(Order(SYMBOL, **order)))

    async def _publish(self, number: int, durability: str = "process") -> Any:
        try:
            event = await self._engine.publish(
                "chaos.told",
                {"number": number},
                durability=durability,  # type: ignore[arg-type]
            )
        except JournalError as error:
            return {"outcome": type(error).__name__, "why": str(error)}
        return {"outcome": "published", "producer": event.producer, "sequence": event.sequence}

    # --- on its own ------------------------------------------------------------------

    async def _trade(self) -> Any:
        """Decide until told to rest: first again what the former lives left open."""
        self._trading = asyncio.create_task(self._decide_on())
        return self._again

    async def _decide_on(self) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(TRADERS):
                group.start_soon(self._trader)
            group.start_soon(self._teller)
        self._idle.set()

    async def _trader(self) -> None:
        while self._again or not self._resting:
            if self._again:
                number = self._again.pop(0)
            else:
                number, self._next = self._next, self._next + 1
            await self._decide(number)
            await anyio.sleep(0.01)

    async def _decide(self, number: int) -> None:
        """Ask for one decision until there is an outcome that is not 'not now'."""
        while True:
            order = order_of(number)
            self._log.write("tried", number=number, side=order.side, quantity=str(order.quantity))
            told = await outcome_of(self._engine.submit(order))
            self._log.write("ended", number=number, **told)
            waits = told["outcome"] == "unknown" or (
                told["outcome"] == "halted" and not self._resting
            )
            if not waits:
                return
            await anyio.sleep(0.05)

    async def _teller(self) -> None:
        while not self._resting:
            self._events += 1
            number = self._life * 1_000_000 + self._events
            self._log.write("telling", number=number)
            told = await self._publish(number, "power" if self._events % 7 == 0 else "process")
            self._log.write("told", number=number, **told)
            await anyio.sleep(0.004)

    async def _rest(self) -> Any:
        """Decide nothing new, and wait until what was begun, in this life or an earlier one,
        has ended; a gate that is shut ends it too, for then nothing was sent."""
        self._resting = True
        await self._idle.wait()
        return True

    # --- its own disk ----------------------------------------------------------------

    async def _fill_disk(self, path: str) -> Any:
        self._hog = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        for size in (1 << 16, 1 << 12, 1):
            try:
                while os.write(self._hog, b"x" * size):
                    pass
            except OSError:
                continue
        return os.fstat(self._hog).st_size

    async def _free_disk(self) -> Any:
        assert self._hog is not None
        os.ftruncate(self._hog, 0)
        return True


async def obey(bot: Bot) -> None:
    """Commands from standard input until it ends: whoever gives them is gone then."""
    reader = asyncio.StreamReader(limit=1 << 20)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )

    async def one(line: bytes) -> None:
        request = json.loads(line)
        answer = await bot.commands[request["do"]](**request.get("with", {}))
        os.write(1, json.dumps({"id": request["id"], "answer": answer}).encode() + b"\n")

    try:
        async with anyio.create_task_group() as group:
            while line := await reader.readline():
                group.start_soon(one, line)
            group.cancel_scope.cancel()
    finally:
        transport.close()


async def main(config: str, log_path: Path) -> None:
    past = (
        [json.loads(line) for line in log_path.read_bytes().splitlines()]
        if (log_path.exists())
        else []
    )
    log = Log(log_path)
    log.write("started")
    async with Engine.open(config) as engine:
        engine.on_transition(
            lambda step: log.write("entered", state=step.dest.value, cause=step.cause)
        )
        os.write(1, b'{"id": 0, "answer": "open"}\n')
        await obey(Bot(engine, log, past))


if __name__ == "__main__":
    # Whoever was started in the background has inherited that Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    anyio.run(main, sys.argv[1], Path(sys.argv[2]))
