"""Tries now and then whether a journal that took no entries has room again."""

from __future__ import annotations

import logging
from typing import Final

import anyio

from .broadcast import Broadcast
from .journal import JournalError
from .links import LinkHealth
from .ports import Clock
from .recorder import Recorder
from .records import Probed

log = logging.getLogger("holdfast.engine")

RETRY_SECONDS: Final = 1.0


async def watch_disk(
    link: LinkHealth, *, recorder: Recorder, clock: Clock, changes: Broadcast
) -> None:
    """Until cancelled.

    :param link: the disk's; whoever fails to write takes it down, this brings it up again.
    :param changes: notified after every change of a link.
    """
    while True:
        if link.is_up:
            await changes.wait()
            continue
        await anyio.sleep(RETRY_SECONDS)
        # Room may be had by letting go of the past, which takes a checkpoint first.
        recorder.checkpoint_if_due()
        if recorder.has_outgrown:
            continue
        try:
            recorder.write_within_limits(Probed(clock.time_ns()))
        except JournalError as error:
            log.info("still no room", extra={"reason": str(error)})
        else:
            link.up()
