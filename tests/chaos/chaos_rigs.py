"""What the tests hold in their hands: a server, an exchange and bots, each a process.

Synchronous on purpose: whoever kills a process does it from outside any event loop.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec

import redis
from holdfast.cli.operator import Command, ControlClient
from holdfast.transports.server import RedisServer, ServerBinary, tied_to_this_process

BOT: Final = Path(__file__).with_name("chaos_bot.py")
PATIENCE_SECONDS: Final = 30.0
"""For what takes a second or two on a quiet machine."""
LEASE_SECONDS: Final = 1.0

Settings = dict[str, dict[str, Any]]

# Every wait of an order is short, so that evidence is there within a second; the shares of
# one to another are those of the defaults.
QUICK: Final[Settings] = {
    "orders": {
        "timeout_seconds": 0.4,
        "recv_window_ms": 500,
        "absence_margin_ms": 150,
        "absence_spacing_seconds": 0.1,
        "backoff_seconds": [0.2, 0.4, 0.8],
        "deadline_seconds": 5.0,
    },
    "policy": {"initial": {"active_mode": "NORMAL"}, "on_empty": "restore"},
    "lease": {"ttl_seconds": LEASE_SECONDS},
    "reconcile": {"settle_seconds": 0.1, "audit_seconds": 1.0},
    "links": {"probe_backoff_max_seconds": 0.2},
    # A machine that is busy with other tests stalls a loop for longer than the default.
    "gate": {"loop_lease_seconds": 1.0},
}


def until(condition: Callable[[], Any], what: str, *, seconds: float = PATIENCE_SECONDS) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


class Exchange:
    """`python -m holdfast.transports.sim`, and the observer's hand on it."""

    def __init__(self, folder: Path) -> None:
        with (folder / "exchange.err").open("ab") as errors:
            self._process = subprocess.Popen(
                tied_to_this_process(
                    [sys.executable, "-m", "holdfast.transports.sim", "--deposit", "1000000000000"]
                ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        self.port: int = json.loads(self._process.stdout.readline())["port"]

    def get(self, what: str) -> Any:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/control/{what}", timeout=10
        ) as r:
            return json.load(r)

    def post(self, what: str, **body: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/control/{what}", data=json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)

    def arm(self, kind: str, fault: dict[str, Any], *, count: int = 1) -> None:
        self.post("faults", kind=kind, fault=fault, count=count)

    def orders(self) -> list[dict[str, Any]]:
        """Every order ever accepted, oldest first."""
        orders: list[dict[str, Any]] = self.get("orders")
        return orders

    def open_orders(self) -> dict[str, str]:
        """Client order id to filled quantity."""
        return {
            o["clientOrderId"]: str(Decimal(o["executedQty"]))
            for o in self.get("state")["open_orders"]
        }

    def position(self) -> Decimal:
        return sum(
            (Decimal(held["positionAmt"]) for held in self.get("state")["positions"]), Decimal(0)
        )

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


LOST_REPLY: Final = {"executes": True, "reply": "lost"}
LOST_REQUEST: Final = {"executes": False, "reply": "lost"}
RESET: Final = {"executes": True, "reply": "reset"}


class BotProcess:
    """One life of one bot.

    :param wrap: a command that runs the rest of the line, as `unshare` does.
    """

    def __init__(
        self, config: Path, log: Path, state_dir: Path, *, wrap: tuple[str, ...] = ()
    ) -> None:
        self.state_dir = state_dir
        self._errors = config.with_suffix(".err")
        with self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [
                    *wrap,
                    *tied_to_this_process(
                        [sys.executable, "-W", "error", str(BOT), str(config), str(log)]
                    ),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self._asked = 0
        self._buffer = b""
        self._answers: dict[int, Any] = {}

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def errors(self) -> str:
        return self._errors.read_text(errors="replace")

    # --- asking ----------------------------------------------------------------------

    def opened(self) -> BotProcess:
        """Wait until the engine runs (in whatever state)."""
        self._wait_for(0, PATIENCE_SECONDS)
        return self

    def send(self, do: str, **arguments: Any) -> int:
        """Ask without waiting; `answer` has the reply."""
        self._asked += 1
        line = json.dumps({"id": self._asked, "do": do, "with": arguments})
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise AssertionError(
                f"the bot has ended ({self.wait()}): {self.errors[-2000:]}"
            ) from None
        return self._asked

    def answer(self, number: int, *, seconds: float = PATIENCE_SECONDS) -> Any:
        return self._wait_for(number, seconds)

    def ask(self, do: str, *, seconds: float = PATIENCE_SECONDS, **arguments: Any) -> Any:
        return self.answer(self.send(do, **arguments), seconds=seconds)

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.ask("status")
        return status

    def operator(self, command: Command, **arguments: Any) -> Any:
        """Over the control socket, as the command line does."""
        return ControlClient(self.state_dir).ask(command, **arguments)

    def until_healthy(self, *, seconds: float = PATIENCE_SECONDS) -> None:
        try:
            self.ask("until_healthy", seconds=seconds)
        except AssertionError as late:
            raise AssertionError(f"not HEALTHY: {self.status()}") from late

    def until_shut(self, *, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait until the gate is shut; the status that says so."""

        def shut() -> dict[str, Any] | None:
            status = self.status()
            return None if status["gate"]["open"] else status

        status: dict[str, Any] = until(shut, "the gate is shut", seconds=seconds)
        return status

    def _wait_for(self, number: int, seconds: float) -> Any:
        output: IO[bytes] | None = self._process.stdout
        assert output is not None
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while number not in self._answers:
                left = deadline - time.monotonic()
                assert left > 0, f"no answer within {seconds:g} s: {self.errors[-2000:]}"
                if not selector.select(left):
                    continue
                data = output.read1()  # type: ignore[attr-defined]
                if not data:
                    raise self._has_ended()
                *lines, self._buffer = (self._buffer + data).split(b"\n")
                for line in lines:
                    told = json.loads(line)
                    self._answers[told["id"]] = told["answer"]
        return self._answers.pop(number)

    def _has_ended(self) -> AssertionError:
        return AssertionError(f"the bot has ended ({self.wait()}): {self.errors[-2000:]}")

    # --- ending ----------------------------------------------------------------------

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, *, seconds: float = PATIENCE_SECONDS) -> int:
        return self._process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):  # what the killed one has not read
                stream.close()


class Entry(NamedTuple):
    """One entry of the stream; `number` is the bot's own, of its own events."""

    producer: str
    sequence: int
    gap_first: int | None
    type: str
    number: int | None


class Stage:
    """One server, one exchange, and the bots of one test.

    :param known: the server has heard of a lease before, so a first bot need not wait for
        the term that a forgotten one could still run.
    """

    def __init__(self, folder: Path, binary: ServerBinary, *, known: bool = True) -> None:
        self.folder = folder
        data = folder / "redis"
        data.mkdir()
        self.redis = RedisServer(binary, directory=data, appendonly=True)
        self.exchange = Exchange(folder)
        self._bots: list[BotProcess] = []
        if known:
            self.redis.command("SET", "{hf:chaos}:fence", "1")

    def configure(
        self, name: str = "bot", *, state_dir: Path | None = None, **settings: dict[str, Any]
    ) -> Path:
        """Write a configuration; later settings over `QUICK`."""
        sections: Settings = {
            "engine": {
                "bot": "chaos",
                "symbols": ["BTC/USDT:USDT"],
                "state_dir": str(state_dir or self.folder / f"state-{name}"),
            },
            "bus": {"url": self.redis.url},
            "exchange": {"url": f"sim://127.0.0.1:{self.exchange.port}"},
        }
        for source in (QUICK, settings):
            for section, values in source.items():
                sections.setdefault(section, {}).update(values)
        path = self.folder / f"{name}.toml"
        path.write_text(
            "\n".join(
                f"[{section}]\n" + "".join(f"{k} = {_toml(v)}\n" for k, v in values.items())
                for section, values in sections.items()
            )
        )
        return path

    def start(
        self, name: str = "bot", *, state: str | None = None, wrap: tuple[str, ...] = ()
    ) -> BotProcess:
        """A life of the bot that `configure` has written. Does not wait."""
        bot = BotProcess(
            self.folder / f"{name}.toml",
            self.log(name),
            self.folder / f"state-{state or name}",
            wrap=wrap,
        )
        self._bots.append(bot)
        return bot

    def log(self, name: str = "bot") -> Path:
        return self.folder / f"{name}.jsonl"

    def lines(self, name: str = "bot") -> list[dict[str, Any]]:
        """The bot's own log so far."""
        if not self.log(name).exists():
            return []
        return [json.loads(line) for line in self.log(name).read_bytes().splitlines()]

    def stream(self) -> list[Entry]:
        """The whole stream, read with redis-py and decoded here."""
        with redis.Redis.from_url(self.redis.url, socket_timeout=10) as client:
            return [_entry(fields) for _, fields in client.xrange("{hf:chaos}:events")]

    def until_in_stream(self, number: int, *, times: int = 1) -> None:
        until(
            lambda: sum(e.number == number for e in self.stream()) == times,
            f"event {number} is in the stream",
        )

    def close(self) -> None:
        for bot in self._bots:
            bot.close()
        self.exchange.close()
        self.redis.close()


def _entry(fields: dict[bytes, bytes]) -> Entry:
    producer, sequence = fields[b"p"].decode(), int(fields[b"s"])
    if b"g" in fields:
        return Entry(producer, sequence, int(fields[b"g"]), "gap", None)
    event = msgspec.msgpack.decode(fields[b"d"])
    number = event["body"].get("number") if event["type"] == "chaos.told" else None
    return Entry(producer, sequence, None, event["type"], number)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)
