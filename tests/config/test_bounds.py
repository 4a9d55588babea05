"""Every setting has a bound, wherever it comes from, and the error says which."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from decimal import Decimal
from math import inf, nan
from typing import Any

import msgspec
import pytest

from holdfast import policy as policies
from holdfast.config import load
from holdfast.errors import ConfigError, InvalidPolicy
from holdfast.policy import Limits, Mode, Policy
from holdfast.settings import (
    LinkSettings,
    MarketSettings,
    OrderSettings,
    OutboxSettings,
    PolicySettings,
    ReconcileSettings,
    Settings,
)

SYMBOLS = ("BTC/USDT:USDT",)


def numbers() -> Iterator[tuple[str, str, bool]]:
    """Section and name of every setting that is a number, and whether it may be a fraction."""
    for section in msgspec.structs.fields(Settings):
        if not (isinstance(section.type, type) and issubclass(section.type, msgspec.Struct)):
            continue
        for field in msgspec.structs.fields(section.type):
            kinds = set(typing.get_args(field.type)) or {field.type}
            if kinds & {int, float} and typing.get_origin(field.type) is not tuple:
                yield section.name, field.name, float in kinds


def built(section: str, **changes: Any) -> Settings:
    kind = type(getattr(Settings(symbols=SYMBOLS), section))
    return Settings(symbols=SYMBOLS, **{section: kind(**changes)})


def test_there_are_numbers_to_check() -> None:
    assert len(list(numbers())) > 25


@pytest.mark.parametrize(("section", "name", "fraction"), list(numbers()))
def test_a_number_that_makes_no_sense_is_refused_by_name(
    section: str, name: str, fraction: bool
) -> None:
    senseless: list[Any] = [-1, 10**18, True, "5"] + ([nan, inf, -inf] if fraction else [1.5])
    for value in senseless:
        with pytest.raises(ConfigError, match=rf"^{section}\.{name}: .*"):
            built(section, **{name: value})


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        (
            "outbox",
            {"max_bytes": 1 << 26},
            "outbox.max_bytes: 67108864 is not above.*three times outbox.segment_bytes",
        ),
        ("outbox", {"segment_bytes": 1 << 13}, "outbox.segment_bytes: 8192 is not between 16384"),
        (
            "outbox",
            {"segment_bytes": 1 << 20},
            r"orders.keys_kept: 5000 keys have no room in segments of 1048576 bytes "
            r"\(outbox.segment_bytes\); 431 at most, or outbox.segment_bytes of 12146668 at least$",
        ),
        ("outbox", {"segment_bytes": 1 << 29}, "outbox.segment_bytes: .* and 268435456"),
        (
            "links",
            {"probe_backoff_seconds": 2.0},
            r"links.probe_backoff_seconds: 2.0 is above links.probe_backoff_max_seconds, 1.0",
        ),
        ("orders", {"backoff_seconds": (1.0,) * 21}, "orders.backoff_seconds: 21 waits; 20"),
        ("orders", {"backoff_seconds": (1.0, nan)}, r"orders.backoff_seconds: .*each is 0 to 600"),
        ("orders", {"durability": "pwer"}, "orders.durability: .*'pwer'"),
        ("orders", {"on_leaving_active": "x"}, "orders.on_leaving_active: .*'x'"),
        ("market", {"intervals": ()}, "market.intervals: give at least one"),
        ("market", {"intervals": ("1m", "1m")}, "market.intervals: '1m' is given twice"),
        ("reconcile", {"rules": {"orphan": "hold"}}, "reconcile.rules: 'orphan' is no kind"),
        ("reconcile", {"rules": {"phantom_position": "cancel"}}, "reconcile.rules: .*only"),
        ("policy", {"initial": {"active_mode": "X"}}, "policy.initial"),
        ("reconcile", {"settle_seconds": 0}, "reconcile.settle_seconds: .* between 0.01 and 60"),
        ("lease", {"enabled": 1}, "lease.enabled: .*bool"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(
    section: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{words}"):
        built(section, **changes)


@pytest.mark.parametrize(
    ("symbols", "words"),
    [
        ((), "at least one"),
        (("BTC/USDT:USDT", ""), "'' is no name"),
        (("BTC/USDT:USDT", " "), "' ' is no name"),
        (("BTC/USDT:USDT", "BTC/USDT:USDT"), "'BTC/USDT:USDT' is given twice"),
        ("BTC/USDT:USDT", "array"),
        ((5,), "str"),
    ],
)
def test_symbols_are_names_and_each_stands_once(symbols: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=f"^engine.symbols: .*{re.escape(words)}"):
        Settings(symbols=symbols)


def test_where_no_segment_is_large_enough_for_keys_only_fewer_keys_are_a_remedy() -> None:
    with pytest.raises(ConfigError, match=r"^orders.keys_kept: .*; 1613 at most$"):
        Settings(symbols=("B" * 3000,))


def test_a_bot_name_is_text() -> None:
    name: Any = 5
    with pytest.raises(ConfigError, match=r"^engine.bot: 5 is not"):
        Settings(bot=name, symbols=SYMBOLS)


def test_words_and_lists_become_what_the_engine_reads() -> None:
    """In a file and by hand the same may be written."""
    loose: Any = {"durability": "process", "backoff_seconds": [1, 2]}
    settings = Settings(symbols=SYMBOLS, orders=OrderSettings(**loose))
    assert settings == Settings(
        symbols=SYMBOLS,
        orders=OrderSettings(
            durability=settings.orders.durability.PROCESS, backoff_seconds=(1.0, 2.0)
        ),
    )


def test_the_smallest_and_the_unusual_are_allowed() -> None:
    Settings(
        symbols=SYMBOLS,
        orders=OrderSettings(backoff_seconds=(), keys_kept=6),
        outbox=OutboxSettings(
            segment_bytes=1 << 14, retain_acked_bytes=0, retain_acked_seconds=0, max_bytes=3 << 14
        ),
        links=LinkSettings(probe_backoff_seconds=1.0, probe_backoff_max_seconds=1.0),
        reconcile=ReconcileSettings(unknown_patience_seconds=0),
        market=MarketSettings(stale_seconds=None),
        policy=PolicySettings(initial=Policy(Mode.NORMAL, Limits(max_open_orders=0))),
    )


# --- limits of a policy ------------------------------------------------------------------

AMOUNTS = ("max_order_notional", "max_position_notional")


@pytest.mark.parametrize("name", AMOUNTS)
@pytest.mark.parametrize("value", ["NaN", "-1", "Infinity", "-Infinity", "sNaN", "x", 0.1, True])
def test_an_amount_that_is_no_bound_is_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidPolicy, match=rf"^{name}: .*{re.escape(str(value))}"):
        Limits(**{name: value})
    if value == 0.1:
        return  # in a file it is what is written there
    initial = {"active_mode": "NORMAL", "limits": {name: value}}
    with pytest.raises(ConfigError, match=rf"policy\.initial.*{name}"):
        load({**MINIMAL, "policy": {"initial": initial}})


@pytest.mark.parametrize("value", [-1, 1.5, True, "3", nan])
def test_a_count_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(InvalidPolicy, match=r"^max_open_orders: "):
        Limits(max_open_orders=value)


@pytest.mark.parametrize("value", ["BTC/USDT:USDT", ("",), (5,), 5])
def test_allowed_symbols_are_names(value: Any) -> None:
    with pytest.raises(InvalidPolicy, match=r"^allowed_symbols: "):
        Limits(allowed_symbols=value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"active_mode": "HALTED"}, r"active_mode: 'HALTED' .*did you mean 'HALT'.*DEFENSIVE"),
        ({"limits": {"max_open_orders": 1}}, r"limits: .* is no Limits"),
        ({"version": -1}, "version: -1"),
        ({"version": "1"}, "version: '1'"),
        ({"updated_by": 5}, "updated_by: 5"),
        ({"updated_at": 5}, "updated_at: 5"),
    ],
)
def test_a_policy_that_can_not_be_right_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidPolicy, match=f"^{words}"):
        Policy(**{"active_mode": Mode.NORMAL, **changes})


def test_a_mode_in_words_is_the_mode() -> None:
    """Compared by identity everywhere: the word "HALT" must not pass for a mode of its own."""
    word: Any = "HALT"
    assert Policy(word).active_mode is Mode.HALT
    assert Limits(max_order_notional=1000).max_order_notional == Decimal(1000)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "limits", ['{"max_order_notional":"NaN"}', '{"max_open_orders":-1}', '{"allowed_symbols":[""]}']
)
def test_a_stored_policy_with_senseless_limits_is_no_policy(limits: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"max_|allowed"):
        policies.decode(b'{"active_mode":"NORMAL","limits":%s}' % limits.encode())


MINIMAL: dict[str, Any] = {
    "engine": {"symbols": list(SYMBOLS)},
    "bus": {"url": "memory://b"},
    "exchange": {"url": "sim://127.0.0.1:9000"},
}
