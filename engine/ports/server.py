"""The server behind a bus or a store, as it describes itself; `holdfast doctor` asks."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable


class ServerFacts(NamedTuple):
    """How the server behind a bus or a policy store keeps what it is given, as it says itself.

    None: it does not tell, or not this user.

    :ivar product: `redis`, `valkey`, …
    :ivar forgets: everything is gone when a process ends.
    :ivar is_primary: False: a copy of another server.
    :ivar refuses_writes: why; "" if it takes them.
    :ivar runs_scripts: whether this user may run them.
    :ivar pushes_changes: whether it tells of changed keys by itself.
    :ivar appends: every write goes to a log on its disk, which is synced as `sync` says:
        `always`, `everysec`, `no`.
    :ivar snapshots: it saves everything now and then.
    :ivar save_error: the last try to save or to append failed.
    :ivar eviction: what is thrown away when memory is full: `noeviction`, `allkeys-lru`, …
    :ivar max_memory_bytes: 0: no bound.
    :ivar round_trip_seconds: of a question; the median of some.
    :ivar patience_seconds: a longer silence is taken for a lost connection.
    """

    product: str
    version: str = ""
    forgets: bool = False
    is_primary: bool | None = None
    refuses_writes: str = ""
    runs_scripts: bool | None = None
    pushes_changes: bool | None = None
    appends: bool | None = None
    sync: str | None = None
    snapshots: bool | None = None
    save_error: bool | None = None
    eviction: str | None = None
    max_memory_bytes: int | None = None
    used_memory_bytes: int | None = None
    round_trip_seconds: float | None = None
    patience_seconds: float | None = None


@runtime_checkable
class ServerReader(Protocol):
    """What a `MessageBus` or a `PolicyStore` may offer besides: a look at its server."""

    async def server_facts(self) -> ServerFacts:
        """Asked over a connection of its own, `run` or not. Changes nothing.

        :raises LinkDown:
        """
