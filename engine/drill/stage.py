"""Everything one run needs, each a process of its own: Redis, exchange, bot.

Leaving the stage ends them all. What is done to them is done from here, and noted
with its stamp at the moment it is done; in the end the three witnesses are joined
into one `Observation`.
"""

from __future__ import annotations

import json
import signal
from contextlib import AsyncExitStack
from decimal import ROUND_UP, Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import anyio
from anyio.lowlevel import checkpoint

from holdfast.policy import Limits, Mode, Policy
from holdfast.transports.server import RedisServer, ServerBinary

from . import plan as plans
from .decisions import Ended, stamps
from .exchange import ExchangeControl
from .market import Market
from .narrator import Narrator
from .observation import Observation, Outage, PolicyChange, attempts_of, published_of
from .options import DrillOptions
from .plan import BotPlan
from .processes import Child, ChildFailed
from .redis_side import StreamReader, first_pong_ns, store_policy
from .task_group import task_group
from .watching import Watcher

REDIS_VARIABLE: Final = "HOLDFAST_DRILL_REDIS"
TICK_SECONDS: Final = 0.02
START_SECONDS: Final = 30.0
SETTLE_SECONDS: Final = 20.0
PONG_SECONDS: Final = 15.0

PRICE_STEP: Final = Decimal("0.1")
QUANTITY_STEP: Final = Decimal("0.001")
"""Those of BTCUSDT at the simulated exchange."""
SMALLEST_NOTIONAL: Final = Decimal(150)
"""A little above what the exchange accepts at least."""
LARGE_FROM: Final = Decimal(30)
"""BTC-like units above the small orders at which the large ones begin; DEFENSIVE allows half."""
DEPOSIT: Final = "1000000000000"

BotSettings = dict[str, Any]


class Stage:
    """One run.

    :param binary: of the server; None: `options.redis_url` is used instead.
    :param engine: sections of the bot's `holdfast.toml` that differ from the drill's own.
    :param bot: fields of `BotPlan` that differ from its defaults.
    """

    def __init__(
        self,
        name: str,
        *,
        options: DrillOptions,
        binary: ServerBinary | None,
        folder: Path,
        narrator: Narrator,
        engine: dict[str, dict[str, Any]] | None = None,
        bot: BotSettings | None = None,
    ) -> None:
        self._options = options
        self._binary = binary
        self._folder = folder / name
        self._narrator = narrator
        self._engine_settings = engine or {}
        self._bot_settings = bot or {}
        self._stack = AsyncExitStack()
        monotonic_ns, wall_ns = stamps()
        self.began_ns = monotonic_ns
        self._shift_ns = wall_ns - monotonic_ns
        self._outages: list[Outage] = []
        self._policies: list[PolicyChange] = []
        self._server: RedisServer | None = None
        self.exchange: ExchangeControl
        self.watcher: Watcher
        self._bot: Child
        self._reader: StreamReader
        self._market: Market

    # --- life ------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        try:
            await self._set_up()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def _set_up(self) -> None:
        self._folder.mkdir(parents=True)
        exchange = Child(
            "exchange",
            "holdfast.transports.sim",
            ("--deposit", DEPOSIT),
            folder=self._folder,
        )
        self._stack.callback(exchange.kill)
        url = self._options.redis_url
        bot_name = "drill"
        if self._binary is not None:
            data = self._folder / "redis"
            data.mkdir()
            self._server = RedisServer(self._binary, directory=data, appendonly=True)
            self._stack.callback(self._server.close)
            url = self._server.url
        else:
            bot_name = f"d{self._shift_ns % 36**7:07x}"[:8]
        assert url is not None
        self._url, self._bot_name = url, bot_name
        self._bot = Child(
            "bot",
            "holdfast.drill.bot",
            folder=self._folder,
            environment={REDIS_VARIABLE: url},
            listens=True,
        )
        self._stack.callback(self._bot.kill)
        self._reader = StreamReader(url, bot_name, utc_minus_monotonic_ns=self._shift_ns)
        if self._server is None:
            self._stack.push_async_callback(self._reader.remove)
        self._market = Market(
            self._options.data,
            seed=self._options.seed,
            began_ns=self.began_ns,
            tick_seconds=TICK_SECONDS,
            price_step=PRICE_STEP,
        )
        ready = json.loads(await exchange.first_line(timeout_seconds=START_SECONDS))
        self._exchange_process = exchange
        self.exchange = await self._stack.enter_async_context(
            ExchangeControl(
                f"http://{ready['host']}:{ready['port']}",
                market="BTCUSDT",
                utc_minus_monotonic_ns=self._shift_ns,
            )
        )
        await self.exchange.set_price(self._market.price)
        self._write_configuration(exchange_url=f"http://{ready['host']}:{ready['port']}")
        self.watcher = Watcher(self._folder / "decisions.jsonl", self._narrator)
        tasks = await self._stack.enter_async_context(task_group())
        self._stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(self._feed)
        tasks.start_soon(self.watcher.run)

    def _write_configuration(self, *, exchange_url: str) -> None:
        keys = self._folder / "keys.toml"
        keys.touch(mode=0o600)
        keys.write_text('key = "demo"\nsecret = "demo"\n')
        sections: dict[str, dict[str, Any]] = {
            "engine": {
                "bot": self._bot_name,
                "symbols": ["BTC/USDT:USDT"],
                "state_dir": str(self._folder / "state"),
            },
            # By reference: it may hold a password, and the folder may be kept.
            "bus": {"url": f"${{{REDIS_VARIABLE}}}"},
            # As with real money: ccxt signs with keys from a file, and HTTP carries it.
            "exchange": {"url": "binance://usdm", "key_file": str(keys)},
            "exchange.options": {"server": exchange_url},
            # A server that has forgotten everything could have granted somebody else the
            # lease: the engine waits for one term then. The drill has no time for 15 s.
            "lease": {"ttl_seconds": 1.0},
        }
        for section, values in self._engine_settings.items():
            sections.setdefault(section, {}).update(values)
        text = "\n".join(
            f"[{section}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items())
            for section, values in sections.items()
        )
        (self._folder / "holdfast.toml").write_text(text)
        price = self._market.price
        first = (SMALLEST_NOTIONAL / price).quantize(QUANTITY_STEP, ROUND_UP)
        data = self._options.data
        settings: BotSettings = {
            "engine_config": str(self._folder / "holdfast.toml"),
            "decision_log": str(self._folder / "decisions.jsonl"),
            "data": None if data is None else str(data.absolute()),
            "seed": self._options.seed,
            "market_began_ns": self.began_ns,
            "tick_seconds": TICK_SECONDS,
            "first_quantity": first,
            "quantity_step": QUANTITY_STEP,
            "price_step": PRICE_STEP,
            **self._bot_settings,
        }
        self.large_quantity = first + LARGE_FROM
        if settings.pop("large_orders", False):
            settings["large_quantity"] = self.large_quantity
        (self._folder / "bot.json").write_bytes(plans.encode(BotPlan(**settings)))

    async def _feed(self) -> None:
        """Move the exchange's price along the recorded ones."""
        price = self._market.price
        while True:
            await anyio.sleep(TICK_SECONDS)
            new = self._market.price_at(stamps()[0])
            if new != price:
                price = new
                await self.exchange.set_price(price)

    # --- what the script does ----------------------------------------------------------

    async def start_bot(self) -> None:
        self._bot.tell(str(self._folder / "bot.json"))
        self._narrator.step(f"bot started, process {self._bot.pid}")

    async def until_trading(self, *, orders: int = 5) -> bool:
        """Until so many further opening orders were accepted. :raises ChildFailed:"""
        wanted = self.watcher.opened + orders
        reached = await self.until(lambda: self.watcher.opened >= wanted)
        self._narrator.step(
            "the bot trades" if reached else f"the bot did not trade within {START_SECONDS:g} s"
        )
        return reached

    async def until(self, condition: Any, *, timeout_seconds: float = START_SECONDS) -> bool:
        """Until the watcher has seen it. :raises ChildFailed: the bot died meanwhile."""

        def checked() -> bool:
            self._bot.check()
            self._exchange_process.check()
            return bool(condition())

        return await self.watcher.until(checked, timeout_seconds=timeout_seconds)

    async def set_policy(self, mode: Mode, *, limited: bool = False, url: str = "") -> PolicyChange:
        """Store the next version.

        :param limited: forbid the large orders.
        :param url: of a side door to the same data.
        """
        version = self._policies[-1].version + 1 if self._policies else 1
        limit = (LARGE_FROM / 2 * self._market.price).quantize(Decimal(1)) if limited else None
        stored, stored_ns = await store_policy(
            url or self._url,
            self._bot_name,
            Policy(mode, Limits(max_order_notional=limit), version=version, updated_by="drill"),
        )
        change = PolicyChange(stored.version, mode.value, limit, stored_ns)
        self._policies.append(change)
        self._narrator.step(f"policy: {mode.value}, version {stored.version}")
        return change

    async def kill_redis(self) -> int:
        """SIGKILL; the stamp of the moment before it."""
        server = self._own_server
        killed_ns, _ = stamps()
        server.kill()
        self._narrator.step("Redis killed (SIGKILL)")
        return killed_ns

    async def start_redis(self, killed_ns: int, *, empty: bool = False) -> Outage:
        """Start it again on its old port and wait for the observer's own PONG."""
        server = self._own_server
        self._tell_refusals(killed_ns)
        pong_ns: int | None = None

        async def listen() -> None:
            nonlocal pong_ns
            pong_ns = await first_pong_ns(server.host, server.port, timeout_seconds=PONG_SECONDS)

        async with task_group() as tasks:
            tasks.start_soon(listen)
            await checkpoint()  # let the listener's thread begin: starting blocks this one
            started_ns, _ = stamps()
            server.restart(empty=empty)
        outage = Outage(killed_ns, started_ns, pong_ns, empty)
        self._outages.append(outage)
        self._narrator.step(f"Redis started again{', EMPTY' if empty else ''}")
        return outage

    def _tell_refusals(self, killed_ns: int) -> None:
        self.watcher.look()
        refused = [
            line.at_ns
            for line in self.watcher.lines
            if isinstance(line, Ended) and line.outcome == "halted" and line.at_ns >= killed_ns
        ]
        if refused:
            took_ms = (refused[0] - killed_ns) / 1e6
            self._narrator.step(
                f"first order refused {took_ms:.1f} ms after the kill, {len(refused):,} since"
            )

    async def change_policy_while_down(self, mode: Mode, *, limited: bool) -> PolicyChange:
        """On a server with the same data and another port, which the bot does not know."""
        with RedisServer(
            self._binary, directory=self._own_server.directory, appendonly=True
        ) as side_door:
            return await self.set_policy(mode, limited=limited, url=side_door.url)

    async def wait(self, text: str, seconds: float) -> None:
        """Let things run. :raises ChildFailed:"""
        self._narrator.countdown(text, seconds)
        await self.until(lambda: False, timeout_seconds=seconds)

    @property
    def _own_server(self) -> RedisServer:
        assert self._server is not None, "scenarios that kill are skipped for a foreign server"
        return self._server

    # --- the end -----------------------------------------------------------------------

    async def finish(self) -> Observation:
        """Let the bot rest, wait until Redis has its events, end it, and join all logs.

        :raises ChildFailed: the bot did not end cleanly.
        """
        self._narrator.step("bot told to rest; logs are joined")
        self._bot.signal(signal.SIGUSR1)
        await self.until(lambda: "resting" in self.watcher.notes, timeout_seconds=SETTLE_SECONDS)
        await self._until_shipped()
        observation = await self.observe()
        code = await self._bot.end()
        if code != 0:
            raise ChildFailed(f"the bot ended with code {code}; see bot.err in the kept folder")
        return observation

    async def _until_shipped(self) -> None:
        published = published_of(self.watcher.lines)
        with anyio.move_on_after(SETTLE_SECONDS):
            while True:
                held = {(e.producer, e.sequence) for e in await self._reader.stream()}
                if all((p.producer, p.sequence) in held for p in published):
                    return
                await anyio.sleep(0.1)

    async def observe(self) -> Observation:
        """What there is to see now. Works without the bot."""
        self.watcher.look()
        lines = self.watcher.lines
        started = self.watcher.notes.get("started")
        resting = self.watcher.notes.get("resting")
        return Observation(
            started_ns=self.began_ns if started is None else started.at_ns,
            attempts=attempts_of(lines),
            published=published_of(lines),
            orders=await self.exchange.orders(),
            requests=await self.exchange.requests(),
            stream=await self._reader.stream(),
            outages=tuple(self._outages),
            policies=tuple(self._policies),
            stored_policy=await self._reader.policy(),
            venue_position=await self.exchange.position(),
            bot_position=None if resting is None else resting.position,
        )
