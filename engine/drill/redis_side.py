"""What the observer does to Redis itself: listen for PONG, read the stream, set a policy.

PONG is watched over a socket of its own, and the stream is read with redis-py and
decoded here, so nothing that the bot's engine says of Redis is taken on trust. Only
the policy is stored through the project's own store, as any operator's program would.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
import msgspec

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import ConfigError, HoldfastError
from holdfast.policy import Policy
from holdfast.policy_visit import at_store
from holdfast.ports import PolicyStore
from holdfast.registry import open_policy_store
from holdfast.url import Url

from .observation import StoredPolicy, StreamEntry

_T = TypeVar("_T")

KNOCK_SECONDS: Final = 0.001
PAGE_ENTRIES: Final = 2000
CONNECT_SECONDS: Final = 5.0
SCHEMES: Final = ("redis", "rediss")
"""Those that redis-py knows as well as the project's own transport."""


class RedisSideError(HoldfastError):
    """Redis could not be asked."""


async def first_pong_ns(host: str, port: int, *, timeout_seconds: float) -> int | None:
    """CLOCK_MONOTONIC at which a PING of ours was first answered with PONG.

    In a thread, because whoever starts the server blocks the event loop meanwhile.
    """
    give_up_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + int(timeout_seconds * 1e9)
    return await anyio.to_thread.run_sync(_knock, host, port, give_up_ns)


def _knock(host: str, port: int, give_up_ns: int) -> int | None:
    while (now_ns := time.clock_gettime_ns(time.CLOCK_MONOTONIC)) < give_up_ns:
        try:
            with socket.create_connection((host, port), timeout=0.25) as connection:
                connection.sendall(b"PING\r\n")
                # -LOADING is an answer too, but no PONG: it reads its data back first.
                if connection.recv(64).startswith(b"+PONG"):
                    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        except OSError:
            pass
        remaining = (give_up_ns - now_ns) / 1e9
        time.sleep(min(KNOCK_SECONDS, remaining))
    return None


async def check_server(url: str) -> None:
    """Ask the server at `url` whether it can be used. Writes nothing.

    :raises ConfigError: it can not, and why; no password is told.
    """
    shown = Url(url)
    if shown.scheme not in SCHEMES:
        known = " or ".join(f"{scheme}://" for scheme in SCHEMES)
        raise ConfigError(f"{shown}: the drill needs a server at {known}")
    open_policy_store(url, clock=SystemClock(), entropy=SystemEntropy())  # as the bot will
    try:
        await StreamReader(url, "", utc_minus_monotonic_ns=0).ping()
    except RedisSideError as error:
        raise ConfigError(str(error)) from error


async def store_policy(url: str, bot: str, policy: Policy) -> tuple[Policy, int]:
    """Store `policy` as the next version (at least its own); what was stored, and when.

    :raises RedisSideError:
    """
    store = open_policy_store(url, clock=SystemClock(), entropy=SystemEntropy(), bot=bot)

    async def write(at: PolicyStore) -> tuple[Policy, int]:
        current = await at.read()
        expected = 0 if current is None else current.policy.version
        stored = await at.compare_and_set(policy, expected_version=expected)
        return stored.policy, time.clock_gettime_ns(time.CLOCK_MONOTONIC)

    try:
        return await at_store(store, write, name=Url(url), timeout_seconds=CONNECT_SECONDS)
    except HoldfastError as error:
        raise RedisSideError(str(error)) from error


class StreamReader:
    """Reads a bot's stream and policy with redis-py, blocking, in a thread."""

    def __init__(self, url: str, bot: str, *, utc_minus_monotonic_ns: int) -> None:
        self._url = url
        self._prefix = f"{{hf:{bot}}}:"
        self._shift_ns = utc_minus_monotonic_ns

    async def ping(self) -> None:
        """:raises RedisSideError: it does not answer, or not to us."""
        await self._in_thread(lambda client: client.ping())

    async def stream(self) -> list[StreamEntry]:
        """The whole stream, in its order. :raises RedisSideError:"""
        return await self._in_thread(self._read_stream)

    async def policy(self) -> StoredPolicy | None:
        """What is stored now. :raises RedisSideError:"""
        return await self._in_thread(self._read_policy)

    async def remove(self) -> None:
        """Delete every key of this bot, on a server that is somebody else's."""
        with anyio.CancelScope(shield=True):
            await self._in_thread(self._remove)

    async def _in_thread(self, work: Callable[[Any], _T]) -> _T:
        import redis

        def run() -> _T:
            with redis.Redis.from_url(self._url, socket_timeout=10) as client:
                return work(client)

        try:
            return await anyio.to_thread.run_sync(run)
        except (redis.RedisError, ValueError, TypeError) as error:  # the last two: of the URL
            raise RedisSideError(f"{Url(self._url)}: {error}") from error

    def _read_stream(self, client: Any) -> list[StreamEntry]:
        entries: list[StreamEntry] = []
        after = "-"
        while True:
            page = client.xrange(f"{self._prefix}events", min=after, count=PAGE_ENTRIES)
            entries += [self._entry(raw_id, fields) for raw_id, fields in page]
            if len(page) < PAGE_ENTRIES:
                return entries
            after = f"({page[-1][0].decode()}"

    def _entry(self, raw_id: bytes, fields: dict[bytes, bytes]) -> StreamEntry:
        appended_ns = int(raw_id.split(b"-")[0]) * 1_000_000 - self._shift_ns
        producer, sequence = fields[b"p"].decode(), int(fields[b"s"])
        if b"g" in fields:
            return StreamEntry(producer, sequence, "gap", appended_ns, gap=True)
        event = msgspec.msgpack.decode(fields[b"d"])
        body = event["body"]
        number = body.get("number") if event["type"].startswith(("trade.", "strategy.")) else None
        happened_ns = event["time_ns"] - self._shift_ns
        return StreamEntry(
            producer, sequence, event["type"], appended_ns, number, False, happened_ns, body
        )

    def _read_policy(self, client: Any) -> StoredPolicy | None:
        document = client.hget(f"{self._prefix}policy", "document")
        if document is None:
            return None
        policy = msgspec.json.decode(document)
        return StoredPolicy(policy["version"], policy["active_mode"])

    def _remove(self, client: Any) -> None:
        for key in client.scan_iter(match=f"{self._prefix}*"):
            client.unlink(key)
