"""The faults that a simulated Bybit shows, as a client sees them on the wire."""

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from support.simulator import Frame, HandshakeError, RawClient, Simulator, is_acknowledgement

TOPIC = "orderbook.50.BTCUSDT"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    # Busier than life, so that a test sees what it waits for soon.
    with Simulator("--rate", "4") as running:
        yield running


@pytest.fixture(autouse=True)
def _all_off(simulator: Simulator) -> Iterator[None]:
    yield
    simulator.fault("off")


@pytest.fixture
def client(simulator: Simulator) -> Iterator[RawClient]:
    """A client that has received the snapshot of TOPIC and some deltas."""
    with simulator.client() as made:
        made.request("subscribe", TOPIC)
        seen = made.until(lambda message: message.get("type") == "delta")
        if not any(map(is_acknowledgement, seen)):
            made.until(is_acknowledgement)
        yield made


def number_of(simulator: Simulator, client: RawClient) -> int:
    client.request("ping", req_id="who am I")
    conn_id = client.until(is_acknowledgement)[-1]["conn_id"]
    (number,) = (each["id"] for each in simulator.stats()["connections"] if each["conn_id"] == conn_id)
    assert isinstance(number, int)
    return number


def ids(messages: list[dict[str, Any]]) -> list[int]:
    return [message["data"]["u"] for message in messages if message.get("topic") == TOPIC]


def following(client: RawClient, count: int = 25) -> list[dict[str, Any]]:
    """The next messages of TOPIC: more than were on their way when the fault was switched on."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        message = client.message()
        found += [message] if message.get("topic") == TOPIC else []
    return found


def gaps(found: list[int]) -> list[int]:
    return [after - before for before, after in pairwise(found)]


def test_reset_is_a_reset(simulator: Simulator, client: RawClient) -> None:
    """RST: the client reads "connection reset"."""
    simulator.fault("reset")
    with pytest.raises(ConnectionResetError):
        client.drain()


def test_eof_is_an_end_without_close_frame(simulator: Simulator, client: RawClient) -> None:
    """FIN: what the venue mostly does (dossier 9.1)."""
    simulator.fault("eof")
    found: list[Frame] = []
    with pytest.raises(EOFError):
        client.drain(found)
    assert {frame.opcode for frame in found} <= {1}


@pytest.mark.parametrize("code", [1000, 1001, 1013, 3999])
def test_close_has_its_code(simulator: Simulator, client: RawClient, code: int) -> None:
    """Dossier 9.1: a close frame as an extra case, with any code."""
    simulator.fault("close", code=code, reason="bye")
    while (frame := client.frame()).opcode != 8:
        pass
    assert frame.payload == code.to_bytes(2, "big") + b"bye"
    with pytest.raises((EOFError, ConnectionError)):
        client.frame()


def test_socket_faults_choose_product_connection_and_topic(simulator: Simulator, client: RawClient) -> None:
    """Only the sockets that match end."""
    with simulator.client() as other, simulator.client("spot") as spot:
        other.subscribe("tickers.ETHUSDT")
        assert len(simulator.fault("reset", product="spot")["hit"]) == 1
        assert simulator.fault("reset", connection=number_of(simulator, other))["hit"]
        assert simulator.fault("eof", topic="tickers.*")["hit"] == []
        for ended in (other, spot):
            with pytest.raises(ConnectionResetError):
                ended.drain()
        assert len(following(client, 3)) == 3
        assert len(simulator.get("/sim/close", product="linear")["hit"]) == 1


@pytest.mark.parametrize("status", [403, 429, 502, 504])
def test_handshakes_are_refused_a_number_of_times(simulator: Simulator, status: int) -> None:
    """Dossier 2.4: what a breach of the connection limits looks like."""
    simulator.fault("refuse", status=status, count=2)
    for _ in range(2):
        with pytest.raises(HandshakeError, match=str(status)):
            RawClient(simulator.port)
    RawClient(simulator.port).close()


def test_handshakes_are_refused_for_some_seconds(simulator: Simulator) -> None:
    """By time instead of count; the other products are let in."""
    simulator.fault("refuse", product="linear", seconds=0.5)
    begin_s = time.monotonic()
    RawClient(simulator.port, "spot").close()
    refused = 0
    while True:
        try:
            RawClient(simulator.port).close()
        except HandshakeError:
            refused += 1
            time.sleep(0.02)
        else:
            break
    assert refused > 3
    assert 0.4 < time.monotonic() - begin_s < 1.5


def test_accepted_and_reset_without_an_answer(simulator: Simulator) -> None:
    """Dossier 9.5, number 14: accept-then-reset."""
    simulator.fault("refuse", status="reset")
    with pytest.raises(ConnectionResetError):
        RawClient(simulator.port)


def test_handshake_without_any_answer(simulator: Simulator) -> None:
    """Dossier 9.5, number 14: a server that accepts and says nothing."""
    simulator.fault("refuse", status="hang")
    with pytest.raises(TimeoutError):
        RawClient(simulator.port, timeout_s=0.5)


def test_connection_rate_limiter() -> None:
    """Dossier 9.5, number 15: 403 beyond so many attempts in a time; the breach of the real limit is counted."""
    with Simulator() as simulator:
        simulator.fault("limit", attempts=5, window_s=60)
        for _ in range(5):
            RawClient(simulator.port).close()
        with pytest.raises(HandshakeError, match="403"):
            RawClient(simulator.port)
        simulator.fault("off")
        for _ in range(496):
            RawClient(simulator.port).close()
        stats = simulator.stats()
        assert stats["most_attempts_in_5_min"] == 502
        assert stats["violations"]["connection_attempts"] == 2


def test_mute_topic_is_quiet_while_others_and_pongs_go_on(simulator: Simulator, client: RawClient) -> None:
    """Dossier 9.5, number 11."""
    client.subscribe("orderbook.50.ETHUSDT")
    simulator.fault("mute", topic=TOPIC)
    client.collect(0.1)
    client.request("ping")
    found = client.collect(0.5)
    assert any(message.get("ret_msg") == "pong" for message in found)
    assert {message["topic"] for message in found if "topic" in message} == {"orderbook.50.ETHUSDT"}
    simulator.fault("off")
    assert following(client, 1)


def test_mute_topic_healed_by_a_new_subscription(simulator: Simulator, client: RawClient) -> None:
    """``heals=resubscribe``: silent until unsubscribed and subscribed again."""
    simulator.fault("mute", topic=TOPIC, heals="resubscribe")
    client.collect(0.1)
    assert client.collect(0.3) == []
    client.request("unsubscribe", TOPIC)
    client.until(is_acknowledgement)
    client.subscribe(TOPIC)
    assert following(client)


def test_mute_connection_leaves_another_alone(simulator: Simulator, client: RawClient) -> None:
    """One of two connections with the same topic."""
    with simulator.client() as other:
        other.subscribe(TOPIC)
        simulator.fault("mute", connection=number_of(simulator, client))
        client.collect(0.1)
        other.collect(0.1)
        assert not ids(client.collect(0.3))
        assert ids(other.collect(0.3))


def test_stall_is_a_black_hole(simulator: Simulator, client: RawClient) -> None:
    """Dossier 9.5, number 13: no data, no pongs, no acknowledgements, TCP open."""
    simulator.fault("stall")
    client.collect(0.1)
    client.request("ping")
    client.request("subscribe", "tickers.BTCUSDT")
    assert client.collect(0.4) == []


def test_pongs_stop_while_data_go_on(simulator: Simulator, client: RawClient) -> None:
    """Dossier 9.5, number 12."""
    simulator.fault("nopong")
    client.request("ping")
    found = client.collect(0.4)
    assert ids(found)
    assert not any(map(is_acknowledgement, found))


def test_gap_on_one_connection_only(simulator: Simulator, client: RawClient) -> None:
    """Dossier 9.5, number 1: ``u`` jumps by N + 1 for one client, for the other not at all."""
    with simulator.client() as other:
        other.subscribe(TOPIC)
        number = number_of(simulator, client)
        mine, theirs = following(client, 1), following(other, 1)
        simulator.fault("skip", topic=TOPIC, count=2, connection=number)
        assert sorted(gaps(ids(mine + following(client))))[-2:] == [1, 3]
        assert set(gaps(ids(theirs + following(other)))) == {1}


def test_gap_on_every_connection(simulator: Simulator, client: RawClient) -> None:
    """``each=1``: all miss the same frame."""
    with simulator.client() as other:
        other.subscribe(TOPIC)
        first, second = following(client, 1), following(other, 1)
        simulator.fault("skip", topic=TOPIC, each=1)
        mine, theirs = ids(first + following(client)), ids(second + following(other))
    assert sorted(set(gaps(mine))) == sorted(set(gaps(theirs))) == [1, 2]
    missing = {before + 1 for before, after in pairwise(mine) if after - before == 2}
    assert not missing & set(theirs)


def test_duplicate_and_reordered_deltas(simulator: Simulator, client: RawClient) -> None:
    """Dossier 9.5, numbers 2 and 3."""
    found = following(client, 1)
    simulator.fault("duplicate", topic=TOPIC)
    found += following(client)
    assert sorted(gaps(ids(found)))[:2] == [0, 1]
    simulator.fault("reorder", topic=TOPIC)
    assert gaps(ids(found[-1:] + following(client))).count(-1) == 1


@pytest.mark.parametrize(
    ("kind", "type_", "jump"),
    [
        ("restart", "snapshot", "one"),
        ("restart_delta", "delta", "one"),
        ("renew", "snapshot", "next"),
        ("lower", "snapshot", "lower"),
    ],
)
def test_update_ids_that_jump(simulator: Simulator, client: RawClient, kind: str, type_: str, jump: str) -> None:
    """Dossier 9.5, numbers 4 to 6: restarts, and snapshots out of the blue."""
    found = following(client, 3)
    assert simulator.fault(kind, topic=TOPIC)["hit"] == [f"linear.{TOPIC}"]
    found += following(client)
    if jump == "next":
        at = next(index for index, message in enumerate(found) if message["type"] == "snapshot")
        assert set(gaps(ids(found))) == {1}
    else:
        at = next(index for index in range(1, len(found)) if ids(found)[index] <= ids(found)[index - 1])
        assert (ids(found)[at] == 1) == (jump == "one")
        assert set(gaps(ids(found[at:]))) == {1}
    assert found[at]["type"] == type_


@pytest.mark.parametrize(("kind", "asks"), [("empty", 0), ("one_sided", 50)])
def test_blank_snapshots(simulator: Simulator, client: RawClient, kind: str, asks: int) -> None:
    """Dossier 9.5, number 7."""
    simulator.fault(kind, topic=TOPIC)
    (blank,) = client.until(lambda message: message.get("type") == "snapshot")[-1:]
    assert (len(blank["data"]["b"]), len(blank["data"]["a"])) == (0, asks)
    assert len(following(client, 1)[0]["data"]["b"]) == 50


@pytest.mark.parametrize("kind", ["extra_fields", "unknown_type", "skew"])
def test_frames_with_an_odd_envelope_keep_their_place(simulator: Simulator, client: RawClient, kind: str) -> None:
    """Dossier 9.5, numbers 17 and 21: one frame is odd, the update ids go on."""
    found = following(client, 1)
    simulator.fault(kind, topic=TOPIC, count=1)
    found += following(client)
    assert set(gaps(ids(found))) == {1}
    is_odd = {
        "extra_fields": lambda message: "venueNote" in message,
        "unknown_type": lambda message: message["type"] == "checkpoint",
        "skew": lambda message: message["ts"] < message["cts"],
    }[kind]
    assert sum(map(is_odd, found)) == 1


class Levels:
    """A client's book, and what was wrong with the deltas it was made of."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[float, str]] = {"b": {}, "a": {}}
        self.wrongs: list[str] = []

    def apply(self, messages: list[dict[str, Any]]) -> list[str]:
        for message in messages:
            if message.get("topic") != TOPIC:
                continue
            for name, side in self.sides.items():
                if message["type"] == "snapshot":
                    side.clear()
                for price, size in message["data"][name]:
                    if size != "0":
                        side[float(price)] = size
                    elif side.pop(float(price), None) is None:
                        self.wrongs.append("unknown_delete")
            if max(self.sides["b"]) >= min(self.sides["a"]):
                self.wrongs.append("crossed")
        return self.wrongs


@pytest.mark.parametrize("kind", ["unknown_delete", "crossed"])
def test_levels_that_cannot_be(simulator: Simulator, kind: str) -> None:
    """Dossier 9.5, numbers 8 and 9: nothing of the kind before, and that alone afterwards."""
    levels = Levels()
    with simulator.client() as client:
        client.request("subscribe", TOPIC)
        assert levels.apply(client.until(lambda message: message.get("type") == "snapshot") + client.collect(0.3)) == []
        simulator.fault(kind, topic=TOPIC)
        assert set(levels.apply(following(client))) == {kind}


@pytest.mark.parametrize("what", ["invalid", "truncated", "binary", "empty", "list", "latin1"])
def test_garbage_is_an_extra_frame(simulator: Simulator, client: RawClient, what: str) -> None:
    """Dossier 9.5, number 18: nothing of the topic is lost by it."""
    simulator.fault("garbage", topic=TOPIC, what=what)
    good: list[int] = []
    senseless = 0
    while len(good) < 25:
        frame = client.frame()
        try:
            message = json.loads(frame.payload)
            good.append(message["data"]["u"])
        except (ValueError, TypeError):
            senseless += 1
    assert senseless == 1
    assert set(gaps(good)) == {1}


def test_message_in_fragments_and_in_single_bytes(simulator: Simulator, client: RawClient) -> None:
    """Dossier 9.1: continuation frames; one frame over many TCP segments."""
    simulator.fault("fragment", topic=TOPIC, parts=5)
    before = client.frame()
    while before.is_final:
        before = client.frame()
    rest = [client.frame() for _ in range(4)]
    assert before.opcode == 1
    assert [(frame.opcode, frame.is_final) for frame in rest] == [(0, False)] * 3 + [(0, True)]
    assert json.loads(before.payload + b"".join(frame.payload for frame in rest))["topic"] == TOPIC
    simulator.fault("split", topic=TOPIC, segment_bytes=1)
    assert set(gaps(ids(following(client)))) == {1}


def test_socket_cut_in_the_middle_of_a_frame(simulator: Simulator, client: RawClient) -> None:
    """Dossier 9.5, number 10: the last frame is never completed, and nothing follows it."""
    simulator.fault("abort_mid_frame", topic=TOPIC)
    with pytest.raises((ConnectionError, EOFError)):
        client.drain()
    assert client._buffer


@pytest.mark.parametrize(("kind", "acknowledged"), [("abort_before_ack", 0), ("abort_after_ack", 1)])
def test_socket_cut_around_the_acknowledgement(simulator: Simulator, kind: str, acknowledged: int) -> None:
    """Dossier 9.5, number 10; the next connection is served."""
    simulator.fault(kind)
    simulator.settings(snapshot_first=0)
    with simulator.client() as client:
        client.request("subscribe", TOPIC)
        found: list[Frame] = []
        with pytest.raises((ConnectionError, EOFError)):
            client.drain(found)
    assert len(found) == acknowledged
    with simulator.client() as client:
        assert client.subscribe(TOPIC)[-1]["success"]


def test_acknowledgement_withheld_or_late(simulator: Simulator) -> None:
    """The data flow all the same; ``op`` limits it to one operation."""
    simulator.fault("noack", op="subscribe")
    with simulator.client() as client:
        client.request("subscribe", TOPIC)
        assert not any(map(is_acknowledgement, client.collect(0.3)))
        client.request("unsubscribe", TOPIC)
        client.until(is_acknowledgement)
    simulator.fault("off")
    simulator.fault("lateack", ms=300)
    with simulator.client() as client:
        begin_s = time.monotonic()
        client.subscribe(TOPIC)
        assert 0.28 < time.monotonic() - begin_s < 1.0


@pytest.mark.parametrize(("kind", "first"), [("snapshot_first", True), ("ack_first", False)])
def test_order_of_acknowledgement_and_data(simulator: Simulator, kind: str, first: bool) -> None:
    """Dossier 3.5: both orders at 100 %."""
    simulator.fault(kind)
    for number in range(5):
        with simulator.client() as client:
            client.request("subscribe", f"orderbook.50.COIN{number}USDT")
            assert is_acknowledgement(client.message()) is not first


def test_right_request_is_refused(simulator: Simulator) -> None:
    """The venue has a bad moment; the same request is accepted afterwards."""
    simulator.fault("reject", text="error:system busy")
    with simulator.client() as client:
        refused = client.subscribe(TOPIC)[-1]
        assert (refused["success"], refused["ret_msg"]) == (False, "error:system busy")
        assert client.subscribe(TOPIC)[-1]["success"]


def test_data_slip_out_after_an_unsubscription(simulator: Simulator, client: RawClient) -> None:
    """Dossier 9.3: some more frames, then silence."""
    simulator.fault("slip", frames=3)
    client.request("unsubscribe", TOPIC)
    found = client.collect(0.6)
    at = next(index for index, message in enumerate(found) if is_acknowledgement(message))
    assert len(ids(found[at:])) in (1, 2, 3)
    assert client.collect(0.2) == []
    client.subscribe(TOPIC)
    assert len(following(client, 6)) == 6


def test_slow_line_keeps_order_and_loses_nothing(simulator: Simulator, client: RawClient) -> None:
    """Every frame comes later by the delay."""
    following(client, 2)
    simulator.fault("delay", ms=150, topic=TOPIC)
    client.collect(0.2)
    found = following(client, 10)
    assert set(gaps(ids(found))) == {1}
    assert time.time() * 1000 - found[-1]["ts"] > 130
    simulator.fault("off")
    assert set(gaps(ids(following(client, 20)))) == {1}


def test_faults_add_up(simulator: Simulator, client: RawClient) -> None:
    """A slow line whose frames have fields that the venue never had, one of them sent twice."""
    found = following(client, 1)
    for kind, more in (("delay", {"ms": 100}), ("extra_fields", {}), ("duplicate", {"count": 1})):
        simulator.fault(kind, topic=TOPIC, **more)
    client.collect(0.2)
    found = following(client)
    assert all("venueNote" in message for message in found)
    assert set(gaps(ids(found))) <= {0, 1}
    assert time.time() * 1000 - found[-1]["ts"] > 80


def test_trades_are_regrouped_on_one_line(simulator: Simulator) -> None:
    """Two connections get the same trades in different frames."""
    with simulator.client() as first, simulator.client() as second:
        for client in (first, second):
            client.subscribe("publicTrade.BTCUSDT")
        simulator.fault("regroup", connection=number_of(simulator, second))
        whole = [message for message in first.collect(2.0) if "topic" in message]
        single = [message for message in second.collect(0.5) if "topic" in message]
    assert all(len(message["data"]) == 1 for message in single)
    assert any(len(message["data"]) > 1 for message in whole)
    together = [item["i"] for message in whole for item in message["data"]]
    apart = [item["i"] for message in single for item in message["data"]]
    assert set(together[2:]) <= set(apart)


def test_delisted_symbol_goes_quiet_and_is_refused(simulator: Simulator, client: RawClient) -> None:
    """Dossier 9.5, number 16; ``relist`` undoes it."""
    client.subscribe("orderbook.50.COIN1USDT", "orderbook.50.COIN2USDT")
    assert simulator.fault("delist", product="linear", symbol="COIN1USDT")["quiet"] == ["orderbook.50.COIN1USDT"]
    client.collect(0.1)
    topics = {message["topic"] for message in client.collect(1.0)}
    assert "orderbook.50.COIN1USDT" not in topics
    assert "orderbook.50.COIN2USDT" in topics
    assert client.subscribe("tickers.COIN1USDT")[-1]["ret_msg"] == "error:handler not found,topic:tickers.COIN1USDT"
    assert simulator.fault("relist", symbol="COIN1USDT")["delisted"] == []
    assert client.subscribe("tickers.COIN1USDT")[-1]["success"]


def test_maintenance_is_announced_and_disconnects_everybody(simulator: Simulator, client: RawClient) -> None:
    """Dossier 9.5, number 22: `system.status`, then a mass disconnect."""
    status = RawClient(simulator.port, path="/v5/public/misc/status")
    status.subscribe("system.status")
    simulator.fault("maintenance", after_s=0.1)
    message = status.message()
    assert (message["topic"], message["data"][0]["state"]) == ("system.status", "ongoing")
    with pytest.raises(ConnectionResetError):
        client.drain()
    status.request("ping")
    assert status.message()["ret_msg"] == "pong"
    status.close()


def test_faults_are_listed_and_switched_off(simulator: Simulator) -> None:
    """``/sim/faults`` and ``kind=off``."""
    first = simulator.fault("mute", topic="a.B")["on"]["id"]
    second = simulator.fault("delay", ms=5)["on"]["id"]
    active = simulator.get("/sim/faults")["active"]
    assert [(each["id"], each["kind"]) for each in active] == [(first, "mute"), (second, "delay")]
    assert simulator.fault("off", id=first) == {"off": [first]}
    assert simulator.fault("off") == {"off": [second]}
    assert simulator.stats()["faults"] == 0
