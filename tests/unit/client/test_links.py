"""What each worker was told, and what must be done to the sockets."""

from feedhandler.client.links import CONNECTING, Close, Link, Links, Open, Subscribe, Unsubscribe


def opened() -> Links:
    links = Links()
    links.open("linear", "linear", "ipc:///linear.pub", [b"linear.", b"spot."], 5.0)
    links.open("tcp://10.0.0.1:5600", "", "tcp://10.0.0.1:5600", [b"spot."], 6.0)
    return links


def test_opened_link_is_told_what_concerns_it() -> None:
    """Its heartbeats, and those filters that may match its endpoint; of an unknown endpoint all."""
    assert opened().actions == [
        Open("linear", "ipc:///linear.pub"),
        Subscribe("linear", b"linear.heartbeat.linear\0"),
        Subscribe("linear", b"linear."),
        Open("tcp://10.0.0.1:5600", "tcp://10.0.0.1:5600"),
        Subscribe("tcp://10.0.0.1:5600", b"spot."),
    ]


def test_filter_is_told_and_taken_back_once() -> None:
    """ZeroMQ counts subscriptions: told twice, one taken back would not end it."""
    links = opened()
    link = links.by_name["linear"]
    links.actions.clear()
    links.tell(link, b"linear.")
    links.tell(link, b"spot.")
    links.untell(link, b"linear.")
    links.untell(link, b"linear.")
    assert links.actions == [Unsubscribe("linear", b"linear.")]


def test_worker_is_asked_without_a_hole() -> None:
    """A filter that it knows is told again before it is taken back; one that it does not know is told and stays."""
    links = opened()
    link = links.by_name["linear"]
    links.actions.clear()
    links.ask(link, b"linear.")
    links.ask(link, b"linear.tickers.BTCUSDT\0")
    links.ask(link, b"spot.")
    assert links.actions == [
        Subscribe("linear", b"linear."),
        Unsubscribe("linear", b"linear."),
        Subscribe("linear", b"linear.tickers.BTCUSDT\0"),
    ]


def test_links_that_a_subject_may_be_at() -> None:
    """Its own where that is known, none where that is gone; else those of its endpoint and of unknown ones."""
    links = opened()
    linear, other = links
    assert list(links.of("linear", "linear")) == [linear]
    assert list(links.of("linear-1", "linear")) == []
    assert list(links.of(None, "linear")) == [linear, other]
    assert list(links.of(None, "spot")) == [other]


def test_closed_link_is_forgotten() -> None:
    """Closing is an action, and the name is free again."""
    links = opened()
    links.actions.clear()
    links.close(links.by_name["linear"])
    assert links.actions == [Close("linear")]
    assert list(links.by_name) == ["tcp://10.0.0.1:5600"]


def test_link_names_itself() -> None:
    """Messages name the worker and its address, or the address alone."""
    assert str(Link("linear", "linear", "ipc:///a", 0.0)) == "worker linear at ipc:///a"
    assert str(Link("ipc:///a", "", "ipc:///a", 0.0)) == "the worker at ipc:///a"
    assert Link("linear", "linear", "ipc:///a", 0.0).state == CONNECTING
