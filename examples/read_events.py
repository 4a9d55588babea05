"""Another program that follows the bot's events: in order, each once, across outages.

python examples/read_events.py redis://127.0.0.1:6379/0 alpha 5
"""

import sys

import anyio
import msgspec

from holdfast import Event
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.registry import open_bus

decoder = msgspec.msgpack.Decoder(Event)


async def main(url: str, bot: str, count: int) -> None:
    bus = open_bus(url, clock=SystemClock(), entropy=SystemEntropy(), bot=bot)
    seen = 0
    async for entry in bus.subscribe():
        if entry.gap is not None:
            print(f"{entry.gap.producer} {entry.gap.first} to {entry.gap.last} are lost for good")
        else:
            event = decoder.decode(entry.payload)
            print(f"{event.producer} {event.sequence:>4} {event.type:<32} {event.body}")
        seen += 1
        if seen == count:
            return


url, bot, count = (*sys.argv[1:], *("redis://127.0.0.1:6379/0", "alpha", "10")[len(sys.argv) - 1 :])
anyio.run(main, url, bot, int(count))
