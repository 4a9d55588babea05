"""The client of a served venue: the client of Binance's protocol, signing by itself."""

from __future__ import annotations

from holdfast.ports import Clock, Entropy
from holdfast.secret import Secret
from holdfast.transports.usdm.client import UsdmExecutionClient
from holdfast.transports.usdm.signing import HmacSigner


class SimHttpExecutionClient(UsdmExecutionClient):
    """Trades at a simulated exchange that is served over HTTP.

    :param base_url: `http://host:port`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str,
        secret: str,
        clock: Clock,
        entropy: Entropy,
        name: str = "exchange",
        stream_ping_seconds: float = 5.0,
    ) -> None:
        super().__init__(
            HmacSigner(base_url, key=Secret(key), secret=Secret(secret)),
            stream_url=lambda key: f"ws{base_url.removeprefix('http')}/ws/{key}",
            clock=clock,
            entropy=entropy,
            name=name,
            venue="sim",
            stream_ping_seconds=stream_ping_seconds,
        )
