"""What may be guarded, with which engine, and as which classes its errors come."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import ccxt
import ccxt.async_support
import pytest
from guard_rigs import (
    BTC,
    RUNNERS,
    Bot,
    ServedVenue,
    async_bot,
    ccxt_config,
    maybe,
    run_sync,
)

import holdfast
from holdfast import (
    ConfigError,
    EngineClosed,
    InvalidOrder,
    LinkDown,
    NotExecuted,
    Order,
    OutcomeUnknown,
    Rejected,
    TradingHalted,
    registry,
)
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.guarding.errors import cancelling, placing, rejected_as
from holdfast.guarding.wrapping import Guarded
from holdfast.intent import Intent
from holdfast.journal import JournalError, JournalFull
from holdfast.ports import AccountComparer
from holdfast.secret import Secret
from holdfast.transports.sim import Fault

EXCHANGE = ccxt.binanceusdm()
RETRIED = (ccxt.OperationFailed,)
"""What loops catch and send again; `NetworkError` is one of them."""


def test_ccxt_is_not_imported_before_it_is_needed() -> None:
    script = (
        "import sys, holdfast; holdfast.guard\n"
        "try: holdfast.guard(object(), object())\n"
        "except holdfast.ConfigError: pass\n"
        "assert not [m for m in sys.modules if m.startswith('ccxt')]"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_wrong_pairs_are_refused(served: ServedVenue, tmp_path: Path) -> None:
    async def scenario(bot: Bot) -> None:
        def refused(exchange: Any, engine: Any, word: str) -> None:
            before = type(exchange)
            with pytest.raises(ConfigError, match=word):
                holdfast.guard(exchange, engine)
            assert type(exchange) is before

        blocking = bot.engine
        refused(object(), blocking, "binanceusdm")
        refused(ccxt.kraken(), blocking, "binanceusdm")
        refused(ccxt.binanceusdm(), None, "open_blocking")
        refused(ccxt.binanceusdm(), holdfast.Engine.open_blocking, "open_blocking")
        refused(ccxt.binanceusdm(), blocking.engine, "synchronous")
        refused(ccxt.async_support.binanceusdm(), blocking, "synchronous")
        own = ccxt.binanceusdm()
        own.createOrder = print
        refused(own, blocking, "createOrder")

    run_sync(scenario, served, tmp_path)


def other_account(exchange: Any, engine: Any) -> str:
    """Why the two do not go together."""
    before = type(exchange)
    with pytest.raises(ConfigError) as refused:
        holdfast.guard(exchange, engine)
    assert type(exchange) is before
    for secret in ("demo-of-another", exchange.secret):
        assert secret not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("kind", RUNNERS)
def test_both_trade_on_one_account(kind: str, served: ServedVenue, tmp_path: Path) -> None:
    async def scenario(bot: Bot) -> None:
        cls = bot.exchange.unguarded
        config = {**ccxt_config(served.port), "secret": "not-looked-at"}
        made: list[Any] = []

        def exchange(**changed: Any) -> Any:
            made.append(cls({**config, **changed}))
            return made[-1]

        assert "API key" in other_account(exchange(apiKey="demo-of-another"), bot.engine)
        elsewhere = {"urls": ccxt_config(served.port + 1)["urls"]}
        assert f"127.0.0.1:{served.port + 1}" in other_account(exchange(**elsewhere), bot.engine)
        live = exchange(urls={"api": {}})
        assert "fapi.binance.com" in other_account(live, bot.engine)
        for fits in (exchange(), exchange(apiKey="", urls={"api": {}})):
            assert holdfast.guard(fits, bot.engine) is fits
        for one in made:
            await maybe(one.close() if hasattr(one, "close") else None)

    RUNNERS[kind](scenario, served, tmp_path)


@pytest.mark.parametrize(
    ("url", "server", "words"),
    [
        ("binance://usdm", "https://fapi.binance.com/fapi/v1", ""),
        ("binance://usdm", "https://fapi.binance.com:443", ""),
        ("binance://usdm", "https://demo-fapi.binance.com/fapi/v1", "demo-fapi"),
        ("binance://usdm", "http://fapi.binance.com/fapi/v1", "http://fapi"),
        ("binance://usdm-testnet", "https://demo-fapi.binance.com/fapi/v1", ""),
        ("binance://usdm-testnet", "https://testnet.binancefuture.com/fapi/v1", "testnet"),
        ("sim://127.0.0.1:9", "http://localhost:9/fapi/v1", ""),
        ("sim://127.0.0.1:9", "http://127.0.0.1:8/fapi/v1", "127.0.0.1:8"),
    ],
)
def test_servers_are_compared_by_place(url: str, server: str, words: str) -> None:
    client = registry.open_execution(
        url,
        clock=SystemClock(),
        entropy=SystemEntropy(),
        api_key=Secret("mine"),
        api_secret=Secret("s"),
    )
    assert isinstance(client, AccountComparer)
    told = client.other_account(server=server, api_key="mine")
    assert words in told
    assert bool(told) is bool(words)
    other = client.other_account(server=server, api_key="min")
    assert other
    assert "min" not in other.replace("binance", "")


def test_ccxts_testnet_is_the_engines_by_the_call_that_the_error_names() -> None:
    exchange = ccxt.binanceusdm({"apiKey": "mine"})
    exchange.enable_demo_trading(True)
    client = registry.open_execution(
        "binance://usdm-testnet",
        clock=SystemClock(),
        entropy=SystemEntropy(),
        api_key=Secret("mine"),
        api_secret=Secret("s"),
    )
    server = exchange.urls["api"]["fapiPrivate"]
    assert client.other_account(server=server, api_key="mine") == ""  # type: ignore[attr-defined]


def test_guarding_again_moves_it_to_another_engine(served: ServedVenue, tmp_path: Path) -> None:
    kept: list[Any] = []

    async def first(bot: Bot) -> None:
        kept.append(bot.exchange)
        await bot.buy()

    async def second(bot: Bot) -> None:
        (exchange,) = kept
        with pytest.raises(EngineClosed) as closed:
            exchange.create_order(BTC, "market", "buy", 0.01)
        assert isinstance(closed.value, ccxt.ExchangeError)
        assert holdfast.guard(exchange, bot.engine) is exchange
        assert type(exchange).__mro__.count(Guarded) == 1
        exchange.create_order(BTC, "market", "sell", 0.01, None, {"reduceOnly": True})

    run_sync(first, served, tmp_path)
    run_sync(second, served, tmp_path)
    assert len(served.log()) == 2


def test_a_key_is_remembered_with_all_that_the_bot_is_told(
    served: ServedVenue, tmp_path: Path
) -> None:
    """Across a restart: number, price and time too."""
    told: list[Any] = []

    async def scenario(bot: Bot) -> None:
        told.append(await bot.limit(clientOrderId="signal-1"))

    async def main() -> None:
        for _ in range(2):
            async with async_bot(ccxt.async_support, served, tmp_path) as bot:
                await scenario(bot)

    anyio.run(main)
    first, second = told
    for structure in told:
        structure["info"].pop("holdfast")
    assert first == second
    assert len(served.log()) == 1


def test_the_callers_cancellation_leaves_one_order(served: ServedVenue, tmp_path: Path) -> None:
    """`asyncio.wait_for` around a call: the order is still asked for, and never sent again."""

    async def main() -> None:
        async with async_bot(ccxt.async_support, served, tmp_path) as bot:
            await bot.exchange.load_markets()
            served.lose_an_order(Fault.lost_reply())
            with anyio.move_on_after(0.1) as scope:
                await bot.buy(clientOrderId="signal-2")
            assert scope.cancelled_caught
            assert [i.order.key for i in bot.engine.pending()] == ["signal-2"]
            served.mend()
            await bot.until(lambda: not bot.engine.pending(), "it is settled")
            assert (await bot.buy(clientOrderId="signal-2"))["status"] == "closed"
        assert len(served.log()) == 1

    anyio.run(main)


# --- classes of errors ---------------------------------------------------------------

INTENT = Intent("hf-a-1", Order(BTC, "buy", "0.010"), created_ns=0)


def as_told(error: Exception, *, opening: bool = True) -> Exception:
    with pytest.raises(ccxt.BaseError) as told, placing(EXCHANGE, opening=opening):
        raise error
    assert told.value.__cause__ is error
    return told.value


ERRORS: list[Exception] = [
    OutcomeUnknown("timed out", intent=INTENT),
    TradingHalted("redis is down"),
    NotExecuted("overloaded", intent=INTENT),
    Rejected("no", code=-2019),
    Rejected("the policy forbids it"),
    InvalidOrder("quantity: too small"),
    LinkDown("no price"),
    EngineClosed("not running"),
    JournalFull("no room"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_entry_is_never_of_a_class_that_bots_retry(error: Exception) -> None:
    told = as_told(error)
    assert isinstance(told, ccxt.ExchangeError)
    assert not isinstance(told, RETRIED)
    assert isinstance(told, JournalError if isinstance(error, JournalFull) else type(error))
    assert str(error) in str(told)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_exit_is_retried_only_if_nothing_was_sent(error: Exception) -> None:
    told = as_told(error, opening=False)
    retried = isinstance(told, ccxt.NetworkError)
    assert retried is isinstance(error, TradingHalted | NotExecuted)
    assert isinstance(told, ccxt.ExchangeError) is not retried


def test_the_errors_carry_what_holdfasts_own_carry() -> None:
    unknown = as_told(ERRORS[0])
    assert isinstance(unknown, OutcomeUnknown)
    assert unknown.intent is INTENT
    assert "Do NOT send it again" in str(unknown)
    assert "hf-a-1" in str(unknown)
    rejected = as_told(ERRORS[3])
    assert isinstance(rejected, Rejected)
    assert rejected.code == -2019
    assert isinstance(rejected, ccxt.InsufficientFunds)


def test_an_error_is_translated_once() -> None:
    told = as_told(ERRORS[1])
    with pytest.raises(TradingHalted) as again, placing(EXCHANGE, opening=False), cancelling():
        raise told
    assert again.value is told


def test_no_code_of_a_refusal_is_of_a_class_that_bots_retry() -> None:
    tables = EXCHANGE.exceptions
    codes = {code for table in (tables["linear"], tables) for code in table["exact"]}
    numbers = [int(code) for code in codes if code.lstrip("-").isdigit()]
    assert len(numbers) > 100
    for code in [*numbers, -999_999]:
        told = as_told(Rejected("no", code=code))
        assert isinstance(told, ccxt.ExchangeError), code
        assert not isinstance(told, RETRIED), code
    assert isinstance(as_told(Rejected("no", code=-2020)), ccxt.InvalidOrder)
    assert rejected_as(ccxt.InvalidOrder) is rejected_as(ccxt.InvalidOrder)


def test_cancelling_again_is_what_a_retry_loop_should_do() -> None:
    with pytest.raises(LinkDown) as told, cancelling():
        raise LinkDown("timed out")
    assert isinstance(told.value, ccxt.NetworkError)
    with pytest.raises(OutcomeUnknown) as unknown, cancelling():
        raise OutcomeUnknown("being sent", intent=INTENT)
    assert not isinstance(unknown.value, RETRIED)
    with pytest.raises(EngineClosed) as closed, cancelling():
        raise EngineClosed("not running")
    assert isinstance(closed.value, ccxt.ExchangeError)
