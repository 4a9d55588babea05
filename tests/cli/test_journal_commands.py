"""`holdfast journal` on journals that are sound, damaged, empty, foreign, newer or live."""

from __future__ import annotations

import json
import random
import sqlite3
import struct
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from cli_rigs import Answer, holdfast, holdfast_process

from holdfast.clock import SystemClock
from holdfast.journal import FileJournal
from holdfast.journal.files import Files
from holdfast.journal.recovery import Inspection
from holdfast.model import Event
from holdfast.records import EVENT


def event(body: object) -> bytes:
    found = Event("test", "bot", 1, 1_700_000_000_000_000_000, "trace", body)
    return bytes(8) + msgspec.msgpack.encode(found)


def write(folder: Path, bodies: list[bytes], **options: Any) -> Path:
    async def run() -> None:
        journal = await FileJournal.open(
            folder,
            clock=SystemClock(),
            randbits=random.Random(len(bodies)).getrandbits,
            on_fault=pytest.fail,
            **options,
        )
        for body in bodies:
            journal.append_nowait(EVENT, body)
        await journal.aclose()

    anyio.run(run)
    return folder


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write(tmp_path / "sound", [event(f"body {number}") for number in range(5)])


def change(folder: Path, edit: Callable[[bytearray], None]) -> Path:
    (segment,) = folder.glob("*.seg")
    content = bytearray(segment.read_bytes())
    edit(content)
    segment.write_bytes(content)
    return folder


@pytest.fixture
def damaged(sound: Path) -> Path:
    def flip(content: bytearray) -> None:
        content[content.find(b"body 1")] ^= 0xFF

    return change(sound, flip)


def strictly(line: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(line, parse_constant=refuse)


def test_what_json_has_no_number_for_is_text(tmp_path: Path) -> None:
    values = [float("nan"), float("inf"), -float("inf"), 1.5]
    state = write(tmp_path / "journal", [event({"values": values, "more": [{"x": values[0]}]})])
    expected = {"values": ["NaN", "Infinity", "-Infinity", 1.5], "more": [{"x": "NaN"}]}
    shown = holdfast("journal", "show", state, "--json")
    assert strictly(shown.out)["body"]["body"] == expected
    lines, database = tmp_path / "out.jsonl", tmp_path / "out.sqlite"
    assert holdfast("journal", "export", state, "--out", lines).code == 0
    assert strictly(lines.read_text())["body"]["body"] == expected
    assert holdfast("journal", "export", state, "--format=sqlite", "--out", database).code == 0
    with closing(sqlite3.connect(database)) as connection:
        ((valid, value),) = connection.execute(
            "SELECT json_valid(body), json_extract(body, '$.body.values[0]') FROM records"
        ).fetchall()
    assert (valid, value) == (1, "NaN")


@pytest.mark.parametrize("body", [b"", b"\0" * 3, b"\0" * 8 + b"\xc1"])
def test_a_record_of_another_hand_is_shown_as_its_bytes(tmp_path: Path, body: bytes) -> None:
    state = write(tmp_path / "journal", [body])
    assert strictly(holdfast("journal", "show", state, "--json").out)["body"] == {
        "undecodable": body.hex()
    }


@pytest.mark.parametrize("command", ["verify", "show", "export"])
@pytest.mark.parametrize("there", ["nothing", "other files", "a file"])
def test_a_folder_without_a_journal_is_no_sound_journal(
    tmp_path: Path, command: str, there: str
) -> None:
    folder = tmp_path / "folder"
    if there == "a file":
        folder.write_text("")
    else:
        folder.mkdir()
    if there == "other files":
        (folder / "notes.txt").write_text("not ours")
    out = ("--out", tmp_path / "out") if command == "export" else ()
    done = holdfast("journal", command, folder, *out, "--json")
    assert done.code == 1
    assert "there is no journal here" in done.told["error"]
    assert not (tmp_path / "out").exists()


def test_a_journal_without_records_is_told_as_that(tmp_path: Path) -> None:
    state = write(tmp_path / "journal", [])
    done = holdfast("journal", "verify", state)
    assert done.code == 0
    assert "no records" in done.out
    shown = holdfast("journal", "show", state)
    assert (shown.code, shown.out, "no records" in shown.err) == (0, "", True)


def test_damage_is_told_by_every_command(damaged: Path, tmp_path: Path) -> None:
    before = [path.read_bytes() for path in sorted(damaged.iterdir())]
    verified = holdfast("journal", "verify", damaged)
    assert verified.code == 1
    assert "record 2 is missing" in verified.out
    for flag in ((), ("--json",)):
        shown = holdfast("journal", "show", damaged, *flag)
        assert shown.code == 1
        assert len(shown.out.splitlines()) == 4
        assert "record 2 is missing" in shown.err
        for form in ("jsonl", "sqlite"):
            out = tmp_path / f"{form}{len(flag)}"
            done = holdfast("journal", "export", damaged, "--format", form, "--out", out, *flag)
            assert done.code == 1
            assert out.exists()
            if flag:
                assert strictly(done.out)["ok"] is False
                assert strictly(done.out)["records"] == 4
                assert strictly(done.out)["damaged"][0]["first_missing"] == 2
            else:
                assert "4 records written" in done.out
                assert "record 2 is missing" in done.err
    assert [path.read_bytes() for path in sorted(damaged.iterdir())] == before


def test_damage_outside_of_what_is_shown_is_told_too(damaged: Path) -> None:
    assert "record 2 is missing" in holdfast("journal", "show", damaged, "--last", "1").err


@pytest.mark.parametrize("kind", ["foreign", "no header"])
def test_how_much_was_lost_is_not_invented(sound: Path, kind: str) -> None:
    """The numbers it may have held are not used again; how many it did hold, nobody knows."""

    def spoil(content: bytearray) -> None:
        if kind == "foreign":
            content[:] = b"something else" * 100
        else:
            content[:600] = b"\xff" * 600

    done = holdfast("journal", "verify", change(sound, spoil))
    assert done.code == 1
    assert "its header is lost" in done.out
    assert "missing" not in done.out
    assert "no records" in done.out


def test_a_journal_of_a_newer_holdfast_is_named(sound: Path, tmp_path: Path) -> None:
    def renumber(content: bytearray) -> None:
        for at in (0, 512):
            struct.pack_into("<I", content, at + 8, 7)
            checksum = zlib.crc32(bytes(content[at : at + 56]))
            struct.pack_into("<I", content, at + 56, checksum)

    change(sound, renumber)
    for command in (("verify",), ("show",), ("export", "--out", str(tmp_path / "out"))):
        done = holdfast("journal", command[0], sound, *command[1:], "--json")
        assert done.code == 1
        assert "has format 7" in done.told["error"]
    assert not (tmp_path / "out").exists()


def export_to(out: Path, state: Path, form: str) -> Answer:
    return holdfast_process("journal", "export", state, "--format", form, "--out", out, "--json")


@pytest.mark.parametrize("form", ["jsonl", "sqlite"])
def test_an_export_that_can_not_be_written_says_so(sound: Path, form: str, tmp_path: Path) -> None:
    done = export_to(tmp_path / "no" / "such" / "folder", sound, form)
    assert done.code == 1
    assert str(tmp_path / "no" / "such" / "folder") in done.told["error"]
    assert "Traceback" not in done.err


@pytest.mark.parametrize("form", ["jsonl", "sqlite"])
def test_an_export_that_is_cut_off_says_what_it_holds(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that can not be read half-way: what was written stays, and is called incomplete."""
    bodies = [event("x" * 1000) for _ in range(700)]
    state = write(tmp_path / "journal", bodies)
    read = Files.read
    blocks = 0

    def fail(files: Files, path: Path, offset: int = 0, size: int = -1) -> bytes:
        nonlocal blocks
        blocks += offset > 0
        if blocks == 3:
            raise OSError(5, "Input/output error")
        return read(files, path, offset, size)

    monkeypatch.setattr(Files, "read", fail)
    out = tmp_path / "out"
    done = holdfast("journal", "export", state, "--format", form, "--out", out, "--json")
    assert done.code == 1
    assert "can not be read" in done.told["error"]
    assert f"{out} is incomplete" in done.told["error"]
    if form == "jsonl":
        count = len(out.read_text().splitlines())
    else:
        with closing(sqlite3.connect(out)) as connection:
            ((count,),) = connection.execute("SELECT count(*) FROM records").fetchall()
    assert f"{count} records" in done.told["error"]
    assert 0 < count < len(bodies)


@pytest.mark.parametrize("when", ["header", "content"])
def test_a_segment_that_the_writer_drops_meanwhile_is_not_damage(tmp_path: Path, when: str) -> None:
    bodies = [event("x" * 1000) for _ in range(100)]
    state = write(
        tmp_path / "journal",
        bodies,
        segment_bytes=1 << 15,
        max_bytes=1 << 22,
        retain_acked_bytes=1 << 15,
    )
    oldest = min(state.glob("*.seg"))
    assert len(list(state.glob("*.seg"))) > 2

    class Dropping(Files):
        def read(self, path: Path, offset: int = 0, size: int = -1) -> bytes:
            if path == oldest and (size >= 0) == (when == "header"):
                oldest.unlink(missing_ok=True)
            return super().read(path, offset, size)

    report = Inspection(state, Dropping()).report
    assert report.damaged == ()
    assert 0 < report.records < 100
