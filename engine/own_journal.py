"""Whether a journal just folded in is this bot's, and whether it has lost what it knew."""

from __future__ import annotations

import logging

from .errors import ConfigError
from .journal import JournalError
from .ports import Clock
from .recorder import Recorder
from .records import Held, Named

log = logging.getLogger("holdfast.engine")


def refuse_foreign(recorder: Recorder, *, bot: str) -> None:
    """:raises ConfigError: it is the journal of another bot."""
    known = recorder.ledger.bot
    if known not in ("", bot):
        raise ConfigError(
            f"the journal is that of bot {known!r}, the configuration names {bot!r}: what it "
            "holds would be sent again under the new name; put the old name back, or give the "
            "new bot a state_dir of its own"
        )


def hold_if_damaged(recorder: Recorder, *, clock: Clock) -> None:
    """Leave it to a person to trade on when the journal has lost what it knew.

    Among the lost records may be a key, which would be executed again, or a halt, which
    would be over; the reconciliation sees neither.
    """
    ledger = recorder.ledger
    lost = recorder.journal.report.missing_since_checkpoint
    if not lost or ledger.hold is not None:
        return
    fact = Held(
        f"{lost} record{' of the journal is' if lost == 1 else 's of the journal are'} lost to "
        "damage, perhaps orders or a halt: see "
        "`holdfast journal verify`, compare with the venue, then `holdfast resume`",
        "journal",
        clock.time_ns(),
    )
    try:
        recorder.write(fact)
    except JournalError:  # the next opening finds the same damage, and holds again
        ledger.apply(fact)


def write_name(recorder: Recorder, *, bot: str) -> None:
    """Write whose journal it is, if that is not known yet."""
    if recorder.ledger.bot:
        return
    try:
        recorder.write(Named(bot))
    except JournalError as error:  # the recorder has told; the next start names it
        log.warning("journal not named", extra={"reason": str(error)})
