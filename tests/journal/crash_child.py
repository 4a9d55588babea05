"""The process that the crash harness kills: publishers that say what has returned.

Each line goes to the pipe in one write(2) after the append returned, so what the
parent reads was promised, whatever happens to this process next. At LEVEL "failing"
every sixteenth sync fails, so that records move to new segments again and again.

    python crash_child.py FOLDER LEVEL PUBLISHERS
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import sys
import time
from pathlib import Path

from holdfast.journal import Durability, FileJournal, JournalFull
from holdfast.journal.files import Files

LEVELS = {
    "process": [Durability.PROCESS],
    "power": [Durability.POWER],
    "mixed": [Durability.PROCESS, Durability.POWER, Durability.MEMORY],
    "failing": [Durability.PROCESS, Durability.POWER],
}


class FailingFiles(Files):
    """Fails once it is told to: a journal whose device fails while it is opened says so and
    does not open, and then there is nobody to kill.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self._syncs = 0

    def sync(self, fd: int) -> None:
        self._syncs += self.fails
        if self.fails and self._syncs % 16 == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(fd)


class Monotonic:
    def monotonic(self) -> float:
        return time.monotonic()


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def publish(journal: FileJournal, name: int, levels: list[Durability]) -> None:
    dice, count = random.Random(os.getpid() * 100 + name), 0
    while True:
        count += 1
        level = dice.choice(levels)
        body = f"{journal.incarnation} {name} {count} ".encode() + b"x" * dice.randrange(400)
        try:
            seq = await journal.append(1 + name, body, durability=level)
        except JournalFull:
            count -= 1
            await asyncio.sleep(0.005)
            continue
        if level is not Durability.MEMORY:
            say(f"+ {seq} {journal.incarnation} {name} {count} {len(body)}")
        if dice.random() < 0.3:
            await asyncio.sleep(0)


async def ship(journal: FileJournal) -> None:
    while True:
        await asyncio.sleep(0.01)
        page = journal.read(after=journal.acked, limit=200)
        if page:
            journal.ack(page[-1].seq)
            say(f"a {page[-1].seq}")
        if journal.wants_checkpoint:
            say(f"c {journal.checkpoint(b'state')}")


async def main(folder: str, level: str, publishers: int) -> None:
    files = FailingFiles()
    journal = await FileJournal.open(
        Path(folder),
        clock=Monotonic(),
        randbits=random.SystemRandom().getrandbits,
        on_fault=lambda fault: say(f"! {fault}"),
        segment_bytes=1 << 17,
        max_bytes=4 << 20,
        retain_acked_bytes=1 << 20,
        retain_acked_seconds=0.1,
        files=files,
    )
    files.fails = level == "failing"
    async with asyncio.TaskGroup() as group:
        group.create_task(ship(journal))
        for name in range(publishers):
            group.create_task(publish(journal, name, LEVELS[level]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
