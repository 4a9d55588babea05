"""What a drill is asked to do."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class DrillOptions(NamedTuple):
    """
    :ivar outage_seconds: how long Redis stays dead in scenario 1.
    :ivar scenarios: which to run.
    :ivar data: recorded prices; None: a random walk.
    :ivar redis_url: a server of somebody else's, which is never killed; None: an own one.
    :ivar keep: folder for logs, configurations and journals; None: removed in the end.
    """

    outage_seconds: float = 3.0
    scenarios: tuple[int, ...] = (1, 2, 3)
    data: Path | None = None
    seed: int = 1
    redis_url: str | None = None
    keep: Path | None = None
