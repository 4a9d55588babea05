"""From what a person types to a bot and to recordings: `module:Class`, `[SYMBOL=]FILE`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from holdfast.bot import Bot
from holdfast.errors import ConfigError
from holdfast.market import INTERVALS
from holdfast.suggestion import did_you_mean
from holdfast.transports.sim import Market
from holdfast.transports.sim.rules import DEFAULT_MARKETS

from .funding import load_fees, no_fees
from .reading import read
from .recording import Recording

MakeBot = Callable[[], Bot]
"""Makes the bot anew for each life of it."""
PATTERN: Final = re.compile(r"[*?\[]")
DEFAULT_NAME: Final = "BTCUSDT"
"""Of the market, where neither the option nor the file's name tells one."""


def load_bot(bot: str | MakeBot, arguments: Mapping[str, Any] | None = None) -> tuple[MakeBot, str]:
    """What makes the bot, and its name.

    :param bot: `module:Class`, `path/to/file.py:Class`, or what makes one.
    :param arguments: for it.
    :raises ConfigError: there is none, or it can not be made; says which part is wrong.
    """
    if isinstance(bot, str):
        make, name = find_bot(bot), bot
    else:
        make, name = bot, getattr(bot, "__qualname__", repr(bot))
    given = dict(arguments or {})
    try:
        inspect.signature(make).bind(**given)
    except TypeError as error:
        short = name.rpartition(":")[2]
        raise ConfigError(f"bot: {short} can not be made: {error}") from None
    return partial(make, **given) if given else make, name


def find_bot(address: str) -> MakeBot:
    """The class that is there.

    :param address: `module:Class` or `path/to/file.py:Class`.
    :raises ConfigError: there is none; names what there is.
    """
    where, colon, name = address.rpartition(":")
    if not colon or not where or not name.isidentifier():
        raise ConfigError(
            f"bot: {address!r} is no address; give module:Class or path/to/file.py:Class"
        )
    module = _from_file(Path(where)) if where.endswith(".py") else _from_path(where)
    found = getattr(module, name, None)
    if found is None:
        bots = [n for n, value in vars(module).items() if _is_bot(value)]
        raise ConfigError(
            f"bot: {where} has no {name}{did_you_mean(name, bots)}; "
            f"its bots: {', '.join(bots) or 'none'}"
        )
    if not _is_bot(found):
        raise ConfigError(f"bot: {address} is no class made from holdfast.Bot")
    make: MakeBot = found
    return make


def _is_bot(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Bot) and value is not Bot


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise ConfigError(f"bot: {path}: no such file")
    name = f"holdfast_bot_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickle look for it
    sys.path.insert(0, str(path.parent.resolve()))  # as if it were run: its neighbours are found
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"bot: {path} can not be imported: {error!r}") from error
    finally:
        sys.path.pop(0)
    return module


def _from_path(name: str) -> Any:
    sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ConfigError(f"bot: module {name} can not be imported: {error!r}") from error
    finally:
        sys.path.pop(0)


# --- markets and their data -------------------------------------------------------------


def load_markets(path: Path | None) -> dict[str, Market]:
    """The markets that are known by name (`BTCUSDT`): the built-in ones, and those of a TOML
    file with a section for each, `[DOGEUSDT]` with base, price_step, quantity_step,
    min_quantity and min_notional as text.

    :raises ConfigError: naming file and key.
    """
    markets = {market.name: market for market in DEFAULT_MARKETS}
    if path is None:
        return markets
    try:
        text = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: can not be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    for name, filters in text.items():
        try:
            given = msgspec.convert(filters, _Filters)
        except (msgspec.ValidationError, ValueError) as error:
            raise ConfigError(f"{path}: {name}: {error}") from None
        markets[name] = given.market(name)
    return markets


class _Filters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    base: str
    quote: str = "USDT"
    price_step: Decimal
    quantity_step: Decimal
    min_quantity: Decimal
    min_notional: Decimal

    def __post_init__(self) -> None:
        for field in ("price_step", "quantity_step", "min_quantity", "min_notional"):
            value = getattr(self, field)
            if not value.is_finite() or value <= 0:
                raise ValueError(f"{field}: {value} is not above 0")

    def market(self, name: str) -> Market:
        return Market(
            name=name,
            symbol=f"{self.base}/{self.quote}:{self.quote}",
            base=self.base,
            quote=self.quote,
            price_step=self.price_step,
            quantity_step=self.quantity_step,
            min_quantity=self.min_quantity,
            min_notional=self.min_notional,
        )


def find_data(texts: Iterable[str], markets: Mapping[str, Market]) -> Iterator[tuple[Market, Path]]:
    """The markets and files of `[SYMBOL=]FILE`, where a file's name may be a pattern
    (`BTCUSDT-1m-2025-*.zip`) for several.

    :raises ConfigError: as of `split_data`, or there is no such file.
    """
    for text in texts:
        market, path = split_data(text, markets)
        if path.exists() or not PATTERN.search(path.name):
            yield market, path
            continue
        found = sorted(path.parent.glob(path.name))
        if not found:
            raise ConfigError(f"data: there is no file {path}")
        for each in found:
            yield market, each


def split_data(text: str, markets: Mapping[str, Market]) -> tuple[Market, Path]:
    """`[SYMBOL=]FILE`; the symbol by the venue's name or the unified one. Without it the market
    that the file's name begins with, else BTCUSDT.

    :raises ConfigError: nobody knows the filters of that symbol.
    """
    name, equals, file = text.partition("=")
    if not equals:
        upper = Path(text).name.upper().replace("_", "")
        known = sorted(markets, key=len, reverse=True)
        name = next((name for name in known if upper.startswith(name.upper())), DEFAULT_NAME)
        file = text
    by_name = {market.symbol: market for market in markets.values()} | dict(markets)
    market = by_name.get(name) or by_name.get(name.upper())
    if market is None:
        raise ConfigError(
            f"data: the filters of {name!r} (tick, step, minima) are not known"
            f"{did_you_mean(name, by_name)}; there are {', '.join(markets)}; give others by "
            "--markets FILE.toml"
        )
    return market, Path(file)


def read_data(
    data: Iterable[tuple[Market, Path]],
    *,
    bars: Sequence[str] = (),
    funding: Sequence[str] = (),
    told: Callable[[Path], object] | None = None,
) -> tuple[list[Market], list[Recording]]:
    """Read and check all of it.

    :param bars: names of the lengths that a bot is to hear of; none: those that are recorded.
    :param funding: `[SYMBOL=]RATE` or `[SYMBOL=]FILE` each; without a symbol for all.
    :param told: called with each file that is begun.
    :raises DataError: a file can not be used.
    :raises ConfigError: files of one symbol that do not go together, or none at all.
    """
    for name in bars:
        if name not in INTERVALS:
            raise ConfigError(f"bars: {name!r} is not one of {', '.join(INTERVALS)}")
    paths: dict[str, list[Path]] = {}
    markets: dict[str, Market] = {}
    for market, path in data:
        markets[market.name] = market
        paths.setdefault(market.name, []).append(path)
    if not markets:
        raise ConfigError("data: give at least one file")
    fees = load_fees(funding, markets.values())
    recordings: list[Recording] = []
    for market in markets.values():
        if told is not None:
            told(paths[market.name][0])
        recordings.append(
            read(market, *paths[market.name], bars=bars, fees=fees.get(market.name, no_fees))
        )
    return list(markets.values()), recordings
