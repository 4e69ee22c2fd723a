"""Who carries what, as the feed's directory has it."""

import pytest

from feedhandler.client.interest import Interest
from feedhandler.client.placement import Placement
from feedhandler.runtime import CarriedWorker, FeedDirectory


def placement(addresses: list[str], topics: list[str] | None = None) -> Placement:
    workers = {
        "linear": CarriedWorker(
            endpoint="linear", product="linear", addresses=addresses, topics=topics or ["tickers.BTCUSDT"]
        ),
        "linear-1": CarriedWorker(endpoint="linear", product="linear", addresses=addresses, topics=["tickers.ETHUSDT"]),
        "hedge": CarriedWorker(endpoint="hedge", addresses=addresses, topics=[]),
    }
    return Placement(FeedDirectory(pid=1, network="sim", quiet_status_s=10.0, workers=workers))


def test_subjects_and_products() -> None:
    """A subject is endpoint and topic; each has its worker, each endpoint its product."""
    found = placement(["ipc:///a"])
    assert found.carried == {"linear.tickers.BTCUSDT": "linear", "linear.tickers.ETHUSDT": "linear-1"}
    assert found.products == {"linear": "linear", "hedge": ""}
    assert list(found.matching("linear.tickers.B")) == ["linear.tickers.BTCUSDT"]


def test_links_of_the_endpoints_asked_for() -> None:
    """Every worker of an endpoint that a subscription concerns, and no other."""
    interest = Interest()
    interest.add("linear.tickers.BTCUSDT")
    assert placement(["ipc:///a"]).links(interest) == {
        "linear": ("linear", "ipc:///a"),
        "linear-1": ("linear", "ipc:///a"),
    }
    assert placement([]).links(interest) == {}


@pytest.mark.parametrize(
    ("addresses", "chosen"),
    [
        (["tcp://0.0.0.0:5600"], "tcp://127.0.0.1:5600"),
        (["tcp://*:5600"], "tcp://127.0.0.1:5600"),
        (["tcp://0.0.0.0:5600", "ipc:///a"], "ipc:///a"),
        (["tcp://10.0.0.7:5600"], "tcp://10.0.0.7:5600"),
    ],
)
def test_one_address_is_connected(addresses: list[str], chosen: str) -> None:
    """Two would bring every record twice; what is bound on every interface is reached on this machine."""
    interest = Interest()
    interest.add("hedge.")
    assert placement(addresses).links(interest) == {"hedge": ("hedge", chosen)}


def test_unassigned_subject_names_the_nearest() -> None:
    """With a hint where something is near, without where nothing is."""
    found = placement(["ipc:///a"])
    assert found.unassigned("linear.tickers.BTCUSD") == (
        "nobody carries linear.tickers.BTCUSD; the nearest that is carried: linear.tickers.BTCUSDT"
    )
    assert found.unassigned("zzz.q") == "nobody carries zzz.q"


def test_hints_are_bounded() -> None:
    """A search may take tens of ms: thousands of wrong subjects do not stop a strategy."""
    found = placement(["ipc:///a"])
    said = [found.unassigned("linear.tickers.BTCUSD") for _ in range(30)]
    assert sum("nearest" in text for text in said) == 20
