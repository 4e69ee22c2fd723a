"""What ``feedhandler status`` says of a worker."""

import pytest

from feedhandler import control
from feedhandler.cli.status import _lines


def lines(restart: str) -> list[str]:
    worker = control.WorkerStatus(
        worker="linear", endpoint="linear", product="linear", network="sim", url="ws://x/", publish=["ipc:///l.pub"],
        state="running", pid=456, epoch=7, restarts=1, last_exit="restarted by command", beat_age_s=None,
        heartbeat=None, topics={}, restart=restart,
    )  # fmt: skip
    status = control.StatusReply(
        pid=1, version="0", uptime_s=1.0, network="sim", config="feed.toml", runtime="/run", simulated_bybit="",
        attempts=0, attempts_waiting=0, workers=[worker],
    )  # fmt: skip
    return list(_lines(status, show_all=False))


@pytest.mark.parametrize(("restart", "shown"), [("", []), ("handing over", ["  restart by command: handing over"])])
def test_restart_under_way_is_shown_in_words(restart: str, shown: list[str]) -> None:
    """Below the worker's own line, and not where there is none."""
    found = lines(restart)
    assert [line for line in found if "restart by command" in line] == shown
    (own,) = [line for line in found if "1 restarts" in line]
    assert own.endswith("process 456, epoch 7, 1 restarts, last end: restarted by command")
