"""All checks of an execution client (`holdfast.ports.ExecutionClient`).

Each takes `make`, which makes a client that is not connected, and a `VenueControl`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from .answering import ANSWERING_CHECKS
from .bench import Check, MakeClient
from .conditional import CONDITIONAL_CHECKS
from .placing import PLACING_CHECKS
from .venue import OPTIONAL, NotChecked, VenueControl

EXECUTION_CHECKS: Final[tuple[Check, ...]] = (
    *PLACING_CHECKS,
    *ANSWERING_CHECKS,
    *CONDITIONAL_CHECKS,
)


async def check_execution_client(
    make: MakeClient, control: VenueControl, *, without: Collection[str] = ()
) -> tuple[str, ...]:
    """Run every check of `EXECUTION_CHECKS`.

    :param without: methods (and `page_of_fills`) that the control is known not to have.
    :returns: the checks that could not be made for it.
    :raises AssertionError: a promise is broken, or a check could not be made for
        something that `without` does not name.
    :raises ValueError: `without` names what no check needs.
    """
    if unknown := sorted(set(without) - OPTIONAL):
        raise ValueError(f"without: {unknown} is none of {sorted(OPTIONAL)}")
    skipped: dict[str, str] = {}
    for check in EXECUTION_CHECKS:
        try:
            await check(make, control)
        except NotChecked as reason:
            skipped[check.__name__] = reason.needs
    unnamed = {name: needs for name, needs in skipped.items() if needs not in without}
    assert not unnamed, (
        f"not checked: {unnamed}; give the control what they need, or name it in `without`"
    )
    return tuple(skipped)
