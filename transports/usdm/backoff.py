"""How long to wait before the next attempt to connect."""

from __future__ import annotations

from typing import Final

FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 5.0


def delay_seconds(failures: int, chance: float) -> float:
    """Doubling with half of it left to chance, so that many clients do not return as one.

    :param failures: attempts that failed in a row, from 1.
    :param chance: in [0, 1).
    """
    longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 16))
    return longest * (0.5 + 0.5 * chance)
