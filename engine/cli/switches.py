"""The operator's switches: status, halt, resume, flatten, reconcile, resolve."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Any, Final

import click

from holdfast.errors import HoldfastError
from holdfast.resolution import Verdict, remedy
from holdfast.status import quantities

from .operator import (
    ControlClient,
    LastKnown,
    NoEngine,
    hold_offline,
    last_known,
    operator_name,
    resolve_offline,
)
from .output import Config, answer, config_option, json_option, plain, table

_NO_ENGINE_EXIT: Final = 1
_DIFFERENT_EXIT: Final = 3
"""Neither success nor a failure of the command (1), nor a mistyped one (2)."""


@click.command()
@config_option
@json_option
@click.pass_context
def status(context: click.Context, config: Config, as_json: bool) -> None:
    """What the engine is doing and what it waits for.

    Exits 0 if an engine runs, in whatever state; 1 if none does, after telling what the
    journal knows.
    """
    try:
        told = ControlClient(config.state_dir).ask("status")
    except NoEngine:
        known = last_known(config)
        answer(
            {"running": False, "state_dir": str(config.state_dir), **_remembered(known)},
            _dead_lines(config, known),
            as_json=as_json,
        )
        context.exit(_NO_ENGINE_EXIT)
    answer({"running": True, **told}, _status_lines(told), as_json=as_json)


@click.command()
@click.argument("reason", default="no reason given")
@config_option
@json_option
def halt(reason: str, config: Config, as_json: bool) -> None:
    """Stop trading until `holdfast resume`, also across restarts.

    Needs neither Redis nor the venue. If no engine runs, the hold is written into its
    journal, and the engine will start with it.
    """
    who = operator_name()
    try:
        told = ControlClient(config.state_dir).ask("halt", reason=reason, by=who)
    except NoEngine:
        hold_offline(config, reason, by=who)
        answer(
            {"ok": True, "running": False, "hold": reason},
            [f"held: {reason}", "no engine runs; the next one will start halted"],
            as_json=as_json,
        )
        return
    answer(
        {"ok": True, "running": True, "hold": reason, "state": told.get("state")},
        [f"halted: {reason}", f"state {told.get('state')}, level {told.get('level')}"],
        as_json=as_json,
    )


@click.command()
@config_option
@json_option
def resume(config: Config, as_json: bool) -> None:
    """End the operator's hold; the engine checks everything anew before it trades."""
    who = operator_name()
    try:
        told = ControlClient(config.state_dir).ask("resume", by=who)
    except NoEngine:
        hold_offline(config, None, by=who)
        answer(
            {"ok": True, "running": False, "hold": None},
            ["no hold any more", "no engine runs; the next one will walk up by itself"],
            as_json=as_json,
        )
        return
    answer(
        {"ok": True, "running": True, "hold": None, "state": told.get("state")},
        ["no hold any more", f"state {told.get('state')}; it recovers by itself"],
        as_json=as_json,
    )


@click.command()
@click.argument("symbol", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
@json_option
def flatten(symbol: str | None, yes: bool, config: Config, as_json: bool) -> None:
    """Halt, and close the position of SYMBOL (all, without it) with reducing orders.

    Needs a running engine and the venue.
    """
    client = ControlClient(config.state_dir)
    if not yes and not as_json:
        click.confirm(
            f"Halt and close {symbol or 'every position'} at market?", abort=True, err=True
        )
    reports = _running(client, "flatten", symbol=symbol, by=operator_name())
    answer(
        {"ok": True, "orders": reports},
        [
            f"{one['side']} {one['quantity']} {one['symbol']}: {one['status']}"
            + (f", {one['filled']} filled" if "filled" in one else "")
            for one in reports
        ]
        or ["no position to close; trading is halted"],
        as_json=as_json,
    )


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show the differences (the default).")
@click.option(
    "--adopt", is_flag=True, help="Take the venue's positions and orders for true, as they are."
)
@config_option
@json_option
@click.pass_context
def reconcile(
    context: click.Context, dry_run: bool, adopt: bool, config: Config, as_json: bool
) -> None:
    """Compare the bot's books with the venue's.

    Exits 0 if they are equal (with --adopt: if they are now), 3 if they differ, 1 if they
    could not be compared, 2 if the command was mistyped.
    """
    if dry_run and adopt:
        raise click.UsageError("--dry-run and --adopt exclude each other")
    client = ControlClient(config.state_dir)
    if adopt:
        differences = _running(client, "adopt", by=operator_name())
        heading = f"adopted {_differences(differences)}" if differences else "nothing to adopt"
    else:
        differences = _running(client, "reconcile")
        heading = _differences(differences) if differences else "the books are equal"
    equal = adopt or not differences
    answer(
        {"ok": True, "equal": equal, "adopted": adopt, "differences": differences},
        [heading, *(f"  {_difference(one)}" for one in differences)],
        as_json=as_json,
    )
    context.exit(0 if equal else _DIFFERENT_EXIT)


@click.command()
@click.argument("client_order_id")
@click.option(
    "--not-executed", "verdict", flag_value="not_executed", help="The venue never had it."
)
@click.option(
    "--accepted", "verdict", flag_value="accepted", help="The venue had it, whatever became of it."
)
@click.option("--reason", required=True, help="How you know; it becomes the evidence.")
@config_option
@json_option
def resolve(
    client_order_id: str, verdict: str | None, reason: str, config: Config, as_json: bool
) -> None:
    """Say what became of an order whose outcome is unknown, where the venue can not tell.

    For an order of a symbol that the venue does not list any more, or a conditional order
    that it does not show. Look at the venue first. The order is never sent again, whatever
    you say; the books are compared afterwards. `holdfast status` names the orders that wait.
    If no engine runs, it is written into its journal.
    """
    if verdict is None:
        raise click.UsageError("say --not-executed or --accepted")
    chosen: Verdict = "accepted" if verdict == "accepted" else "not_executed"
    who = operator_name()
    running = True
    try:
        report = ControlClient(config.state_dir).ask(
            "resolve", client_order_id=client_order_id, verdict=chosen, reason=reason, by=who
        )
    except NoEngine:
        running = False
        report = plain(resolve_offline(config, client_order_id, chosen, reason=reason, by=who))
    answer(
        {"ok": True, "running": running, "report": report},
        [
            f"{client_order_id}: {report['status'].replace('_', ' ')} ({report['evidence']})",
            "the engine compares the books again"
            if running
            else "no engine runs; the next one will start with it",
        ],
        as_json=as_json,
    )


def _running(client: ControlClient, command: Any, **arguments: Any) -> Any:
    try:
        return client.ask(command, **arguments)
    except NoEngine as error:
        raise HoldfastError(f"{error}; start the bot, its engine has to do this") from None


def _differences(found: Sized) -> str:
    return f"{len(found)} difference{'' if len(found) == 1 else 's'}"


def _difference(told: Any) -> str:
    if not isinstance(told, dict):
        return " ".join(map(str, told)) if isinstance(told, list) else str(told)
    return "  ".join(f"{name}={value}" for name, value in told.items() if value not in (None, ""))


def _status_lines(told: dict[str, Any]) -> Iterable[str]:
    policy = told.get("policy")
    gate = told.get("gate", {})
    return table(
        {
            "bot": told.get("bot"),
            "state": f"{told.get('state')} ({told.get('level')})",
            "gate": "open" if gate.get("open") else f"shut: {gate.get('reason')}",
            "hold": told.get("hold"),
            "waiting for": "; ".join(told.get("waiting_for", ())),
            "links": ", ".join(_link(link) for link in told.get("links", ())),
            "lease": None if told.get("lease", {}).get("held") else told["lease"]["reason"],
            "policy": f"{policy['mode']}, version {policy['version']}"
            if policy
            else told.get("policy_problem"),
            "records to ship": told.get("outbox", {}).get("behind"),
            "positions": _positions(told.get("positions", {})),
            "open orders": told.get("open_orders"),
            "unknown orders": "; ".join(told.get("remedies", ())),
            "differences": "; ".join(told.get("differences", ())),
            "undeclared": "; ".join(told.get("undeclared_orders", ())),
            "unwatched": _unwatched(told.get("undeclared_positions", {})),
        }
    )


def _link(link: dict[str, Any]) -> str:
    return f"{link['name']} up" if link["up"] else f"{link['name']} DOWN ({link['reason']})"


def _positions(held: dict[str, str]) -> str:
    return ", ".join(f"{symbol} {quantity}" for symbol, quantity in held.items()) or "none"


def _unwatched(held: dict[str, str]) -> str:
    """Positions of an earlier life, whose symbols are not declared any more."""
    if not held:
        return ""
    return (
        f"{_positions(held)}: held by this bot, compared with the venue by nobody; add the "
        "symbol to engine.symbols, and flatten it before you take it out"
    )


def _remembered(known: LastKnown | None) -> dict[str, Any]:
    if known is None:
        return {"journal": None}
    ledger = known.ledger
    return {
        "hold": ledger.hold,
        "positions": quantities(ledger.book.positions()),
        "open_orders": len(ledger.book.resting()),
        "unknown_orders": [intent.client_order_id for intent in ledger.unknown],
        "remedies": [remedy(intent) for intent in ledger.unknown],
        "journal": {"records": known.records, "report": known.report},
    }


def _dead_lines(config: Config, known: LastKnown | None) -> Iterable[str]:
    yield f"no engine runs on {config.state_dir}"
    if known is None:
        yield "and none ever did: there is no journal"
        return
    told = _remembered(known)
    yield from table(
        {
            "hold": told["hold"],
            "positions": _positions(told["positions"]),
            "open orders": told["open_orders"],
            "unknown orders": "; ".join(told["remedies"]),
            "journal": told["journal"]["report"],
        }
    )
