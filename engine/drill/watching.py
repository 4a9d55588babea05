"""Follows the bot's decision log while it grows, for the script and for the people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import anyio

from .decisions import AnyLine, Ended, Noted, Published, Tail, Tried
from .narrator import Counts, Narrator

LOOK_SECONDS: Final = 0.05


class Watcher:
    """Keeps every line read so far, and what they amount to.

    :ivar lines: in the order they were written.
    :ivar opened: opening orders that were accepted.
    :ivar rejected: opening orders that a rule said no to.
    """

    def __init__(self, path: Path, narrator: Narrator) -> None:
        self._tail = Tail(path)
        self._narrator = narrator
        self._opening_calls: set[int] = set()
        self.lines: list[AnyLine] = []
        self.counts = Counts()
        self.opened = 0
        self.rejected = 0
        self.policy_version = 0
        self.notes: dict[str, Noted] = {}

    async def run(self) -> None:
        while True:
            self.look()
            await anyio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        new = self._tail.new_lines()
        if not new:
            return
        counts = self.counts._asdict()
        for line in new:
            match line:
                case Tried():
                    counts["tried"] += 1
                    counts["policy"] = (
                        "none"
                        if line.policy_version is None
                        else f"{line.policy_mode} v{line.policy_version}"
                    )
                    self.policy_version = line.policy_version or 0
                    if line.opening:
                        self._opening_calls.add(line.call)
                case Ended():
                    opening = line.call in self._opening_calls
                    self._opening_calls.discard(line.call)
                    counts["accepted"] += line.outcome == "accepted"
                    counts["halted"] += line.outcome == "halted"
                    self.opened += opening and line.outcome == "accepted"
                    self.rejected += opening and line.outcome == "rejected"
                case Published():
                    counts["published"] += 1
                case Noted():
                    self.notes[line.what] = line
        self.lines += new
        self.counts = Counts(**counts)
        self._narrator.counts(self.counts)

    async def until(self, condition: Callable[[], bool], *, timeout_seconds: float) -> bool:
        """Whether it came true in time."""
        with anyio.move_on_after(timeout_seconds):
            while True:
                self.look()
                if condition():
                    return True
                await anyio.sleep(LOOK_SECONDS)
        return False
