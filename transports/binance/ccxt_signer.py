"""ccxt as the one who makes and signs requests, and nothing else of it.

A request goes through ccxt's implicit methods (`fapiPrivatePostOrder`), which sign what they
are given: its unified methods would round quantities and drop what they do not know. What
ccxt would send then is given back and sent by the shared client's own session, where it is known
whether anything left, the permit is asked last, and nothing is sent twice. So ccxt never opens a
connection, never waits in its rate limiter, never retries, and never maps an error: its own
maps are picked by the address, and one exception class stands for what was and what was not
executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import ccxt.async_support

from holdfast.secret import Secret
from holdfast.transports.usdm.endpoints import Endpoint, Security
from holdfast.transports.usdm.session import HttpRequest
from holdfast.transports.usdm.signing import Params, difference, encode

_KEY_HEADER: Final = "X-MBX-APIKEY"


class CcxtSigner:
    """`signing.Signer`.

    :param base_url: of the REST interface, without a path.
    :param secret: for HMAC, or a private key in PEM.
    :param account_url: of the account API (`sapi`), without a path; None: there is none.
    """

    def __init__(
        self, base_url: str, *, key: Secret, secret: Secret, account_url: str | None = None
    ) -> None:
        self._base_url = base_url
        self._key = key
        self._exchange = _Usdm({"apiKey": key.reveal(), "secret": secret.reveal()})
        # Only these: a request for anything else has nowhere to go.
        self._exchange.urls["api"] = {
            f"fapi{access}{version}": f"{base_url}/fapi/{version.lower() or 'v1'}"
            for access in ("Public", "Private")
            for version in ("", "V2", "V3")
        }
        if account_url is not None:
            self._exchange.urls["api"]["sapi"] = f"{account_url}/sapi/v1"

    def __repr__(self) -> str:
        return f"{self._base_url} (signed by ccxt)"

    def other_account(self, *, server: str, api_key: str) -> str:
        """See `signing.Signer`."""
        return difference(self._base_url, self._key, server=server, api_key=api_key)

    def request(self, endpoint: Endpoint, params: Params) -> HttpRequest:
        """See `signing.Signer`."""
        request: HttpRequest = getattr(self._exchange, implicit_method(endpoint))(dict(params))
        return request


@cache
def implicit_method(endpoint: Endpoint) -> str:
    """ccxt's name of the method: `fapiPrivateV3GetPositionRisk`."""
    access = ""
    if endpoint.api == "fapi":
        access = "Public" if endpoint.security is Security.NONE else "Private"
    version = f"V{endpoint.version}" if endpoint.version > 1 else ""
    words = endpoint.name.split("/")
    name = "".join(word[0].upper() + word[1:] for word in words)
    return f"{endpoint.api}{access}{version}{endpoint.method.capitalize()}{name}"


class _Usdm(ccxt.async_support.binanceusdm):  # type: ignore[misc]
    """Gives back what ccxt would send."""

    def request(
        self, path: str, api: Any, method: str, params: dict[str, str], **_config: Any
    ) -> HttpRequest:
        """What every implicit method ends in. ccxt's own would wait its turn, retry, fetch and
        interpret; and keep the request, which is as good as the key while its window lasts.
        """
        signed = self.sign(path, api, method, params)
        url, headers = signed["url"], signed["headers"]
        if body := signed["body"]:  # of POST and PUT; Binance takes it in the query as well
            url = f"{url}?{body}"
        key = None if headers is None else headers.get(_KEY_HEADER)
        return HttpRequest(method, url, None if key is None else {_KEY_HEADER: key})

    @staticmethod
    def urlencode(params: Mapping[str, object], *_how: object) -> str:
        """ccxt's own escapes each character of each value, which took longer than the rest of
        the signature. Ours leaves alone what needs no escaping.
        """
        return encode([(name, str(value)) for name, value in params.items()])
