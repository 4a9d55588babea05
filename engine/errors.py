"""Every error holdfast raises, in one place, each with what the caller should do.

The order errors answer one question for a bot: may I send it again? Only
`NotExecuted` and `TradingHalted` mean "the venue does not have it". None of them
is a `ConnectionError`, `TimeoutError` or ccxt `NetworkError`, because bots retry
those, and a blind retry is how a position is doubled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .intent import Intent
    from .model import OrderReport


class HoldfastError(Exception):
    """Base of all errors raised on purpose."""


class ConfigError(HoldfastError):
    """A setting is wrong; the message names file, line or key, and the remedy."""


class CredentialError(ConfigError):
    """A key, secret or password is missing, or may be read by others, or is none."""


class InvalidOrder(HoldfastError, ValueError):
    """The order can not be right (type, sign, precision). Nothing was journalled or sent."""


class InvalidPayload(HoldfastError, ValueError):
    """The event can not be right, or not be encoded. The outbox is as it was before the call."""


class InvalidPolicy(HoldfastError, ValueError):
    """The policy can not be right (mode, type or sign of a limit). Nothing was stored."""


class OrderError(HoldfastError):
    """Base of what `submit` raises for an order that was well-formed."""


class TradingHalted(OrderError):
    """The gate is shut for this order; nothing was ever sent, so its key is free.

    :ivar reason: in words, for a person.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Rejected(OrderError):
    """The venue, or a rule of the policy, said no for good. Sending it again is useless."""

    def __init__(self, reason: str, *, code: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class NotExecuted(OrderError):
    """The venue does not have the order, and holdfast will not send it any more.

    It was sent, provably without effect, and then attempts or deadline ran out, the gate was
    shut or the disk was full; an exit without a deadline of its own is given up only where
    nothing may be sent at all. A new decision needs a new `Order` (and a new key).
    """

    def __init__(self, reason: str, *, intent: Intent) -> None:
        super().__init__(reason)
        self.reason = reason
        self.intent = intent


class OutcomeUnknown(OrderError):
    """Nobody knows yet whether the venue has the order. Do not send another one.

    The engine keeps asking. `await error.intent.resolved()` returns the
    `OrderReport` once there is evidence; until then the symbol is REDUCING.
    """

    def __init__(self, reason: str, *, intent: Intent) -> None:
        super().__init__(reason)
        self.reason = reason
        self.intent = intent

    async def resolved(self) -> OrderReport:
        """Wait until the venue has answered with evidence.

        :raises EngineClosed: the engine was closed before that; it asks at its next start.
        """
        return await self.intent.resolved()


class LinkDown(HoldfastError):
    """A transport could not do what was asked because its link is down.

    Says nothing about whether a request took effect; transports use it where
    nothing was asked of the other side, or where asking again is harmless.
    """


class PolicyUnreadable(LinkDown):
    """What the policy store holds is no policy that can be taken; nobody can trade on it.

    :ivar found: what it holds, shortened.
    """

    def __init__(self, reason: str, *, found: str) -> None:
        super().__init__(
            f"the stored policy can not be taken ({reason}); the store holds {found}; look where "
            "it comes from, then store another one with `holdfast policy set MODE --replace`"
        )
        self.found = found


class ResolveRefused(HoldfastError):
    """A person's word on this order can not be taken: it does not wait for its outcome, it is
    too early, or the venue has answered after all. Nothing was changed by it."""


class PolicyConflict(HoldfastError):
    """The stored policy is not the version the change was based on. Read it and decide anew."""


class OutboxRolledBack(HoldfastError):
    """The bus has events of this incarnation that the local journal does not.

    The journal was restored from an older copy while this process ran. Nothing
    is sent until a person has looked: the numbers could not be trusted.
    """


class EngineClosed(HoldfastError):
    """The engine is not running (not entered yet, or already closed)."""
