"""A connection that is kept: found, made, proven, watched, and made again.

It says "up" only after the server has carried out a write, because a replica, a full
server or one that cannot reach its disk answers every PING. The heartbeat asks the same
again and again: a primary that becomes a replica keeps its connections. It says "down"
inside the callback that saw the fault, and once per reason while it stays down.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Callable
from typing import Any, Final

from holdfast.errors import LinkDown
from holdfast.ports import Entropy, LinkWatch

from .address import Address
from .wire import Wire
from .words import is_lasting

BACKOFF_FIRST_SECONDS: Final = 0.001
BACKOFF_MAX_SECONDS: Final = 0.05
BACKOFF_LASTING_SECONDS: Final = 1.0
"""After an error that takes a person to mend, such as a wrong password."""

# A connection that stood for so long was a good one: the next outage begins a new backoff.
_PROVEN_SECONDS: Final = 1.0
_PROBE_TTL_MS: Final = 60_000

OnPush = Callable[[list[Any]], None]


class RedisLink:
    """One kept connection.

    :param tracking: ask for push messages when a key that was read changes.
    :param beat: what the heartbeat asks besides whether a write would be taken.
    :param on_lost: called before the watch, to drop what belonged to the connection.
    """

    def __init__(
        self,
        address: Address,
        *,
        name: str,
        entropy: Entropy,
        tracking: bool = False,
        beat: Callable[[Wire], Future[Any]] | None = None,
        on_push: OnPush | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        self.address = address
        self.name = name
        self._entropy = entropy
        self._tls = address.tls_context()
        self._tracking = tracking
        self._beat = beat
        self._on_push = on_push
        self._on_lost = on_lost
        self._wire: Wire | None = None
        self._reason = "not connected yet"

    def wire(self) -> Wire:
        """The connection that stands.

        :raises LinkDown: there is none; the reason in words.
        """
        if self._wire is None:
            raise LinkDown(f"{self.name}: {self._reason}")
        return self._wire

    async def keep(self, watch: LinkWatch) -> None:
        """Connect, and connect again, until cancelled."""
        loop = asyncio.get_running_loop()
        settings = self.address.settings
        failures = 0

        def lost(reason: str) -> None:
            self._wire = None
            self._reason = reason
            if self._on_lost is not None:
                self._on_lost()
            watch.down(reason)

        try:
            while True:
                try:
                    wire = await self._open(lost)
                except LinkDown as error:
                    # The same refusal fifty times a second is one piece of news.
                    if str(error) != self._reason:
                        lost(str(error))
                else:
                    since = loop.time()
                    self._wire = wire
                    wire.watch_over(
                        lambda wire=wire: self._ask(wire),  # type: ignore[misc]
                        interval_seconds=settings.heartbeat_ms / 1000,
                        timeout_seconds=settings.timeout_ms / 1000,
                    )
                    watch.up()
                    await wire.until_lost()
                    if loop.time() - since > _PROVEN_SECONDS:
                        failures = 0
                await asyncio.sleep(self._backoff_seconds(failures))
                failures += 1
        finally:
            if self._wire is not None:
                closing, self._wire = self._wire, None
                closing.on_lost = ignore
                closing.lose("closed")
            self._reason = "closed"

    async def probe(self) -> None:
        """Write something. :raises LinkDown:"""
        await self._write(self.wire())

    async def _open(self, lost: Callable[[str], None]) -> Wire:
        """A connection that has carried out a write; from then on `lost` is told.

        :raises LinkDown:
        """
        wire = await connect(self.address, tls=self._tls, on_push=self._on_push)
        try:
            async with asyncio.timeout(self.address.settings.connect_ms / 1000):
                if self._tracking:
                    # Where it is not to be had, the heartbeat still sees every change.
                    await wire.request("CLIENT", "TRACKING", "ON", tolerant=True)
                await self._write(wire)
        except TimeoutError:
            wire.lose(f"{wire.where}: no answer while connecting")
        except BaseException:
            wire.lose("closed")
            raise
        if wire.lost_reason is not None:
            raise LinkDown(wire.lost_reason)
        wire.on_lost = lost
        return wire

    def _write(self, wire: Wire) -> Future[Any]:
        return wire.request("SET", self.address.key("probe"), "1", "PX", _PROBE_TTL_MS)

    def _ask(self, wire: Wire) -> Future[Any]:
        """The heartbeat's question: would a write be taken?

        SETRANGE with an empty value changes nothing, so neither log nor replicas hear of it
        (seen with Redis 6.2 and Valkey 9.1). To the server it is a write that may need memory
        all the same, and what refuses those (READONLY, OOM, MISCONF, NOREPLICAS, a failover's
        pause, MOVED) is decided before a command runs. What `beat` reads is asked behind it,
        and so comes from a server that was still the primary then.
        """
        writable = wire.request("SETRANGE", self.address.key("probe"), 0, "")
        return writable if self._beat is None else self._beat(wire)

    def _backoff_seconds(self, failures: int) -> float:
        longest = BACKOFF_LASTING_SECONDS if is_lasting(self._reason) else BACKOFF_MAX_SECONDS
        delay = min(longest, BACKOFF_FIRST_SECONDS * 2.0 ** min(failures, 20))
        return delay * (0.5 + self._entropy.random() / 2)


def ignore(reason: str) -> None:
    """Nobody has to be told."""


async def connect(address: Address, *, tls: Any, on_push: OnPush | None = None) -> Wire:
    """An authenticated RESP3 connection to the primary, without a heartbeat yet.

    :raises LinkDown:
    """
    timeout_seconds = address.settings.connect_ms / 1000
    if address.primary_name is None:
        host, port = address.endpoints[0]
    else:
        host, port = await find_primary(address, tls=tls)
    wire = await _dial(host, port, tls=tls, timeout_seconds=timeout_seconds, on_push=on_push)
    try:
        async with asyncio.timeout(timeout_seconds):
            await _greet(wire, address.username, address.password)
            if address.database:
                await wire.request("SELECT", address.database)
    except TimeoutError:
        reason = f"{wire.where}: no answer while connecting"
        wire.lose(reason)
        raise LinkDown(reason) from None
    except BaseException:
        wire.lose("closed")
        raise
    return wire


async def find_primary(address: Address, *, tls: Any) -> tuple[str, int]:
    """Ask the sentinels, one after the other, where the primary is.

    Asked before every connection: after a failover the old primary may come back and
    acknowledge writes for seconds that are then thrown away.

    :raises LinkDown: none of them knows.
    """
    settings = address.settings
    timeout_seconds = settings.connect_ms / 1000
    said = []
    for host, port in address.endpoints:
        try:
            wire = await _dial(host, port, tls=tls, timeout_seconds=timeout_seconds)
            try:
                async with asyncio.timeout(timeout_seconds):
                    await _greet(wire, settings.sentinel_username, settings.sentinel_password)
                    found = await wire.request(
                        "SENTINEL", "GET-MASTER-ADDR-BY-NAME", str(address.primary_name)
                    )
            finally:
                wire.lose("closed")
        except TimeoutError:
            said.append(f"{host}:{port}: no answer")
        except LinkDown as error:
            said.append(str(error))
        else:
            if found is not None:
                return found[0].decode(), int(found[1])
            said.append(f"{host}:{port}: knows no {address.primary_name!r}")
    raise LinkDown(f"no sentinel knows the primary: {'; '.join(said)}")


async def _dial(
    host: str, port: int, *, tls: Any, timeout_seconds: float, on_push: OnPush | None = None
) -> Wire:
    where = f"redis {host}:{port}"
    try:
        async with asyncio.timeout(timeout_seconds):
            _, wire = await asyncio.get_running_loop().create_connection(
                lambda: Wire(where=where, on_lost=ignore, on_push=on_push), host, port, ssl=tls
            )
    except TimeoutError:
        raise LinkDown(f"{where}: no connection within {timeout_seconds:g} s") from None
    except ConnectionRefusedError as error:
        raise LinkDown(f"{where}: connection refused") from error
    except OSError as error:  # unreachable, no such host, TLS
        raise LinkDown(f"{where}: {error.strerror or error}") from error
    return wire


async def _greet(wire: Wire, username: str | None, password: str | None) -> None:
    """HELLO, which also authenticates. The name shows in CLIENT LIST."""
    words = ["HELLO", "3"]
    if password is not None:
        words += ["AUTH", username or "default", password]
    answer = await wire.request(*words, "SETNAME", "holdfast")
    if not isinstance(answer, dict):
        raise LinkDown(f"{wire.where}: HELLO was answered with {type(answer).__name__}")
