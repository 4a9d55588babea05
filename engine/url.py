"""A transport's address, which may carry a password, and never shows it.

Addresses travel through errors, logs and the `repr` of whatever holds them, so
the full text has one exit, `reveal()`, called where the connection is made.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from .errors import ConfigError

_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)  # RFC 3986, 3.1
_SPACE: Final = re.compile(r"[\x00-\x20\x7f]")
# Up to the last @ of all: a password with an unescaped slash or question mark hides too.
_SECRETS: Final = (
    re.compile(r"(?<=://)(?P<before>[^:@/?#]*:)(?P<secret>.+)(?=@)", re.DOTALL),
    re.compile(
        r"(?P<before>[?&](?:password|passwd|secret|token|api_?key)=)(?P<secret>[^&#]+)", re.I
    ),
)


class Url:
    """`scheme://…`, shown with `***` in place of each secret.

    :raises ConfigError: there is no scheme, or it can not be split into its parts.
    """

    __slots__ = ("_text", "scheme")

    def __init__(self, text: str) -> None:
        found = _SCHEME.match(text)
        if found is None:
            # The text is not repeated: without a scheme, nobody knows where its secret is.
            raise ConfigError("this is no URL; give one such as 'redis://127.0.0.1:6379/0'")
        if _SPACE.search(text):
            raise ConfigError("a space or control character is no part of a URL; write it as %20")
        try:
            urlsplit(text)
        except ValueError:  # its text may repeat user and password
            raise ConfigError(
                "there is no address between '//' and the path; brackets are for IPv6, as in "
                "'redis://[::1]:6379/0'"
            ) from None
        self.scheme: Final = found[1].lower()
        self._text: Final = text

    def reveal(self) -> str:
        """The whole text, for whoever opens the connection."""
        return self._text

    @property
    def secrets(self) -> list[str]:
        """Each password or token in the address."""
        return [found["secret"] for rule in _SECRETS for found in rule.finditer(self._text)]

    def __str__(self) -> str:
        text = self._text
        for rule in _SECRETS:
            text = rule.sub(r"\g<before>***", text)
        return text

    def __repr__(self) -> str:
        return f"Url({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)
