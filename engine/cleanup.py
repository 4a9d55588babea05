"""What fails while something is cleaned up never hides why it had to be.

Python replaces the exception that ends a block by one that the clean-up raises. A bot
whose disk has died must still end with its own error.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("holdfast.engine")


@contextmanager
def beside(first: BaseException | None) -> Iterator[None]:
    """An error inside passes if there is no other; beside `first` it becomes a note and a log.

    :param first: what is being raised already, if anything is.
    """
    try:
        yield
    except Exception as error:  # whatever it was: the first one comes first
        if first is None:
            raise
        first.add_note(f"besides, the engine did not end cleanly: {error!r}")
        log.error("the engine did not end cleanly", exc_info=error)
