"""What a drill tells while it runs; who shows it, and how, is elsewhere."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Counts(NamedTuple):
    """The bot's decision log so far."""

    tried: int = 0
    accepted: int = 0
    halted: int = 0
    published: int = 0
    policy: str = ""


class Narrator(Protocol):
    def scenario(self, number: int, title: str) -> None: ...

    def step(self, text: str) -> None:
        """Something was done or seen."""

    def countdown(self, text: str, seconds: float) -> None:
        """For so long nothing will happen but this."""

    def counts(self, counts: Counts) -> None: ...
