"""What a strategy is told, and when: workers, directory, subscriptions, stale backlogs, networks."""

from typing import Any

import msgspec
import pytest
from support.records import BOOK, START_NS, TRADES, delta, event, image, message, record, said, snapshot, status

from feedhandler import wire
from feedhandler.client import asking
from feedhandler.client.handover import PATIENCE_S
from feedhandler.client.links import Close, Open, Subscribe, Unsubscribe
from feedhandler.client.record import Record
from feedhandler.client.track import Track
from feedhandler.client.truth import Truth
from feedhandler.errors import SubjectError
from feedhandler.runtime import CarriedWorker, FeedDirectory

EXACT_BOOK = wire.prefix(BOOK)
HEARTBEATS = wire.prefix("linear.heartbeat.linear")
LINEAR = ("orderbook.50.BTCUSDT", "publicTrade.BTCUSDT")


def directory(workers: dict[str, tuple[str, ...]], address: str = "ipc:///run/linear.pub") -> FeedDirectory:
    """Workers by name with their topics; the endpoint is the name's first word."""
    return FeedDirectory(
        pid=1,
        network="sim",
        quiet_status_s=10.0,
        workers={
            name: CarriedWorker(
                endpoint=name.partition("_")[0],
                product=name.partition("_")[0],
                addresses=[address.replace("linear", name)],
                topics=list(topics),
            )
            for name, topics in workers.items()
        },
    )


def heartbeat(network: str = "sim", worker: str = "linear") -> Record:
    payload = msgspec.json.encode({"worker": worker, "network": network})
    return record(f"linear.heartbeat.{worker}", 0, wire.HEARTBEAT, payload=payload)


class Feed:
    """A truth, its time, and what it hands out."""

    def __init__(self, **options: Any) -> None:
        self.truth = Truth("/run/feed.json", **options)
        self.now_s = 0.0
        self.go(0.0)

    def go(self, seconds: float) -> None:
        self.now_s += seconds
        self.truth.advance(START_NS + int(self.now_s * 1e9), self.now_s)

    def tick(self, seconds: float = 0.0, busy: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        self.go(seconds)
        self.truth.tick(busy)
        return self.heard()

    def announce(self, *, alive: bool = True, **workers: tuple[str, ...]) -> list[tuple[Any, ...]]:
        self.truth.set_directory(directory(workers), alive=alive)
        return self.heard()

    def connect(self, worker: str = "linear") -> None:
        self.truth.on_connected(self.truth.links[worker])

    def take(self, *records: Record, worker: str = "linear") -> list[tuple[Any, ...]]:
        link = self.truth.links[worker]
        handed = []
        for one in records:
            direct = self.truth.on_message(link, message(one))
            handed += self.heard()
            if direct is not None:
                handed.append(said(direct))
        self.truth.on_heard(link)
        return handed

    def heard(self) -> list[tuple[Any, ...]]:
        self.last = self.truth.outbox[-1] if self.truth.outbox else None
        handed = [said(one) for one in self.truth.outbox]
        self.truth.outbox.clear()
        return handed

    def reason(self) -> str:
        assert self.last is not None
        reason: str = self.last.decode().reason
        return reason

    def actions(self) -> list[Any]:
        done = list(self.truth.actions)
        self.truth.actions.clear()
        return done


@pytest.fixture
def feed() -> Feed:
    """A running feed with a book in step at 10 and trades joined after 10."""
    started = Feed()
    started.announce(linear=LINEAR)
    started.truth.subscribe(BOOK)
    started.truth.subscribe(TRADES)
    started.connect()
    started.take(status(BOOK, 10, repeated=True), image(10), status(TRADES, 10, repeated=True))
    started.tick()
    started.actions()
    return started


# Subscriptions and the ways to workers.


def test_worker_is_connected_when_something_of_its_endpoint_is_wanted() -> None:
    """No connection without interest; with it, heartbeats are heard as well."""
    feed = Feed()
    feed.announce(linear=LINEAR, spot=LINEAR)
    assert feed.actions() == []
    feed.truth.subscribe(BOOK)
    assert feed.actions() == [
        Open("linear", "ipc:///run/linear.pub"),
        Subscribe("linear", HEARTBEATS),
        Subscribe("linear", EXACT_BOOK),
    ]
    feed.truth.subscribe("spot.")
    assert [type(action) for action in feed.actions()] == [Open, Subscribe, Subscribe]


def test_subscription_before_the_feed_is_told_when_the_feed_comes() -> None:
    """A strategy started first is connected as soon as the directory is there."""
    feed = Feed()
    feed.truth.subscribe(BOOK)
    feed.truth.subscribe("linear.publicTrade.*")
    assert feed.actions() == []
    feed.announce(linear=LINEAR)
    assert feed.actions() == [
        Open("linear", "ipc:///run/linear.pub"),
        Subscribe("linear", HEARTBEATS),
        Subscribe("linear", EXACT_BOOK),
        Subscribe("linear", b"linear.publicTrade."),
    ]


def test_subscription_is_told_once(feed: Feed) -> None:
    """Subscribing again changes nothing; taking back takes back once."""
    feed.truth.subscribe(BOOK)
    assert feed.actions() == []
    feed.truth.unsubscribe(BOOK)
    feed.truth.unsubscribe(BOOK)
    assert feed.actions() == [Unsubscribe("linear", EXACT_BOOK)]
    assert feed.truth.track(BOOK) is None


def test_subject_of_two_subscriptions_stays_until_both_are_gone(feed: Feed) -> None:
    """A subject is followed as long as any subscription matches it."""
    feed.truth.subscribe("linear.orderbook.")
    feed.truth.unsubscribe(BOOK)
    assert feed.truth.track(BOOK) is not None
    feed.truth.unsubscribe("linear.orderbook.")
    assert feed.truth.track(BOOK) is None


def test_nonsense_is_refused(feed: Feed) -> None:
    """Text that is neither a subject nor a prefix is an error of the program."""
    with pytest.raises(SubjectError, match=r'write ENDPOINT\.TOPIC, or "linear\."'):
        feed.truth.subscribe("linear")


def test_worker_at_another_address_is_connected_there(feed: Feed) -> None:
    """A changed address closes the old way, and tells the new one everything."""
    feed.truth.set_directory(directory({"linear": LINEAR}, "ipc:///other/linear.pub"), alive=True)
    assert feed.heard() == [("said here", 10, "down"), ("said here", 10, "down")]
    assert feed.actions()[:3] == [
        Close("linear"),
        Open("linear", "ipc:///other/linear.pub"),
        Subscribe("linear", HEARTBEATS),
    ]


def test_product_of_the_endpoint_is_told_with_each_record(feed: Feed) -> None:
    """The directory says what an endpoint's topics mean."""
    direct = feed.truth.on_message(feed.truth.links["linear"], message(event(11)))
    assert direct is not None
    assert direct.product == "linear"


# Messages.


def test_next_record_is_handed_out_at_once(feed: Feed) -> None:
    """The short way: the record itself, without a second look."""
    assert feed.take(delta(11), event(11), snapshot(12), delta(13)) == [
        ("delta", 11),
        ("update", 11),
        ("snapshot", 12),
        ("delta", 13),
    ]
    track = feed.truth.track(BOOK)
    assert track is not None
    assert (track.sequence, track.last_ns) == (13, delta(13).published_ns)


def test_subject_of_a_prefix_is_followed_when_it_appears(feed: Feed) -> None:
    """A subject that the directory does not know yet is followed from its first record."""
    subject = "linear.publicTrade.NEWUSDT"
    feed.truth.subscribe("linear.publicTrade.")
    assert feed.take(status(subject, 2), record(subject, 3, wire.UPDATE)) == [("status", 2, "live"), ("update", 3)]


def test_records_nobody_asked_for_are_not_handed_out(feed: Feed) -> None:
    """Heartbeats are heard for our own sake, and what was just given up is not delivered."""
    feed.truth.unsubscribe(BOOK)
    assert feed.take(heartbeat(), delta(11)) == []


def test_heartbeats_and_notices_are_handed_out_to_who_asks(feed: Feed) -> None:
    """A prefix that covers them delivers them; they have no sequence to check."""
    feed.truth.subscribe("linear.")
    notice = record("linear.notice", 0, wire.NOTICE, payload=b"{}")
    assert feed.take(heartbeat(), heartbeat(), notice) == [("heartbeat", 0), ("heartbeat", 0), ("notice", 0)]
    feed.truth.subscribe("linear.heartbeat.linear")
    assert feed.truth.track("linear.heartbeat.linear") is None, "it has no state"


@pytest.mark.parametrize(
    ("garbage", "why"),
    [
        (b"linear.orderbook.50.BTCUSDT", "not a feedhandler message"),
        (EXACT_BOOK + b"short", "not a feedhandler message"),
        (EXACT_BOOK + b"\2" + bytes(31), "wire format version 2"),
        (b"\xff\0" + b"\1" + bytes(31), "subject is not UTF-8"),
        (message(status(BOOK, 11)).replace(b'"state"', b'"stave"'), "state"),
    ],
)
def test_message_of_another_format_is_counted(feed: Feed, garbage: bytes, why: str) -> None:
    """It disturbs nothing, and why it was none can be read."""
    assert feed.truth.on_message(feed.truth.links["linear"], garbage) is None
    assert feed.truth.counters.malformed == 1
    assert why in feed.truth.malformed
    assert feed.take(delta(11)) == [("delta", 11)]


# Recovery.


def test_lost_delta_is_recovered_by_asking_for_that_subject_alone(feed: Feed) -> None:
    """Its one filter is told again, once."""
    assert feed.take(delta(13), delta(14)) == [("said here", 12, "resyncing", 2)]
    assert feed.actions() == [Subscribe("linear", EXACT_BOOK), Unsubscribe("linear", EXACT_BOOK)]
    assert feed.take(event(11)) == [("update", 11)]
    feed.take(status(BOOK, 14, repeated=True), image(14))
    assert feed.tick(60.0, busy=("linear",)) == []
    assert feed.actions() == []


def test_subject_of_a_prefix_is_recovered_by_its_exact_filter() -> None:
    """The exact filter is told for the time of the recovery, and taken back."""
    feed = Feed()
    feed.announce(linear=LINEAR)
    feed.truth.subscribe("linear.orderbook.")
    feed.connect()
    feed.take(status(BOOK, 10, repeated=True), image(10))
    feed.tick()
    feed.actions()
    feed.take(delta(12))
    assert feed.actions() == [Subscribe("linear", EXACT_BOOK)]
    feed.tick()
    assert feed.actions() == []
    feed.take(status(BOOK, 12, repeated=True), image(12))
    feed.tick()
    assert feed.actions() == [Unsubscribe("linear", EXACT_BOOK)]


EXECUTIONS = "private.execution"


@pytest.mark.parametrize("subscription", [EXECUTIONS, "private."])
def test_lost_events_of_an_account_are_asked_for_and_filled(subscription: str) -> None:
    """The worker has kept them: until it answers it is asked, and what is missing of its answer is delivered."""
    feed = Feed()
    feed.announce(private=("execution",))
    feed.truth.subscribe(subscription)
    feed.connect("private")
    feed.take(status(EXECUTIONS, 10, repeated=True), worker="private")
    feed.tick()
    feed.actions()
    lost = [record(EXECUTIONS, number, wire.UPDATE) for number in (13, 14)]
    assert feed.take(*lost, worker="private") == [("said here", 12, "live", 2), ("update", 13), ("update", 14)]
    exact = wire.prefix(EXECUTIONS)
    again = [Subscribe("private", exact), Unsubscribe("private", exact)]
    assert feed.actions() == (again if subscription == EXECUTIONS else again[:1])
    assert feed.tick(0.5) == feed.actions() == []
    feed.tick(1.0)
    assert feed.actions() == again, "no answer came"
    kept = [record(EXECUTIONS, number, wire.UPDATE, flags=wire.REPEATED) for number in range(11, 15)]
    answer = [status(EXECUTIONS, 14, repeated=True), *kept]
    assert feed.take(*answer, worker="private") == [("update", 11), ("update", 12)]
    feed.tick()
    assert feed.actions() == ([] if subscription == EXECUTIONS else [Unsubscribe("private", exact)])
    assert feed.tick(20.0, busy=("private",)) == feed.actions() == []


def test_lost_events_that_nobody_keeps_are_not_asked_for(feed: Feed) -> None:
    """Trades are gone: it is said, and that is all."""
    assert feed.take(event(12)) == [("said here", 11, "live", 1), ("update", 12)]
    assert feed.actions() == []


def test_recovery_is_asked_for_again_ever_later(feed: Feed) -> None:
    """An answer that does not come is asked for after 1, 2, 4 s, up to every 10 s."""
    feed.take(delta(13))
    feed.actions()
    asked = []
    for _ in range(400):
        feed.take(heartbeat())
        feed.tick(0.1)
        if feed.actions():
            asked.append(round(feed.now_s))
    assert asked == [1, 3, 7, 15, 25, 35]


def test_worker_that_does_not_answer_for_a_subject_is_said() -> None:
    """The directory says that it carries the subject, the worker says nothing: unknown, and asked again."""
    feed = Feed()
    feed.announce(linear=LINEAR)
    feed.truth.subscribe(BOOK)
    feed.connect()
    feed.actions()
    told: list[tuple[Any, ...]] = []
    for _ in range(30):
        feed.take(heartbeat())
        told += feed.tick(0.1)
    assert told == [("said here", 0, "unknown")]
    assert feed.truth.tracks()[0].reason == f"worker linear does not answer for {BOOK}"
    assert feed.actions().count(Subscribe("linear", EXACT_BOOK)) == 2
    assert feed.take(status(BOOK, 3, repeated=True), image(3)) == [("status", 3, "live"), ("snapshot", 3)]


def test_answer_that_was_not_read_yet_is_not_missing() -> None:
    """A strategy that reads slowly does not blame the worker for what waits in its own socket."""
    feed = Feed()
    feed.announce(linear=LINEAR)
    feed.truth.subscribe(BOOK)
    feed.connect()
    for _ in range(30):
        feed.take(heartbeat())
        assert feed.tick(0.1, busy=("linear",)) == []
    assert feed.take(status(BOOK, 3, repeated=True), image(3)) == [("status", 3, "live"), ("snapshot", 3)]


def test_view_that_comes_late_asks_for_an_image(feed: Feed) -> None:
    """A book asked for after its snapshot has gone by is loaded by the next image, which the strategy does not get."""

    class Kept:
        loaded = False

        def take(self, record: Record) -> None:
            self.loaded |= record.kind == wire.SNAPSHOT

        def tell(self, state: str, reason: str) -> None:
            assert (state, reason) == ("live", "")

    kept = Kept()
    feed.truth.attach(BOOK, kept)
    assert feed.actions() == [Subscribe("linear", EXACT_BOOK), Unsubscribe("linear", EXACT_BOOK)]
    assert feed.take(delta(11), image(11), delta(12)) == [("delta", 11), ("delta", 12)]
    assert kept.loaded
    feed.tick(30.0, busy=("linear",))
    kept.loaded = False
    assert feed.take(delta(13)) == [("delta", 13)], "a view that could not read a record"
    feed.tick(1.1, busy=("linear",))
    assert Subscribe("linear", EXACT_BOOK) in feed.actions()
    early = Feed()
    early.truth.subscribe(BOOK)
    track = early.truth.track(BOOK)
    assert track is not None
    track.state, track.reason = "live", ""
    early.truth.attach(BOOK, Kept())
    assert early.actions() == [], "its snapshot has not come yet"


# The directory.


def test_misspelt_subject_is_unassigned_with_the_nearest() -> None:
    """At once, with what was probably meant."""
    feed = Feed()
    feed.announce(linear=LINEAR)
    feed.truth.subscribe("linear.orderbook.50.BTCUSTD")
    assert feed.heard() == [("said here", 0, "unassigned")]
    assert feed.last is not None
    assert feed.truth.tracks()[0].reason == (
        "nobody carries linear.orderbook.50.BTCUSTD; the nearest that is carried: linear.orderbook.50.BTCUSDT"
    )


def test_unassigned_subject_is_followed_when_somebody_carries_it() -> None:
    """Nothing needs to be subscribed again."""
    feed = Feed()
    feed.announce(linear=LINEAR[1:])
    feed.truth.subscribe(BOOK)
    feed.connect()
    assert feed.heard() == [("said here", 0, "unassigned")]
    assert feed.announce(linear=LINEAR) == [("said here", 0, "unknown")]
    assert feed.truth.tracks()[0].reason == "worker linear carries it now; not heard yet"
    assert feed.take(status(BOOK, 1, wire.SUBSCRIBING), status(BOOK, 2), snapshot(3)) == [
        ("status", 1, "subscribing"),
        ("status", 2, "live"),
        ("snapshot", 3),
    ]


def test_subject_taken_off_is_ended_then_unassigned(feed: Feed) -> None:
    """The worker says ended, the directory that nobody else has it."""
    assert feed.take(status(BOOK, 11, wire.ENDED)) == [("status", 11, "ended")]
    assert feed.announce(linear=LINEAR[1:]) == [("said here", 11, "unassigned")]
    assert feed.announce(linear=LINEAR[1:]) == []


@pytest.fixture
def moving(feed: Feed) -> Feed:
    """The same feed, with a second worker of the endpoint that is connected and carries something else."""
    other = ("publicTrade.ETHUSDT",)
    feed.truth.set_directory(shared(linear=LINEAR, linear_1=other), alive=True)
    feed.connect("linear_1")
    feed.truth.subscribe("linear.publicTrade.ETHUSDT")
    feed.take(status("linear.publicTrade.ETHUSDT", 5, repeated=True), worker="linear_1")
    feed.tick()
    feed.actions()
    return feed


def shared(**workers: tuple[str, ...]) -> FeedDirectory:
    """Workers of one endpoint."""
    found = directory(workers)
    for worker in found.workers.values():
        worker.endpoint = worker.product = "linear"
    return found


def test_moved_subject_is_the_old_workers_until_it_ends(moving: Feed) -> None:
    """The directory runs ahead: what the old worker still says is heard, and its loss is told; then the new one follows."""
    moving.truth.set_directory(shared(linear=LINEAR[1:], linear_1=LINEAR[:1]), alive=True)
    assert moving.take(delta(11)) == [("delta", 11)]
    assert moving.take(delta(13)) == [("said here", 12, "resyncing", 1)]
    assert moving.actions() == [Subscribe("linear", EXACT_BOOK), Unsubscribe("linear", EXACT_BOOK)]
    assert moving.take(status(BOOK, 14, wire.ENDED)) == [("status", 14, "ended")]
    track = moving.truth.track(BOOK)
    assert track is not None
    assert track.link == "linear_1"
    new = (status(BOOK, 1, wire.SUBSCRIBING, epoch=2), status(BOOK, 2, epoch=2), snapshot(3, epoch=2))
    assert moving.take(*new, worker="linear_1") == [
        ("status", 1, "subscribing"),
        ("status", 2, "live"),
        ("snapshot", 3),
    ]


def going_over(moving: Feed) -> Track:
    """The new worker carries the book; the old one has not ended."""
    moving.truth.set_directory(shared(linear=LINEAR[1:], linear_1=(*LINEAR[:1], "publicTrade.ETHUSDT")), alive=True)
    assert moving.take(status(BOOK, 2, epoch=2, repeated=True), image(2, epoch=2), worker="linear_1") == []
    track = moving.truth.track(BOOK)
    assert track is not None
    return track


def test_moved_subject_that_both_workers_speak_of_is_the_old_ones_until_it_ends(moving: Feed) -> None:
    """Then the new one goes on: nobody needs to know that the old one ended, or of what it says after that."""
    track = going_over(moving)
    assert moving.take(delta(11)) == [("delta", 11)]
    assert moving.take(delta(3, epoch=2), worker="linear_1") == []
    assert moving.take(status(BOOK, 12, wire.ENDED)) == [("status", 2, "live"), ("snapshot", 2), ("delta", 3)]
    assert (track.link, track.state, moving.truth.counters.handovers) == ("linear_1", "live", 0), (
        "a short time together"
    )
    assert moving.take(delta(4, epoch=2), worker="linear_1") == [("delta", 4)]
    assert moving.take(delta(13)) == []
    assert moving.truth.counters.old_epoch == 1
    moving.truth.on_disconnected(moving.truth.links["linear"])
    assert moving.heard() == [("said here", 10, "down")], "what the old worker still has"


def test_moved_subject_whose_old_worker_is_lost_goes_on_at_the_new_one(moving: Feed) -> None:
    """No word of the loss: somebody else had it already."""
    going_over(moving)
    moving.truth.on_disconnected(moving.truth.links["linear"])
    assert moving.heard() == [("said here", 10, "down")], "the other subject of the old worker"
    assert moving.tick(0.1) == [("status", 2, "live"), ("snapshot", 2)]


def test_moved_subject_whose_new_worker_is_lost_stays_at_the_old_one(moving: Feed) -> None:
    """Until somebody has it again."""
    track = going_over(moving)
    moving.truth.on_disconnected(moving.truth.links["linear_1"])
    assert moving.heard() == [("said here", 5, "down")], "the other subject of the new worker"
    assert moving.take(delta(11), delta(12)) == [("delta", 11), ("delta", 12)]
    assert (track.link, track.noted) == ("linear", None)


def test_moved_subject_whose_both_workers_are_lost_is_down(moving: Feed) -> None:
    """What the new one brought is handed out, and then that nobody has it."""
    going_over(moving)
    record_of_now = msgspec.structs.replace(delta(11), published_ns=START_NS + 10**12)
    assert moving.take(record_of_now) == [("delta", 11)]
    moving.truth.on_disconnected(moving.truth.links["linear"])
    assert moving.heard() == [("said here", 10, "down")], "the other subject of the old worker"
    moving.truth.on_disconnected(moving.truth.links["linear_1"])
    assert moving.heard() == [
        ("status", 2, "live"),
        ("snapshot", 2),
        ("said here", 2, "down"),
        ("said here", 5, "down"),
    ]
    assert moving.tick(PATIENCE_S) == [], "nothing is left to go over to"


def test_moved_subject_that_the_new_worker_gives_back_stays_at_the_old_one(moving: Feed) -> None:
    """The move was given up: it ends at the new one, and goes on."""
    track = going_over(moving)
    assert moving.take(status(BOOK, 3, wire.ENDED, epoch=2), worker="linear_1") == []
    assert moving.take(delta(11), delta(12)) == [("delta", 11), ("delta", 12)]
    assert (track.link, track.state) == ("linear", "live")


def test_moved_subject_whose_old_worker_does_not_end_goes_over_in_the_end(moving: Feed) -> None:
    """The higher epoch is right, whatever the other one says."""
    going_over(moving)
    assert moving.tick(1.0, busy=("linear", "linear_1")) == []
    assert moving.tick(PATIENCE_S, busy=("linear", "linear_1")) == [("status", 2, "live"), ("snapshot", 2)]
    assert moving.take(delta(11)) == []


def test_moved_subject_whose_old_worker_begins_anew_is_the_old_ones(moving: Feed) -> None:
    """The highest epoch counts, whoever has it."""
    track = going_over(moving)
    taken = moving.take(status(BOOK, 1, wire.SUBSCRIBING, epoch=3), status(BOOK, 2, epoch=3), snapshot(3, epoch=3))
    assert taken[-2:] == [("status", 2, "live"), ("snapshot", 3)]
    assert track.link == "linear"
    assert moving.take(delta(3, epoch=2), worker="linear_1") == []
    assert moving.truth.counters.old_epoch == 1


def test_moved_subject_that_moves_again_goes_to_the_last(moving: Feed) -> None:
    """Who has it in between is not heard, before and after."""
    track = going_over(moving)
    others = {"linear": LINEAR[1:], "linear_1": ("publicTrade.ETHUSDT",), "linear_2": LINEAR[:1]}
    moving.truth.set_directory(shared(**others), alive=True)
    moving.connect("linear_2")
    assert moving.take(status(BOOK, 7, epoch=3, repeated=True), image(7, epoch=3), worker="linear_2") == []
    assert moving.take(delta(3, epoch=2), worker="linear_1") == []
    assert moving.truth.counters.old_epoch == 1
    assert moving.take(status(BOOK, 11, wire.ENDED)) == [("status", 7, "live"), ("snapshot", 7)]
    assert track.link == "linear_2"


def test_moved_subject_that_is_given_up_on_the_way_is_forgotten(moving: Feed) -> None:
    """Nothing of it comes any more."""
    going_over(moving)
    moving.truth.unsubscribe(BOOK)
    assert moving.take(delta(11), status(BOOK, 12, wire.ENDED)) == []
    assert moving.take(delta(3, epoch=2), worker="linear_1") == []
    assert moving.tick(PATIENCE_S + 1, busy=("linear", "linear_1")) == []


def test_successor_that_lost_its_image_is_asked_for_it(moving: Feed) -> None:
    """While the old worker is still heard, and when it is not."""
    moving.truth.set_directory(shared(linear=LINEAR[1:], linear_1=LINEAR[:1]), alive=True)
    assert moving.take(status(BOOK, 2, epoch=2, repeated=True), delta(3, epoch=2), worker="linear_1") == []
    moving.actions()
    assert moving.tick(1.1, busy=("linear",)) == []
    assert Subscribe("linear_1", EXACT_BOOK) in moving.actions()
    assert moving.take(status(BOOK, 11, wire.ENDED)) == []
    assert moving.tick(0.9, busy=("linear", "linear_1")) == []
    told = moving.tick(0.2, busy=("linear", "linear_1"))
    assert told == [("said here", 3, "resyncing")], "it has waited long enough"
    assert moving.take(image(3, epoch=2), worker="linear_1") == [("status", 2, "live"), ("snapshot", 3)]


def test_successor_by_command_has_a_link_of_its_own(feed: Feed) -> None:
    """The same worker at the same address, in another process: the old one is heard to its end, then left."""
    told = directory({"linear": LINEAR})
    told.workers["linear"].generation = 1
    feed.truth.set_directory(told, alive=True)
    assert feed.heard() == []
    subscriptions = {Subscribe("linear#1", found) for found in (HEARTBEATS, EXACT_BOOK, wire.prefix(TRADES))}
    (opened, *told_of) = feed.actions()
    assert opened == Open("linear#1", "ipc:///run/linear.pub")
    assert set(told_of) == subscriptions
    feed.connect("linear#1")
    feed.take(status(BOOK, 2, epoch=2, repeated=True), image(2, epoch=2), worker="linear#1")
    feed.take(status(TRADES, 2, epoch=2, repeated=True), worker="linear#1")
    assert feed.take(event(11), delta(11)) == [("update", 11), ("delta", 11)]
    assert feed.take(status(BOOK, 12, wire.ENDED)) == [("status", 2, "live"), ("snapshot", 2)]
    feed.tick(0.1)
    assert feed.actions() == [], "its trades are still to come"
    assert feed.take(status(TRADES, 12, wire.ENDED))[0] == ("status", 2, "live")
    feed.tick(0.1)
    assert feed.actions() == [Close("linear")]
    feed.truth.on_disconnected(feed.truth.links["linear#1"])
    assert feed.heard() == [("said here", 2, "down"), ("said here", 2, "down")]
    assert feed.reason() == "connection to worker linear at ipc:///run/linear.pub lost"


@pytest.fixture
def succeeded(feed: Feed) -> Feed:
    """The same worker in another process, which is connected; both publish."""
    told = directory({"linear": LINEAR})
    told.workers["linear"].generation = 1
    feed.truth.set_directory(told, alive=True)
    feed.connect("linear#1")
    feed.actions()
    return feed


def test_old_link_that_reaches_the_successor_is_left(succeeded: Feed) -> None:
    """ZeroMQ connects it to the same address again: what comes over it comes twice, in whatever order it is read."""
    feed = succeeded
    feed.take(status(BOOK, 2, epoch=2, repeated=True), image(2, epoch=2), worker="linear#1")
    feed.take(status(TRADES, 2, epoch=2, repeated=True), worker="linear#1")
    assert feed.take(status(BOOK, 11, wire.ENDED)) == [("status", 2, "live"), ("snapshot", 2)]
    assert feed.take(delta(5, epoch=2), status(BOOK, 5, epoch=2, repeated=True)) == [], "read before the others"
    assert feed.take(*(delta(number, epoch=2) for number in (3, 4, 5)), worker="linear#1") == [
        ("delta", 3),
        ("delta", 4),
        ("delta", 5),
    ]
    told = feed.take(status(TRADES, 4, epoch=2, repeated=True))
    assert told == [("status", 2, "live"), ("said here", 2, "live", None)], "its end was lost: this shows it"
    assert feed.truth.counters.lost == 0
    feed.truth.on_drained(feed.truth.links["linear"], [False, True])
    assert feed.heard() == []
    assert Close("linear") in feed.actions()


def test_link_that_reached_the_successor_before_the_directory_spoke_of_it(feed: Feed) -> None:
    """A strategy that was busy: its old link has the new epoch, and the new link goes on from there."""
    feed.take(status(BOOK, 2, epoch=2, repeated=True), image(2, epoch=2))
    told = directory({"linear": LINEAR})
    told.workers["linear"].generation = 1
    feed.truth.set_directory(told, alive=True)
    feed.connect("linear#1")
    track = feed.truth.track(BOOK)
    assert track is not None
    assert feed.take(status(BOOK, 4, epoch=2, repeated=True), worker="linear#1") == [], "ahead of what was read"
    assert track.link == "linear"
    assert feed.take(delta(3, epoch=2), delta(4, epoch=2)) == [("delta", 3), ("delta", 4)]
    assert feed.take(status(BOOK, 4, epoch=2, repeated=True), worker="linear#1") == []
    assert track.link == "linear#1"
    assert feed.take(delta(5, epoch=2), worker="linear#1") == [("delta", 5)]
    assert feed.truth.counters.lost == 0


def test_link_that_reached_the_successor_and_is_left_in_the_end(feed: Feed) -> None:
    """Nobody is blind for it: the successor is asked over its own link."""
    feed.take(status(BOOK, 2, epoch=2, repeated=True), image(2, epoch=2), status(TRADES, 2, epoch=2, repeated=True))
    told = directory({"linear": LINEAR})
    told.workers["linear"].generation = 1
    feed.truth.set_directory(told, alive=True)
    feed.connect("linear#1")
    feed.actions()
    assert feed.tick(PATIENCE_S + 0.1, busy=("linear", "linear#1")) == []
    done = feed.actions()
    assert Close("linear") in done
    assert Subscribe("linear#1", EXACT_BOOK) in done
    assert feed.take(delta(3, epoch=2), worker="linear#1") == [("delta", 3)]


def test_old_link_is_not_left_while_the_successor_is_not_there(succeeded: Feed) -> None:
    """It died, and is started again: the old process goes on as long as that takes."""
    feed = succeeded
    feed.take(status(BOOK, 2, epoch=2, repeated=True), image(2, epoch=2), worker="linear#1")
    feed.truth.on_disconnected(feed.truth.links["linear#1"])
    assert feed.heard() == []
    for _ in range(3):
        assert feed.tick(PATIENCE_S * 0.9, busy=("linear",)) == []
    assert feed.take(delta(11)) == [("delta", 11)]
    feed.connect("linear#1")
    assert feed.take(status(BOOK, 2, epoch=3, repeated=True), image(2, epoch=3), worker="linear#1") == []
    assert feed.take(status(BOOK, 12, wire.ENDED)) == [("status", 2, "live"), ("snapshot", 2)]
    assert feed.last is not None
    assert feed.last.epoch == 3


def test_two_ways_to_one_worker_are_one() -> None:
    """Both are told of everything; the second is heard when the first is gone."""
    twice = Feed()
    twice.truth.set_addresses(["ipc:///a", "tcp://b:1"])
    twice.truth.subscribe(BOOK)
    twice.connect("ipc:///a")
    twice.connect("tcp://b:1")
    assert twice.take(status(BOOK, 10, repeated=True), image(10), worker="ipc:///a")[-1] == ("snapshot", 10)
    ahead = (status(BOOK, 12, repeated=True), delta(12))
    assert twice.take(*ahead, worker="tcp://b:1") == []
    assert twice.take(delta(11), delta(12), worker="ipc:///a") == [("delta", 11), ("delta", 12)]
    twice.truth.on_disconnected(twice.truth.links["ipc:///a"])
    assert twice.heard() == [("said here", 12, "down")]
    assert twice.take(delta(13), worker="tcp://b:1")[-1] == ("delta", 13)


def test_worker_that_the_directory_forgets_and_names_again_is_not_left(feed: Feed) -> None:
    """What was on its way out stays."""
    assert feed.announce(spot=("orderbook.50.BTCUSDT",)) == []
    assert feed.announce(linear=LINEAR) == []
    assert feed.tick(PATIENCE_S + 1, busy=("linear",)) == []
    assert feed.take(delta(11)) == [("delta", 11)]


def test_worker_that_the_directory_forgets_and_that_never_ends_is_left(feed: Feed) -> None:
    """Its subjects are down, and nobody's."""
    assert feed.announce(spot=("orderbook.50.BTCUSDT",)) == []
    assert feed.tick(PATIENCE_S - 0.1, busy=("linear",)) == []
    told = feed.tick(0.2, busy=("linear",))
    assert [state for _, _, state in told] == ["down", "unassigned", "down", "unassigned"]
    assert Close("linear") in feed.actions()


def test_moved_subject_whose_old_worker_is_lost_is_asked_for_at_the_new_one(moving: Feed) -> None:
    """Down, and whoever the directory names is who may end that."""
    moving.truth.set_directory(shared(linear=LINEAR[1:], linear_1=LINEAR[:1]), alive=True)
    moving.truth.on_disconnected(moving.truth.links["linear"])
    assert moving.heard() == [("said here", 10, "down"), ("said here", 10, "down")]
    moving.tick(1.1, busy=("linear_1",))
    assert Subscribe("linear_1", EXACT_BOOK) in moving.actions()


def test_subject_that_ends_after_the_directory_dropped_it_is_unassigned(feed: Feed) -> None:
    """At once: the next change of the directory may be far away."""
    assert feed.announce(linear=LINEAR[1:]) == []
    assert feed.take(status(BOOK, 11, wire.ENDED)) == [("status", 11, "ended"), ("said here", 11, "unassigned")]


def test_live_subject_that_the_directory_drops_is_believed_to_its_records(feed: Feed) -> None:
    """The directory runs ahead of the worker: the worker's own ended decides."""
    assert feed.announce(linear=LINEAR[1:]) == []


def test_prefix_that_matches_nothing_is_unassigned() -> None:
    """A prefix is held against the directory like a subject, and forgotten when something matches."""
    feed = Feed()
    feed.announce(linear=LINEAR)
    feed.truth.subscribe("linear.kline.")
    assert feed.heard() == [("said here", 0, "unassigned")]
    track = feed.truth.track("linear.kline.")
    assert track is not None
    assert track.reason == "nothing that is carried begins with linear.kline."
    feed.announce(linear=(*LINEAR, "kline.1.BTCUSDT"))
    assert feed.truth.track("linear.kline.") is None
    assert [track.subject for track in feed.truth.tracks()] == ["linear.kline.1.BTCUSDT"]


def test_prefix_of_heartbeats_matches_though_nobody_lists_them() -> None:
    """Heartbeats stand in no directory."""
    feed = Feed()
    feed.announce(linear=LINEAR)
    feed.truth.subscribe("linear.heartbeat.")
    assert feed.heard() == []


def test_missing_feed_is_said_once_and_ends_when_it_comes() -> None:
    """No feed for 1 s: unknown, naming the place; it is not said again, and a feed that comes is followed."""
    feed = Feed()
    feed.truth.subscribe(BOOK)
    feed.truth.subscribe("linear.publicTrade.")
    feed.tick()
    assert feed.tick(0.9) == []
    assert feed.tick(0.2) == [("said here", 0, "unknown"), ("said here", 0, "unknown")]
    assert feed.truth.tracks()[0].reason == "no feed at /run/feed.json"
    assert feed.tick(60) == []
    feed.announce(linear=LINEAR)
    feed.connect()
    assert feed.take(status(BOOK, 3, repeated=True), image(3)) == [("status", 3, "live"), ("snapshot", 3)]


def test_feed_that_ends_is_down_then_unknown(feed: Feed) -> None:
    """First the worker's connection breaks, then the directory is gone."""
    feed.truth.on_disconnected(feed.truth.links["linear"])
    assert feed.heard() == [("said here", 10, "down"), ("said here", 10, "down")]
    feed.truth.set_directory(None, alive=False)
    assert feed.tick(0.5) == []
    assert feed.tick(1.0) == [("said here", 10, "unknown"), ("said here", 10, "unknown")]


def test_feed_that_comes_again_says_nothing_of_its_subjects(feed: Feed) -> None:
    """What was live before a feed was gone is not so because there is a new one: its workers have to say it."""
    feed.truth.on_disconnected(feed.truth.links["linear"])
    feed.truth.set_directory(None, alive=False)
    feed.tick()
    feed.tick(1.1)
    feed.heard()
    assert feed.announce(linear=LINEAR) == []
    feed.connect()
    assert feed.take(status(BOOK, 3, epoch=2, repeated=True), image(3, epoch=2)) == [
        ("status", 3, "live"),
        ("snapshot", 3),
    ]


def test_worker_that_does_not_come_with_the_feed_is_down(feed: Feed) -> None:
    """It is given the time that a new one has."""
    feed.truth.on_disconnected(feed.truth.links["linear"])
    feed.truth.set_directory(None, alive=False)
    feed.tick()
    feed.tick(1.1)
    feed.heard()
    feed.announce(linear=LINEAR)
    told = [feed.tick(0.5) for _ in range(6)]
    assert told == [[]] * 5 + [[("said here", 10, "down"), ("said here", 10, "down")]]
    assert feed.reason() == "no connection to worker linear at ipc:///run/linear.pub for 2.8 s"


def test_dead_supervisor_with_workers_that_are_heard_is_a_feed(feed: Feed) -> None:
    """Whose process cannot be seen may live in another namespace: its workers' word counts."""
    feed.announce(alive=False, linear=LINEAR)
    feed.take(heartbeat())
    assert feed.tick(2.0) == []


def test_dead_feed_left_behind_is_no_feed() -> None:
    """A directory whose supervisor is dead and whose workers are not there is no feed, said once."""
    feed = Feed()
    feed.tick()
    feed.announce(alive=False, linear=LINEAR)
    feed.truth.subscribe(BOOK)
    assert feed.tick(1.1) == [("said here", 0, "unknown")]
    assert feed.tick(5.0) == []
    feed.announce(alive=False, linear=LINEAR)
    assert feed.tick(1.0) == []


# Silence.


def test_broken_connection_is_down_at_once(feed: Feed) -> None:
    """Down with the reason, for the subjects of that worker; once."""
    link = feed.truth.links["linear"]
    feed.truth.on_disconnected(link)
    assert feed.heard() == [("said here", 10, "down"), ("said here", 10, "down")]
    track = feed.truth.track(BOOK)
    assert track is not None
    assert track.reason == "connection to worker linear at ipc:///run/linear.pub lost"
    feed.truth.on_disconnected(link)
    assert feed.heard() == []


def test_other_workers_subjects_are_untouched() -> None:
    """Only what the lost worker carried is down."""
    feed = Feed()
    feed.announce(linear=LINEAR, spot=LINEAR)
    feed.truth.subscribe(BOOK)
    feed.truth.subscribe("spot.orderbook.50.BTCUSDT")
    feed.truth.on_connected(feed.truth.links["spot"])
    feed.truth.on_disconnected(feed.truth.links["spot"])
    assert feed.heard() == [("said here", 0, "down")]
    assert feed.truth.tracks()[0].state == "unknown"


def test_same_process_back_again_goes_on_without_an_image(feed: Feed) -> None:
    """After a broken connection the answers show that nothing was missed: live, and no second snapshot."""
    feed.truth.on_disconnected(feed.truth.links["linear"])
    feed.heard()
    feed.connect()
    assert feed.take(status(BOOK, 10, repeated=True), image(10), delta(11)) == [("status", 10, "live"), ("delta", 11)]


def test_connection_that_stands_again_but_does_not_answer_is_asked(feed: Feed) -> None:
    """Subjects that stay down on a standing connection are asked for; ZeroMQ itself has told every filter again."""
    feed.truth.on_disconnected(feed.truth.links["linear"])
    feed.tick(5.0, busy=("linear",))
    feed.connect()
    feed.tick(0.9, busy=("linear",))
    assert feed.actions() == []
    feed.tick(0.2, busy=("linear",))
    assert Subscribe("linear", EXACT_BOOK) in feed.actions()


def test_loss_seen_only_after_the_new_connection_is_soon_over(feed: Feed) -> None:
    """A strategy that was busy may have read the answers before it sees that the connection broke: it asks soon."""
    feed.take(status(BOOK, 10, repeated=True), image(10))
    feed.truth.on_drained(feed.truth.links["linear"], [False, True])
    assert feed.heard() == [("said here", 10, "down"), ("said here", 10, "down")]
    feed.tick(0.3)
    assert Subscribe("linear", EXACT_BOOK) in feed.actions()
    assert feed.take(status(BOOK, 10, repeated=True)) == [("status", 10, "live")]


def test_another_process_is_known_by_its_epoch(feed: Feed) -> None:
    """A strategy that was busy reads of the new worker before it hears that the old one's connection broke: down first."""
    link = feed.truth.links["linear"]
    assert feed.take(delta(11), status(BOOK, 3, epoch=2, repeated=True), image(3, epoch=2)) == [
        ("delta", 11),
        ("said here", 11, "down"),
        ("said here", 10, "down"),
        ("status", 3, "live"),
        ("snapshot", 3),
    ]
    feed.truth.on_drained(link, [False, True])
    assert feed.heard() == [], "known already"
    assert feed.take(status(TRADES, 3, epoch=2, repeated=True)) == [
        ("status", 3, "live"),
        ("said here", 3, "live", None),
    ]
    feed.truth.on_drained(link, [False])
    assert feed.heard() == [("said here", 3, "down"), ("said here", 3, "down")]


def test_subject_that_ended_may_begin_again_at_the_same_process(feed: Feed) -> None:
    """Taken off and put on again by a command: nothing is said of the others."""
    handed = feed.take(status(BOOK, 11, wire.ENDED), status(BOOK, 1, wire.SUBSCRIBING, epoch=2))
    assert handed == [("status", 11, "ended"), ("status", 1, "subscribing")]
    feed.truth.on_drained(feed.truth.links["linear"])
    feed.truth.on_drained(feed.truth.links["linear"], [False])
    assert feed.heard() == [("said here", 1, "down"), ("said here", 10, "down")]


def test_three_missed_heartbeats_are_down(feed: Feed) -> None:
    """A worker not heard for 2.8 s is down, and live again with its next word: the connection never broke."""
    feed.announce(linear=LINEAR, spot=LINEAR)
    feed.truth.subscribe("spot.tickers.NOPE")
    feed.heard()
    feed.take(heartbeat())
    for _ in range(4):
        assert feed.tick(0.7) == []
    assert feed.tick(0.1) == [("said here", 10, "down"), ("said here", 10, "down")]
    track = feed.truth.track(BOOK)
    assert track is not None
    assert track.reason == "no heartbeat from worker linear at ipc:///run/linear.pub for 2.8 s"
    feed.take(heartbeat())
    assert feed.heard() == [("said here", 10, "live"), ("said here", 10, "live")]
    assert feed.take(delta(11)) == [("delta", 11)]


def test_silence_is_not_judged_while_messages_are_unread(feed: Feed) -> None:
    """A strategy that was busy itself blames nobody: what waits in the socket is read first."""
    assert feed.tick(10.0, busy=("linear",)) == []
    feed.take(heartbeat())
    assert feed.tick(0.1) == []


def test_end_of_a_silence_ends_no_other_reason(feed: Feed) -> None:
    """Down for a broken connection is not ended by a word from the new one: only by each subject's own records."""
    link = feed.truth.links["linear"]
    feed.truth.on_disconnected(link)
    feed.connect()
    assert feed.heard() == [("said here", 10, "down"), ("said here", 10, "down")]
    for _ in range(4):
        feed.tick(0.9, busy=())
    assert feed.heard() == [], "silent as well"
    feed.take(heartbeat())
    assert feed.heard() == []
    assert feed.take(status(BOOK, 10, repeated=True), image(10)) == [("status", 10, "live")]


def test_worker_that_cannot_be_reached_is_down() -> None:
    """The directory names a worker, but nothing listens at its address."""
    feed = Feed()
    feed.announce(linear=LINEAR)
    feed.truth.subscribe(BOOK)
    assert feed.tick(3.0) == [("said here", 0, "down")]
    track = feed.truth.track(BOOK)
    assert track is not None
    assert track.reason == "no connection to worker linear at ipc:///run/linear.pub for 2.8 s"
    assert feed.tick(3.0) == []
    assert feed.take(status(BOOK, 3, repeated=True), image(3)) == [("status", 3, "live"), ("snapshot", 3)]


def test_worker_that_this_user_may_not_reach_is_down_at_once() -> None:
    """With the reason, which its silence does not replace; also for what is asked for later, until it is heard."""
    feed = Feed()
    feed.announce(linear=LINEAR)
    feed.truth.subscribe(BOOK)
    why = "cannot connect to worker linear at ipc:///run/linear.pub: this user may not enter /run"
    feed.truth.on_refused(feed.truth.links["linear"], "this user may not enter /run")
    assert (feed.heard(), feed.truth.tracks()[0].reason) == ([("said here", 0, "down")], why)
    assert feed.tick(3.0) == []
    feed.truth.subscribe(TRADES)
    assert (feed.heard(), feed.truth.tracks()[1].reason) == ([("said here", 0, "down")], why)
    feed.connect()
    assert feed.take(status(BOOK, 3, repeated=True), image(3)) == [("status", 3, "live"), ("snapshot", 3)]
    feed.truth.unsubscribe(TRADES)
    feed.truth.subscribe(TRADES)
    assert feed.heard() == []


def test_worker_of_a_feed_that_is_back_is_given_time() -> None:
    """What was said of it before the feed was gone is not said of what is asked for now."""
    feed = Feed()
    feed.announce(linear=LINEAR)
    feed.truth.subscribe(BOOK)
    feed.connect()
    feed.truth.on_disconnected(feed.truth.links["linear"])
    feed.announce(alive=False, linear=LINEAR)
    feed.announce(linear=LINEAR)
    feed.truth.subscribe(TRADES)
    assert feed.heard() == []


# Fixed addresses.


def test_fixed_address_needs_no_directory() -> None:
    """Heartbeats of the endpoints asked for are heard, and the one worker answers for every subject."""
    feed = Feed()
    feed.truth.set_addresses(["tcp://127.0.0.1:5600"])
    feed.truth.subscribe(BOOK)
    assert feed.actions() == [
        Open("tcp://127.0.0.1:5600", "tcp://127.0.0.1:5600"),
        Subscribe("tcp://127.0.0.1:5600", EXACT_BOOK),
        Subscribe("tcp://127.0.0.1:5600", b"linear.heartbeat."),
    ]
    feed.truth.subscribe("*")
    feed.connect("tcp://127.0.0.1:5600")
    handed = feed.take(status(BOOK, 1), snapshot(2), worker="tcp://127.0.0.1:5600")
    assert handed == [("status", 1, "live"), ("snapshot", 2)]
    feed.truth.on_disconnected(feed.truth.links["tcp://127.0.0.1:5600"])
    assert feed.heard() == [("said here", 2, "down")]
    feed.tick()
    assert feed.tick(5.0) == [], "down says it all"


def test_fixed_address_without_a_worker_is_no_feed() -> None:
    """Nothing at any of the addresses: unknown, naming them."""
    feed = Feed()
    feed.truth.set_addresses(["ipc:///a", "ipc:///b"])
    feed.truth.subscribe(BOOK)
    feed.tick()
    assert feed.tick(1.1) == [("said here", 0, "unknown")]
    feed.truth.on_refused(feed.truth.links["ipc:///a"], "this user may not use /a")
    feed.truth.subscribe(TRADES)
    assert feed.tick(0.1) == [("said here", 0, "unknown")]
    assert feed.reason() == "no feed at /run/feed.json: this user may not use /a"


def test_unread_messages_are_a_feed() -> None:
    """A program that is busy after it subscribed has the worker's answer in its socket: there is a feed, and it is live."""
    feed = Feed()
    feed.truth.set_addresses(["ipc:///a"])
    feed.truth.subscribe(BOOK)
    assert feed.tick() == []
    assert feed.tick(5.0, busy=("ipc:///a",)) == []
    assert feed.take(status(BOOK, 1), snapshot(2), worker="ipc:///a") == [("status", 1, "live"), ("snapshot", 2)]
    assert feed.tick(0.1) == []


def test_misspelt_subject_at_fixed_addresses_is_found_by_silence() -> None:
    """Without a directory, a subject that no worker answers for is unassigned, with the nearest that was seen."""
    feed = Feed()
    feed.truth.set_addresses(["ipc:///a", "ipc:///b"])
    feed.truth.subscribe("linear.orderbook.50.BTCUSTD")
    feed.truth.subscribe(BOOK)
    feed.connect("ipc:///a")
    feed.take(status(BOOK, 1), snapshot(2), worker="ipc:///a")
    told: list[tuple[Any, ...]] = []
    for _ in range(30):
        feed.take(heartbeat(), worker="ipc:///a")
        told += feed.tick(0.1)
    assert told == [("said here", 0, "unassigned")]
    track = feed.truth.track("linear.orderbook.50.BTCUSTD")
    assert track is not None
    assert track.reason.endswith(f"carries linear.orderbook.50.BTCUSTD; the nearest seen: {BOOK}")


# Networks.


def test_simulated_data_is_refused_where_another_network_is_asked_for() -> None:
    """Every record of a simulated feed is kept back, and that is said once a subject."""
    feed = Feed(network="mainnet")
    feed.announce(linear=LINEAR)
    feed.truth.subscribe(BOOK)
    simulated = wire.SIMULATED
    told = feed.take(status(BOOK, 1, flags=simulated), snapshot(2, flags=simulated), delta(3, flags=simulated))
    assert told == [("said here", 0, "rejected")]
    track = feed.truth.track(BOOK)
    assert track is not None
    assert track.reason == "simulated or replayed data refused: this subscriber takes mainnet only"
    assert feed.truth.counters.refused == 3
    assert feed.tick(5.0, busy=("linear",)) == []


def test_data_of_another_network_is_refused_by_the_workers_word() -> None:
    """Testnet has no flag: its status, or its heartbeat, says what it is."""
    feed = Feed(network="mainnet")
    feed.announce(linear=LINEAR)
    feed.truth.subscribe(TRADES)
    assert feed.take(event(3)) == [], "of a network not known yet"
    assert feed.take(heartbeat("testnet"), event(4)) == [("said here", 0, "rejected")]
    assert feed.take(status(TRADES, 5, network="testnet")) == []
    assert feed.take(status(TRADES, 5, network="mainnet"), event(6)) == [("status", 5, "live"), ("update", 6)]


def test_asked_for_network_passes() -> None:
    """What was asked for is handed out, also where that is the simulated network."""
    feed = Feed(network="sim")
    feed.announce(linear=LINEAR)
    feed.truth.subscribe(TRADES)
    simulated = wire.SIMULATED
    handed = feed.take(status(TRADES, 1, flags=simulated), event(2, flags=simulated), event(3, flags=simulated))
    assert handed == [("status", 1, "live"), ("update", 2), ("update", 3)]


# Stale backlogs.


def aged(number: int, age_s: float, now_s: float) -> Record:
    return event(number, published_ns=START_NS + int((now_s - age_s) * 1e9))


def test_stale_backlog_is_thrown_away_whole_and_counted(feed: Feed) -> None:
    """Everything that waited when the first record was found too old is thrown away: subject by subject, with counts."""
    feed = Feed(max_age_s=2.0)
    feed.go(100.0)
    feed.announce(linear=LINEAR)
    feed.truth.subscribe(TRADES)
    feed.connect()
    now_ns = START_NS + 100 * 10**9
    feed.take(msgspec.structs.replace(status(TRADES, 10, repeated=True), published_ns=now_ns))
    feed.tick()
    feed.actions()
    feed.go(5.0)
    assert feed.take(aged(11, 4.0, 105.0), aged(12, 1.5, 105.0), aged(13, 0.1, 105.0)) == []
    feed.truth.on_drained(feed.truth.links["linear"])
    assert feed.heard() == [("said here", 13, "resyncing", 3)]
    assert feed.truth.track(TRADES).reason == "3 records missed: a backlog older than 2 s was thrown away"  # type: ignore[union-attr]  # it is there
    assert feed.actions() == [Subscribe("linear", wire.prefix(TRADES)), Unsubscribe("linear", wire.prefix(TRADES))]
    fresh = msgspec.structs.replace(status(TRADES, 14, repeated=True), published_ns=START_NS + 105 * 10**9)
    assert feed.take(fresh, aged(15, 0.0, 105.0)) == [
        ("said here", 14, "resyncing", 1),
        ("status", 14, "live"),
        ("update", 15),
    ]
    assert feed.truth.counters.discarded == 3


def test_backlog_ends_with_the_first_record_published_after_it_was_noticed() -> None:
    """What is published while the backlog is thrown away is delivered."""
    feed = Feed(max_age_s=2.0)
    feed.go(100.0)
    feed.announce(linear=LINEAR)
    feed.truth.subscribe(TRADES)
    feed.take(aged(1, 0.0, 100.0), aged(2, 50.0, 100.0))
    feed.go(1.0)
    assert feed.take(aged(3, 0.5, 101.0)) == [("said here", 2, "resyncing", 1), ("update", 3)]


def test_repeated_records_of_a_backlog_are_nothing_missed(feed: Feed) -> None:
    """A quiet subject's repeated status and another newcomer's image are old news: it stays live, and nothing is said."""
    feed = Feed(max_age_s=2.0)
    feed.go(100.0)
    feed.announce(linear=LINEAR)
    feed.truth.subscribe(TRADES)
    feed.connect()
    now_ns = START_NS + 100 * 10**9
    feed.take(msgspec.structs.replace(status(TRADES, 10, repeated=True), published_ns=now_ns))
    feed.tick()
    feed.actions()
    feed.go(5.0)
    assert feed.take(msgspec.structs.replace(status(TRADES, 10, repeated=True), published_ns=now_ns)) == []
    feed.truth.on_drained(feed.truth.links["linear"])
    assert feed.heard() == []
    assert feed.actions() == []
    assert feed.take(aged(11, 0.0, 105.0), aged(12, 0.0, 105.0)) == [("update", 11), ("update", 12)]
    assert feed.truth.counters.discarded == 1


def test_subject_whose_first_answer_was_thrown_away_is_asked_for_at_once() -> None:
    """Nothing is missed of it, but it is still to be heard of."""
    feed = Feed(max_age_s=2.0)
    feed.go(100.0)
    feed.announce(linear=LINEAR)
    feed.truth.subscribe(TRADES)
    feed.connect()
    feed.tick()
    feed.actions()
    feed.take(msgspec.structs.replace(status(TRADES, 10, repeated=True), published_ns=START_NS))
    feed.truth.on_drained(feed.truth.links["linear"])
    assert feed.heard() == []
    assert Subscribe("linear", wire.prefix(TRADES)) in feed.actions()


def test_closed_way_ends_its_backlog() -> None:
    """A worker that leaves while its backlog is thrown away: the count is not lost."""
    feed = Feed(max_age_s=2.0)
    feed.go(100.0)
    feed.announce(linear=LINEAR)
    feed.truth.subscribe(TRADES)
    feed.take(aged(2, 50.0, 100.0))
    assert feed.announce() == [
        ("said here", 2, "resyncing", 1),
        ("said here", 2, "down"),
        ("said here", 2, "unassigned"),
    ]


def test_answer_patience_fits_the_workers_pacing() -> None:
    """A worker may take 100 ms to coalesce its answers: asking again sooner would only add to its work."""
    assert asking.ANSWER_S >= 0.5
    assert asking.RECONNECTED_S > 0.1
