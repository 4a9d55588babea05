"""Who may ask: Binance's checks of key, time stamp and signature, in Binance's order."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import urlencode

from holdfast.transports.usdm.signing import signature

from .api import Permissions, Security
from .core import SimulatedVenue
from .parameters import integer, malformed, recv_window
from .rules import VenueError


class Access:
    """The one API key that the venue knows.

    :param secret: of HMAC-SHA256 signatures; the venue has no others.
    """

    def __init__(
        self, venue: SimulatedVenue, *, key: str, secret: str, permissions: Permissions
    ) -> None:
        self._venue = venue
        self._permissions = permissions
        self._key = key
        self._secret = secret.encode()

    def check(
        self, security: Security, key: str | None, params: Mapping[str, str], *payloads: str
    ) -> None:
        """
        :param key: as the request gave it.
        :param payloads: what was signed, one of these.
        :raises VenueError: -2014, -2015, -1102, -1131, -1021 or -1022.
        """
        if security is Security.NONE:
            return
        if not key:
            raise VenueError(-2014, "API-key format invalid.")
        if key != self._key or not (security is Security.ACCOUNT or self._permissions.futures):
            raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.")
        if security is Security.KEY:
            return
        self._venue.check_time(integer(params, "timestamp"), recv_window(params))
        given = params.get("signature")
        if not given:
            raise malformed("signature")
        for payload in payloads:
            expected = signature(payload.encode(errors="replace"), self._secret)
            if hmac.compare_digest(given.encode(errors="replace"), expected.encode()):
                return
        raise VenueError(-1022, "Signature for this request is not valid.")


def unsigned(encoded: str) -> str:
    """A query or a form body without the parameter `signature`, wherever it stands."""
    rest, found, last = encoded.rpartition("&signature=")
    if found and "&" not in last and "signature=" not in rest:
        return rest  # where all clients put it
    if "signature=" not in encoded:
        return encoded
    return "&".join([pair for pair in encoded.split("&") if not pair.startswith("signature=")])


def sorted_payloads(params: Mapping[str, str]) -> tuple[str, ...]:
    """What may be signed of a WebSocket API request: all its parameters by name.

    As they stand in the documentation ("Request security", and so ccxt does); Binance's own SDK
    escapes them before. It makes a difference for the `/` and `:` of a client order id.
    """
    signed = sorted(item for item in params.items() if item[0] != "signature")
    plain = "&".join([f"{name}={value}" for name, value in signed])
    escaped = urlencode(signed, errors="replace")
    return (plain,) if escaped == plain else (plain, escaped)
