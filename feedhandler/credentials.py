"""The API key and secret of a private endpoint: read anew at each connect, kept nowhere, told to nobody.

A key may be exchanged, or come only later, while the feed runs: so whoever connects reads it again, before the dial (no
key, no dial) and once more to sign in, by when it may be another. The values live in
one call's locals, and no error, log line or ``repr`` holds them: errors name the place.
"""

import logging
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from feedhandler.bybit import authentication
from feedhandler.config.model import SecretSource

AUTH_ID: Final = "auth"
"""The id of an ``auth`` request; it is the only one of its connection."""
LONGEST_BYTES: Final = 4096
"""Of a file with a secret in it. Bybit's have 18 and 36 characters; whatever is longer than this is another file."""

_log: Final = logging.getLogger("feedhandler.credentials")


class CredentialsError(Exception):
    """There is no key or secret to be had; the text says which, where it was looked for, and why, but never a value."""


class _AbsentError(Exception):
    """Why a secret is not where it should be."""


class Secret:
    """A text that does not show itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __repr__(self) -> str:
        return "<hidden>"


Source = SecretSource | Secret | Callable[[], str]
"""Where a secret comes from: a place, a value, or whoever is asked for it."""


class Credentials:
    """Where the key and the secret of an account are."""

    def __init__(self, api_key: Source, api_secret: Source) -> None:
        self._api_key = api_key
        self._api_secret = api_secret
        self._warned: set[str] = set()
        """Files of which it was said that others may read them."""

    def sign(self, now_ms: int) -> bytes:
        """Return an ``auth`` request with a signature of its own, as of Unix ms; raise `CredentialsError`."""
        key, secret = self._read("API key", self._api_key), self._read("API secret", self._api_secret)
        expires_ms = now_ms + authentication.EXPIRES_AFTER_MS
        return authentication.request(key.reveal(), secret.reveal(), expires_ms, AUTH_ID)

    def _read(self, what: str, source: Source) -> Secret:
        where = str(source) if isinstance(source, SecretSource) else f"the {what} given"
        try:
            text = (self._find(source) if isinstance(source, SecretSource) else _ask(source)).strip()
        except _AbsentError as error:
            raise CredentialsError(f"no {what}: {where} {error}") from None
        except OSError as error:
            raise CredentialsError(f"no {what}: {where} cannot be read: {error.strerror}") from None
        if not text:
            raise CredentialsError(f"no {what}: {where} is empty")
        if not text.isascii() or not text.isprintable() or " " in text:
            raise CredentialsError(f"no {what}: {where} is not one word of plain characters")
        return Secret(text)

    def _find(self, source: SecretSource) -> str:
        if source.env:
            if source.env not in os.environ:
                raise _AbsentError("is not set")
            return os.environ[source.env]
        if source.file:
            return self._content(Path(source.file))
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise _AbsentError(
                "is not there: $CREDENTIALS_DIRECTORY, which systemd sets for LoadCredential=, is not set"
            )
        return self._content(Path(directory, source.credential), is_private=True)

    def _content(self, path: Path, *, is_private: bool = False) -> str:
        """Return what a file holds. ``is_private``: somebody else sees to who may read it."""
        # Not to be held up by a pipe that nobody writes to: data wait while we read.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode
            content = os.read(descriptor, LONGEST_BYTES + 1)
        finally:
            os.close(descriptor)
        if mode & stat.S_IROTH and not is_private and str(path) not in self._warned:
            self._warned.add(str(path))
            _log.warning("every user of this machine may read %s: chmod 600 it", path)
        if len(content) > LONGEST_BYTES:
            raise _AbsentError(f"is longer than {LONGEST_BYTES} bytes")
        return content.decode("latin-1")  # any bytes are some text: what kind is looked at next


def _ask(source: Secret | Callable[[], str]) -> str:
    if isinstance(source, Secret):
        return source.reveal()
    try:
        text = source()
    except Exception as error:  # noqa: BLE001 - the user's own code, for once: told, and asked again later
        # Its words may hold anything; its kind does not.
        raise _AbsentError(f"by a function could not be had: it raised {type(error).__name__}") from None
    if not isinstance(text, str):
        raise _AbsentError(f"by a function is no text but {type(text).__name__}")
    return text


SIMULATOR: Final = Credentials(Secret(authentication.TEST_KEY), Secret(authentication.TEST_SECRET))
"""Those of the simulated Bybit's account, which are no secret."""
