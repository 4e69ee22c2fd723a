"""The session against a model of the venue that misbehaves: whatever happens, everybody ends where they belong."""

import heapq
import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from feedhandler.bybit import operations
from feedhandler.bybit.operations import Acknowledgement, Pong
from feedhandler.bybit.products import PRODUCTS, Product
from feedhandler.worker.session import (
    ACKNOWLEDGEMENT_TIMEOUT_S,
    REQUESTS_IN_FLIGHT,
    Acknowledged,
    Asked,
    Disconnect,
    Phase,
    Refused,
    Send,
    Session,
)

PING_INTERVAL_S: Final = 20.0
GOOD: Final = tuple(f"orderbook.50.G{number}" for number in range(40))
BAD: Final = tuple(f"orderbook.50.B{number}" for number in range(8))
TOPICS: Final = (*GOOD, *BAD)
REQUESTS_PER_ASKING: Final = 4
"""A batch of n topics takes at most 2n - 1 requests by halving, and each refusal that names a topic one more."""

ANSWERED: Final = "answered"
SILENT: Final = "carried out, but never answered"
LOST: Final = "neither carried out nor answered"
REFUSED: Final = "refused as a whole, naming nothing (subscriptions only)"

OTHER_TEXTS: Final = ("error:too many visits", "refused (failTopics)", "no answer from the venue within 5 s, twice")
"""Words of a refusal that names no topic."""


class Fate(NamedTuple):
    """What the venue makes of one request."""

    kind: str = ANSWERED
    delay_s: float = 0.05
    data_first: bool = False


class Venue:
    """One connection after the other, in the answers of one product (dossier 3). What it sends keeps its order."""

    def __init__(self, product: Product, fates: Sequence[Fate], quiet: set[str]) -> None:
        self.product = product
        self.fates = iter(fates)
        # Option answers carry no id, so one that comes too late passes for the next; and data that come too late pass
        # for those of the next subscription, which may be the one that is lost. No session can tell.
        ambiguous = product.acknowledges_by_topic or any(fate.kind == LOST for fate in fates)
        self.latest_s = 4.9 if ambiguous else math.inf
        self.quiet = quiet
        """Topics that never send anything."""
        self.subscribed: set[str] = set()
        self.coming: list[tuple[float, int, str | tuple[str, bytes]]] = []
        """What will arrive, by time and order: data of a topic, or an answer with the request it is for."""
        self._sent = 0
        self._free_s = 0.0

    def open(self) -> None:
        self.subscribed.clear()
        self.coming.clear()

    def _send(self, at_s: float, what: Any) -> None:
        self._free_s = max(self._free_s, at_s)
        self._sent += 1
        heapq.heappush(self.coming, (self._free_s, self._sent, what))

    def receive(self, payload: bytes, now_s: float) -> None:
        request = msgspec.json.decode(payload)
        if request["op"] == "ping":
            # At once, whatever else is late: the pong deadline is another test's.
            self._sent += 1
            pong = b'{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}'
            heapq.heappush(self.coming, (now_s, self._sent, ("", pong)))
            return
        fate = next(self.fates, Fate())
        if fate.kind == LOST:
            return
        before = set(self.subscribed)
        refused = fate.kind == REFUSED and request["op"] == "subscribe"
        reply = self._refusal(request) if refused else self._carry_out(request)
        data = [topic for topic in self.subscribed - before if topic not in self.quiet]
        at_s = now_s + min(fate.delay_s, self.latest_s)
        if fate.data_first:
            self._send_data(data, at_s)
        if fate.kind != SILENT:
            self._send(at_s, (request["req_id"], msgspec.json.encode(reply)))
        if not fate.data_first:
            self._send_data(data, at_s)

    def _send_data(self, topics: list[str], at_s: float) -> None:
        for topic in sorted(topics):
            self._send(at_s, topic)

    def _refusal(self, request: dict[str, Any], text: str = OTHER_TEXTS[0]) -> dict[str, Any]:
        return {"success": False, "ret_msg": text, "conn_id": "c", "req_id": request["req_id"], "op": request["op"]}

    def _carry_out(self, request: dict[str, Any]) -> dict[str, Any]:
        op, args = request["op"], request["args"]
        if self.product.acknowledges_by_topic:
            failed = [topic for topic in args if op == "subscribe" and topic in BAD]
            done = [topic for topic in args if topic not in failed]
            (self.subscribed.update if op == "subscribe" else self.subscribed.difference_update)(done)
            lists = {"failTopics": failed, "successTopics": done}
            return {"success": True, "conn_id": "c", "data": lists, "type": "COMMAND_RESP"}
        if op == "subscribe":
            for topic in args:
                if topic in BAD:
                    spot = self.product.name == "spot"
                    text = f"Invalid symbol :[{topic}]" if spot else f"error:handler not found,topic:{topic}"
                    return self._refusal(request, text)
                if topic in self.subscribed:
                    return self._refusal(request, f"error:already subscribed,topic:{topic}")
            self.subscribed.update(args)
        else:
            self.subscribed.difference_update(args)
        return {"success": True, "ret_msg": "", "conn_id": "c", "req_id": request["req_id"], "op": op}


class World:
    """A session, the venue, and what a lane would know; checks every promise on the way."""

    def __init__(self, product: Product, fates: Sequence[Fate], quiet: set[str]) -> None:
        self.now_s = 1000.0
        self.venue = Venue(product, fates, quiet)
        self.live: set[str] = set()
        self.asked: set[str] = set()
        self.refusals: dict[str, str] = {}
        self.session = Session(
            product, ping_interval_s=PING_INTERVAL_S, pong_timeout_s=10, has_data=self.live.__contains__
        )
        self.is_open = False
        self.requests = 0
        self.allowed = 0
        """How many requests could at most be needed for all that was asked of the session."""
        self._in_flight: dict[str, float] = {}
        self._pinged_s = self.now_s

    # What the owner of the session does.

    def want(self, topics: list[str]) -> None:
        self.allowed += REQUESTS_PER_ASKING * len(topics)
        self.session.want(topics)
        self.step()

    def unwant(self, topics: list[str]) -> None:
        self.allowed += REQUESTS_PER_ASKING * len(topics)
        self.live.difference_update(topics)
        self.asked.difference_update(topics)
        self.session.unwant(topics)
        self.step()

    def resync(self, topics: list[str]) -> None:
        self.allowed += REQUESTS_PER_ASKING * len(topics)
        for topic in self.live.intersection(topics):  # a gap needs a chain
            self.live.discard(topic)
            self.asked.discard(topic)
            self.session.resync(topic)
        self.step()

    def reconnect(self, pause_s: float) -> None:
        self.close()
        self.now_s += pause_s
        self.open()

    def open(self) -> None:
        self.allowed += REQUESTS_PER_ASKING * len(self.session.topics)
        self.venue.open()
        self.is_open = True
        self.session.opened(self.now_s)
        self._pinged_s = self.now_s
        self.step()

    def close(self) -> None:
        self.is_open = False
        self.live.clear()
        self.asked.clear()
        self.venue.coming.clear()
        self._in_flight.clear()
        self.session.closed()
        assert self.session.step(self.now_s) == []

    # What happens by itself.

    def step(self) -> None:
        actions = self.session.step(self.now_s)
        self._in_flight = {
            req: sent_s for req, sent_s in self._in_flight.items() if self.now_s < sent_s + ACKNOWLEDGEMENT_TIMEOUT_S
        }
        for action in actions:
            match action:
                case Send(payload):
                    self._sent(payload)
                case Asked(topics):
                    self.asked.update(topics)
                case Acknowledged(topics):
                    for topic in topics:
                        assert self.session.phase(topic) is Phase.SUBSCRIBED
                case Refused(topic, text):
                    self.refusals[topic] = text
                case Disconnect(reason):
                    raise AssertionError(reason)
        if self.is_open:
            assert self.now_s - self._pinged_s <= PING_INTERVAL_S
            assert self.session.wake_s() > self.now_s

    def _sent(self, payload: bytes) -> None:
        assert self.is_open
        if payload == operations.PING:
            self._pinged_s = self.now_s
        else:
            request = msgspec.json.decode(payload)
            self.requests += 1
            assert 0 < len(request["args"]) <= self.venue.product.max_args_per_request
            assert len(set(request["args"])) == len(request["args"])
            self._in_flight[request["req_id"]] = self.now_s
            assert len(self._in_flight) <= REQUESTS_IN_FLIGHT
        self.venue.receive(payload, self.now_s)

    def run(self, seconds: float) -> None:
        """Let time pass, from event to event."""
        until_s = self.now_s + seconds
        while self.is_open:
            due_s = min(self.venue.coming[0][0] if self.venue.coming else until_s, self.session.wake_s())
            if due_s > until_s:
                break
            self.now_s = max(self.now_s, due_s)
            if self.venue.coming and self.venue.coming[0][0] <= self.now_s:
                self._came(heapq.heappop(self.venue.coming)[2])
            self.step()
            if due_s == until_s:
                break
        self.now_s = max(self.now_s, until_s)

    def _came(self, what: str | tuple[str, bytes]) -> None:
        if isinstance(what, str):
            if what in self.asked:
                self.live.add(what)
            return
        req_id, payload = what
        match operations.parse_reply(payload):
            case Pong():
                self.session.pong()
            case Acknowledgement() as reply:
                self._in_flight.pop(req_id, None)
                self.session.acknowledged(reply, self.now_s)
            case None:
                raise AssertionError(what)

    def where_it_belongs(self, topic: str) -> bool:
        return self.session.phase(topic) is (Phase.REFUSED if topic in BAD else Phase.SUBSCRIBED)


SOME_TOPICS = st.lists(st.sampled_from(TOPICS), min_size=1, max_size=25, unique=True)
STEP = st.one_of(
    st.tuples(st.just("want"), SOME_TOPICS),
    st.tuples(st.just("unwant"), SOME_TOPICS),
    st.tuples(st.just("resync"), SOME_TOPICS),
    st.tuples(st.just("run"), st.sampled_from([0.01, 0.06, 1.0, 4.99, 5.0, 30.0, 70.0])),
    st.tuples(st.just("reconnect"), st.sampled_from([0.0, 1.0, 30.0])),
)
FATE = st.builds(
    Fate,
    st.sampled_from([ANSWERED, ANSWERED, SILENT, LOST, REFUSED]),
    st.sampled_from([0.0, 0.05, 0.3, 4.9, 5.5, 11.0]),
    st.booleans(),
)


@settings(max_examples=300)
@given(
    st.sampled_from(["spot", "linear", "option"]),
    SOME_TOPICS,
    st.lists(STEP, max_size=12),
    st.lists(FATE, max_size=12),
    st.sets(st.sampled_from(GOOD), max_size=10),
)
def test_every_topic_ends_where_it_belongs(
    product: str, first: list[str], steps: list[tuple[str, Any]], fates: list[Fate], quiet: set[str]
) -> None:
    """Good topics end subscribed, bad ones refused in the venue's words, and the venue has no other, in few requests."""
    world = World(PRODUCTS[product], fates, quiet)
    world.want(first)
    world.open()
    for name, argument in steps:
        getattr(world, name)(argument)
    wanted = set(world.session.topics)
    # What went unanswered twice is asked again after ever longer pauses, an hour at most.
    for _ in range(4 * 3600 // 30):
        world.run(30)
        if all(world.where_it_belongs(topic) for topic in wanted):
            break
    assert [topic for topic in wanted if not world.where_it_belongs(topic)] == []
    assert world.venue.subscribed >= wanted.intersection(GOOD)
    if LOST not in {fate.kind for fate in fates}:
        assert world.venue.subscribed <= wanted
    for topic in wanted.intersection(BAD):
        assert topic in world.refusals[topic] or world.refusals[topic] in OTHER_TEXTS
    retries = len(BAD) * 12 + len(fates) * 60
    assert world.requests <= world.allowed + retries


@settings(max_examples=60)
@given(st.sampled_from(["spot", "linear", "option"]), st.sets(st.sampled_from(TOPICS), min_size=1), st.randoms())
def test_an_honest_venue_is_asked_little(product: str, topics: set[str], chance: Any) -> None:
    """Without faults a connection takes one request a batch, and one more for each bad topic in it."""
    world = World(PRODUCTS[product], (), set())
    names = sorted(topics)
    chance.shuffle(names)
    world.want(names)
    world.open()
    world.run(10)

    batches = -(-len(names) // PRODUCTS[product].max_args_per_request)
    bad = 0 if PRODUCTS[product].acknowledges_by_topic else len(topics.intersection(BAD))
    assert all(world.where_it_belongs(topic) for topic in names)
    assert world.requests <= batches + bad
