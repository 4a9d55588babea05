"""What a WebSocket path asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

_CATEGORIES: Final = ("public", "market", "private")


class StreamPath(NamedTuple):
    """
    :ivar combined: frames are wrapped with the name of their stream.
    :ivar names: of the streams to begin with.
    :ivar listen_keys: of user streams to begin with; unknown ones are refused.
    :ivar events: user-stream events that are wanted; None: all of the usual.
    """

    combined: bool
    names: tuple[str, ...]
    listen_keys: tuple[str, ...]
    events: frozenset[str] | None


def read_stream_path(path: str, query: Mapping[str, str]) -> StreamPath | None:
    """None: no WebSocket path."""
    parts = [part for part in path.split("/") if part]
    if parts and parts[0] in _CATEGORIES:
        del parts[0]
    if not parts or parts[0] not in ("ws", "stream"):
        return None
    combined = parts[0] == "stream"
    named = parts[1:] + [name for name in query.get("streams", "").split("/") if name]
    if key := query.get("listenKey"):
        named.append(key)
    wanted = [event for event in query.get("events", "").split("/") if event]
    return StreamPath(
        combined,
        tuple(name for name in named if _is_stream(name)),
        tuple(name for name in named if not _is_stream(name) and not name.isdigit()),
        frozenset(wanted) or None,
    )


def _is_stream(name: str) -> bool:
    """Else it is a listen key, or a number that a client made its path differ by (ccxt)."""
    return "@" in name or name.startswith("!")
