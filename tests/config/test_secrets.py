"""Secrets come from outside the file and are shown nowhere."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from holdfast.config import load
from holdfast.errors import ConfigError
from holdfast.secret import resolve_address, resolve_secret
from holdfast.url import Url

HIDDEN = "hunter2"


def tree(url: str, **exchange: object) -> dict[str, object]:
    return {
        "engine": {"symbols": ["BTC/USDT:USDT"]},
        "bus": {"url": url},
        "exchange": {"url": "sim://127.0.0.1:9000", **exchange},
    }


def test_a_password_comes_from_the_environment_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PW", HIDDEN)
    config = load(tree("redis://bot:${PW}@h:6379/0", api_key="${PW}"))
    assert config.bus.url.reveal() == f"redis://bot:{HIDDEN}@h:6379/0"
    assert config.credentials["api_key"].reveal() == HIDDEN
    assert HIDDEN not in repr(config)
    assert HIDDEN not in f"{config} {config.bus.url} {config.credentials['api_key']}"
    assert "redis://bot:***@h:6379/0" in repr(config)


def test_a_password_inside_an_address_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "p@ss/w:rd%")
    url = resolve_address("redis://:${PW}@h/0", Path())
    assert url.reveal() == "redis://:p%40ss%2Fw%3Ard%25@h/0"


def test_a_whole_address_is_taken_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:{HIDDEN}@h:6379/0")
    url = resolve_address("${REDIS_URL}", Path())
    assert url.reveal() == f"redis://:{HIDDEN}@h:6379/0"
    assert str(url) == "redis://:***@h:6379/0"


def test_a_secret_file_must_be_private(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(HIDDEN + "\n")
    secret.chmod(0o600)
    assert resolve_secret("${file:secret}", tmp_path).reveal() == HIDDEN
    assert resolve_address("redis://:${file:secret}@h", tmp_path).reveal() == (
        f"redis://:{HIDDEN}@h"
    )
    secret.chmod(0o640)
    with pytest.raises(ConfigError, match=r"mode 0640\); chmod 600 .*secret"):
        resolve_secret("${file:secret}", tmp_path)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (tree(f"redis://:{HIDDEN}@h/0"), ["bus.url", "written out", "${NAME}"]),
        (tree(f"redis://h/0?password={HIDDEN}"), ["bus.url", "written out"]),
        (tree(f"redis://:{HIDDEN}/${{PW}}@h/0"), ["bus.url", "written out"]),
        (tree(f"{HIDDEN}@h"), ["bus.url", "no URL"]),
        (tree("redis://h", api_key=HIDDEN), ["exchange.api_key", "written out"]),
        (tree("redis://h", api_secret=[HIDDEN]), ["exchange.api_secret"]),
        (tree("redis://:${HOLDFAST_NO_SUCH}@h"), ["bus.url", "HOLDFAST_NO_SUCH is not set"]),
        (tree("redis://:${HOLDFAST_EMPTY}@h"), ["bus.url", "HOLDFAST_EMPTY is empty"]),
        (tree("redis://:${a b}@h"), ["bus.url", "no environment variable"]),
        (tree("redis://:${file:/no/such file}@h"), ["bus.url", "/no/such file", "No such file"]),
        (tree("redis://:${file:~nobody-of-that-name/x}@h"), ["bus.url", "home"]),
        ({"bus": f"redis://:{HIDDEN}@h"}, ["bus: is a section"]),
    ],
)
def test_an_error_about_a_secret_does_not_tell_it(
    source: dict[str, object], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_EMPTY", "")
    with pytest.raises(ConfigError) as caught:
        load(source)
    text = "".join(traceback.format_exception_only(caught.value))
    assert HIDDEN not in text
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://u@h:1/0", "redis://u@h:1/0"),
        (f"redis://u:{HIDDEN}@h:1/0", "redis://u:***@h:1/0"),
        (f"redis://u:a@{HIDDEN}/b#c?d@h:1/0", "redis://u:***@h:1/0"),
        (f"redis://h/0?db=1&password={HIDDEN}&x=2", "redis://h/0?db=1&password=***&x=2"),
        (f"REDISS://:{HIDDEN}@h", "REDISS://:***@h"),
    ],
)
def test_an_address_hides_its_secrets(text: str, shown: str) -> None:
    url = Url(text)
    assert str(url) == shown
    assert repr(url) == f"Url({shown!r})"
    assert url.reveal() == text
    assert url == Url(text)
    assert url != Url("redis://other")
    assert len({url, Url(text)}) == 1


def test_a_whole_address_from_the_environment_needs_a_scheme(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_URL", HIDDEN)
    with pytest.raises(ConfigError) as caught:
        resolve_address("${REDIS_URL}", Path())
    assert HIDDEN not in str(caught.value)


def key_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "keys.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_keys_come_from_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_file(tmp_path, f'key = "{HIDDEN}"\nsecret = """\n-----BEGIN-----\n{HIDDEN}\n"""\n')
    monkeypatch.chdir(tmp_path)
    config = load(tree("redis://h", key_file="keys.toml"))
    assert config.credentials["api_key"].reveal() == HIDDEN
    assert config.credentials["api_secret"].reveal() == f"-----BEGIN-----\n{HIDDEN}"
    assert HIDDEN not in repr(config)


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path, f'key = "{HIDDEN}"\nsecret = "{HIDDEN}"\n', 0o644)
    with pytest.raises(ConfigError, match=r"exchange.key_file: .*mode 0644\); chmod 600"):
        load(tree("redis://h", key_file=str(path)))


@pytest.mark.parametrize(
    "text",
    [
        f'key = "{HIDDEN}"',
        f'key = "{HIDDEN}"\nsecret = ""',
        f'key = "{HIDDEN}"\nsecret = 7',
        f'key = "{HIDDEN}"\nsecret = "{HIDDEN}"\nseceret = "{HIDDEN}"',
        f"{HIDDEN}\n{HIDDEN}",
        f'key = "{HIDDEN}\n',
    ],
)
def test_a_key_file_of_another_shape_is_refused_without_showing_it(
    tmp_path: Path, text: str
) -> None:
    path = key_file(tmp_path, text)
    with pytest.raises(ConfigError, match=r'key = "…" and secret = "…"') as caught:
        load(tree("redis://h", key_file=str(path)))
    assert HIDDEN not in "".join(traceback.format_exception(caught.value))


def test_keys_are_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", HIDDEN)
    path = key_file(tmp_path, f'key = "{HIDDEN}"\nsecret = "{HIDDEN}"\n')
    with pytest.raises(ConfigError, match=r"exchange.key_file: leave it out, or api_key"):
        load(tree("redis://h", key_file=str(path), api_key="${PW}"))
