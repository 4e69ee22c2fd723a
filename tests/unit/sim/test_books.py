"""Books of every depth as views of one market."""

import json
from typing import Any

import pytest

from feedhandler.sim.books import BestBook, Book, FullBook, History, Push, RpiBook, Stamp
from feedhandler.sim.listing import Instrument, Listing
from feedhandler.sim.market import Market, Side

NOW_NS = 1_760_000_000_000_000_000
MS = 1_000_000


def market(product: str = "linear", symbol: str = "BTCUSDT") -> Market:
    found = Listing().find(product, symbol)
    assert isinstance(found, Instrument)
    return Market(found, 1, NOW_NS)


def book(subject: Market, depth: int = 50, history: int = 0) -> Book:
    product, symbol = subject.instrument.product, subject.instrument.symbol
    made = Book(product, f"orderbook.{depth}.{symbol}", subject, depth, 20, history)
    made.resume(NOW_NS)
    return made


def decoded(payload: bytes | None) -> dict[str, Any]:
    assert payload is not None
    message: dict[str, Any] = json.loads(payload)
    return message


class Client:
    """What a client does with snapshots and deltas: the rules of dossier 5.1, and nothing else."""

    def __init__(self) -> None:
        self.b: dict[float, tuple[str, ...]] = {}
        self.a: dict[float, tuple[str, ...]] = {}
        self.u = 0

    def apply(self, message: dict[str, Any]) -> None:
        data = message["data"]
        if message["type"] == "snapshot":
            self.b, self.a = {}, {}
        else:
            assert data["u"] == self.u + 1
            assert data["b"] or data["a"]
        self.u = data["u"]
        for name, side in (("b", self.b), ("a", self.a)):
            prices = [float(level[0]) for level in data[name]]
            assert prices == sorted(prices, reverse=name == "b"), "best first"
            for price, *sizes in data[name]:
                if all(float(size) == 0 for size in sizes):
                    assert set(sizes) == {"0"}
                    assert float(price) in side, "a delete of an unknown level"
                    del side[float(price)]
                else:
                    assert side.get(float(price)) != tuple(sizes), "a change that is none"
                    side[float(price)] = tuple(sizes)

    def levels(self) -> "tuple[Levels, Levels]":
        return sorted(self.b.items(), reverse=True), sorted(self.a.items())


Levels = list[tuple[float, tuple[str, ...]]]


def window(subject: Book) -> tuple[Levels, Levels]:
    """What the market's window is now, written by the test's own hand."""
    instrument = subject.market.instrument

    def text(lots: int) -> str:
        padded = instrument.size_text(lots)
        return padded.rstrip("0").rstrip(".") if subject.is_trimmed and "." in padded else padded

    def levels(side: Side) -> Levels:
        keys = sorted(side.lots)[: subject.depth]
        return [(float(instrument.price_text(key * side.sign)), (text(side.lots[key]),)) for key in keys]

    return levels(subject.market.bids), levels(subject.market.asks)


@pytest.mark.parametrize(
    ("product", "symbol", "depth"),
    [
        ("linear", "BTCUSDT", 50),
        ("linear", "BTCUSDT", 200),
        ("linear", "BTCUSDT", 1000),
        ("spot", "BTCUSDT", 50),
        ("inverse", "BTCUSD", 200),
        ("linear", "COIN900USDT", 50),
        ("option", "BTC-25JUN27-106000-P-USDT", 25),
        ("option", "BTC-31OCT25-300000-C-USDT", 100),
    ],
)
def test_deltas_rebuild_the_window_at_every_update_id(product: str, symbol: str, depth: int) -> None:
    """Snapshot plus deltas give exactly the top of the market, at each ``u``; never crossed, never too deep."""
    subject = book(market(product, symbol), depth)
    client, now_ns = Client(), NOW_NS
    client.apply(decoded(subject.first(now_ns)))
    pushes = 0
    for _ in range(400):
        for _ in range(3):
            now_ns += subject.market.next_gap_ns()
            subject.market.step(now_ns)
        for payload in subject.publish(now_ns):
            client.apply(decoded(payload))
            pushes += 1
        bids, asks = client.levels()
        assert (bids, asks) == window(subject)
        assert not bids or not asks or bids[0][0] < asks[0][0]
        assert max(len(bids), len(asks)) <= depth
    assert pushes > 100


def test_nothing_is_published_when_nothing_changed() -> None:
    """Dossier 4.1: none if nothing changed, neither when only levels beyond the window did."""
    subject = book(market())
    assert subject.publish(NOW_NS) == []
    side = subject.market.bids
    side.put(side.keys[-1], side.lots[side.keys[-1]] + 1)
    assert subject.publish(NOW_NS) == []
    assert subject.publish(NOW_NS) == []


def test_snapshot_is_the_last_published_state_served_now() -> None:
    """Dossier 5.5: ``u``, ``seq`` and ``cts`` of the last push, ``ts`` of the serving."""
    subject = book(market())
    published = decoded(subject.first(NOW_NS))
    subject.market.step(NOW_NS + 10 * MS)
    later = decoded(subject.first(NOW_NS + 500 * MS))
    assert later.pop("ts") == published.pop("ts") + 500
    assert later == published


@pytest.mark.parametrize(
    ("product", "symbol", "keys"),
    [
        ("linear", "BTCUSDT", ["topic", "type", "ts", "data", "cts"]),
        ("inverse", "BTCUSD", ["topic", "type", "ts", "data", "cts"]),
        ("spot", "BTCUSDT", ["topic", "ts", "type", "data", "cts"]),
        ("option", "BTC-25JUN27-106000-P-USDT", ["topic", "ts", "type", "id", "data", "cts"]),
    ],
)
def test_keys_are_in_the_products_order(product: str, symbol: str, keys: list[str]) -> None:
    """Dossier 4, table of key orders."""
    message = decoded(book(market(product, symbol)).first(NOW_NS))
    assert list(message) == keys
    assert list(message["data"]) == ["s", "b", "a", "u", "seq"]


def test_option_id_names_topic_sequence_and_time() -> None:
    """Dossier 4.1: ``id`` is ``<topic>-<seq>-<ts>``."""
    message = decoded(book(market("option", "BTC-25JUN27-106000-P-USDT"), 25).first(NOW_NS))
    assert message["id"] == f"{message['topic']}-{message['data']['seq']}-{message['ts']}"


def test_futures_pad_and_spot_trims() -> None:
    """Dossier 4: futures books are padded to the tick, spot is trimmed."""
    futures = decoded(book(market()).first(NOW_NS))["data"]
    assert all(len(price.partition(".")[2]) == 2 and len(size.partition(".")[2]) == 3 for price, size in futures["b"])
    spot = decoded(book(market("spot")).first(NOW_NS))["data"]
    assert not any(text.endswith(("0", ".")) and "." in text for level in spot["b"] for text in level)


def test_next_subscriber_after_a_pause_finds_a_later_update_id() -> None:
    """The venue went on publishing while nobody listened: ``u`` has moved by about the pushes missed."""
    subject = book(market())
    before = subject.update_id
    subject.pause(NOW_NS)
    subject.market.stir(NOW_NS + 10_000 * MS)
    subject.resume(NOW_NS + 10_000 * MS)
    assert subject.update_id == before + 500
    subject.pause(NOW_NS + 10_000 * MS)
    subject.resume(NOW_NS + 20_000 * MS)
    assert subject.update_id == before + 500, "nothing changed, nothing was published"


def test_best_book_sends_snapshots_of_changes_only() -> None:
    """Dossier 4.1: level 1 has no deltas; a change deeper down is none."""
    subject = BestBook("linear", "orderbook.1.BTCUSDT", market(), 10, 0)
    subject.resume(NOW_NS)
    first = decoded(subject.first(NOW_NS))
    side = subject.market.asks
    side.put(side.keys[3], side.lots[side.keys[3]] + 1)
    assert subject.publish(NOW_NS + MS) == []
    side.put(side.keys[0], side.lots[side.keys[0]] + 1)
    (payload,) = subject.publish(NOW_NS + 2 * MS)
    message = decoded(payload)
    assert message["type"] == "snapshot"
    assert message["data"]["u"] == first["data"]["u"] + 1
    assert [len(message["data"][name]) for name in "ba"] == [1, 1]


def test_best_book_trims_its_numbers() -> None:
    """Dossier 4: since 2026 the futures level-1 publisher trims, while deeper books stay padded."""
    subject = BestBook("linear", "orderbook.1.BTCUSDT", market(), 10, 0)
    subject.resume(NOW_NS)
    price, size = decoded(subject.first(NOW_NS))["data"]["b"][0]
    assert not price.endswith("0")
    assert not size.endswith("0")


def test_quiet_best_book_is_repeated_after_three_seconds() -> None:
    """Dossier 4.1: same ``u``, ``seq`` and ``cts``, new ``ts``; counted from the last push."""
    subject = BestBook("linear", "orderbook.1.BTCUSDT", market(), 10, 0)
    subject.resume(NOW_NS)
    first = decoded(subject.first(NOW_NS))
    assert subject.next_wake_ns(NOW_NS) == NOW_NS + 3000 * MS
    assert subject.wake(NOW_NS + 2999 * MS) == []
    (payload,) = subject.wake(NOW_NS + 3000 * MS)
    again = decoded(payload)
    assert again.pop("ts") == first.pop("ts") + 3000
    assert again == first
    assert subject.next_wake_ns(NOW_NS) == NOW_NS + 6000 * MS


def rpi_book(product: str = "linear") -> RpiBook:
    subject = RpiBook(product, "orderbook.rpi.BTCUSDT", market(product), 100, 0)
    subject.resume(NOW_NS)
    return subject


@pytest.mark.parametrize("product", ["linear", "spot"])
def test_rpi_book_chains_like_the_others(product: str) -> None:
    """Dossier 4.2: triples; a level is gone only when both sizes are "0"."""
    subject = rpi_book(product)
    client, now_ns = Client(), NOW_NS
    first = decoded(subject.first(now_ns))
    assert list(first) == ["topic", "ts", "type", "data", "cts"]
    assert all(len(level) == 3 for name in "ba" for level in first["data"][name])
    client.apply(first)
    pushes = 0
    for _ in range(300):
        now_ns += subject.market.next_gap_ns()
        subject.market.step(now_ns)
        for payload in subject.publish(now_ns):
            client.apply(decoded(payload))
            pushes += 1
        assert max(len(client.b), len(client.a)) <= 50
    assert pushes > 50


def test_rpi_size_that_would_cross_is_hidden() -> None:
    """Dossier 4.2: an RPI order at or through the other side's ordinary best price is not shown."""
    subject = rpi_book()
    best_ask = subject.market.asks.keys[0]
    subject.market.rpi_bids.clear()
    subject.market.rpi_bids |= {-best_ask: 5, -best_ask - 1: 6, -(best_ask - 1): 7}
    shown = subject._window(subject.market.bids)
    assert -best_ask not in shown
    assert -best_ask - 1 not in shown
    assert shown[-(best_ask - 1)][1] == 7
    for key in list(subject.market.asks.keys):
        subject.market.asks.put(key, 0)
    assert subject._window(subject.market.bids)[-best_ask] == (0, 5)


def test_full_book_has_no_snapshot_and_chains() -> None:
    """Dossier 4.3: deltas only, ``u`` +1."""
    subject = FullBook("spot", "orderbook.full.BTCUSDT", market("spot"), 200, 0)
    subject.resume(NOW_NS)
    assert subject.first(NOW_NS) is None
    now_ns, ids = NOW_NS, []
    for _ in range(50):
        now_ns += subject.market.next_gap_ns()
        subject.market.step(now_ns)
        ids += [decoded(payload)["data"]["u"] for payload in subject.publish(now_ns)]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(subject.bids) > 1000


def test_restart_is_a_snapshot_with_update_id_one() -> None:
    """Dossier 5.1, rule 4; the next delta has ``u`` 2."""
    subject = book(market())
    client = Client()
    client.apply(decoded(subject.restart(NOW_NS)[0]))
    assert client.u == 1
    change(subject)
    client.apply(decoded(subject.publish(NOW_NS)[0]))
    assert client.u == 2


def test_recount_makes_the_next_delta_the_first() -> None:
    """Dossier 9.5: a restart signalled by a delta with ``u`` 1."""
    subject = book(market())
    subject.recount()
    change(subject)
    message = decoded(subject.publish(NOW_NS)[0])
    assert (message["type"], message["data"]["u"]) == ("delta", 1)


def test_renewal_is_the_next_state_as_a_snapshot() -> None:
    """Dossier 5.1, rule 3: a snapshot at any time; the chain goes on from it."""
    subject = book(market())
    client = Client()
    client.apply(decoded(subject.first(NOW_NS)))
    before = client.u
    change(subject)
    client.apply(decoded(subject.renew(NOW_NS)[0]))
    assert client.u == before + 1
    change(subject)
    client.apply(decoded(subject.publish(NOW_NS)[0]))
    assert client.levels() == window(subject)


@pytest.mark.parametrize("keeps_asks", [False, True])
def test_blank_snapshot_is_filled_by_the_next_delta(keeps_asks: bool) -> None:
    """Dossier 9.5: an empty snapshot, or a one-sided book; the chain itself is right."""
    subject = book(market())
    client = Client()
    client.apply(decoded(subject.blank(NOW_NS, keeps_asks=keeps_asks)[0]))
    assert (len(client.b), len(client.a)) == (0, 50 if keeps_asks else 0)
    client.apply(decoded(subject.publish(NOW_NS)[0]))
    assert client.levels() == window(subject)


def change(subject: Book) -> None:
    side = subject.market.bids
    side.put(side.keys[0], side.lots[side.keys[0]] + 1)


def test_truth_is_the_client_s_book_at_every_update_id() -> None:
    """Dossier 9.6: per ``u`` the exact book, across restarts, renewals and blanks."""
    subject = book(market(), history=100)
    client = Client()
    client.apply(decoded(subject.first(NOW_NS)))
    expected = {}
    now_ns = NOW_NS
    for number in range(60):
        now_ns += subject.market.next_gap_ns()
        subject.market.step(now_ns)
        jumps = {20: subject.renew, 30: subject.restart}
        payloads = jumps[number](now_ns) if number in jumps else subject.publish(now_ns)
        if number == 40:
            payloads = subject.blank(now_ns, keeps_asks=False)
        for payload in payloads:
            message = decoded(payload)
            client.apply(message)
            expected[client.u] = (client.levels(), message["data"]["seq"], message["cts"])
    assert len(expected) > 40
    for update_id, (levels, sequence, event_ms) in expected.items():
        truth = decoded(subject.truth(update_id))
        told = Client()
        told.apply({"type": "snapshot", "data": truth})
        assert (told.levels(), truth["seq"], truth["cts"]) == (levels, sequence, event_ms)
    assert subject.truth(10**12) is None


def test_truth_is_kept_only_when_asked_for() -> None:
    """Without ``--truth`` no memory is spent."""
    subject = book(market())
    change(subject)
    subject.publish(NOW_NS)
    assert subject.truth(subject.update_id) is None


def test_history_forgets_the_oldest() -> None:
    """The capacity bounds memory; what is known is said."""
    history = History(2, Stamp(10, 0, 0), {1: (5,), 2: (6,)}, {})
    history.add(Push(Stamp(11, 0, 0), {1: None, 3: (7,)}, {4: (1,)}))
    history.add(Push(Stamp(12, 0, 0), {9: None}, {4: (2,)}))
    history.add(Push(Stamp(13, 0, 0), {}, {4: None}))
    assert history.known == (11, 13)
    assert history.at(10) is None
    assert history.at(11) == (Stamp(11, 0, 0), {2: (6,), 3: (7,)}, {4: (1,)})
    assert history.at(13) == (Stamp(13, 0, 0), {2: (6,), 3: (7,)}, {})
    assert History(2, Stamp(7, 0, 0), {}, {}).known == (7, 7)
