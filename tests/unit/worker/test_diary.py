"""What a worker writes into the log of frames that broke the venue's contract."""

import logging

import pytest

from feedhandler.worker.diary import Diary

FRAME = ("data of wallet, which is not subscribed here", b'{"totalEquity":"1234567.89"}')


@pytest.mark.parametrize("raw", [True, False])
def test_frames_of_an_account_are_never_logged_raw(raw: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Public ones are, for only they tell what was wrong; of an account's the log has what it was, and how long."""
    Diary(logging.getLogger("feedhandler.test"), raw=raw).strange([FRAME], 1.0)
    (line,) = caplog.messages
    assert line.startswith(FRAME[0])
    assert ("1234567.89" in line) is raw
    assert ("(28 bytes, not logged)" in line) is not raw
