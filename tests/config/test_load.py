"""What the configuration file may say, and what it gets told when it is wrong."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from holdfast.config import Config, load
from holdfast.errors import ConfigError
from holdfast.settings import Settings

EXAMPLE = Path(__file__).parents[2] / "examples" / "holdfast.toml"
MINIMAL = """
[engine]
symbols = ["BTC/USDT:USDT"]
[bus]
url = "redis://127.0.0.1:6379/0"
[exchange]
url = "sim://127.0.0.1:9000"
"""

Load = Callable[[str], Config]


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    def read(text: str) -> Config:
        (tmp_path / "holdfast.toml").write_text(text)
        return load(tmp_path / "holdfast.toml")

    return read


def wrong(load_text: Load, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    message = str(caught.value)
    assert "holdfast.toml: " in message
    return message


def test_a_minimal_file_has_the_defaults(load_text: Load, tmp_path: Path) -> None:
    config = load_text(MINIMAL)
    assert config.settings == Settings(symbols=("BTC/USDT:USDT",))
    assert config.state_dir == tmp_path / "state"
    assert config.policy.url == config.bus.url
    assert config.bus.url.reveal() == "redis://127.0.0.1:6379/0"


def test_the_example_shows_every_setting_with_its_default() -> None:
    config = load(EXAMPLE)
    assert msgspec.structs.replace(
        config.settings, policy=msgspec.structs.replace(config.settings.policy, initial=None)
    ) == Settings(bot="alpha", symbols=("BTC/USDT:USDT",))
    tree = tomllib.loads(EXAMPLE.read_text())
    for name in ("gate", "orders", "outbox", "policy", "lease", "links", "reconcile"):
        section = getattr(config.settings, name)
        shown = {key for key in tree[name] if key not in ("url", "options")}
        assert shown == {field.name for field in msgspec.structs.fields(section)}, name


def test_what_the_example_leaves_commented_out_is_right(load_text: Load) -> None:
    text = EXAMPLE.read_text()
    commented = [line for line in text.splitlines() if re.match(r"# \w+ = ", line)]
    assert len(commented) >= 4
    for line in commented:
        if "${" not in line and "key_file" not in line:  # what they name has to be there
            text = text.replace(line, line.removeprefix("# "))
    config = load_text(text)
    assert config.policy.url != config.bus.url
    assert config.settings.reconcile.rules


def test_a_mapping_is_read_like_a_file(load_text: Load) -> None:
    assert load(tomllib.loads(MINIMAL)).settings == load_text(MINIMAL).settings


def test_every_section_reaches_the_settings(load_text: Load) -> None:
    config = load_text(
        MINIMAL
        + "[policy]\nfreshness_seconds = 3\non_empty = 'restore'\nurl = 'memory://p'\n"
        + "[orders]\nbackoff_seconds = [1, 2]\ndurability = 'process'\n"
        + "[gate]\nloop_lease_seconds = 0.5\n[lease]\nenabled = false\n"
        + "[reconcile.rules]\norphan_order = 'cancel'\n[bus.options]\nstream_max = 5\n"
    )
    settings = config.settings
    assert settings.policy.freshness_seconds == 3
    assert settings.policy.on_empty == "restore"
    assert settings.orders.backoff_seconds == (1.0, 2.0)
    assert settings.orders.durability == "process"
    assert settings.gate.loop_lease_seconds == 0.5
    assert not settings.lease.enabled
    assert settings.reconcile.rules == {"orphan_order": "cancel"}
    assert config.policy.url.reveal() == "memory://p"
    assert config.bus.options == {"stream_max": 5}
    assert config.policy.options == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[engine\n", ["line 1"]),
        (MINIMAL + "[ordres]\n", ["ordres: unknown section", "did you mean 'orders'", "gate"]),
        (
            MINIMAL + "[orders]\ntimout_seconds = 1\n",
            ["orders.timout_seconds: unknown key", "did you mean 'timeout_seconds'"],
        ),
        (
            MINIMAL + "[orders]\ntimeout_seconds = '1'\n",
            ["orders.timeout_seconds", "has to be a number", "'1'"],
        ),
        (MINIMAL + "[orders]\ntimeout_seconds = 999\n", ["orders.timeout_seconds", "999", "60"]),
        (MINIMAL + "[orders]\ntimeout_seconds = nan\n", ["orders.timeout_seconds", "nan"]),
        (
            MINIMAL + "[policy]\non_empty = 'restor'\n",
            ["policy.on_empty", "'restor'", "did you mean 'restore'", "'hold', 'restore'"],
        ),
        (
            MINIMAL + "[orders]\ndurability = 'pwer'\n",
            ["orders.durability", "'pwer'", "did you mean 'power'", "'memory'"],
        ),
        (MINIMAL + "[orders]\nbackoff_seconds = [1, 'x']\n", ["orders.backoff_seconds[1]", "'x'"]),
        (MINIMAL + "[lease]\nenabled = 1\n", ["lease.enabled", "true or false", "1"]),
        (MINIMAL + "[reconcile.rules]\nx = 'adpot'\n", ["reconcile.rules", "adpot", "'adopt'"]),
        ("orders = 3\n" + MINIMAL, ["orders: is a section, written [orders]"]),
        (MINIMAL.replace("[exchange]\nurl", "[exchange]\n#"), ["exchange.url", "missing"]),
        ("[engine]\nsymbols = []\n", ["bus: this section is missing"]),
        (MINIMAL.replace('["BTC/USDT:USDT"]', "[]"), ["engine.symbols", "at least one"]),
        (MINIMAL.replace("symbols", "bot = 'My Bot'\nsymbols"), ["engine.bot", "'My Bot'"]),
        (MINIMAL.replace("redis://", ""), ["bus.url", "no URL"]),
        (MINIMAL + "[policy]\nurl = 3\n", ["policy.url", "text in quotes"]),
        (MINIMAL + "[policy.initial]\nmode = 'HALT'\n", ["policy.initial.mode", "active_mode"]),
        (
            MINIMAL + "[policy.initial]\nactive_mode = 'DEFENSVE'\n",
            ["policy.initial.active_mode", "'DEFENSVE'", "did you mean 'DEFENSIVE'"],
        ),
    ],
)
def test_an_error_names_the_key_what_was_given_and_what_is_allowed(
    load_text: Load, text: str, words: list[str]
) -> None:
    message = wrong(load_text, text)
    for word in words:
        assert word in message, message


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: there is no such file"):
        load(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="can not be read"):
        load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match="byte 5 is not UTF-8"):
        load(tmp_path / "latin.toml")
