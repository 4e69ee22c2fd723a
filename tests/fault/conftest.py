"""A running feed for a module's faults."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("support.stage")

from support.stage import Act, Stage, acting  # noqa: E402 - its assertions shall say what they compared


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One line, everything live; shared by the tests of a module that do not need their own."""
    with Stage(tmp_path_factory.mktemp("stage")) as running:
        yield running


@pytest.fixture
def act(stage: Stage) -> Iterator[Act]:
    """A fault to be tried on it."""
    yield from acting(stage)
