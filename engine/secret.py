"""References to secrets in the configuration, and the values they stand for.

`${NAME}` is replaced by an environment variable, `${file:PATH}` by the content of
a file that only its owner may read (mode 0600). A secret written out is refused:
configuration files are mailed, committed and pasted. Inside an address a
replacement is percent-encoded; an address that is one single reference is taken
as it comes.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from .errors import ConfigError, CredentialError
from .url import Url

_REFERENCE: Final = re.compile(r"\$\{(file:)?([^{}]*)\}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REMEDY: Final = (
    "put it into the environment and write ${NAME} in its place, or ${file:PATH} for a file of "
    "mode 0600"
)


class Secret:
    """Text that is not shown by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text: Final = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"


def resolve_address(text: str, folder: Path) -> Url:
    """The address with its references replaced.

    :param folder: relative paths count from here.
    :raises ConfigError: a password is written out, or a reference leads nowhere.
    """
    whole = _REFERENCE.fullmatch(text)
    # A reference may name what has no place in an address, such as a file with a space.
    bare = Url(_REFERENCE.sub("$", text)) if whole is None else None
    if bare is not None and any(secret.replace("$", "") for secret in bare.secrets):
        raise ConfigError(f"a password is written out in the address; {_REMEDY}")
    return Url(_replace(text, folder, encode=whole is None))


def resolve_secret(text: str, folder: Path) -> Secret:
    """What a reference stands for. :raises CredentialError: as `resolve_address`."""
    if not _REFERENCE.fullmatch(text):
        raise CredentialError(f"a secret is written out; {_REMEDY}")
    return Secret(_replace(text, folder, encode=False))


def resolve_path(text: str, folder: Path) -> Path:
    """The path that `text` names; a relative one counts from `folder`.

    :raises ConfigError: it is none.
    """
    if not text or "\0" in text:
        raise ConfigError(f"{text!r} is no path")
    try:
        return folder / Path(text).expanduser()
    except RuntimeError as error:  # the home of a user that is not there
        raise ConfigError(f"{text!r}: {error}") from None


def _replace(text: str, folder: Path, *, encode: bool) -> str:
    def value(reference: re.Match[str]) -> str:
        name = reference[2]
        found = _from_file(resolve_path(name, folder)) if reference[1] else _from_env(name)
        return quote(found, safe="") if encode else found

    return _REFERENCE.sub(value, text)


def _from_env(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise CredentialError(f"${{{name}}} names no environment variable; write ${{NAME}}")
    value = os.environ.get(name)
    if not value:
        state = "empty" if value == "" else "not set"
        raise CredentialError(f"the environment variable {name} is {state}")
    return value


class ApiKeys(NamedTuple):
    """An exchange's API key, and the secret that signs with it."""

    key: Secret
    secret: Secret


def read_key_file(path: Path) -> ApiKeys:
    """The pair in a TOML file that only its owner may read: `key = "…"`, `secret = "…"`.

    A private key (Ed25519, RSA) is written as a multi-line text.

    :raises CredentialError: naming the file and the remedy; nothing of its content.
    """
    try:
        tree = tomllib.loads(_from_file(path))
    except tomllib.TOMLDecodeError:
        tree = {}  # the error's own text may show a part of the secret
    values = [tree.get("key"), tree.get("secret")]
    if set(tree) != {"key", "secret"} or not all(isinstance(v, str) and v for v in values):
        raise CredentialError(
            f'{path}: write two lines, key = "…" and secret = "…", and nothing else'
        )
    return ApiKeys(*(Secret(str(value).strip()) for value in values))


def _from_file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise CredentialError(
                    f"{path}: others may read this secret (mode {mode:04o}); chmod 600 {path}"
                )
            return file.read().rstrip("\r\n")
    except OSError as error:
        raise CredentialError(f"{path}: can not be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CredentialError(f"{path}: is not UTF-8 text") from error
