"""The goals of the journal, measured beside the raw device and its peers.

    python benchmarks/journal.py [--json] [--rounds N] [--quick] [--folder DIR]

Every figure of a ratio comes from the same run, taken in turns, because one device
differs from minute to minute by more than the engines do; the table shows medians.
A peer that is not installed is listed as skipped (`pip install 'holdfast[bench]'`).
Payload: 200 random bytes. "process" survives kill -9, "power" survives a power cut.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from peers.journal import (
    INSERT,
    SqliteGroup,
    missing_peers,
    no_sync_peers,
    open_sqlite,
    syncing_queue,
)
from report import Figures, Goal, show

from holdfast.clock import SystemClock
from holdfast.journal import FileJournal, JournalFull
from holdfast.journal.files import Files

BODY = random.Random(1).randbytes(200)


class CountingFiles(Files):
    """Counts what is written to the log, apart from the zeros that prepare a segment."""

    def __init__(self) -> None:
        super().__init__()
        self.log_bytes = self.zero_bytes = 0
        self.write = self._write

    def _write(self, fd: int, data: bytes) -> int:
        self.log_bytes += len(data)
        return os.write(fd, data)

    def fill(self, fd: int, offset: int, size: int) -> None:
        self.zero_bytes += size
        super().fill(fd, offset, size)


async def open_journal(folder: Path, **options: Any) -> FileJournal:
    return await FileJournal.open(
        folder, clock=SystemClock(), randbits=random.getrandbits, on_fault=print, **options
    )


def seconds_per(count: int, action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    for _ in range(count):
        action()
    return (time.perf_counter() - begun) / count


async def median_latency(count: int, action: Callable[[], Awaitable[object]]) -> float:
    samples = []
    for _ in range(count):
        begun = time.perf_counter()
        await action()
        samples.append(time.perf_counter() - begun)
    return statistics.median(samples)


async def together(publishers: int, each: int, action: Callable[[], Awaitable[object]]) -> float:
    """Events per second of publishers that each wait for their own."""

    async def publish() -> None:
        for _ in range(each):
            await action()

    begun = time.perf_counter()
    await asyncio.gather(*(publish() for _ in range(publishers)))
    return publishers * each / (time.perf_counter() - begun)


async def measure_process(folder: Path, figures: Figures, rounds: int, count: int) -> None:
    fd = os.open(folder / "raw", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    journal = await open_journal(folder / "journal")
    normal = open_sqlite(folder / "normal.db", "NORMAL")
    threaded = SqliteGroup(folder / "threaded.db", "NORMAL")
    peers = no_sync_peers(folder, BODY)
    journal.append_nowait(1, BODY)
    await asyncio.sleep(0.5)  # the spare segment is made once, not on every append
    for _ in range(rounds):
        figures.add("raw write", seconds_per(count, lambda: os.write(fd, BODY)))
        figures.add("journal process", seconds_per(count, lambda: journal.append_nowait(1, BODY)))
        await journal.sync()
        await asyncio.sleep(0.1)
        few = max(count // 20, 100)
        figures.add("sqlite NORMAL", seconds_per(few, lambda: normal.execute(INSERT, (BODY,))))
        figures.add(
            "sqlite NORMAL threaded", await median_latency(few, lambda: threaded.append(BODY))
        )
        for name, put in peers.items():
            figures.add(name, seconds_per(few if name != "rocksdict" else count, put))
    await journal.aclose()
    threaded.close()
    normal.close()
    os.close(fd)


async def measure_power(folder: Path, figures: Figures, rounds: int, count: int) -> None:
    fd = os.open(folder / "raw-power", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    journal = await open_journal(folder / "journal-power")
    full = open_sqlite(folder / "full.db", "FULL")
    group = SqliteGroup(folder / "group.db", "FULL")
    putting = syncing_queue(folder, BODY)

    async def raw() -> None:
        os.write(fd, BODY)
        os.fdatasync(fd)

    async def sqlite_full() -> None:
        full.execute(INSERT, (BODY,))

    async def put_in_thread() -> None:
        assert putting is not None
        await asyncio.to_thread(putting)

    await journal.append(1, BODY)
    await asyncio.sleep(0.5)
    for _ in range(rounds):
        figures.add("raw fdatasync", await median_latency(count, raw))
        figures.add("journal power", await median_latency(count, lambda: journal.append(1, BODY)))
        figures.add("sqlite FULL", await median_latency(count, sqlite_full))
        figures.add("raw c=100", await together(1, count, raw))
        figures.add("journal c=100", await together(100, count, lambda: journal.append(1, BODY)))
        figures.add("sqlite FULL c=100", await together(100, count, lambda: group.append(BODY)))
        if putting is not None:
            figures.add("persist-queue c=100", await together(100, count // 50 + 1, put_in_thread))
    await journal.aclose()
    group.close()
    full.close()
    os.close(fd)


async def measure_bytes(folder: Path, figures: Figures, count: int) -> None:
    files = CountingFiles()
    journal = await open_journal(folder / "journal-bytes", files=files)
    for _ in range(count):
        journal.append_nowait(1, BODY)
    await journal.aclose()
    figures.add("journal bytes", files.log_bytes / (count * len(BODY)))
    figures.add("journal zeros", files.zero_bytes / (count * len(BODY)))
    io = Path("/proc/self/io")
    if io.exists():
        few = count // 50

        def written() -> int:
            return int(io.read_text().split("wchar: ")[1].split()[0])

        connection = open_sqlite(folder / "bytes.db", "NORMAL")
        before = written()
        for _ in range(few):
            connection.execute(INSERT, (BODY,))
        connection.close()
        figures.add("sqlite bytes", (written() - before) / (few * len(BODY)))


async def drain(read: Callable[[], int], append: Callable[[], object]) -> float:
    """Events per second of a shipper, while 2,000 events per second are appended."""
    begun, drained, appended = time.perf_counter(), 0, 0
    while count := read():
        drained += count
        due = int((time.perf_counter() - begun) * 2000)
        while appended < due:
            append()
            appended += 1
        await asyncio.sleep(0)
    return drained / (time.perf_counter() - begun)


async def measure_backlog(folder: Path, figures: Figures, rounds: int, count: int) -> None:
    for number in range(rounds):
        path = folder / f"backlog-{number}"
        journal = await open_journal(path)
        for i in range(count):
            journal.append_nowait(1, BODY)
            if i % 100_000 == 0:
                await journal.sync()
        await journal.aclose()
        begun = time.perf_counter()
        journal = await open_journal(path)
        figures.add("journal open", count / (time.perf_counter() - begun))

        def page(journal: FileJournal = journal) -> int:
            if journal.acked >= count:
                return 0
            records = journal.read(after=journal.acked, limit=500)
            journal.ack(records[-1].seq)
            return len(records)

        figures.add(
            "journal drain",
            await drain(page, lambda journal=journal: journal.append_nowait(1, BODY)),  # type: ignore[misc]
        )
        await journal.aclose()
        shutil.rmtree(path)

        database = folder / f"backlog-{number}.db"
        connection = open_sqlite(database, "NORMAL")
        connection.execute("BEGIN")
        connection.executemany(INSERT, ((BODY,) for _ in range(count)))
        connection.execute("COMMIT")
        acked = 0

        def sqlite_page(connection: sqlite3.Connection = connection) -> int:
            nonlocal acked
            if acked >= count:
                return 0
            rows = connection.execute(
                "SELECT seq, body FROM event WHERE seq > ? ORDER BY seq LIMIT 500", (acked,)
            ).fetchall()
            acked = rows[-1][0]
            connection.execute("DELETE FROM event WHERE seq <= ?", (acked,))
            return len(rows)

        figures.add(
            "sqlite drain",
            await drain(sqlite_page, lambda c=connection: c.execute(INSERT, (BODY,))),  # type: ignore[misc]
        )
        connection.close()
        database.unlink()


async def fill_journal(folder: Path) -> int:
    journal = await open_journal(folder, segment_bytes=1 << 18)
    count = 0
    with suppress(JournalFull):
        while True:
            journal.append_nowait(1, BODY)
            count += 1
    await journal.aclose()
    return count


def measure_capacity(folder: Path, figures: Figures) -> None:
    """Count what each engine accepts on a file system of 4 MB; needs the right to mount."""
    mount = folder / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        return
    try:
        count = asyncio.run(fill_journal(mount / "journal"))
        shutil.rmtree(mount / "journal")
        figures.add("journal capacity", count)
        connection, count = open_sqlite(mount / "full.db", "NORMAL"), 0
        with suppress(sqlite3.OperationalError):
            while True:
                connection.execute(INSERT, (BODY,))
                count += 1
        with suppress(sqlite3.OperationalError):
            connection.close()
        figures.add("sqlite capacity", count)
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)


def goals(figures: Figures) -> list[Goal]:
    ratio = figures.ratio

    def both(over: str, under: str, unit: str) -> str:
        above, below = figures[over], figures[under]
        if above is None or below is None:
            return ""
        if unit == "us":
            return f"{above * 1e6:.2f} us vs {below * 1e6:.2f} us"
        return f"{above:,.0f} vs {below:,.0f} {unit}"

    zeros = figures["journal zeros"] or 0
    opening = figures["journal open"] or 0
    lines = [
        ("1", "process append vs raw write", 0.35, "raw write", "journal process"),
        ("2a", "vs SQLite NORMAL inline", 4, "sqlite NORMAL", "journal process"),
        ("2b", "vs SQLite NORMAL in a thread", 12, "sqlite NORMAL threaded", "journal process"),
        ("2c", "vs persist-queue", 20, "persist-queue", "journal process"),
        ("2d", "vs diskcache", 35, "diskcache", "journal process"),
        ("3", "vs rocksdict without sync", 1, "rocksdict", "journal process"),
    ]
    table = [
        Goal(f"{number} {what}", goal, ratio(over, under), both(over, under, "us"), higher=True)
        for number, what, goal, over, under in lines
    ]
    table += [
        Goal(
            "4a power await vs raw fdatasync",
            1.7,
            ratio("journal power", "raw fdatasync"),
            detail=both("journal power", "raw fdatasync", "us"),
        ),
        Goal(
            "4b power await vs SQLite FULL",
            1,
            ratio("journal power", "sqlite FULL"),
            detail=both("journal power", "sqlite FULL", "us"),
        ),
    ]
    lines = [
        ("5a", "100 publishers vs one per fsync", 20, "journal c=100", "raw c=100"),
        ("5b", "100 publishers vs SQLite group", 1.2, "journal c=100", "sqlite FULL c=100"),
        ("5c", "100 publishers vs persist-queue", 25, "journal c=100", "persist-queue c=100"),
    ]
    table += [
        Goal(
            f"{number} {what}", goal, ratio(over, under), both(over, under, "events/s"), higher=True
        )
        for number, what, goal, over, under in lines
    ]
    table += [
        Goal(
            "6a bytes of the log / payload",
            1.1,
            figures["journal bytes"],
            detail=f"zeros that prepare segments, in the background: {zeros:.2f}",
        ),
        Goal("6b SQLite's bytes / payload", 20, figures["sqlite bytes"], higher=True),
        Goal(
            "7 drain vs SQLite, appends live",
            1.2,
            ratio("journal drain", "sqlite drain"),
            detail=both("journal drain", "sqlite drain", "events/s"),
            higher=True,
        ),
        Goal("8 verified open, records/s", 600_000, opening or None, higher=True),
        Goal(
            "9 events in equal free space vs SQLite",
            10,
            ratio("journal capacity", "sqlite capacity"),
            detail=both("journal capacity", "sqlite capacity", "events"),
            higher=True,
        ),
    ]
    return table


async def measure(folder: Path, *, rounds: int, quick: bool) -> Figures:
    figures = Figures()
    await measure_process(folder, figures, rounds, 5_000 if quick else 20_000)
    await measure_power(folder, figures, rounds, 100 if quick else 200)
    await measure_bytes(folder, figures, 20_000 if quick else 100_000)
    await measure_backlog(folder, figures, 1 if quick else 3, 100_000 if quick else 1_000_000)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=7, help="of each interleaved comparison")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller samples")
    parser.add_argument("--folder", type=Path, help="where to write; decides the device")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="journal-bench-", dir=options.folder))
    try:
        figures = asyncio.run(measure(folder, rounds=options.rounds, quick=options.quick))
        measure_capacity(folder, figures)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(
        goals(figures),
        as_json=options.json,
        medians=figures.medians(),
        setting=f"SQLite {sqlite3.sqlite_version}, {options.rounds} rounds",
        skipped=dict.fromkeys(missing_peers(), "not installed"),
    )


if __name__ == "__main__":
    main()
