"""Whom a fault hits: something that the configuration really has, or a reason why not."""

import pytest

from feedhandler.config.model import Connection, ProductName, WorkerPlan
from feedhandler.drill import faults, targets
from feedhandler.drill.faults import Fault
from feedhandler.drill.targets import Link, Target

BOOK = "orderbook.50.BTCUSDT"
SLOW = "orderbook.200.BTCUSDT"
TRADES = "publicTrade.BTCUSDT"
OTHER = "orderbook.50.ETHUSDT"
CANARY = "orderbook.1.SOLUSDT"


def worker(name: str, *topics: str, product: ProductName = "linear", canary: str = CANARY) -> WorkerPlan:
    return WorkerPlan(
        worker=name,
        endpoint=name,
        product=product,
        network="sim",
        url="",
        simulated=True,
        topics=list(topics),
        publish=[],
        runtime_directory="",
        cpu=[],
        connection=Connection(canary=canary),
        send_high_water_mark=1,
        quiet_status_s=1.0,
        log_level="info",
        log_format="json",
    )


def link(number: int, *topics: str, product: str = "linear") -> Link:
    return Link(number, product, frozenset(topics))


def choose(
    needs: str, plans: list[WorkerPlan], links: list[Link], number: int = 0, avoided: set[str] | None = None
) -> Target:
    found = targets.choose(Fault("x", "", needs), number, plans, links, avoided or set())
    assert isinstance(found, Target)
    return found


def why(needs: str, plans: list[WorkerPlan], links: list[Link]) -> str:
    found = targets.choose(Fault("x", "", needs), 0, plans, links)
    assert isinstance(found, str)
    return found


LINEAR = worker("linear", TRADES, SLOW, BOOK, OTHER)
SPOT = worker("spot", "tickers.BTCUSDT", product="spot", canary="")
LINE_0 = link(4, TRADES, SLOW, BOOK, OTHER, CANARY)
LINE_1 = link(5, TRADES, SLOW, BOOK, OTHER, CANARY)
SPOTS = link(6, "tickers.BTCUSDT", product="spot")


def test_connections_of_every_worker_and_line_take_turns() -> None:
    """Each number is another one."""
    chosen = [choose(faults.CONNECTION, [LINEAR, SPOT], [LINE_0, LINE_1, SPOTS], number) for number in range(4)]
    assert [(target.worker, target.links[0].number) for target in chosen] == [
        ("linear", 4),
        ("linear", 5),
        ("spot", 6),
        ("linear", 4),
    ]
    assert chosen[0].where == "linear"


def test_the_connection_with_the_liveliest_book_is_taken() -> None:
    """It shows most."""
    links = [link(1, TRADES, SLOW), link(2, BOOK, OTHER)]
    assert choose(faults.CONNECTION, [LINEAR], links).links == (links[1],)


def test_a_connection_may_be_anybodys_and_is_then_left_alone() -> None:
    """Two endpoints that carry the same: which of them would be hit nobody knows."""
    again = worker("again", BOOK, TRADES)
    assert why(faults.CONNECTION, [LINEAR, again], [link(1, BOOK)]).startswith("no connection")
    assert choose(faults.CONNECTION, [LINEAR, again], [link(1, BOOK, OTHER)]).worker == "linear"


def test_a_connection_is_not_a_workers_of_another_product() -> None:
    """The same topic is served on two products."""
    spot = worker("spot", BOOK, product="spot")
    assert choose(faults.CONNECTION, [LINEAR, spot], [link(1, BOOK, product="spot")]).worker == "spot"


def test_a_connection_with_the_canary_alone_is_nobodys() -> None:
    """It says nothing of whose it is."""
    assert why(faults.CONNECTION, [LINEAR], [link(1, CANARY)]).startswith("no connection")


def test_only_a_level_1_is_promised_to_speak() -> None:
    """Subscribed, or as a canary."""
    assert choose(faults.LEVEL_1, [SPOT, LINEAR], [SPOTS, LINE_0]).worker == "linear"
    assert why(faults.LEVEL_1, [SPOT], [SPOTS]).startswith("no connection has a level-1 book")


def test_only_a_private_connection_signs_in() -> None:
    """Of a configuration without one that fault is skipped."""
    account = worker("private", "order", "wallet", product="private", canary="")
    signed_in = link(7, "order", "wallet", product="private")
    assert choose(faults.ACCOUNT, [LINEAR, account], [LINE_0, signed_in]).worker == "private"
    assert why(faults.ACCOUNT, [LINEAR], [LINE_0]) == "the configuration has no private endpoint"


def test_the_book_that_is_pushed_most_often_is_taken() -> None:
    """And the connection that carries it."""
    target = choose(faults.BOOK, [SPOT, LINEAR], [SPOTS, LINE_0, LINE_1], 1)
    assert (target.worker, target.topic, target.links) == ("linear", BOOK, (LINE_1,))
    assert target.where == f"linear {BOOK}"


def test_a_book_of_unknown_depth_is_a_book() -> None:
    """Though nobody knows how often it is pushed."""
    unknown = worker("new", "orderbook.7.BTCUSDT", SLOW)
    assert targets.books(unknown) == [SLOW, "orderbook.7.BTCUSDT"]


def test_without_a_book_there_is_nothing_to_hit() -> None:
    """And that is said."""
    assert why(faults.BOOK, [SPOT], [SPOTS]) == "the configuration has no order book with deltas"


def test_what_is_not_as_it_should_be_is_avoided() -> None:
    """A topic that is delisted at present shows nothing."""
    assert choose(faults.BOOK, [LINEAR], [LINE_0], avoided={f"linear.{BOOK}"}).topic == OTHER
    refused = {"spot.tickers.BTCUSDT"}
    assert choose(faults.WORKER, [SPOT, LINEAR], [SPOTS, LINE_0], avoided=refused).worker == "linear"
    assert choose(faults.CONNECTION, [SPOT, LINEAR], [SPOTS, LINE_0], avoided=refused).worker == "linear"


def test_a_symbol_is_taken_that_others_do_not_need() -> None:
    """Not the liveliest book's; on every connection that carries it."""
    target = choose(faults.SYMBOL, [LINEAR, SPOT], [LINE_0, LINE_1, SPOTS])
    assert (target.symbol, target.links, target.topic) == ("ETHUSDT", (LINE_0, LINE_1), "")
    assert target.where == "linear ETHUSDT"


@pytest.mark.parametrize(
    ("plans", "links"),
    [
        ([SPOT], [SPOTS]),
        ([LINEAR, worker("more", "tickers.ETHUSDT")], [LINE_0, link(7, "tickers.ETHUSDT")]),
        ([worker("pool", "insurance.USDT")], [link(1, "insurance.USDT")]),
    ],
)
def test_without_such_a_symbol_none_is_delisted(plans: list[WorkerPlan], links: list[Link]) -> None:
    """The only one, one that other workers carry too, or none at all."""
    assert why(faults.SYMBOL, plans, links).startswith("no symbol")


def test_workers_take_turns() -> None:
    """Each with all its connections."""
    chosen = [choose(faults.WORKER, [LINEAR, SPOT], [LINE_0, LINE_1, SPOTS], number) for number in range(2)]
    assert [(target.worker, target.links) for target in chosen] == [("linear", (LINE_0, LINE_1)), ("spot", (SPOTS,))]


def test_everything_needs_no_target() -> None:
    """Unless there is nothing."""
    assert choose(faults.EVERYTHING, [LINEAR], []).where == ""
    assert why(faults.EVERYTHING, [], []) == why(faults.WORKER, [], []) == "the configuration has no worker"
