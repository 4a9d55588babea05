"""A URL finds its transport, or the error says what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from inspect import getsource
from pathlib import Path
from typing import get_args

import pytest

from holdfast import opening, registry
from holdfast.clock import SystemClock, SystemEntropy
from holdfast.errors import ConfigError
from holdfast.registry import open_bus, open_execution, open_policy_store, schemes
from holdfast.url import Url

CLOCK, ENTROPY = SystemClock(), SystemEntropy()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package of somebody else, installed: module, metadata, entry points."""
    package = "acme_transport"
    (tmp_path / f"{package}.py").write_text(
        "def bus(url, *, clock, entropy, depth=1):\n    return (url, clock, entropy, depth)\n"
        "def anything(url, *, clock, entropy, **settings):\n    return settings\n"
    )
    (tmp_path / "acme_hungry.py").write_text("import acme_missing.sub\n")
    (tmp_path / "acme_extra.py").write_text("import acme_wire\n")
    (tmp_path / "acme_broken.py").write_text("from sys import no_such_name\n")
    info = tmp_path / "acme_transport-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-transport\nVersion: 1.0\n"
        'Requires-Dist: acme-wire>=2; extra == "wire"\nRequires-Dist: acme-missing[x]>=1\n\n'
    )
    (info / "entry_points.txt").write_text(
        "[holdfast.bus]\nacme = acme_transport:bus\nacme-any = acme_transport:anything\n"
        "acme-hungry = acme_hungry:bus\nacme-extra = acme_extra:bus\n"
        "acme-broken = acme_broken:bus\nacme-renamed = acme_transport:gone\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


def test_a_third_party_registers_like_the_built_ins(third_party: str) -> None:
    assert open_bus("acme://somewhere", clock=CLOCK, entropy=ENTROPY) == (
        "acme://somewhere",
        CLOCK,
        ENTROPY,
        1,
    )
    assert {"acme", "memory", "redis", "rediss"} <= set(schemes("bus"))


def test_the_factory_gets_the_password_and_the_settings(third_party: str) -> None:
    url = Url("acme://u:pw@h")
    assert open_bus(url, clock=CLOCK, entropy=ENTROPY, depth=3) == (
        "acme://u:pw@h",
        CLOCK,
        ENTROPY,
        3,
    )
    assert open_bus("acme-any://", clock=CLOCK, entropy=ENTROPY, x=1) == {"x": 1}


def test_the_bot_is_told_to_those_who_ask(third_party: str) -> None:
    told = open_bus("acme-any://", clock=CLOCK, entropy=ENTROPY, bot="alpha", x=1)
    assert told == {"bot": "alpha", "x": 1}
    open_bus("acme://h", clock=CLOCK, entropy=ENTROPY, bot="alpha")


def test_an_option_the_transport_does_not_have(third_party: str) -> None:
    with pytest.raises(ConfigError, match=r"dept: .*did you mean 'depth'.*it has: depth"):
        open_bus("acme://h", clock=CLOCK, entropy=ENTROPY, dept=3)


def test_an_unknown_scheme_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError) as caught:
        open_bus("redsi://u:hunter2@h", clock=CLOCK, entropy=ENTROPY)
    message = str(caught.value)
    for word in ("redsi://", "did you mean 'redis", "memory://", "rediss://", "holdfast.bus"):
        assert word in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("acme-hungry", ["acme-transport", "'acme_missing'", "pip install acme-missing"]),
        ("acme-extra", ["'acme_wire'", "pip install 'acme-transport[wire]'"]),
        ("acme-broken", ["acme_broken:bus", "no_such_name"]),
        ("acme-renamed", ["acme_transport:gone", "reinstall"]),
    ],
)
def test_a_transport_that_does_not_load(third_party: str, scheme: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        open_bus(f"{scheme}://h", clock=CLOCK, entropy=ENTROPY)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("opener", "url"),
    [
        (open_bus, "memory://x"),
        (open_policy_store, "memory://x"),
        (open_bus, "redis://127.0.0.1:1/0"),
        (open_bus, "rediss://127.0.0.1:1/0"),
        (open_policy_store, "redis://127.0.0.1:1/0"),
        (open_execution, "sim://127.0.0.1:1"),
    ],
)
async def test_every_built_in_opens_without_connecting(opener: object, url: str) -> None:
    assert callable(opener)
    assert opener(url, clock=CLOCK, entropy=ENTROPY) is not None


def test_every_kind_of_transport_is_one_that_an_engine_opens() -> None:
    groups = {point.group for point in distribution("holdfast").entry_points}
    assert {group for group in groups if group.startswith("holdfast.")} == {
        f"holdfast.{port}" for port in get_args(registry.Port)
    }
    openers = {name for name in vars(registry) if name.startswith("open_")}
    assert openers == {name for name in openers if f"registry.{name}(" in getsource(opening)}
