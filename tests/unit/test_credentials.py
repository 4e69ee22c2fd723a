"""Where keys are read, what is said where there is none, and what is never said."""

import logging
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from feedhandler import credentials
from feedhandler.bybit.authentication import EXPIRES_AFTER_MS, TEST_KEY, TEST_SECRET, signature
from feedhandler.config.model import SecretSource
from feedhandler.credentials import LONGEST_BYTES, Credentials, CredentialsError, Secret, Source

NOW_MS = 1_760_000_000_000
KEY, SECRET = "KEYkeyKEY", "SECRETsecretSECRET"
GIVEN = Secret(KEY)


def args(source: Source, key: Source = GIVEN) -> list[Any]:
    """Sign with a secret from ``source``; return the request's arguments."""
    found: list[Any] = msgspec.json.decode(Credentials(key, source).sign(NOW_MS))["args"]
    return found


def refusal(source: Source) -> str:
    """Why there is no secret."""
    with pytest.raises(CredentialsError) as raised:
        args(source)
    assert SECRET not in repr(raised.value)
    return str(raised.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(0o600)
    return path


@pytest.fixture(params=["env", "file", "credential", "text", "function"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, file: Path) -> Source:
    """Each kind of source, with the secret in it."""
    file.write_text(SECRET + "\n")
    monkeypatch.setenv("A_SECRET", SECRET)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    sources: dict[str, Source] = {
        "env": SecretSource(env="A_SECRET"),
        "file": SecretSource(file=str(file)),
        "credential": SecretSource(credential=file.name),
        "text": Secret(SECRET),
        "function": lambda: SECRET,
    }
    return sources[request.param]


def test_request_is_signed_with_what_the_source_holds(source: Source) -> None:
    """Each kind of source does for key and secret, without the newline at a file's end."""
    expires_ms = NOW_MS + EXPIRES_AFTER_MS
    assert args(source) == [KEY, expires_ms, signature(SECRET, expires_ms)]
    assert args(Secret("other"), key=source)[0] == SECRET


def test_each_request_has_its_own_expiry(source: Source) -> None:
    """So no two connections are authenticated with the same signature."""
    subject = Credentials(GIVEN, source)
    assert subject.sign(NOW_MS) != subject.sign(NOW_MS + 1)


def test_source_is_read_again_each_time(file: Path) -> None:
    """A key that was exchanged, or that came only later, is used at the next connect."""
    subject = Credentials(SecretSource(file=str(file)), Secret(SECRET))
    with pytest.raises(CredentialsError, match="is empty"):
        subject.sign(NOW_MS)
    for key in ("first", "second"):
        file.write_text(key)
        assert msgspec.json.decode(subject.sign(NOW_MS))["args"][0] == key


def test_missing_source_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By its kind and name, and what is wrong with it."""
    monkeypatch.delenv("A_SECRET", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert refusal(SecretSource(env="A_SECRET")) == "no API secret: environment variable A_SECRET is not set"
    path = tmp_path / "nothing"
    expected = f"no API secret: file {path} cannot be read: No such file or directory"
    assert refusal(SecretSource(file=str(path))) == expected
    assert "systemd credential bybit is not there: $CREDENTIALS_DIRECTORY" in refusal(SecretSource(credential="bybit"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert refusal(SecretSource(credential="nothing")).endswith("cannot be read: No such file or directory")
    with pytest.raises(CredentialsError, match="no API key: environment variable A_SECRET is not set"):
        args(GIVEN, key=SecretSource(env="A_SECRET"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        (f"{SECRET}\n{SECRET}\n", "not one word"),
        (f"KEY = {SECRET}", "not one word"),
        (f"{SECRET}\u00e9", "not one word"),
        (f"{SECRET}\udcff", "not one word"),
        (f"{SECRET}\x07", "not one word"),
        (SECRET * LONGEST_BYTES, f"longer than {LONGEST_BYTES} bytes"),
    ],
)
def test_what_can_be_no_secret_is_refused_unseen(content: str, words: str, file: Path) -> None:
    """A whole file of another kind, a line with a name in front, an RSA key: said of which source, never what it held."""
    file.write_bytes(content.encode(errors="surrogateescape"))
    text = refusal(SecretSource(file=str(file)))
    assert f"file {file}" in text
    assert words in text
    if len(content) < LONGEST_BYTES:
        assert words in refusal(Secret(content))


def test_pipe_that_nobody_writes_to_holds_nobody_up(tmp_path: Path) -> None:
    """Data of other topics wait while a key is read."""
    os.mkfifo(tmp_path / "pipe")
    assert "is empty" in refusal(SecretSource(file=str(tmp_path / "pipe")))
    assert "Is a directory" in refusal(SecretSource(file=str(tmp_path)))


def test_function_that_fails_is_told_by_the_kind_of_its_error() -> None:
    """Its words may hold the secret."""

    def failing() -> str:
        raise RuntimeError(SECRET)

    assert "raised RuntimeError" in refusal(failing)
    assert "is no text but bytes" in refusal(SECRET.encode)  # type: ignore[arg-type]  # a user may


def test_file_that_everybody_may_read_is_warned_of_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is used all the same; the owner's own file, and systemd's, are nobody's business."""
    file.write_text(SECRET)
    subject = Credentials(GIVEN, SecretSource(file=str(file)))
    with caplog.at_level(logging.WARNING):
        subject.sign(NOW_MS)
        assert caplog.records == []
        file.chmod(0o644)
        for _ in range(3):
            subject.sign(NOW_MS)
    assert [record.getMessage() for record in caplog.records] == [
        f"every user of this machine may read {file}: chmod 600 it"
    ]


def test_credential_of_systemd_is_not_warned_of(
    file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may enter its directory is systemd's to say."""
    file.write_text(SECRET)
    file.chmod(0o444)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    args(SecretSource(credential=file.name))
    assert caplog.records == []


def test_secret_does_not_show_itself() -> None:
    """Neither printed nor in a container, an f-string or the attributes of its owner."""
    secret = Secret(SECRET)
    owner = Credentials(secret, secret)
    for text in (repr(secret), str(secret), f"{secret}", repr([secret]), repr(vars(owner)), repr(owner)):
        assert SECRET not in text
    assert secret.reveal() == SECRET


def test_simulators_own_key_needs_no_source() -> None:
    """What is used where the configuration names none."""
    found = msgspec.json.decode(credentials.SIMULATOR.sign(NOW_MS))["args"]
    assert found == [TEST_KEY, NOW_MS + EXPIRES_AFTER_MS, signature(TEST_SECRET, NOW_MS + EXPIRES_AFTER_MS)]
