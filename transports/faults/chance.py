"""What happens to a call: drawn by chance, and repeatable.

Every method of every wrapper draws from an entropy stream of its own, and always
the same number of draws a call: one fault or one call more leaves the fate of all
others as it was.
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import NamedTuple

import msgspec

from holdfast.ports import Entropy


class FaultRates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Chances, 0 to 1, of what may happen to one call. Together at most 1.

    :ivar lost_request: it never arrives; nothing is answered.
    :ivar lost_reply: it takes effect; nothing is answered.
    :ivar refused: the other side answers that it will not.
    :ivar delayed: it leaves late, by up to `longest_delay_seconds`.
    """

    lost_request: float = 0.0
    lost_reply: float = 0.0
    refused: float = 0.0
    delayed: float = 0.0
    longest_delay_seconds: float = 0.0

    def __post_init__(self) -> None:
        chances = (self.lost_request, self.lost_reply, self.refused, self.delayed)
        if not (min(chances) >= 0 and sum(chances) <= 1):  # NaN is neither
            raise ValueError(f"chances {chances} are not all above 0 and together at most 1")
        if not 0 <= self.longest_delay_seconds < inf:
            raise ValueError(f"longest_delay_seconds: {self.longest_delay_seconds!r} is no time")


class Fate(Enum):
    SPARED = "spared"
    LOST_REQUEST = "lost request"
    LOST_REPLY = "lost reply"
    REFUSED = "refused"
    DELAYED = "delayed"


class Draw(NamedTuple):
    fate: Fate
    delay_seconds: float


_SPARED = Draw(Fate.SPARED, 0.0)


class FaultSwitch:
    """Rates that can be turned off for all wrappers that share it."""

    def __init__(self, rates: FaultRates) -> None:
        self.rates = rates
        self.on = True


class Chance:
    """Draws the fate of each call of one wrapper."""

    def __init__(self, switch: FaultSwitch, entropy: Entropy) -> None:
        self._switch = switch
        self._entropy = entropy
        self._streams: dict[str, Entropy] = {}

    def draw(self, method: str) -> Draw:
        switch = self._switch
        if not switch.on:
            return _SPARED
        stream = self._streams.get(method)
        if stream is None:
            stream = self._streams[method] = self._entropy.child(method)
        point, share = stream.random(), stream.random()
        rates = switch.rates
        for chance, fate in (
            (rates.lost_request, Fate.LOST_REQUEST),
            (rates.lost_reply, Fate.LOST_REPLY),
            (rates.refused, Fate.REFUSED),
            (rates.delayed, Fate.DELAYED),
        ):
            if point < chance:
                delay = share * rates.longest_delay_seconds if fate is Fate.DELAYED else 0.0
                return Draw(fate, delay)
            point -= chance
        return _SPARED
