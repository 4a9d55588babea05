"""The venue's names of contracts and the unified ones."""

from __future__ import annotations

from collections.abc import Mapping

from .parameters import venue_name


class Symbols:
    """What the venue has listed decides; before that, and for the rest, the name itself."""

    def __init__(self) -> None:
        self._unified: dict[str, str] = {}
        self._at_venue: dict[str, str] = {}

    def learn(self, unified_by_name: Mapping[str, str]) -> None:
        self._unified = dict(unified_by_name)
        self._at_venue = {unified: name for name, unified in unified_by_name.items()}

    @property
    def are_known(self) -> bool:
        return bool(self._unified)

    def unified(self, name: str) -> str:
        """The unified symbol; of what is not listed, the venue's name as it is."""
        return self._unified.get(name, name)

    def at_venue(self, symbol: str) -> str:
        return self._at_venue.get(symbol) or venue_name(symbol)
