"""What an address, an option or a folder is refused for names the file and the key."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path
from typing import Any

import anyio
import pytest

from holdfast import ConfigError, Engine
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.config import load
from holdfast.registry import open_bus
from holdfast.url import Url

HIDDEN = "hunter2"


def written(tmp_path: Path, **sections: dict[str, Any]) -> Path:
    """A file whose sections are the least that is needed, with changes."""
    tree: dict[str, dict[str, Any]] = {
        "engine": {"symbols": ["BTC/USDT:USDT"]},
        "bus": {"url": "memory://b"},
        "exchange": {"url": "sim://127.0.0.1:9000"},
    }
    for name, changes in sections.items():
        tree[name] = {**tree.get(name, {}), **changes}
    lines = []
    for name, section in tree.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_toml(value)}" for key, value in section.items()]
    path = tmp_path / "bot.toml"
    path.write_text("\n".join(lines))
    return path


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value) if isinstance(value, (str, int, float)) else str(value)


def refusal(path: Path) -> str:
    """What opening an engine is refused for. It must not get as far as running."""

    async def main() -> None:
        async with Engine.open(path):
            raise AssertionError("it was opened")

    with pytest.raises(ConfigError) as caught:
        anyio.run(main)
    assert not (path.parent / "state" / "journal").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("section", "url", "words"),
    [
        ("bus", "foo://h", "no bus transport for foo://"),
        ("bus", "redis://[::1", "no address"),
        ("bus", "redis://h:99999", "Port out of range"),
        ("bus", "redis://h:x", "Port could not be cast"),
        ("bus", "redis://h/abc", "not a database number"),
        ("bus", "redis://h?timeout_ms=x", "timeout_ms: Expected `int`"),
        ("bus", "redis://h?timeout_ms=0", "timeout_ms: 0 is not between"),
        ("bus", "redis://h?timout_ms=100", "timout_ms: unknown parameter"),
        ("bus", "redis://ho st", "space"),
        ("bus", "rediss://h?ssl_ca_certs=/no/such", "ssl_ca_certs"),
        ("policy", "redis://a,b", "several hosts"),
        ("policy", "sim://127.0.0.1:1", "no policy transport for sim://"),
        ("exchange", "sim://h", "give host and port"),
        ("exchange", "sim://h:x", "Port could not be cast"),
        ("market", "sim://", "give host and port"),
        ("market", "memory://", "no market transport for memory://"),
    ],
)
def test_a_wrong_address(tmp_path: Path, section: str, url: str, words: str) -> None:
    path = written(tmp_path, **{section: {"url": url}})
    assert re.match(rf"{re.escape(str(path))}: {section}\.url: .*{re.escape(words)}", refusal(path))


@pytest.mark.parametrize(
    ("section", "url", "options", "words"),
    [
        ("bus", "redis://h", {"bot": "other"}, "is engine.bot"),
        ("bus", "redis://h", {"clock": 1}, "the engine gives it"),
        ("bus", "redis://h", {"entropy": 1}, "the engine gives it"),
        ("bus", "redis://h", {"url": "redis://i"}, "is bus.url"),
        ("bus", "redis://h", {"timeout_ms": -1}, "-1 is not between"),
        ("bus", "redis://h", {"timeout_ms": "x"}, "Expected `int`"),
        ("bus", "redis://h", {"timout_ms": 100}, "did you mean 'timeout_ms'"),
        ("policy", "redis://h", {"bot": "other"}, "is engine.bot"),
        ("policy", "memory://h", {"x": 1}, "has no such option"),
        ("exchange", "sim://h:1", {"api_secret": HIDDEN}, "is exchange.api_secret"),
        ("exchange", "sim://h:1", {"clock": 1}, "the engine gives it"),
        ("exchange", "sim://h:1", {"stream_ping_seconds": -1}, "is not between"),
        ("exchange", "sim://h:1", {"stream_ping_seconds": "x"}, "is not between"),
        ("exchange", "sim://h:1", {"core": 1}, "is no SimulatedVenue"),
        ("market", "sim://h:1", {"ping_seconds": -1}, "is not between"),
        ("market", "sim://h:1", {"clock": 1}, "the engine gives it"),
    ],
)
def test_a_wrong_option(
    tmp_path: Path, section: str, url: str, options: dict[str, Any], words: str
) -> None:
    path = written(tmp_path, **{section: {"url": url, "options": options}})
    told = refusal(path)
    (name,) = options
    assert re.match(
        rf"{re.escape(str(path))}: {section}\.options\.{name}: .*{re.escape(words)}", told
    ), told
    assert HIDDEN not in told


@pytest.mark.parametrize("below", ["", "/below"])
def test_a_state_dir_that_is_a_file(tmp_path: Path, below: str) -> None:
    (tmp_path / "taken").write_text("of somebody else")
    path = written(tmp_path, engine={"state_dir": f"taken{below}"})
    assert re.match(
        rf"{re.escape(str(path))}: engine\.state_dir: .*taken.*: is no folder", refusal(path)
    )
    assert (tmp_path / "taken").read_text() == "of somebody else"


def test_a_journal_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "journal").write_text("")
    path = written(tmp_path, engine={"state_dir": "s"})
    assert re.search(r"engine\.state_dir: .*journal: is no folder", refusal(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_state_dir_that_may_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    path = written(tmp_path, engine={"state_dir": "closed/s"})
    assert "engine.state_dir: " in refusal(path)


@pytest.mark.parametrize(
    ("state_dir", "words"),
    [("", "'' is no path"), ("~nobody-of-that-name/s", "home"), ("a\0b", "is no path")],
)
def test_a_state_dir_that_is_no_path(state_dir: str, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^configuration: engine\.state_dir: .*{words}"):
        load(
            {
                "engine": {"symbols": ["BTC/USDT:USDT"], "state_dir": state_dir},
                "bus": {"url": "memory://b"},
                "exchange": {"url": "sim://127.0.0.1:9000"},
            }
        )


@pytest.mark.parametrize(
    "text",
    [f"redis://u:{HIDDEN}@[h/0", f"redis://u:{HIDDEN}@h℀/0", f"redis://u:{HIDDEN}@h\n/0"],
)
def test_an_address_that_can_not_be_split_keeps_its_secret(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Url(text)
    assert HIDDEN not in "".join(traceback.format_exception(caught.value)).replace(text, "")


def test_what_a_transport_trips_over_is_an_error_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acme_careless.py").write_text(
        "def bus(url, *, clock, entropy, depth=1):\n    return [0] * int(depth)\n"
    )
    info = tmp_path / "acme_careless-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-careless\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[holdfast.bus]\nacme = acme_careless:bus\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"acme://h: .*invalid literal.*'deep'"):
        open_bus("acme://h", clock=SystemClock(), entropy=SystemEntropy(), depth="deep")
