"""Where the server is, and how to talk to it, from one URL.

`redis://`, `rediss://` (TLS) and `redis+sentinel://host,host/primary-name/db`. What
belongs to holdfast rides in the query; a parameter nobody knows is an error, because
a misspelt `timeout_ms` that is ignored is found out in an outage.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from holdfast.errors import ConfigError
from holdfast.suggestion import did_you_mean
from holdfast.url import Url

_DEFAULT_PORT: Final = 6379
_DEFAULT_SENTINEL_PORT: Final = 26379


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything but the address; each may stand in the URL's query.

    The heartbeat's defaults find a hung or cut-off server within 350 ms and leave ten
    times the slowest PING seen on one machine under load (22 ms). The timeout must also
    cover the upload of a batch: raise it for a slow line.
    """

    bot: str = "bot"
    """Names the keys: `{hf:BOT}:events` and so on. The braces are Cluster's hash tag."""
    heartbeat_ms: int = 100
    timeout_ms: int = 250
    connect_ms: int = 1000
    """For TCP, TLS and the handshake together."""
    stream_maxlen: int = 200_000
    """Events kept (about 250 bytes of server memory each, plus their payload)."""
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_check_hostname: bool = True
    sentinel_username: str | None = None
    sentinel_password: str | None = None

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("heartbeat_ms", self.heartbeat_ms, 5, 60_000),
            ("timeout_ms", self.timeout_ms, 10, 60_000),
            ("connect_ms", self.connect_ms, 10, 60_000),
            ("stream_maxlen", self.stream_maxlen, 1000, 1_000_000_000),
        ):
            if not low <= value <= high:
                raise ConfigError(f"{name}: {value} is not between {low} and {high}")
        if not self.bot or set(self.bot) & set("{}"):
            raise ConfigError(f"bot: {self.bot!r} is empty or has braces")


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed URL. `repr` shows no password."""

    endpoints: tuple[tuple[str, int], ...]
    """The server, or the sentinels that know it."""
    primary_name: str | None
    """What the sentinels call it; None: there are no sentinels."""
    username: str | None
    password: str | None
    database: int
    tls: bool
    settings: Settings

    def __repr__(self) -> str:
        hosts = ",".join(f"{host}:{port}" for host, port in self.endpoints)
        return f"Address({hosts!r}, database={self.database}, bot={self.settings.bot!r})"

    def key(self, name: str) -> str:
        return f"{{hf:{self.settings.bot}}}:{name}"

    def tls_context(self) -> ssl.SSLContext | None:
        """:raises ConfigError: a certificate file can not be used."""
        if not self.tls:
            return None
        s = self.settings
        try:
            context = ssl.create_default_context(cafile=s.ssl_ca_certs)
            if s.ssl_certfile is not None:
                context.load_cert_chain(s.ssl_certfile, s.ssl_keyfile)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                f"ssl_ca_certs, ssl_certfile or ssl_keyfile can not be used: {error}"
            ) from error
        context.check_hostname = s.ssl_check_hostname
        return context


def parse(url: str | Url, settings: Mapping[str, Any] | None = None) -> Address:
    """The address that `url` names.

    :param settings: fields of `Settings`; the URL's query goes before them.
    :raises ConfigError: naming the part and the remedy, never a password.
    """
    text = url.reveal() if isinstance(url, Url) else url
    shown = str(url if isinstance(url, Url) else Url(url))
    # Not urlsplit's own .port: it takes one host, and sentinels are several.
    parts = urlsplit(text)
    scheme = parts.scheme.lower()
    if scheme not in ("redis", "rediss", "redis+sentinel", "rediss+sentinel"):
        raise ConfigError(f"{shown}: the scheme is not redis, rediss or redis+sentinel")
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    sentinel = scheme.endswith("+sentinel")
    default_port = _DEFAULT_SENTINEL_PORT if sentinel else _DEFAULT_PORT
    endpoints = tuple(_endpoint(host, default_port, shown) for host in hosts.split(","))
    if len(endpoints) > 1 and not sentinel:
        raise ConfigError(f"{shown}: several hosts are for redis+sentinel:// only")
    path = [part for part in parts.path.split("/") if part]
    primary_name = path.pop(0) if sentinel and path else None
    if sentinel and primary_name is None:
        raise ConfigError(
            f"{shown}: give the name of the primary, redis+sentinel://host/mymaster/0"
        )
    database = path.pop(0) if path else "0"
    if path or not database.isdecimal():
        raise ConfigError(f"{shown}: the path is not a database number")
    return Address(
        endpoints=endpoints,
        primary_name=primary_name,
        username=unquote(user) or None,
        password=unquote(password) or None,
        database=int(database),
        tls=scheme.startswith("rediss"),
        settings=_settings({**(settings or {}), **_query(parts.query, shown)}),
    )


def _endpoint(text: str, default_port: int, shown: str) -> tuple[str, int]:
    try:
        split = urlsplit(f"//{text}")  # knows [::1]:6379
        host, port = split.hostname, split.port
    except ValueError as error:
        raise ConfigError(f"{shown}: {error}") from None
    return host or "127.0.0.1", default_port if port is None else port


def _query(query: str, shown: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in found:
            raise ConfigError(f"{shown}: {name} is given twice")
        found[name] = value
    return found


def _settings(values: Mapping[str, Any]) -> Settings:
    known = Settings.__struct_fields__
    for name in values:
        if name not in known:
            raise ConfigError(
                f"{name}: unknown parameter of a Redis URL{did_you_mean(name, known)}; known: "
                f"{', '.join(known)}"
            )
    try:
        return msgspec.convert(dict(values), Settings, strict=False)
    except msgspec.ValidationError as error:
        reason, _, name = str(error).partition(" - at `$.")
        raise ConfigError(f"{name.rstrip('`')}: {reason}") from None
