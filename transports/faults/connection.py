"""A link whose connection is cut by mishaps that the transport behind it knows nothing of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from holdfast.errors import LinkDown
from holdfast.ports import Entropy, LinkWatch

from .chance import Chance, Fate, FaultSwitch

_T = TypeVar("_T")

RECONNECT_SECONDS = 0.02
"""After a connection was cut here."""


class Connection:
    """What the engine hears of a link whose transport knows nothing of the cuts made here."""

    def __init__(self, name: str, watch: LinkWatch) -> None:
        self._name = name
        self._watch = watch
        self._inner_up = False
        self._cut = False
        self.number = 0
        """Counts the connections, as the engine sees them."""

    @property
    def stands(self) -> bool:
        return self._inner_up and not self._cut

    def up(self) -> None:
        self._inner_up = True
        self._cut = False
        self.number += 1
        self._watch.up()

    def down(self, reason: str) -> None:
        self._inner_up = False
        self._watch.down(reason)

    def cut(self, reason: str) -> None:
        """Break the connection; it is there again a little later."""
        if not self.stands:
            return
        self._cut = True
        self._watch.down(reason)
        asyncio.get_running_loop().call_later(RECONNECT_SECONDS, self._mend, self.number)

    def _mend(self, number: int) -> None:
        if self._cut and self._inner_up and self.number == number:
            self.up()

    def check(self, number: int) -> None:
        """:raises LinkDown: the connection `number` does not stand any more."""
        if not self.stands or self.number != number:
            raise LinkDown(f"{self._name}: the connection was lost before an answer")


class _Nobody:
    def up(self) -> None: ...

    def down(self, reason: str) -> None: ...


class Asking:
    """Calls with one question and one answer over a connection that the mishaps break."""

    def __init__(self, name: str, switch: FaultSwitch, entropy: Entropy) -> None:
        self.name = name
        self._chance = Chance(switch, entropy)
        self._connection = Connection(name, _Nobody())

    async def _ask(self, method: str, act: Callable[[], Awaitable[_T]]) -> _T:
        """:raises LinkDown:"""
        draw, connection = self._chance.draw(method), self._connection
        number = connection.number
        connection.check(number)
        match draw.fate:
            case Fate.DELAYED:
                await anyio.sleep(draw.delay_seconds)
                connection.check(number)
            case Fate.REFUSED:
                raise LinkDown(f"{self.name}: {method} was refused")
            case Fate.LOST_REQUEST:
                connection.cut(f"cut before {method} arrived")
                connection.check(number)
        answer = await act()
        if draw.fate is Fate.LOST_REPLY:
            connection.cut(f"cut before {method} was answered")
        connection.check(number)
        return answer
