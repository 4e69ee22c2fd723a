"""What each worker was told, and what must be done to the sockets."""

from feedhandler.client import links as links_module
from feedhandler.client.links import CONNECTING, LOST, SILENT, UP, Close, Link, Links, Open, Subscribe, Unsubscribe


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


def fallen(links: Links, now_s: float, *busy: str) -> list[str]:
    return [link.name for link in links.fallen_silent(busy, now_s)]


def test_silence_is_told_once() -> None:
    """Not heard for almost 3 s: silent, or never reached; not again until it was heard."""
    links = opened()
    linear, other = links
    linear.hear(5.0)
    for now_s in (5.5, 6.4, 7.2, 7.8):
        assert fallen(links, now_s) == []
    assert fallen(links, 7.81) == ["linear"]
    assert (linear.state, linear.silence) == (SILENT, "no heartbeat from worker linear at ipc:///linear.pub for 2.8 s")
    assert fallen(links, 8.7) == []
    assert fallen(links, 8.81) == ["tcp://10.0.0.1:5600"]
    assert (other.state, other.silence) == (LOST, "no connection to the worker at tcp://10.0.0.1:5600 for 2.8 s")
    linear.hear(9.0)
    assert linear.state == UP
    assert [fallen(links, 9.0 + step / 2) for step in range(7)][-2:] == [[], ["linear"]]
    assert links_module.SILENCE_S < 3.0


def test_silence_is_not_judged_while_messages_are_unread() -> None:
    """What waits in the socket is read first."""
    links = opened()
    assert [fallen(links, 5.0 + step, "linear", "tcp://10.0.0.1:5600") for step in range(9)] == [[]] * 9


def test_pause_of_our_own_is_nobodys_silence() -> None:
    """A program that was stopped gives the worker time for one more heartbeat; but only once."""
    links = opened()
    linear, other = links
    linear.hear(5.0)
    other.hear(5.0)
    assert fallen(links, 5.1) == []
    assert fallen(links, 15.1) == [], "stopped for 10 s"
    linear.hear(16.0)
    assert fallen(links, 16.2) == []
    assert fallen(links, 16.31) == ["tcp://10.0.0.1:5600"], "nothing came after the pause either"
    for now_s in (17.6, 19.2, 20.2):
        assert fallen(links, now_s) == [], "looks every 1.5 s only"
    assert fallen(links, 21.3) == ["linear"]


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


def test_lost_workers_are_given_time_when_there_is_a_feed_again() -> None:
    """Those that are up need none; why the others were lost is not said of what is asked for now."""
    links = opened()
    linear, other = links
    linear.hear(7.0)
    other.state, other.trouble = links_module.LOST, "connection lost"
    links.expect(9.0)
    assert (linear.state, linear.heard_s) == (UP, 7.0)
    assert (other.state, other.heard_s, other.trouble) == (CONNECTING, 9.0, "")
