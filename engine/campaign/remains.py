"""What a process that was killed has left at the venue: nothing that rests, for long.

The venue's dead-man switch is for the death of the bot, so only a death can show it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from .process import Process
from .world import MARKET_PAUSE_SECONDS, World


def check_remains(world: World, process: Process, *, died_ns: int) -> None:
    """Nothing rests of what a process that is dead for longer than its countdown left resting.

    Asked before it is started again. A process that was killed while it ended as it should
    may have stopped the countdown; one that was killed when it had just been started, after such
    an end, has not begun one; another copy may have gone on with it; and a clock of the
    venue's that jumps takes the countdown with it.

    :param died_ns: when, by the clock of the venue's machine.
    """
    conditions = world.plan.conditions
    if process.killed_at is None:
        return
    # By the loop: what fell due while the machines slept happens when they have woken.
    dead_seconds = world.now() - process.killed_at
    if (
        process.close.is_set()
        or dead_seconds <= conditions.dead_man_seconds + MARKET_PAUSE_SECONDS
        or world.other_diaries
        or world.venue_clock_jumps
    ):
        return
    world.venue.advance()  # its countdown may be due at this moment, after all have stood still
    for client_order_id in resting_since(world, died_ns, symbols=process.armed):
        world.breach(
            "dead man", f"{client_order_id} rests {dead_seconds:.1f} s after its bot was killed"
        )


def resting_since(world: World, moment_ns: int, *, symbols: Container[str]) -> Iterator[str]:
    """Orders of these symbols that the venue took by then and that rest."""
    for order in world.venue.order_log:
        if order.status.final or order.market.symbol not in symbols:
            continue
        if order.accepted_ns <= moment_ns:
            yield order.client_order_id
