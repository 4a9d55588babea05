"""Reads the configuration file and says exactly what is wrong with it.

The file's sections are those of `Settings`, plus the addresses of the outside
world. An error names the file, the key, what was given and what is allowed,
because it is read by somebody who wants to trade, not to debug.

Secrets never stand in the file; `secret` tells how it refers to them.
"""

from __future__ import annotations

import re
import tomllib
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from .errors import ConfigError
from .model import ExpectedAccount
from .secret import Secret, read_key_file, resolve_address, resolve_path, resolve_secret
from .settings import (
    AlertSettings,
    GateSettings,
    LeaseSettings,
    LinkSettings,
    MarketSettings,
    OrderSettings,
    OutboxSettings,
    PolicySettings,
    ReconcileSettings,
    Settings,
)
from .suggestion import did_you_mean
from .url import Url

_T = TypeVar("_T")
_S = TypeVar("_S", bound=msgspec.Struct)
_CREDENTIALS: Final = ("api_key", "api_secret")
_GIVEN: Final = ("clock", "entropy")
"""What every transport is given by the engine, so that no option may have the name."""


class Endpoint(NamedTuple):
    """Where a transport connects to.

    :ivar options: the transport's own settings, passed to its factory.
    :ivar key: what its errors begin with: the file and the section.
    """

    url: Url
    options: Mapping[str, Any]
    key: str

    @contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Where a transport is made: what it refuses is said of the file and the key.

        An option is told by the name that the transport's error begins with (`ports.Factory`).
        """
        try:
            yield
        except ConfigError as error:
            name, _, reason = str(error).partition(": ")
            at = f"options.{name}: {reason}" if name in self.options else f"url: {error}"
            raise type(error)(f"{self.key}.{at}") from error.__cause__


class Config(NamedTuple):
    """Everything `Engine.open` needs.

    :ivar state_dir: absolute; holds the journal and the control socket.
    :ivar market: None: the bot looks after market data itself.
    :ivar policy: also where the lease is kept; the bus's address unless set.
    :ivar account: what the bot expects of it.
    :ivar credentials: `api_key` and `api_secret` of the exchange, as far as given (or both,
        out of `key_file`).
    :ivar source: the file it was read from, or a word for what it was.
    """

    settings: Settings
    state_dir: Path
    bus: Endpoint
    policy: Endpoint
    exchange: Endpoint
    market: Endpoint | None
    credentials: Mapping[str, Secret]
    account: ExpectedAccount
    source: str


class _Engine(msgspec.Struct, frozen=True, kw_only=True):
    bot: str = "bot"
    symbols: tuple[str, ...]
    state_dir: str = "./state"


class _Bus(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    options: dict[str, Any] = {}


class _Policy(PolicySettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class _Exchange(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    api_key: str | None = None
    api_secret: str | None = None
    key_file: str | None = None
    options: dict[str, Any] = {}


class _Market(MarketSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file. Each section but the first three may be left out."""

    engine: _Engine
    bus: _Bus
    exchange: _Exchange
    policy: _Policy = _Policy()
    lease: LeaseSettings = LeaseSettings()
    gate: GateSettings = GateSettings()
    orders: OrderSettings = OrderSettings()
    outbox: OutboxSettings = OutboxSettings()
    links: LinkSettings = LinkSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    market: _Market = _Market()
    alerts: AlertSettings = AlertSettings()
    account: ExpectedAccount = ExpectedAccount()


def load(source: str | Path | Mapping[str, Any], *, credentials: bool = True) -> Config:
    """Read a TOML file, or a mapping of the same shape.

    Relative paths in a file count from the file's own folder, so that a bot finds
    its state wherever it is started from; in a mapping, from the current folder.

    :param credentials: False: the exchange's keys are not looked for.
    :raises CredentialError: a key or password can not be had.
    :raises ConfigError: naming the file, the key (or the line, where the text is no
        TOML), what was given, and what is allowed.
    """
    if isinstance(source, Mapping):
        return _build(source, "configuration", Path.cwd(), credentials=credentials)
    path = Path(source)
    try:
        text = path.read_bytes().decode()
        tree = tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file; begin with examples/holdfast.toml"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: can not be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8, as TOML must be") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    return _build(tree, str(path), path.absolute().parent, credentials=credentials)


def _build(tree: Mapping[str, Any], name: str, folder: Path, *, credentials: bool) -> Config:
    try:
        _check_keys(tree, _File, at="")
        file = _convert(tree)
        bus = _endpoint(name, "bus", file.bus.url, file.bus.options, folder, bot="engine.bot")
        return Config(
            settings=Settings(
                bot=file.engine.bot,
                symbols=file.engine.symbols,
                policy=_settings_of(PolicySettings, file.policy),
                market=_settings_of(MarketSettings, file.market),
                alerts=file.alerts,
                lease=file.lease,
                gate=file.gate,
                orders=file.orders,
                outbox=file.outbox,
                links=file.links,
                reconcile=file.reconcile,
            ),
            state_dir=_named("engine.state_dir", resolve_path, file.engine.state_dir, folder),
            bus=bus,
            policy=_endpoint(
                name,
                "policy",
                bus.url if file.policy.url is None else file.policy.url,
                file.policy.options,
                folder,
                bot="engine.bot",
            ),
            exchange=_endpoint(
                name,
                "exchange",
                file.exchange.url,
                file.exchange.options,
                folder,
                **{key: f"exchange.{key}" for key in _CREDENTIALS},
            ),
            market=None
            if file.market.url is None
            else _endpoint(name, "market", file.market.url, file.market.options, folder),
            credentials=_credentials(file.exchange, folder) if credentials else {},
            account=file.account,
            source=name,
        )
    except ConfigError as error:
        raise type(error)(f"{name}: {error}") from error.__cause__


def _endpoint(
    source: str,
    section: str,
    address: str | Url,
    options: Mapping[str, Any],
    folder: Path,
    **elsewhere: str,
) -> Endpoint:
    """
    :param elsewhere: what is no option because it is set by another key, and by which.
    """
    elsewhere["url"] = f"{section}.url"
    for name in options:
        if name in elsewhere:
            raise ConfigError(f"{section}.options.{name}: is {elsewhere[name]}; leave it out here")
        if name in _GIVEN:
            raise ConfigError(f"{section}.options.{name}: the engine gives it to every transport")
    url = (
        address
        if isinstance(address, Url)
        else _named(f"{section}.url", resolve_address, address, folder)
    )
    return Endpoint(url, options, key=f"{source}: {section}")


def _credentials(exchange: _Exchange, folder: Path) -> dict[str, Secret]:
    """:raises ConfigError: they are given twice, or can not be had."""
    found = {
        key: _named(f"exchange.{key}", resolve_secret, value, folder)
        for key in _CREDENTIALS
        if (value := getattr(exchange, key)) is not None
    }
    if exchange.key_file is None:
        return found
    if found:
        raise ConfigError(f"exchange.key_file: leave it out, or {' and '.join(found)}")

    def read(name: str, folder: Path) -> dict[str, Secret]:
        return dict(zip(_CREDENTIALS, read_key_file(folder / Path(name).expanduser()), strict=True))

    return _named("exchange.key_file", read, exchange.key_file, folder)


def _settings_of(kind: type[_S], section: _S) -> _S:
    """The settings in a section that holds more: without its address."""
    return kind(**{name: getattr(section, name) for name in kind.__struct_fields__})


def _named(key: str, resolve: Callable[[str, Path], _T], text: str, folder: Path) -> _T:
    try:
        return resolve(text, folder)
    except ConfigError as error:
        raise type(error)(f"{key}: {error}") from error.__cause__


def _check_keys(tree: Mapping[str, Any], section: type[msgspec.Struct], *, at: str) -> None:
    """Look for unknown and missing keys, at every level, before any value is judged."""
    fields = {field.name: field for field in msgspec.structs.fields(section)}
    for key, value in tree.items():
        where = f"{at}{key}"
        field = fields.get(key)
        if field is None:
            raise ConfigError(
                f"{where}: unknown {'key' if at else 'section'}{did_you_mean(str(key), fields)}; "
                f"known here: {', '.join(sorted(fields))}"
            )
        if (nested := _section_of(field.type)) is not None:
            if not isinstance(value, Mapping):
                raise ConfigError(
                    f"{where}: is a section, written [{where}]; got {type(value).__name__}"
                )
            _check_keys(value, nested, at=f"{where}.")
    for field in fields.values():
        if field.required and field.name not in tree:
            kind = "key" if at else "section"
            raise ConfigError(
                f"{at}{field.name}: this {kind} is missing; see examples/holdfast.toml"
            )


def _section_of(wanted: Any) -> type[msgspec.Struct] | None:
    """The struct that a field holds, possibly as one side of `… | None`."""
    for choice in (wanted, *typing.get_args(wanted)):
        if isinstance(choice, type) and issubclass(choice, msgspec.Struct):
            return choice
    return None


def _convert(tree: Mapping[str, Any]) -> _File:
    try:
        return msgspec.convert(tree, _File, strict=True)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        key = path.rstrip("`")
        raise ConfigError(f"{key}: {_explained(tree, key, reason)}") from None


def _explained(tree: Mapping[str, Any], key: str, reason: str) -> str:
    given: Any = tree
    wanted: Any = _File
    for part in re.findall(r"[^.\[\]]+", key):
        if isinstance(given, Mapping):
            given = given.get(part)
        elif isinstance(given, (list, tuple)) and part.isdigit():
            given = given[int(part)]
        if (section := _section_of(wanted)) is not None:
            wanted = next(f.type for f in msgspec.structs.fields(section) if f.name == part)
    if key.endswith((*_CREDENTIALS, "url")):
        return f"{_in_words_of_toml(reason)} (the value is not shown: it may be a secret)"
    choices = _choices(wanted)
    if not choices:
        return f"{_in_words_of_toml(reason)}; got {given!r}"
    return f"{given!r} is not allowed{did_you_mean(str(given), choices)}; one of: " + ", ".join(
        repr(choice) for choice in choices
    )


_TOML: Final = {
    "array": 'a list, such as ["one", "two"]',
    "object": "a section",
    "str": "text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}


def _in_words_of_toml(reason: str) -> str:
    """msgspec's "Expected `array`, got `str`" for somebody who writes a file."""
    told = re.fullmatch(r"Expected `([^`]+)`, got `[^`]+`", reason)
    if told is None:
        return reason
    kinds = [_TOML.get(kind, kind) for kind in told[1].split(" | ") if kind != "null"]
    return f"has to be {' or '.join(dict.fromkeys(kinds))}"


def _choices(wanted: Any) -> list[str]:
    """The words that a field accepts, where it accepts only certain ones."""
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        return [str(member.value) for member in wanted]
    if typing.get_origin(wanted) is Literal:
        return [str(value) for value in typing.get_args(wanted)]
    for argument in typing.get_args(wanted):
        if choices := _choices(argument):
            return choices
    return []
