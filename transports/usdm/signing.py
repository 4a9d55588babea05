"""Binance's request signature: HMAC-SHA256 over the parameters as they are sent."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from urllib.parse import quote_plus


def encode(params: Iterable[tuple[str, str]]) -> str:
    """Parameters as `application/x-www-form-urlencoded`, in their order."""
    return "&".join([f"{name}={quote_plus(value)}" for name, value in params])


def signature(payload: bytes, secret: bytes) -> str:
    """Lower-case hex of HMAC-SHA256 (Binance, "SIGNED Endpoint Security")."""
    return hmac.digest(secret, payload, "sha256").hex()


def sign(params: Iterable[tuple[str, str]], secret: bytes) -> str:
    """The encoded parameters with their signature as the last of them."""
    payload = encode(params)
    return f"{payload}&signature={signature(payload.encode(), secret)}"
