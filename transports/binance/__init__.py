"""Binance's USDⓈ-M futures, for real and on the testnet.

URLs: `binance://usdm` trades with money, `binance://usdm-testnet` with Binance's demo account.
Both are the client of `transports.usdm`; ccxt makes and signs the requests (`ccxt_signer`), so
that keys of all its kinds work: a secret for HMAC, or a private key (Ed25519, RSA).

Addresses: developers.binance.com, "General Info" of the derivatives (the testnet moved to
`demo-fapi` and `demo-fstream` when Demo Trading took its place; its streams have the same three
paths, `/private` among them, since 2026-04), Wallet "Get API Key Permission". ccxt names the same
for REST, which a test compares; of the streams it has those of the old testnet.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from holdfast.errors import ConfigError, CredentialError
from holdfast.secret import Secret
from holdfast.suggestion import did_you_mean

if TYPE_CHECKING:
    from holdfast.ports import Clock, Entropy, ExecutionClient, MarketData

__all__ = ["SITES", "Site", "factory", "market_factory"]

_LOOPBACK: Final = frozenset(("127.0.0.1", "::1", "localhost"))
_API_KEY: Final = re.compile(r"[!-~]+")
"""What can stand in a header."""
_KEYS: Final = (
    "give exchange.key_file (a file of mode 0600 with key and secret), or api_key and api_secret "
    "as ${NAME} or ${file:PATH}"
)


class Site(NamedTuple):
    """Where a venue is.

    :ivar venue: its name in the journal, so that two are never mixed up.
    :ivar rest, stream: without a path.
    :ivar account: of the account API, which knows what a key may do; None: there is none.
    """

    venue: str
    rest: str
    stream: str
    account: str | None


SITES: Final = {
    "usdm": Site(
        "binance-usdm",
        "https://fapi.binance.com",
        "wss://fstream.binance.com",
        "https://api.binance.com",
    ),
    "usdm-testnet": Site(
        "binance-usdm-testnet",
        "https://demo-fapi.binance.com",
        "wss://demo-fstream.binance.com",
        None,
    ),
}


def factory(
    url: str,
    *,
    clock: Clock,
    entropy: Entropy,
    name: str = "exchange",
    api_key: Secret | None = None,
    api_secret: Secret | None = None,
    server: str | None = None,
    stream_ping_seconds: float = 5.0,
) -> ExecutionClient:
    """The execution client that a `binance://` URL names.

    :param name: of the link, in reports.
    :param api_key, api_secret: from the environment or a file that only its owner may read;
        a configuration refers to them, and never contains them.
    :param server: `http://127.0.0.1:8081`, to be traded at instead of Binance: one that speaks
        the same protocol, such as `holdfast exchange`.
    :param stream_ping_seconds: how often the user stream is pinged.
    :raises CredentialError: a key is missing, or is none. No key is shown.
    :raises ConfigError: what else is wrong, and what to write instead.
    """
    site = _site(url, server)
    for option, value in (("api_key", api_key), ("api_secret", api_secret)):
        if value is None:
            raise CredentialError(f"exchange.{option}: is missing; {_KEYS}")
        if not isinstance(value, Secret):
            raise CredentialError(f"exchange.{option}: a secret is written out; {_KEYS}")
    assert api_key is not None
    assert api_secret is not None
    if not _API_KEY.fullmatch(api_key.reveal()):
        raise CredentialError("exchange.api_key: is no key: one line of letters, digits and signs")
    if not api_secret.reveal():
        raise CredentialError("exchange.api_secret: is empty")
    from holdfast.transports.usdm.client import UsdmExecutionClient

    from .ccxt_signer import CcxtSigner

    return UsdmExecutionClient(
        CcxtSigner(site.rest, key=api_key, secret=api_secret, account_url=site.account),
        stream_url=lambda key: f"{site.stream}/private/ws?listenKey={key}",
        clock=clock,
        entropy=entropy,
        name=name,
        venue=site.venue,
        stream_ping_seconds=stream_ping_seconds,
        tells_rights=site.account is not None,
    )


def market_factory(
    url: str,
    *,
    clock: Clock,
    entropy: Entropy,
    name: str = "market",
    server: str | None = None,
    ping_seconds: float = 5.0,
) -> MarketData:
    """The market data of the venue that a `binance://` URL names; no keys are needed.

    :param name: of the link, in reports.
    :param server: as for `factory`.
    :param ping_seconds: how often the streams are pinged.
    :raises ConfigError: the URL names no venue.
    """
    from holdfast.transports.usdm.market import UsdmMarketData

    site = _site(url, server)
    return UsdmMarketData(
        rest_url=site.rest,
        market_url=f"{site.stream}/market",
        public_url=f"{site.stream}/public",
        clock=clock,
        entropy=entropy,
        name=name,
        ping_seconds=ping_seconds,
    )


def _site(url: str, server: str | None) -> Site:
    """:raises ConfigError: the URL is not shown, for it may contain what should not be there."""
    parts = urlsplit(url)
    site = SITES.get(parts.netloc)
    if "@" in parts.netloc or parts.query or parts.fragment or parts.path not in ("", "/"):
        raise ConfigError(
            f"exchange.url: binance:// takes nothing but a name: {_named()}; keys and options "
            f"are never part of it: {_KEYS}"
        )
    if site is None:
        raise ConfigError(
            f"exchange.url: binance://{parts.netloc} is not known"
            f"{did_you_mean(parts.netloc, list(SITES))}; write {_named()}"
        )
    if server is None:
        return site
    address = urlsplit(server)
    if (
        address.scheme not in ("http", "https")
        or not address.hostname
        or address.netloc.rpartition("@")[0]
        or address.path.rstrip("/")
        or address.query
    ):
        raise ConfigError("server: is no address; write it as in http://127.0.0.1:8081")
    if address.scheme == "http" and address.hostname not in _LOOPBACK:
        raise ConfigError(
            f"server: http to {address.hostname} would send keys in the open; use https"
        )
    rest = f"{address.scheme}://{address.netloc}"
    return Site(f"{site.venue}-elsewhere", rest, f"ws{rest.removeprefix('http')}", rest)


def _named() -> str:
    return " or ".join(f"binance://{name}" for name in SITES)
