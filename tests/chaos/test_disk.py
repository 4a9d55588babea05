"""The disk fills up, or has lost what was written: nothing is traded blindly, nothing deleted."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from chaos_rigs import Stage, until
from chaos_witness import wrong_events

from holdfast.journal import FileJournal
from holdfast.model import Event
from holdfast.records import EVENT, KIND_OF, Held, Intended, Resolved

pytestmark = [pytest.mark.server]

BUY: dict[str, Any] = {"side": "buy", "quantity": "0.010"}
SMALL_SEGMENTS = {
    "segment_bytes": 1 << 14,
    "max_bytes": 1 << 23,
    "retain_acked_bytes": 1 << 22,
}
FEW_KEYS = {"keys_kept": 6}


def segments(state_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((state_dir / "journal").glob("*.seg"))}


def flip(path: Path, offset: int, size: int = 8) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        data = file.read(size)
        file.seek(offset)
        file.write(bytes(byte ^ 0xFF for byte in data))


def where_is(state_dir: Path, numbers: range) -> list[tuple[Path, int]]:
    """File and offset of the bodies of these events, found by their bytes."""
    found = []
    inspection = FileJournal.inspect(state_dir / "journal")
    decoder = msgspec.msgpack.Decoder(Event)
    for record in inspection.records(after=0):
        if record.kind != EVENT:
            continue
        event = decoder.decode(record.body[8:])
        if event.type == "chaos.told" and event.body["number"] in numbers:
            for path in (state_dir / "journal").glob("*.seg"):
                offset = path.read_bytes().find(record.body)
                if offset >= 0:
                    found.append((path, offset))
    return found


def test_damaged_segment(stage: Stage) -> None:
    """Events that nobody else has are damaged: a marker stands in the stream in their place."""
    stage.configure(outbox=SMALL_SEGMENTS, orders=FEW_KEYS)
    bot = stage.start().opened()
    bot.until_healthy()
    assert bot.ask("submit", **BUY, key="before")["outcome"] == "accepted"
    stage.redis.kill()
    bot.until_shut()
    told = [bot.send("publish", number=number) for number in range(1, 401)]
    shipped_later = [bot.answer(number) for number in told]
    bot.kill()

    lost = range(101, 104)
    places = where_is(bot.state_dir, lost)
    assert len(places) == len(lost)
    for path, offset in places:
        flip(path, offset + 20)
    before = segments(bot.state_dir)
    assert len(before) > 3, "not the newest segment, but an old one"
    assert places[0][0].name != max(before)

    stage.redis.start()
    bot = stage.start().opened()
    report = bot.operator("status")["journal"]["report"]
    assert "DAMAGED" in report
    assert places[0][0].name in report
    assert "missing" in report
    # A checkpoint lies behind the damage: no key, order or halt can be among the lost.
    assert bot.operator("status")["hold"] is None
    bot.until_healthy()
    bot.ask("publish", number=401)
    stage.until_in_stream(401)
    stream = stage.stream()
    numbers = [entry.number for entry in stream if entry.number is not None]
    assert numbers == [number for number in range(1, 402) if number not in lost]
    gone = [shipped_later[number - 1]["sequence"] for number in lost]
    assert [
        (entry.gap_first, entry.sequence) for entry in stream if entry.gap_first is not None
    ] == [(gone[0], gone[-1])]
    assert wrong_events([{"what": "telling", "number": n} for n in numbers], stream) == []

    # The bytes that could not be read are still there, for a person to look at; given back
    # was only space that was never used.
    after = segments(bot.state_dir)
    assert {name: after[name].rstrip(b"\0") for name in before} == {
        name: data.rstrip(b"\0") for name, data in before.items()
    }
    # And what was not damaged is remembered.
    again = bot.ask("submit", **BUY, key="before")
    assert (again["outcome"], len(stage.exchange.orders())) == ("accepted", 1)


DISK_BYTES = 1 << 20


def on_small_disk(folder: Path) -> tuple[str, ...]:
    """A command that runs another with a small disk of its own in place of `folder`."""
    mount = f'mount -t tmpfs -o size={DISK_BYTES} tmpfs "$0" && exec "$@"'
    return ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(folder))


def test_full_disk(stage: Stage) -> None:
    folder = stage.folder / "state-bot"
    folder.mkdir()
    wrap = on_small_disk(folder)
    try:
        subprocess.run([*wrap, "true"], check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no small disk can be mounted here: {error}")
    stage.configure(outbox={"segment_bytes": 1 << 16, "max_bytes": 1 << 23,
                            "retain_acked_bytes": 1 << 16}, orders=FEW_KEYS)  # fmt: skip
    bot = stage.start(wrap=wrap).opened()
    bot.until_healthy()
    assert bot.ask("submit", **BUY)["outcome"] == "accepted"
    bot.ask("publish", number=0)
    stage.until_in_stream(0)

    assert bot.ask("fill_disk", path=str(folder / "hog")) > DISK_BYTES // 4
    taken = 0
    while (told := bot.ask("publish", number=taken + 1))["outcome"] == "published":
        taken += 1
        assert taken < 10_000, "the disk never filled up"
    assert told["outcome"] == "JournalFull"
    status = bot.until_shut()
    disk = next(link for link in status["links"] if link["name"] == "disk")
    assert not disk["up"]
    assert "No space left" in disk["reason"] or "room" in disk["reason"], disk
    opening = bot.ask("submit", side="buy", quantity="0.020")
    assert opening["outcome"] == "halted", opening
    assert "disk" in opening["why"]
    # Getting out stays possible: the last segment keeps room for it.
    leaving = bot.ask("submit", side="sell", quantity="0.004", reduce_only=True)
    assert leaving["outcome"] == "accepted", leaving

    bot.ask("free_disk")
    bot.until_healthy()
    assert bot.ask("submit", side="buy", quantity="0.030")["outcome"] == "accepted"
    assert bot.ask("publish", number=taken + 1)["outcome"] == "published"
    stage.until_in_stream(taken + 1)
    numbers = [entry.number for entry in stage.stream() if entry.number is not None]
    assert numbers == list(range(taken + 2))
    assert [order["quantity"] for order in stage.exchange.orders()] == ["0.010", "0.004", "0.030"]
    until(lambda: bot.ask("book")["positions"] == {"BTC/USDT:USDT": "0.036"}, "the book is right")


def test_lost_intent_waits_for_a_person(stage: Stage) -> None:
    """What was damaged may have been a key, or a halt: to trade on would be to do it twice."""
    stage.configure()
    bot = stage.start().opened()
    bot.until_healthy()
    assert bot.ask("submit", **BUY, key="once")["outcome"] == "accepted"
    until(lambda: bot.ask("book")["positions"], "the fill is counted")
    bot.operator("halt", reason="I want to look at it")
    bot.kill()
    for record in FileJournal.inspect(bot.state_dir / "journal").records(after=0):
        if record.kind in (KIND_OF[Intended], KIND_OF[Resolved], KIND_OF[Held]):
            (path,) = (bot.state_dir / "journal").glob("*.seg")
            flip(path, path.read_bytes().find(record.body))

    bot = stage.start().opened()
    held = bot.operator("status")
    assert "DAMAGED" in held["journal"]["report"]
    assert "lost to damage" in held["hold"]
    assert bot.ask("submit", **BUY, key="once")["outcome"] == "halted"
    assert len(stage.exchange.orders()) == 1
    bot.kill()

    # It is said until a person has answered, and not again afterwards.
    bot = stage.start().opened()
    assert "lost to damage" in bot.operator("status")["hold"]
    bot.operator("resume")
    bot.until_healthy()
    bot.kill()
    bot = stage.start().opened()
    bot.until_healthy()
