"""Funding fees of a backtest: when which rate is due.

Recorded rates are Binance's (`fundingRate` of its dumps: calc_time, last_funding_rate; of its API:
fundingTime, fundingRate, markPrice). A fixed one is due every eight hours (00:00, 08:00, 16:00
UTC), as at Binance for most symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.errors import ConfigError
from holdfast.marketdata import DataError
from holdfast.marketdata.events import events, place
from holdfast.marketdata.records import FundingRate
from holdfast.transports.sim import Market

INTERVAL_MS: Final = 8 * 3_600_000
_HOUR_MS: Final = 3_600_000
_LATE_MS: Final = 30_000
"""What the venue notes is when it calculated: moments after the full hour at which positions
were counted."""


class Fee(NamedTuple):
    """
    :ivar time_ms: UTC, when positions are counted.
    :ivar rate: who is long pays a positive one.
    :ivar price: the mark price then; 0: what the recording stands at.
    """

    time_ms: int
    rate: float
    price: float = 0.0


Fees = Callable[[int, int], Iterable[Fee]]
"""`(first_ms, last_ms) -> fees` that are due after the one and up to the other, oldest first."""


def no_fees(first_ms: int, last_ms: int) -> Iterable[Fee]:
    """Funding is left out."""
    return ()


def load_fees(given: Sequence[str], markets: Iterable[Market]) -> dict[str, Fees]:
    """Funding of each market, by its name at the venue.

    :param given: `[SYMBOL=]RATE` or `[SYMBOL=]FILE` each; without a symbol for all.
    :raises DataError: a file can not be used.
    :raises ConfigError: a symbol of which nothing is recorded, or a rate that is none.
    """
    known = list(markets)
    fees: dict[str, Fees] = {}
    for text in given:
        name, equals, what = text.rpartition("=")
        wanted = [m for m in known if not equals or name in (m.name, m.symbol, m.name.lower())]
        if not wanted:
            there = ", ".join(market.name for market in known)
            raise ConfigError(f"funding: {name!r} is not traded here; there is {there}")
        found = _fees(what)
        for market in wanted:
            if market.name in fees:
                raise ConfigError(f"funding: {market.name} is given twice")
            fees[market.name] = found
    return fees


def _fees(text: str) -> Fees:
    try:
        rate = Decimal(text)
    except InvalidOperation:
        due = recorded(Path(text))
        return lambda first_ms, last_ms: [f for f in due if first_ms < f.time_ms <= last_ms]
    if not rate.is_finite() or abs(rate) >= 1:
        raise ConfigError(f"funding: {text} is no fraction of a position's worth")
    return lambda first_ms, last_ms: fixed(rate, first_ms, last_ms)


def fixed(rate: Decimal, first_ms: int, last_ms: int) -> Iterator[Fee]:
    """The same rate every eight hours, after the one moment and up to the other."""
    due = (first_ms // INTERVAL_MS + 1) * INTERVAL_MS
    while due <= last_ms:
        yield Fee(due, float(rate))
        due += INTERVAL_MS


def recorded(path: Path) -> list[Fee]:
    """The fees of a file, oldest first.

    :raises DataError: naming file and line: not sorted, twice, no funding rates.
    """
    fees: list[Fee] = []
    for line, event in events(path):
        if not isinstance(event, FundingRate):
            raise DataError(f"{place(path, line)}: this is no funding rate")
        late = event.time_ms % _HOUR_MS
        time_ms = event.time_ms - late if late <= _LATE_MS else event.time_ms
        if fees and time_ms <= fees[-1].time_ms:
            raise DataError(
                f"{place(path, line)}: this funding rate is not after the one before; "
                "sort the file by time, each once"
            )
        fees.append(Fee(time_ms, float(event.rate), float(event.price or 0)))
    if not fees:
        raise DataError(f"{path}: holds no data")
    return fees
