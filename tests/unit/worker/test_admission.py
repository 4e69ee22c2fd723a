"""What is said of topics while the venue does not let a connection in."""

from support.lane import Rig, states

from feedhandler.bybit.operations import Acknowledgement
from feedhandler.bybit.products import PRODUCTS
from feedhandler.credentials import CredentialsError
from feedhandler.worker.admission import Admission
from feedhandler.worker.session import Phase, Session

ORDER, WALLET, BAD = "order", "wallet", "orders"


class Door:
    """An admission with a session and a lane; ``missing`` is why there is no key."""

    def __init__(self, *topics: str) -> None:
        self.rig = Rig("private")
        self.missing = ""
        self.session = Session(PRODUCTS["private"], ping_interval_s=20, pong_timeout_s=10, has_data=lambda _: False)
        self.admission = Admission(self.sign, self.session, self.rig.lane)
        self.want(*topics)

    def sign(self, now_ms: int) -> bytes:
        if self.missing:
            raise CredentialsError(self.missing)
        return b"signed %d" % now_ms

    def want(self, *topics: str) -> None:
        self.rig.carry(*topics)
        self.session.want(topics)
        self.rig.take()

    def open(self) -> None:
        """Connect, and subscribe in a request of its own to each topic so far."""
        self.rig.lane.opened(self.rig.now_ns)
        self.session.opened(0.0)
        self.session.step(0.0)


def answer(req_id: int, text: str = "") -> Acknowledgement:
    return Acknowledgement(op="subscribe", success=not text, text=text, req_id=str(req_id))


def test_request_is_signed_as_of_the_time_given() -> None:
    """In ms; a public connection has none."""
    door = Door()
    assert door.admission.request(1_700_000_000_123_456_789) == b"signed 1700000000123"
    assert Admission(None, door.session, door.rig.lane).request(1) == b""


def test_attempt_without_a_key_is_not_worth_a_dial() -> None:
    """Each look tells the topics of then; a failure is counted once, and again where there was a key meanwhile."""
    door = Door(ORDER)
    assert door.admission.begin(0)
    for missing, counted in (("no API key", 1), ("no API key", 1), ("no API secret", 2), ("", 2), ("no API secret", 3)):
        door.missing = missing
        assert door.admission.begin(door.rig.now_ns) is not bool(missing)
        assert (door.admission.missing, door.admission.objection) == (missing, missing)
        assert door.rig.feed.counters["auth_failures"] == counted
    assert states(door.rig) == [("rejected", "no API key"), ("rejected", "no API secret")]
    assert Admission(None, door.session, door.rig.lane).begin(0)


def test_objection_is_told_on_every_topic_once_and_on_those_that_come_later() -> None:
    """Until the next attempt begins."""
    door = Door(ORDER)
    door.admission.denied("Params Error", door.rig.now_ns)
    assert states(door.rig) == [("rejected", "Params Error")]
    door.want(WALLET)
    for _ in range(2):
        door.admission.tell(door.rig.now_ns)
    assert states(door.rig) == [("rejected", "Params Error")]
    assert door.rig.state(WALLET) == "rejected"
    door.admission.begin(door.rig.now_ns)
    door.want(BAD)
    door.admission.tell(door.rig.now_ns)
    assert (door.admission.objection, states(door.rig)) == ("", [])
    assert door.rig.feed.counters["auth_failures"] == 1


def test_what_is_subscribed_or_refused_for_itself_is_not_told() -> None:
    """The one goes down with the connection, the other has a reason of its own."""
    door = Door(ORDER)
    door.open()
    door.want(BAD)
    door.session.step(0.0)
    door.session.acknowledged(answer(1), 0.0)
    door.session.acknowledged(answer(2, "error:handler not found,topic:orders"), 0.0)
    assert [door.session.phase(topic) for topic in (ORDER, BAD)] == [Phase.SUBSCRIBED, Phase.REFUSED]
    door.admission.denied("Request not authorized", door.rig.now_ns)
    assert states(door.rig) == []


def test_pauses_grow_until_the_venue_lets_us_in() -> None:
    """A minute, two, and so on; from the beginning after topics were subscribed."""
    door = Door(ORDER)
    pauses_s = []
    for _ in range(3):
        door.admission.denied("Params Error", door.rig.now_ns)
        pauses_s.append(door.admission.pause_s(0.0))
    door.admission.granted()
    door.admission.denied("Params Error", door.rig.now_ns)
    assert [*pauses_s, door.admission.pause_s(1.0)] == [60, 120, 240, 66]


def test_missing_key_is_looked_for_every_few_seconds() -> None:
    """And makes a refused one wait no longer."""
    door = Door(ORDER)
    door.admission.denied("Params Error", door.rig.now_ns)
    door.missing = "no API key"
    for _ in range(20):
        door.admission.begin(door.rig.now_ns)
        assert door.admission.pause_s(1.0) < 4
    door.missing = ""
    assert door.admission.begin(door.rig.now_ns)
    door.admission.denied("Params Error", door.rig.now_ns)
    assert door.admission.pause_s(0.0) == 120


def test_end_takes_the_objection_back() -> None:
    """Nobody tries any more: what is said last is that."""
    door = Door(ORDER)
    door.admission.denied("Params Error", door.rig.now_ns)
    door.admission.end()
    assert door.admission.objection == ""
