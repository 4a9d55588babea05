"""What the journal is measured beside: SQLite as a careful user sets it up, and other queues.

A peer that is not installed is left out; `missing_peers` names it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_MODULES = {"persistqueue": "persist-queue", "diskcache": "diskcache", "rocksdict": "rocksdict"}


def missing_peers() -> list[str]:
    return [name for module, name in _MODULES.items() if not importlib.util.find_spec(module)]


def open_sqlite(path: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute("CREATE TABLE IF NOT EXISTS event (seq INTEGER PRIMARY KEY, body BLOB)")
    return connection


INSERT = "INSERT INTO event(body) VALUES (?)"


class SqliteGroup:
    """The best a careful user builds: one writer thread, one commit for all that wait."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self._connection = open_sqlite(path, synchronous)
        self._queue: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]] | None] = (
            queue.SimpleQueue()
        )
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def append(self, body: bytes) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((body, done))
        await done

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, last = [first], False
            with suppress(queue.Empty):
                while True:
                    item = self._queue.get_nowait()
                    if item is None:
                        last = True
                        break
                    batch.append(item)
            self._connection.execute("BEGIN")
            self._connection.executemany(INSERT, [(body,) for body, _ in batch])
            self._connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._resolve, [done for _, done in batch])
            if last:
                return

    @staticmethod
    def _resolve(waiting: list[asyncio.Future[None]]) -> None:
        for done in waiting:
            done.set_result(None)

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        self._connection.close()


def no_sync_peers(folder: Path, body: bytes) -> dict[str, Callable[[], object]]:
    """Peers without an fsync per put; what they promise then is at most level `process`."""
    peers: dict[str, Callable[[], object]] = {}
    if importlib.util.find_spec("persistqueue"):
        import persistqueue

        put_queue = persistqueue.SQLiteQueue(str(folder / "pq"), auto_commit=True)
        put_queue._putter.execute(  # type: ignore[attr-defined]
            "PRAGMA synchronous=NORMAL"
        )
        peers["persist-queue"] = lambda: put_queue.put(body)
    if importlib.util.find_spec("diskcache"):
        import diskcache

        deque = diskcache.Deque(directory=str(folder / "dc"))
        peers["diskcache"] = lambda: deque.append(body)
    if importlib.util.find_spec("rocksdict"):
        import rocksdict

        database, counter = rocksdict.Rdict(str(folder / "rocks")), iter(range(1 << 60))

        def put() -> None:
            database[next(counter)] = body

        peers["rocksdict"] = put
    return peers


def syncing_queue(folder: Path, body: bytes) -> Callable[[], object] | None:
    """persist-queue with an fsync per put; None: it is not installed."""
    if not importlib.util.find_spec("persistqueue"):
        return None
    import persistqueue

    put_queue = persistqueue.SQLiteQueue(
        str(folder / "pq-power"), auto_commit=True, multithreading=True
    )
    put_queue._putter.execute(  # type: ignore[attr-defined]
        "PRAGMA synchronous=FULL"
    )
    return lambda: put_queue.put(body)
