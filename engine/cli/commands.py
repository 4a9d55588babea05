"""The list of commands, each loaded when it is called.

`holdfast --help` shall not wait for modules that it does not use, so name and
summary stand here and the command itself is an address. Errors that a person can
do something about become one line, `error: …`, and an exit code.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, NoReturn

import click

from holdfast import __version__
from holdfast.suggestion import did_you_mean

from .failure import REPORTED, tell


class _Address(NamedTuple):
    module: str
    attribute: str
    summary: str


COMMANDS: Final = {
    "drill": _Address(
        "holdfast.drill.command",
        "drill",
        "Kill a real server under a trading bot and measure that it stays safe.",
    ),
    "backtest": _Address(
        "holdfast.backtest.command",
        "backtest",
        "Run a bot on recorded prices, and show what outages would have cost it.",
    ),
    "sweep": _Address(
        "holdfast.backtest.sweep_command",
        "sweep",
        "Run a bot's backtest at many values of its arguments.",
    ),
    "campaign": _Address(
        "holdfast.campaign.command",
        "campaign",
        "Run thousands of seeded worlds under faults, in virtual time.",
    ),
    "status": _Address(
        "holdfast.cli.switches", "status", "What a running or a dead engine is doing."
    ),
    "halt": _Address("holdfast.cli.switches", "halt", "Stop trading until `holdfast resume`."),
    "resume": _Address("holdfast.cli.switches", "resume", "End the operator's hold."),
    "flatten": _Address("holdfast.cli.switches", "flatten", "Halt, and close the bot's positions."),
    "reconcile": _Address(
        "holdfast.cli.switches", "reconcile", "Compare the books with the venue's."
    ),
    "resolve": _Address(
        "holdfast.cli.switches", "resolve", "Say what became of an order the venue can not tell of."
    ),
    "doctor": _Address(
        "holdfast.cli.doctor", "doctor", "Examine everything that a bot needs, and say what to do."
    ),
    "policy": _Address("holdfast.cli.policy", "policy", "Show or change the trading policy."),
    "journal": _Address("holdfast.cli.journal", "journal", "Look into the journal of a bot."),
    "diagram": _Address(
        "holdfast.cli.diagram", "diagram", "Draw the state machine, or the timeline of a run."
    ),
    "exchange": _Address(
        "holdfast.cli.exchange", "exchange", "Run the simulated exchange by itself."
    ),
}


class Commands(click.Group):
    """Loads a command when it is called, and turns errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        address = COMMANDS.get(cmd_name)
        if address is None:
            return None
        command = getattr(importlib.import_module(address.module), address.attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            guess = did_you_mean(args[0], COMMANDS) or f"; there are {', '.join(COMMANDS)}"
            ctx.fail(f"No such command {args[0]!r}{guess}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, address.summary) for name, address in COMMANDS.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        arguments = list(sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return super().main(arguments, prog_name, complete_var, False, **extra)
        as_json = "--json" in arguments
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A sign that the terminal does not have is no reason to end without an answer.
                stream.reconfigure(errors="replace")
        try:
            code = super().main(arguments, prog_name, complete_var, False, **extra)
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx is not None else "holdfast"
            tell(f"{error.format_message()} (see {path} --help)", as_json=as_json)
            code = error.exit_code
        except click.ClickException as error:
            tell(error.format_message(), as_json=as_json)
            code = error.exit_code
        except click.Abort:
            tell("interrupted", as_json=as_json)
            code = 130  # as a shell reports an end by SIGINT
        except REPORTED as error:
            tell(str(error), as_json=as_json)
            code = 1
        except OSError as error:
            if error.errno == errno.EPIPE:
                _stop_writing()
            where = f"{error.filename}: " if error.filename else ""
            tell(f"{where}{error.strerror or error}", as_json=as_json)
            code = 1
        sys.exit(code if isinstance(code, int) else 0)


def _stop_writing() -> NoReturn:
    """Whoever read our output has gone (`| head`); leave without a second complaint."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


@click.command(cls=Commands, name="holdfast")
@click.version_option(__version__, prog_name="holdfast")
def main() -> None:
    """Keep a trading bot safe while its infrastructure fails.

    Commands that operate a bot read holdfast.toml of the current folder, or the file
    given by --config or the variable HOLDFAST_CONFIG.
    """
