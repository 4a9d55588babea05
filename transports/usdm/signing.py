"""Signed requests: HMAC-SHA256 over the parameters as they are sent.

`Signer` is what differs between the clients of this protocol: who makes of an endpoint and
its parameters a request, here or in ccxt. Everything after that is the same for both.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Final, Protocol
from urllib.parse import quote_plus, urlsplit

from holdfast.secret import Secret

from .endpoints import Endpoint, Security
from .session import HttpRequest

Params = Sequence[tuple[str, str]]

_LOOPBACK: Final = frozenset(("127.0.0.1", "::1", "localhost"))
_stands_as_it_is = re.compile(r"[0-9A-Za-z._-]*").fullmatch
"""Most values; looking costs less than escaping."""


class Signer(Protocol):
    """Its `repr` names the venue, and nothing secret."""

    def other_account(self, *, server: str, api_key: str) -> str:
        """See `ports.AccountComparer`."""

    def request(self, endpoint: Endpoint, params: Params) -> HttpRequest:
        """The finished request.

        :param params: of a signed request time stamp and window are among them.
        """


class HmacSigner:
    """For a key with a secret.

    :param base_url: `http://host:port`.
    """

    def __init__(self, base_url: str, *, key: Secret, secret: Secret) -> None:
        self._base_url = base_url
        self._key = key
        self._secret = secret

    def __repr__(self) -> str:
        return self._base_url

    def other_account(self, *, server: str, api_key: str) -> str:
        """See `ports.AccountComparer`."""
        return difference(self._base_url, self._key, server=server, api_key=api_key)

    def request(self, endpoint: Endpoint, params: Params) -> HttpRequest:
        """See `Signer`."""
        if endpoint.security is Security.SIGNED:
            query = sign(params, self._secret.reveal().encode())
        else:
            query = encode(params)
        headers = None
        if endpoint.security is not Security.NONE:
            headers = {"X-MBX-APIKEY": self._key.reveal()}
        url = f"{self._base_url}{endpoint.path}"
        return HttpRequest(endpoint.method, f"{url}?{query}" if query else url, headers)


def difference(own_server: str, own_key: Secret, *, server: str, api_key: str) -> str:
    """What `Signer.other_account` answers."""
    if _place(server) != _place(own_server):
        parts = urlsplit(server)
        return f"the server is {parts.scheme}://{parts.netloc}, the engine's is {own_server}"
    if not hmac.compare_digest(api_key.encode(), own_key.reveal().encode()):
        return "the API key is another than the engine's"
    return ""


def _place(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, "loopback" if host in _LOOPBACK else host, port


def encode(params: Iterable[tuple[str, str]]) -> str:
    """Parameters as `application/x-www-form-urlencoded`, in their order."""
    return "&".join(
        [
            f"{name}={value if _stands_as_it_is(value) else quote_plus(value)}"
            for name, value in params
        ]
    )


def signature(payload: bytes, secret: bytes) -> str:
    """Lower-case hex of HMAC-SHA256 (Binance, "SIGNED Endpoint Security")."""
    return hmac.digest(secret, payload, "sha256").hex()


def sign(params: Iterable[tuple[str, str]], secret: bytes) -> str:
    """The encoded parameters with their signature as the last of them."""
    payload = encode(params)
    return f"{payload}&signature={signature(payload.encode(), secret)}"
