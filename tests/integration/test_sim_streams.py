"""Clients at the simulated Bybit: operations, first data, limits, time-outs."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.simulator import RawClient, Simulator, is_acknowledgement


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture(autouse=True)
def _as_it_was(simulator: Simulator) -> Iterator[None]:
    before = simulator.settings()
    yield
    simulator.fault("off")
    simulator.settings(**before)


def test_frames_are_plain_text_frames(simulator: Simulator) -> None:
    """Dossier 2.1: text, final, unmasked, no extension (the client checks mask and RSV bits)."""
    with simulator.client() as client:
        client.request("ping")
        frame = client.frame()
    assert (frame.opcode, frame.is_final) == (1, True)


def test_conn_id_looks_like_the_venue_s(simulator: Simulator) -> None:
    """Dossier 9.1: 20 of ``[0-9a-v]``, a dash, 1 to 5 of ``[0-9a-z]``; one per connection."""
    ids = set()
    for _ in range(5):
        with simulator.client() as client:
            client.request("ping")
            ids.add(client.message()["conn_id"])
    assert len(ids) == 5
    assert all(re.fullmatch(r"[0-9a-v]{20}-[0-9a-z]{1,5}", text) for text in ids)


@pytest.mark.parametrize(
    ("product", "topic"),
    [
        ("linear", "orderbook.50.BTCUSDT"),
        ("linear", "orderbook.1000.ETHUSDT"),
        ("linear", "tickers.COIN700USDT"),
        ("spot", "tickers.BTCUSDT"),
        ("inverse", "kline.1.BTCUSD"),
        ("option", "orderbook.25.BTC-25JUN27-106000-P-USDT"),
    ],
)
def test_first_data_come_with_the_acknowledgement(simulator: Simulator, product: str, topic: str) -> None:
    """The snapshot of a topic comes within about a push interval, before or after the acknowledgement."""
    with simulator.client(product) as client:
        begin_s = time.monotonic()
        client.request("subscribe", topic)
        first_two = [client.message(), client.message()]
        assert time.monotonic() - begin_s < 0.3
    assert sum(is_acknowledgement(message) for message in first_two) == 1
    assert sum(message.get("topic") == topic for message in first_two) == 1


@pytest.mark.parametrize(("symbol", "within_s"), [("BTCUSDT", 1.5), ("COIN900USDT", 6.0)])
def test_trades_come_soon(simulator: Simulator, symbol: str, within_s: float) -> None:
    """A major trades within about a second, any symbol within about five."""
    with simulator.client() as client:
        client.subscribe(f"publicTrade.{symbol}")
        begin_s = time.monotonic()
        message = client.message()
    assert time.monotonic() - begin_s < within_s
    assert message["topic"] == f"publicTrade.{symbol}"


def test_update_ids_are_common_to_all_subscribers(simulator: Simulator) -> None:
    """Dossier 9.4: ``u`` +1 per delta, shared; the second client is spliced into the running chain."""
    topic = "orderbook.50.BTCUSDT"
    with simulator.client() as first, simulator.client() as second:
        first.subscribe(topic)
        first.collect(0.2)
        second.request("subscribe", topic)
        late = [message for message in second.collect(0.5) if "topic" in message]
        early = [message for message in first.collect(0.2) if "topic" in message]
    assert late[0]["type"] == "snapshot"
    ids = [message["data"]["u"] for message in late]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    by_id = {message["data"]["u"]: message for message in early}
    common = [message for message in late[1:] if message["data"]["u"] in by_id]
    assert len(common) > 5
    assert all(by_id[message["data"]["u"]] == message for message in common)


@pytest.mark.parametrize(("often", "position"), [(1.0, 0), (0.0, 1)])
def test_first_data_before_or_after_the_acknowledgement(simulator: Simulator, often: float, position: int) -> None:
    """Dossier 3.5: both happen; the probability is a setting."""
    simulator.settings(snapshot_first=often)
    with simulator.client() as client:
        for number in range(5):
            client.request("subscribe", f"orderbook.50.COIN{800 + number}USDT")
            found = client.until(is_acknowledgement)
            snapshots = [message for message in found if message.get("type") == "snapshot"]
            if position == 0:
                assert len(snapshots) == 1
            else:
                assert not snapshots
                client.until(lambda message: message.get("type") == "snapshot")


def test_acknowledgements_keep_the_order_of_the_requests(simulator: Simulator) -> None:
    """Also when their delay is drawn anew for each."""
    simulator.settings(ack_delay_ms=5)
    with simulator.client() as client:
        for number in range(40):
            client.request("subscribe", f"tickers.COIN{number}USDT", req_id=str(number))
        found: list[dict[str, Any]] = []
        while len(found) < 40:
            found += filter(is_acknowledgement, [client.message()])
    assert [message["req_id"] for message in found] == [str(number) for number in range(40)]


@pytest.mark.parametrize(
    ("form", "looks"),
    [
        ("xid", r"[0-9a-v]{20}-[0-9a-z]{1,5}"),
        ("uuid", r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
        ("hex", r"[0-9a-f]{16}-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]+-[0-9a-f]+"),
    ],
)
def test_connection_ids_of_every_form(simulator: Simulator, form: str, looks: str) -> None:
    """Dossier 2.1: xid-like today, UUIDs and long hex before; one of its own for each connection, in every answer."""
    simulator.settings(conn_id_form=form)
    ids = set()
    for product in ("linear", "spot", "option", "linear"):
        with simulator.client(product) as client:
            client.request("ping")
            pong = client.message()
            client.request("subscribe", "tickers.NOPE")
            assert client.message()["conn_id"] == pong["conn_id"]
        ids.add(pong["conn_id"])
    assert len(ids) == 4
    assert all(re.fullmatch(looks, one) for one in ids)


def test_settings_that_are_not_offered_are_refused(simulator: Simulator) -> None:
    """With what is wrong; nothing is changed."""
    before = simulator.settings()
    with pytest.raises(AssertionError, match="conn_id_form"):
        simulator.settings(conn_id_form="snowflake")
    assert simulator.settings() == before


def test_control_pings_are_answered_in_kind(simulator: Simulator) -> None:
    """Dossier 2.2: a control ping gets a control pong, and nothing else."""
    with simulator.client() as client:
        client.send(b"abc", opcode=9)
        frame = client.frame()
    assert (frame.opcode, frame.payload) == (10, b"abc")


def test_fragmented_request_is_understood(simulator: Simulator) -> None:
    """A message may come in pieces."""
    with simulator.client() as client:
        client.socket.sendall(bytes((0x01, 0x80 | 6)) + bytes(4) + b'{"op":')
        client.socket.sendall(bytes((0x80, 0x80 | 7)) + bytes(4) + b'"ping"}')
        assert client.message()["ret_msg"] == "pong"


@pytest.mark.parametrize("payload", [b"\x03\xe8bye", b"\x0f\x9f", b""])
def test_close_frame_is_answered(simulator: Simulator, payload: bytes) -> None:
    """RFC 6455: the close is echoed, whatever its code, then the socket ends."""
    with simulator.client() as client:
        client.send(payload, opcode=8)
        assert client.frame()[::2] == (8, payload)
        with pytest.raises((EOFError, ConnectionError)):
            client.frame()


def test_nonsense_leaves_the_socket_open(simulator: Simulator) -> None:
    """Dossier 3.4."""
    with simulator.client() as client:
        client.send(b"hello")
        assert client.message()["ret_msg"].startswith("Failed to decode incoming data:readObjectStart")
        client.request("ping")
        assert client.message()["ret_msg"] == "pong"


def test_unsubscribing_ends_the_data(simulator: Simulator) -> None:
    """The named topic stops, the other goes on."""
    with simulator.client() as client:
        client.subscribe("orderbook.50.BTCUSDT", "orderbook.50.ETHUSDT")
        client.request("unsubscribe", "orderbook.50.BTCUSDT")
        client.until(is_acknowledgement)
        topics = {message["topic"] for message in client.collect(0.5)}
    assert topics == {"orderbook.50.ETHUSDT"}


def test_quiet_level_one_is_repeated() -> None:
    """Dossier 4.1: an unchanged level 1 comes again after 3 s, with the same ``u``."""
    with Simulator("--rate", "0.0001") as quiet, quiet.client() as client:
        found = client.subscribe("orderbook.1.BTCUSDT")
        messages = [message for message in found if "topic" in message]
        while len(messages) < 2:
            messages.append(client.message())
    assert messages[0]["data"] == messages[1]["data"]
    assert 2900 < messages[1]["ts"] - messages[0]["ts"] < 3300


def test_statistics_tell_what_clients_did(simulator: Simulator) -> None:
    """Connections, requests, refusals and breaches of limits."""
    with simulator.client("spot") as client:
        client.request("ping")
        client.message()
        client.subscribe(*(f"publicTrade.COIN{number}USDT" for number in range(10)))
        client.subscribe(*(f"tickers.COIN{number}USDT" for number in range(11)))
        client.subscribe("publicTrade.NOPEUSDT")
        stats = simulator.stats()
        (mine,) = (each for each in stats["connections"] if each["product"] == "spot")
    assert mine["pings"] == 1
    assert mine["last_ping_s"] < 5
    assert mine["topics"] == [f"publicTrade.COIN{number}USDT" for number in range(10)]
    assert mine["args_characters"] == sum(len(topic) + 3 for topic in mine["topics"])
    assert (mine["requests"], mine["largest_request_args"]) == (4, 11)
    assert mine["frames_sent"] >= 4
    assert stats["violations"]["spot_args"] == 1
    assert stats["refused_requests"]["args size >10"] == 1
    assert stats["refused_requests"]["Invalid symbol"] >= 1
    assert stats["connection_attempts"] >= 1


def test_unknown_control_pages_and_words_are_refused(simulator: Simulator) -> None:
    """With words that say what there is."""
    for path, words in (
        ("/sim/nothing", "there are /sim/stats"),
        ("/sim/stats?x=1", '"x" means nothing here'),
        ("/sim/settings?ack_delay_ms=soon", "ack_delay_ms"),
        ("/sim/settings?colour=red", '"colour" means nothing here'),
        ("/sim/fault?kind=nonsense", "there is no fault"),
        ("/sim/fault?kind=off&id=x", "id is a number"),
        ("/sim/book", "no such book"),
    ):
        with pytest.raises(AssertionError, match=re.escape(words)):
            simulator.get(path)


def test_idle_connection_is_cut() -> None:
    """Dossier 2.3: nothing subscribed and nothing sent for 61 s (scaled); a subscribed one stays."""
    with Simulator("--time-factor", "0.01") as simulator:
        idle, busy = RawClient(simulator.port), RawClient(simulator.port)
        busy.subscribe("orderbook.50.BTCUSDT")
        begin_s = time.monotonic()
        with pytest.raises((EOFError, ConnectionError)):
            idle.frame()
        assert 0.5 < time.monotonic() - begin_s < 2
        busy.collect(0.3)
        assert simulator.stats()["totals"]["idle_cuts"] == 1
        idle.close()
        busy.close()


@pytest.mark.parametrize(
    ("product", "settings"),
    [("linear", {"cut_without_ping": "always", "silence_cut_s": 1}), ("option", {"option_ping_s": 1})],
)
def test_connection_without_ping_is_cut(product: str, settings: dict[str, object]) -> None:
    """Dossier 2.3, the stricter modes: a client that never pings is cut though data flow; one that pings stays."""
    topic = "publicTrade.BTC" if product == "option" else "orderbook.50.BTCUSDT"
    with Simulator() as simulator:
        simulator.settings(**settings)
        silent, pinging = RawClient(simulator.port, product), RawClient(simulator.port, product)
        silent.subscribe(topic)
        pinging.subscribe(topic)
        end_s = time.monotonic() + 2
        while time.monotonic() < end_s:
            pinging.request("ping")
            pinging.collect(0.2)
        with pytest.raises((EOFError, ConnectionError)):
            silent.drain()
        assert simulator.stats()["totals"]["unpinged_cuts"] == 1
        silent.close()
        pinging.close()


def test_client_that_does_not_read_is_cut() -> None:
    """Dossier 9.5, number 20: nothing is skipped within a connection; beyond the limit it ends."""
    with Simulator("--rate", "20") as simulator:
        simulator.settings(write_limit_bytes=100_000)
        client = RawClient(simulator.port)
        client.request("subscribe", *(f"orderbook.200.COIN{number}USDT" for number in range(200)))
        stats = simulator.wait_for(lambda stats: stats["totals"].get("slow_consumers_cut") == 1, 30)
        assert stats["connections"] == []
        client.close()


def test_breach_of_the_characters_may_end_the_connection(simulator: Simulator) -> None:
    """Dossier 9.3: refuse the request, or drop the connection (mode)."""
    topics = [f"orderbook.50.COIN{number}USDT" for number in range(1000)]
    simulator.settings(characters_text="too long")
    with simulator.client() as client:
        client.send(json.dumps({"op": "subscribe", "args": topics}).encode())
        assert client.message()["ret_msg"] == "too long"
        simulator.settings(cuts_on_characters=1)
        client.send(json.dumps({"op": "subscribe", "args": topics}).encode())
        with pytest.raises((EOFError, ConnectionError)):
            client.frame()
    assert simulator.stats()["violations"]["args_characters"] == 2


def test_equal_seeds_serve_equal_first_books() -> None:
    """``--seed`` decides the market."""

    def book(seed: str) -> Any:
        with Simulator("--seed", seed) as simulator, simulator.client() as client:
            client.request("subscribe", "orderbook.50.BTCUSDT")
            (snapshot,) = client.until(lambda message: message.get("type") == "snapshot")[-1:]
            return snapshot["data"]

    first = book("7")
    assert first == book("7")
    assert first != book("8")


def test_further_symbols_are_listed(tmp_path: Any) -> None:
    """``--symbols FILE``."""
    path = tmp_path / "symbols.txt"
    path.write_text("NOPEUSDT\nOTHERUSD\n")
    with Simulator("--symbols", str(path)) as simulator, simulator.client() as client:
        assert client.subscribe("tickers.NOPEUSDT")[-1]["success"]
        assert not client.subscribe("tickers.NOTHINGUSDT")[-1]["success"]


def test_hundreds_of_topics_at_once(simulator: Simulator) -> None:
    """Dossier 2.4: 172 book topics as frames of ten; all snapshots soon after the requests."""
    topics = [f"orderbook.50.COIN{number}USDT" for number in range(172)]
    with simulator.client() as client:
        begin_s = time.monotonic()
        for start in range(0, len(topics), 10):
            client.send(json.dumps({"op": "subscribe", "args": topics[start : start + 10]}).encode())
        waiting = set(topics)
        while waiting:
            message = client.message()
            if message.get("type") == "snapshot":
                waiting.discard(message["topic"])
        assert time.monotonic() - begin_s < 3
