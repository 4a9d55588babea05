"""Redis and Valkey: bus, policy store and lease.

hiredis is imported when a factory is called, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.ports import Clock, Entropy
    from holdfast.url import Url

    from .bus import RedisBus
    from .store import RedisStore


def bus_factory(url: str | Url, *, clock: Clock, entropy: Entropy, **settings: Any) -> RedisBus:
    """`redis://`, `rediss://` or `redis+sentinel://` as a bus.

    :param settings: fields of `address.Settings`, such as `bot`; the URL's query goes first.
    :raises ConfigError: naming the part that is wrong.
    """
    from .address import parse
    from .bus import RedisBus

    return RedisBus(parse(url, settings), entropy=entropy)


def store_factory(url: str | Url, *, clock: Clock, entropy: Entropy, **settings: Any) -> RedisStore:
    """The same as policy and lease store.

    :raises ConfigError: naming the part that is wrong.
    """
    from .address import parse
    from .store import RedisStore

    return RedisStore(parse(url, settings), clock=clock, entropy=entropy)
