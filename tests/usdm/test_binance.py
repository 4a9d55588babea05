"""`binance://`: what its URLs mean, whose keys it takes, and what ccxt does and does not do."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, urlsplit

import ccxt.async_support
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from holdfast import registry
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import ConfigError
from holdfast.ports import ExecutionClient, MarketData
from holdfast.secret import Secret
from holdfast.transports.binance import SITES
from holdfast.transports.binance.ccxt_signer import CcxtSigner
from holdfast.transports.usdm import endpoints, signing
from holdfast.transports.usdm.endpoints import ENDPOINTS, Endpoint, Security
from holdfast.transports.usdm.signing import HmacSigner

KEY, SECRET = Secret("k" * 64), Secret("s" * 64)


def opened(url: str, **settings: object) -> ExecutionClient:
    values: dict[str, object] = {"api_key": KEY, "api_secret": SECRET, **settings}
    return registry.open_execution(url, clock=SystemClock(), entropy=SystemEntropy(), **values)


# --- addresses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "settings", "venue", "shown"),
    [
        ("binance://usdm", {}, "binance-usdm", "https://fapi.binance.com"),
        ("binance://usdm/", {}, "binance-usdm", "https://fapi.binance.com"),
        ("binance://usdm-testnet", {}, "binance-usdm-testnet", "https://demo-fapi.binance.com"),
        (
            "binance://usdm",
            {"server": "http://127.0.0.1:8081/"},
            "binance-usdm-elsewhere",
            "http://127.0.0.1:8081",
        ),
        ("binance://usdm", {"server": "https://a.example"}, "binance-usdm-elsewhere", "a.example"),
    ],
)
def test_a_url_names_a_venue(url: str, settings: dict[str, object], venue: str, shown: str) -> None:
    client = opened(url, **settings)
    assert client.venue == venue
    assert shown in repr(client)


def test_market_data_needs_no_keys() -> None:
    market: MarketData = registry.open_market(
        "binance://usdm", clock=SystemClock(), entropy=SystemEntropy()
    )
    assert market.name == "market"


@pytest.mark.parametrize(
    ("url", "settings", "words"),
    [
        ("binance://spot", {}, "binance://usdm or binance://usdm-testnet"),
        ("binance://usdm-tesnet", {}, "usdm-testnet"),
        ("binance://USDM", {}, "write binance://usdm"),
        ("binance://", {}, "binance://usdm"),
        ("binance://usdm?testnet", {}, "takes nothing but a name"),
        ("binance://usdm/BTCUSDT", {}, "takes nothing but a name"),
        ("binance://thekey:thesecret@usdm", {}, "keys and options are never part of it"),
        ("binance://usdm?key=thekey&secret=thesecret", {}, "key_file"),
        ("binance://usdm", {"api_key": None}, "api_key: is missing"),
        ("binance://usdm", {"api_secret": None}, "api_secret: is missing"),
        ("binance://usdm", {"api_key": "thekey"}, "api_key: a secret is written out"),
        ("binance://usdm", {"api_secret": "thesecret"}, "api_secret: a secret is written out"),
        ("binance://usdm", {"api_key": Secret("thekey\nthesecret")}, "api_key: is no key"),
        ("binance://usdm", {"api_key": Secret("")}, "api_key: is no key"),
        ("binance://usdm", {"api_secret": Secret("")}, "api_secret: is empty"),
        ("binance://usdm", {"server": "http://a.example"}, "use https"),
        ("binance://usdm", {"server": "127.0.0.1:8081"}, "http://127.0.0.1:8081"),
        ("binance://usdm", {"server": "http://thekey@127.0.0.1:1"}, "is no address"),
        ("binance://usdm", {"server": "http://127.0.0.1:1/fapi"}, "is no address"),
        ("binance://usdm", {"servre": "http://127.0.0.1:1"}, "server"),
    ],
)
def test_what_is_wrong_is_named_and_no_secret_shown(
    url: str, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        opened(url, **settings)
    assert words in str(raised.value)
    assert "thekey" not in str(raised.value)
    assert "thesecret" not in str(raised.value)


def test_the_addresses_are_those_that_ccxt_has() -> None:
    urls = ccxt.async_support.binanceusdm().urls
    for name, kind in (("usdm", "api"), ("usdm-testnet", "demo")):
        assert urls[kind]["fapiPrivate"] == f"{SITES[name].rest}/fapi/v1"
        assert urls[kind]["fapiPublicV2"] == f"{SITES[name].rest}/fapi/v2"
        assert urls[kind]["fapiPrivateV3"] == f"{SITES[name].rest}/fapi/v3"
    assert urls["api"]["sapi"] == f"{SITES['usdm'].account}/sapi/v1"
    assert SITES["usdm-testnet"].account is None, "play money can not be withdrawn"


# --- what ccxt makes of a request --------------------------------------------------------


PARAMS = [
    ("symbol", "BTCUSDT"),
    ("newClientOrderId", "hf.1:A/b_c-d"),
    ("clientAlgoId", "hf.1:A/b_c-d"),
    ("quantity", "0.0015"),
    ("price", "50000.07"),
    ("recvWindow", "2000"),
    ("timestamp", "1700000000000"),
]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: f"{e.method} {e.path}")
def test_every_request_arrives_as_it_was_meant(endpoint: Endpoint) -> None:
    """Nothing rounded, nothing dropped, nothing added but the signature."""
    base = "http://127.0.0.1:1"
    signer = CcxtSigner(base, key=KEY, secret=SECRET, account_url=base)
    request = signer.request(endpoint, PARAMS)
    url = urlsplit(request.url)
    assert request.method == endpoint.method
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{base}{endpoint.path}"
    query = {name: value for name, (value,) in parse_qs(url.query).items()}
    signature = query.pop("signature", None)
    assert query == dict(PARAMS)
    assert (signature is not None) == (endpoint.security is Security.SIGNED)
    key = None if endpoint.security is Security.NONE else {"X-MBX-APIKEY": KEY.reveal()}
    assert request.headers == key
    own = HmacSigner(base, key=KEY, secret=SECRET).request(endpoint, PARAMS)
    assert (own.method, own.headers) == (request.method, request.headers)


def test_the_signature_is_the_one_of_binances_own_example() -> None:
    """Of "SIGNED Endpoint Example", in the order in which ccxt puts the parameters."""
    key = Secret("dbefbc809e3e83c283a984c3a1459732ea7db1360ca80c5c2c8867408d28cc83")
    secret = Secret("2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9")
    params = [
        ("symbol", "BTCUSDT"),
        ("side", "BUY"),
        ("type", "LIMIT"),
        ("quantity", "1"),
        ("price", "9000"),
        ("timeInForce", "GTC"),
        ("recvWindow", "5000"),
        ("timestamp", "1591702613943"),
    ]
    base = "http://127.0.0.1:1"
    own = HmacSigner(base, key=key, secret=secret).request(endpoints.QUERY_ORDER, params)
    assert own.url.endswith(
        "&signature=3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
    )
    by_ccxt = CcxtSigner(base, key=key, secret=secret).request(endpoints.QUERY_ORDER, params)
    payload, _, signature = urlsplit(by_ccxt.url).query.rpartition("&signature=")
    assert signature == signing.signature(payload.encode(), secret.reveal().encode())


def _pem(private: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def test_private_keys_sign_too() -> None:
    """Binance takes HMAC, RSA and Ed25519 ("API Key Types")."""
    edwards = ed25519.Ed25519PrivateKey.generate()
    rivest = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for private in (edwards, rivest):
        signer = CcxtSigner("http://127.0.0.1:1", key=KEY, secret=Secret(_pem(private)))
        query = urlsplit(signer.request(endpoints.QUERY_ORDER, PARAMS).url).query
        payload = query.rpartition("&signature=")[0].encode()
        signature = base64.b64decode(parse_qs(query)["signature"][0])
        if isinstance(private, ed25519.Ed25519PrivateKey):
            private.public_key().verify(signature, payload)
        else:
            private.public_key().verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
