"""`holdfast policy`: show, change or confirm the trading policy.

A change goes through the running engine if there is one, because it knows every
version ever seen and a lower one would not be traded on. Without an engine the
store is written directly, above what the journal remembers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar

import anyio
import click
import msgspec

from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import HoldfastError, PolicyUnreadable
from holdfast.policy import Limits, Mode, Policy, decode
from holdfast.policy_visit import at_store
from holdfast.ports import PolicyStore
from holdfast.registry import open_policy_store

from .operator import ControlClient, NoEngine, last_known, operator_name
from .output import Config, answer, config_option, json_option, plain, table

_T = TypeVar("_T")
STORE_TIMEOUT_SECONDS: Final = 5.0


class _Amount(click.ParamType[Decimal]):
    name = "amount"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        try:
            amount = Decimal(value)
        except InvalidOperation:
            self.fail(f"{value!r} is no number", param, ctx)
        if not amount.is_finite() or amount < 0:
            self.fail(f"{value!r} is not a finite number from zero up", param, ctx)
        return amount


@click.group()
def policy() -> None:
    """Show or change the trading policy."""


@policy.command()
@config_option
@json_option
def show(config: Config, as_json: bool) -> None:
    """The policy that is traded on, or the stored one if no engine runs."""
    try:
        told = ControlClient(config.state_dir).ask("policy")
        found = None if told["policy"] is None else msgspec.convert(told["policy"], Policy)
        problem = told["problem"]
    except NoEngine:
        found, problem = anyio.run(_read, config)
    answer(
        {"policy": plain(found), "problem": problem},
        _lines(found) if found is not None else [f"no policy to trade on: {problem}"],
        as_json=as_json,
    )


@policy.command(name="set")
@click.argument(
    "mode", metavar="MODE", type=click.Choice([mode.value for mode in Mode], case_sensitive=False)
)
@click.option("--max-order-notional", type=_Amount(), help="Quote asset, one order.")
@click.option("--max-position-notional", type=_Amount(), help="Quote asset, one symbol.")
@click.option("--max-open-orders", type=click.IntRange(0))
@click.option("--allow", "allowed", multiple=True, help="Symbol that may be opened; repeatable.")
@click.option("--no-limits", is_flag=True, help="Drop every limit that is not given here.")
@click.option(
    "--replace", is_flag=True, help="Also over something stored that is no policy; it is told."
)
@config_option
@json_option
def set_(
    mode: str,
    max_order_notional: Decimal | None,
    max_position_notional: Decimal | None,
    max_open_orders: int | None,
    allowed: tuple[str, ...],
    no_limits: bool,
    replace: bool,
    config: Config,
    as_json: bool,
) -> None:
    """Store a new version with this MODE. Limits stay as they are unless given."""
    given: dict[str, Any] = {
        "max_order_notional": max_order_notional,
        "max_position_notional": max_position_notional,
        "max_open_orders": max_open_orders,
        "allowed_symbols": allowed or None,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    client = ControlClient(config.state_dir)

    def renewed(limits: Limits) -> Policy:
        return Policy(
            active_mode=Mode(mode.upper()),
            limits=msgspec.structs.replace(Limits() if no_limits else limits, **changes),
            updated_by=operator_name(),
            updated_at=datetime.fromtimestamp(SystemClock().time_ns() / 1e9, UTC).isoformat(
                timespec="milliseconds"
            ),
        )

    try:
        told = client.ask("policy")
        current = _newest_seen(config)
        if told["policy"] is not None:
            current = msgspec.convert(told["policy"], Policy)
        wanted = plain(renewed(current.limits if current is not None else Limits()))
        done = client.ask("policy_set", policy=wanted, replace=replace)
        stored, instead_of = msgspec.convert(done, Policy), told["problem"]
    except NoEngine:
        stored, instead_of = anyio.run(_write, config, renewed, replace)
    answer(
        {"ok": True, "policy": plain(stored), "instead_of": instead_of},
        _lines(stored, instead_of=instead_of),
        as_json=as_json,
    )


@policy.command()
@config_option
@json_option
def confirm(config: Config, as_json: bool) -> None:
    """Trade on what the store holds, though it is older than what the engine has seen."""
    try:
        told = ControlClient(config.state_dir).ask("policy_confirm")
    except NoEngine as error:
        raise HoldfastError(f"{error}; start the bot, it is its engine that is asked") from None
    confirmed = msgspec.convert(told, Policy)
    answer({"ok": True, "policy": plain(confirmed)}, _lines(confirmed), as_json=as_json)


def _lines(shown: Policy, *, instead_of: str | None = None) -> Any:
    """:param instead_of: why nothing could be traded on before."""
    limits = shown.limits
    return table(
        {
            "mode": shown.active_mode.value,
            "version": shown.version,
            "max order notional": limits.max_order_notional,
            "max position notional": limits.max_position_notional,
            "max open orders": limits.max_open_orders,
            "allowed symbols": None
            if limits.allowed_symbols is None
            else ", ".join(limits.allowed_symbols) or "none",
            "updated by": shown.updated_by,
            "updated at": shown.updated_at,
            "instead of": instead_of,
        }
    )


def _newest_seen(config: Config) -> Policy | None:
    known = last_known(config)
    seen = None if known is None else known.ledger.policy_seen
    return None if seen is None else decode(seen.policy)


async def _read(config: Config) -> tuple[Policy | None, str | None]:
    """What the store holds; or None, and why there is nothing to trade on."""

    async def read(store: PolicyStore) -> tuple[Policy | None, str | None]:
        try:
            stored = await store.read()
        except PolicyUnreadable as error:
            return None, str(error)
        if stored is None:
            return None, "the store holds no policy"
        return stored.policy, None

    return await _at_store(config, read)


async def _write(
    config: Config, renewed: Callable[[Limits], Policy], replace: bool
) -> tuple[Policy, str | None]:
    """Store a policy; returns it, and what was no policy and had to give way to it."""
    seen = _newest_seen(config)

    async def write(store: PolicyStore) -> tuple[Policy, str | None]:
        held, expected, instead_of = None, None, None
        try:
            stored = await store.read()
            held = None if stored is None else stored.policy
            expected = 0 if held is None else held.version
        except PolicyUnreadable as error:
            if not replace:
                raise
            instead_of = error.found
        base = held or seen
        wanted = renewed(base.limits if base is not None else Limits())
        version = max(expected or 0, seen.version if seen else 0) + 1
        done = await store.compare_and_set(
            msgspec.structs.replace(wanted, version=version), expected_version=expected
        )
        return done.policy, instead_of

    return await _at_store(config, write)


async def _at_store(config: Config, act: Callable[[PolicyStore], Awaitable[_T]]) -> _T:
    endpoint = config.policy
    with endpoint.named_in_errors():
        store = open_policy_store(
            endpoint.url,
            clock=SystemClock(),
            entropy=SystemEntropy(),
            bot=config.settings.bot,
            **endpoint.options,
        )
    return await at_store(store, act, name=endpoint.url, timeout_seconds=STORE_TIMEOUT_SECONDS)
