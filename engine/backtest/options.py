"""What `holdfast backtest` and `holdfast sweep` are told alike: data, faults, the venue's terms."""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from holdfast.errors import ConfigError
from holdfast.transports.sim.book import DEFAULT_LEVERAGE

from .account import MAX_LEVERAGE, MODES, RULES, Account
from .loading import MakeBot
from .sweeping import Options

_Command = TypeVar("_Command", bound=Callable[..., None])


def _fraction(
    _context: click.Context, _option: click.Parameter, text: str | None
) -> Decimal | None:
    """Exactly as it was typed; what a fee may be is for `Account` to say."""
    try:
        return None if text is None else Decimal(text)
    except ArithmeticError:
        raise click.BadParameter(f"{text!r} is no number, such as 0.0005 for 0.05 %") from None


_OPTIONS: Final = (
    click.option(
        "--data",
        multiple=True,
        required=True,
        metavar="[SYMBOL=]FILE",
        help="What is recorded; once for each symbol, or for each of its files, or with a pattern "
        "in quotes ('BTCUSDT-1m-2025-*.zip'). Candles: Binance kline dump (csv, zip), OHLCV (csv, "
        "csv.gz, parquet), freqtrade feather. Trades: Binance trades, aggTrades. "
        "Quotes: Binance bookTicker. Both: raw WebSocket frames (gz, jsonl).",
    ),
    click.option(
        "--bars",
        multiple=True,
        metavar="LENGTH",
        help="Length of bars that the bot is to hear of (5m, 1h), made of what is recorded. May be "
        "repeated. Default: as recorded; of trades 1m.",
    ),
    click.option(
        "--funding",
        multiple=True,
        metavar="[SYMBOL=]RATE|FILE",
        help="Funding fees: a rate every eight hours (0.0001), or Binance's recorded rates (csv, "
        "zip).",
    ),
    click.option(
        "--faults",
        type=click.Path(path_type=Path),
        metavar="PLAN.toml",
        help="What fails, and when; the bot is then run with and without holdfast.",
    ),
    click.option(
        "--markets",
        type=click.Path(path_type=Path),
        metavar="FILE.toml",
        help="Ticks, steps and minima of symbols that holdfast does not know.",
    ),
    click.option(
        "--deposit", type=click.IntRange(1), default=100_000, show_default=True, help="USDT."
    ),
    click.option(
        "--hedge",
        is_flag=True,
        help="Hedge mode: LONG and SHORT positions side by side; orders name their position_side.",
    ),
    click.option(
        "--leverage",
        type=click.IntRange(1, MAX_LEVERAGE),
        metavar="N",
        help=f"Of every symbol, 1 to {MAX_LEVERAGE}. Default: the venue's, {DEFAULT_LEVERAGE}.",
    ),
    click.option(
        "--margin",
        type=click.Choice(MODES),
        default="cross",
        show_default=True,
        help="What a position can lose: the whole wallet, or what was set aside for it.",
    ),
    click.option(
        "--maker-fee",
        callback=_fraction,
        metavar="FRACTION",
        help=f"Of the notional; negative: a rebate. Default: {Account().maker_fee}.",
    ),
    click.option(
        "--taker-fee",
        callback=_fraction,
        metavar="FRACTION",
        help=f"Of the notional. Default: {Account().taker_fee}.",
    ),
    click.option(
        "--slippage-ticks",
        type=click.IntRange(0),
        help="Ticks beyond the best price that a taker pays. Default: 1 on trades without quotes, "
        "else 0.",
    ),
    click.option(
        "--maker-rule",
        type=click.Choice(RULES),
        help="A resting order is filled when its price is traded (touch), or only a worse one "
        "(through). Default: touch on candles, else through.",
    ),
)


def recorded_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds them; the command is given `data`, and the others as `options`."""

    @functools.wraps(command)
    def told(
        *,
        data: tuple[str, ...],
        bars: tuple[str, ...],
        funding: tuple[str, ...],
        faults: Path | None,
        markets: Path | None,
        deposit: int,
        hedge: bool,
        leverage: int | None,
        margin: Any,
        maker_fee: Decimal | None,
        taker_fee: Decimal | None,
        slippage_ticks: int | None,
        maker_rule: Any,
        **others: Any,
    ) -> None:
        fees = {"maker_fee": maker_fee, "taker_fee": taker_fee}
        try:
            account = Account(
                deposit=Decimal(deposit),
                hedge_mode=hedge,
                leverage=leverage,
                margin_mode=margin,
                slippage_ticks=slippage_ticks,
                maker_rule=maker_rule,
                **{name: fee for name, fee in fees.items() if fee is not None},
            )
        except ConfigError as error:  # `maker_fee: why`
            field, _, why = str(error).partition(": ")
            hint = f"--{field.replace('_', '-')}"
            raise click.BadParameter(why, param_hint=hint) from None
        options = Options(
            faults=faults, markets=markets, account=account, bars=bars, funding=funding
        )
        command(data=data, options=options, **others)

    for option in reversed(_OPTIONS):
        told = option(told)
    return told


def report_option(of_what: str) -> Callable[[_Command], _Command]:
    """`--report FILE.html`; that it can be written is seen before the runs, which may be long."""
    return click.option(
        "--report",
        type=click.Path(dir_okay=False, writable=True, path_type=Path),
        callback=_in_a_folder,
        metavar="FILE.html",
        help=f"Write a page with {of_what}.",
    )


def _in_a_folder(
    _context: click.Context, _option: click.Parameter, path: Path | None
) -> Path | None:
    if path is not None and not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise click.BadParameter(f"there is no folder {path.parent} that can be written to.")
    return path


def read_value(bot: MakeBot, name: str, text: str) -> Any:
    """What a person has typed for an argument of the bot: text or a Decimal if it is one by
    default or by its annotation, else a number or a truth value if it reads as one, else text.

    A quantity that goes through a float is not the quantity that was typed.

    :raises ConfigError: the argument is a Decimal, and this is none.
    """
    argument = inspect.signature(bot).parameters.get(name)
    kinds = () if argument is None else (type(argument.default).__name__, argument.annotation)
    try:
        read = json.loads(text)
    except ValueError:
        read = text
    if isinstance(read, str):
        text = read  # it was quoted
    if "Decimal" in kinds or Decimal in kinds:
        try:
            return Decimal(text)
        except ArithmeticError:
            raise ConfigError(f"--set: {name}: {text!r} is no number") from None
    return text if "str" in kinds or str in kinds else read
