"""A link: anything whose failure makes trading unsafe, and how its health is told."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


class LinkWatch(Protocol):
    """How a transport tells the engine of a link's health. Call it on the loop's thread."""

    def up(self) -> None:
        """A new connection stands: what was read over the last one is void."""

    def down(self, reason: str) -> None:
        """The link failed. The gate is shut when this returns. Calling it twice is harmless."""


@runtime_checkable
class Link(Protocol):
    """Anything whose failure makes trading unsafe; users may add their own."""

    name: str

    async def run(self, watch: LinkWatch) -> None:
        """Keep the link up until cancelled."""

    async def probe(self) -> None:
        """Ask a question whose answer proves that the link does its job now.

        :raises LinkDown: with the reason in words.
        """
