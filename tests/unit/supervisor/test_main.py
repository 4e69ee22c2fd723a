"""What the supervisor makes of its plans before anything starts."""

from pathlib import Path

import pytest

from feedhandler.config.load import load
from feedhandler.config.model import SecretSource, WorkerPlan
from feedhandler.config.plan import plan
from feedhandler.supervisor.main import simulated

CONFIG = """
network = "sim"
[endpoints.private]
product = "private"
topics = ["order"]
{account}
"""
ACCOUNT = """
api_key = {{ env = "{key}" }}
api_secret = {{ {place} = "{name}" }}
"""


def planned(directory: Path, account: str = "") -> WorkerPlan:
    file = directory / "feed.toml"
    file.write_text(CONFIG.format(account=account))
    (only,) = plan(load(file), directory)
    return only


@pytest.mark.parametrize(
    ("environment", "configured"),
    [
        ({}, False),
        ({"OTHER": "x"}, False),
        ({"KEY": "x"}, True),
        ({"SECRET": "x"}, True),
        ({"KEY": "", "SECRET": ""}, False),
    ],
)
def test_account_without_any_of_its_variables_is_the_simulators(
    tmp_path: Path, environment: dict[str, str], configured: bool
) -> None:
    """The same configuration runs before its user has a key; one that is set is used, also where it is wrong."""
    account = ACCOUNT.format(key="KEY", place="env", name="SECRET")
    found = simulated(planned(tmp_path, account), "127.0.0.1:9001", environment)
    assert found.url == "ws://127.0.0.1:9001/v5/private"
    assert (found.api_key, found.api_secret) == (
        (SecretSource(env="KEY"), SecretSource(env="SECRET")) if configured else (None, None)
    )


def test_a_file_is_always_meant(tmp_path: Path) -> None:
    """Whoever names one has it, or is told that it is not there."""
    account = ACCOUNT.format(key="KEY", place="file", name="secret")
    assert simulated(planned(tmp_path, account), "127.0.0.1:9001", {}).api_secret is not None


def test_account_of_another_server_keeps_its_places(tmp_path: Path) -> None:
    """Only the built-in simulator's account opens to its key."""
    account = 'url = "ws://127.0.0.1:1/v5/private"' + ACCOUNT.format(key="KEY", place="env", name="SECRET")
    own = planned(tmp_path, account)
    assert simulated(own, "127.0.0.1:9001", {}) == own


def test_account_without_places_is_the_simulators(tmp_path: Path) -> None:
    """Nothing is to be looked for."""
    assert simulated(planned(tmp_path), "127.0.0.1:9001", {}).api_key is None
