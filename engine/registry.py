"""Finds the transport for a URL: its scheme names an entry point.

A transport is found by name so that the engine imports none. The groups are
`holdfast.bus`, `holdfast.policy`, `holdfast.execution` and `holdfast.market`; the
entry point's name is the scheme, its value a `ports.Factory`. The lease has no
group of its own: it lives on the policy store's connection, whose health is the
lease's too. The built-in transports stand in `pyproject.toml` like anybody's:

    [project.entry-points."holdfast.bus"]
    nats = "your_package.bus:factory"

A module is imported when its scheme is first used, so that `import holdfast`
costs nothing of it.
"""

from __future__ import annotations

import inspect
import re
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Literal, cast

from .errors import ConfigError
from .ports import (
    Clock,
    Entropy,
    ExecutionClient,
    Factory,
    MarketData,
    MessageBus,
    PolicyStore,
)
from .suggestion import did_you_mean
from .url import Url

Port = Literal["bus", "policy", "execution", "market"]

_PORTS_ARGUMENTS: Final = frozenset({"url", "clock", "entropy"})
_REQUIREMENT_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_REQUIREMENT_EXTRA: Final = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


def schemes(port: Port) -> list[str]:
    """Every scheme that an installed package offers for this port."""
    return sorted({point.name for point in entry_points(group=f"holdfast.{port}")})


def open_bus(
    url: str | Url, *, clock: Clock, entropy: Entropy, bot: str | None = None, **settings: Any
) -> MessageBus:
    """The message bus at this address; nothing is connected yet.

    :param bot: named in what the transport keeps, if it keeps bots apart.
    :param settings: the transport's own, such as `stream_max_events`.
    :raises ConfigError: no transport for the scheme, a package that it needs is
        missing, or a setting that it does not have.
    """
    return cast(MessageBus, _open("bus", url, clock, entropy, settings, bot))


def open_policy_store(
    url: str | Url, *, clock: Clock, entropy: Entropy, bot: str | None = None, **settings: Any
) -> PolicyStore:
    """The policy store at this address. :raises ConfigError: as `open_bus`."""
    return cast(PolicyStore, _open("policy", url, clock, entropy, settings, bot))


def open_execution(
    url: str | Url, *, clock: Clock, entropy: Entropy, **settings: Any
) -> ExecutionClient:
    """The venue's client at this address. :raises ConfigError: as `open_bus`."""
    return cast(ExecutionClient, _open("execution", url, clock, entropy, settings))


def open_market(url: str | Url, *, clock: Clock, entropy: Entropy, **settings: Any) -> MarketData:
    """The market data at this address. :raises ConfigError: as `open_bus`."""
    return cast(MarketData, _open("market", url, clock, entropy, settings))


def _open(
    port: Port,
    url: str | Url,
    clock: Clock,
    entropy: Entropy,
    settings: dict[str, Any],
    bot: str | None = None,
) -> object:
    address = url if isinstance(url, Url) else Url(url)
    factory = _load(port, address.scheme)
    parameters = inspect.signature(factory).parameters.values()
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    known = {
        parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD
    }
    if bot is not None and (takes_any or "bot" in known):
        settings = {"bot": bot, **settings}
    if not takes_any:
        _check_settings(port, address, sorted(known - _PORTS_ARGUMENTS), settings)
    try:
        return factory(address.reveal(), clock=clock, entropy=entropy, **settings)
    except (TypeError, ValueError) as error:  # what it has not looked at before it used it
        raise ConfigError(f"{address}: the {port} transport can not be made: {error}") from error


def _load(port: Port, scheme: str) -> Factory:
    points = {point.name: point for point in entry_points(group=f"holdfast.{port}")}
    point = points.get(scheme)
    if point is None:
        raise ConfigError(_unknown(port, scheme, schemes(port)))
    try:
        return cast(Factory, point.load())
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        package = point.dist.name if point.dist is not None else point.module
        raise ConfigError(
            f"{scheme}:// is provided by {package}, which needs the module {missing!r}: "
            f"{_remedy(point, missing)}"
        ) from error
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{scheme}:// is declared as {point.value!r}, which does not load: {error}; "
            "reinstall the package that provides it"
        ) from error


def _unknown(port: Port, scheme: str, known: list[str]) -> str:
    if not known:
        return (
            f"no transport is registered for {scheme}://, nor any other as {port}: holdfast runs "
            "without having been installed; `pip install holdfast`, or `pip install -e .` in a "
            "checkout"
        )
    listed = ", ".join(f"{name}://" for name in known)
    return (
        f"no {port} transport for {scheme}://{did_you_mean(scheme, known)}; known: {listed}. "
        f"Another one comes with a package that has the entry point {scheme!r} in the group "
        f"'holdfast.{port}'"
    )


def _remedy(point: EntryPoint, module: str) -> str:
    """The command that installs what is missing, with the extra it belongs to."""
    wanted = _normalised(module)
    for requirement in (point.dist.requires if point.dist is not None else None) or ():
        name = _REQUIREMENT_NAME.match(requirement)
        if name is None or _normalised(name[0]) != wanted:
            continue
        extra = _REQUIREMENT_EXTRA.search(requirement)
        if extra is not None and point.dist is not None:
            return f"pip install '{point.dist.name}[{extra[1]}]'"
        return f"pip install {name[0]}"
    return f"pip install the package that brings {module!r}"


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # PEP 503


def _check_settings(port: Port, url: Url, known: list[str], settings: dict[str, Any]) -> None:
    """Name a setting the transport does not have, before it fails with a TypeError."""
    for name in settings:
        if name not in known:
            raise ConfigError(
                f"{name}: the {port} transport {url.scheme}:// has no such option"
                f"{did_you_mean(name, known)}; it has: {', '.join(known) or 'none'}"
            )
