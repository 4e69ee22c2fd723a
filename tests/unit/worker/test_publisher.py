"""Records leave here: the bytes on a real ZeroMQ wire, whose path it is, and that nobody has to wait."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import zmq
from support.feed import wait_until

from feedhandler import runtime, wire
from feedhandler.worker.publisher import BindError, Publisher

SUBJECT = "linear.orderbook.1.BTCUSDT"
PREFIX = wire.prefix(SUBJECT)
HEAD = wire.head(PREFIX, wire.SNAPSHOT, wire.SIMULATED, 3, 1_780_000_000)
BINDER = """
import sys, time
from feedhandler.worker.publisher import Publisher
publisher = Publisher([sys.argv[1]], send_high_water_mark=10)
print("bound", flush=True)
time.sleep(60)
"""


@contextmanager
def bound(*addresses: str, send_high_water_mark: int = 1000, cpu: tuple[int, ...] = ()) -> Iterator[Publisher]:
    publisher = Publisher(addresses, send_high_water_mark=send_high_water_mark, cpu=cpu)
    try:
        yield publisher
    finally:
        publisher.close()


@contextmanager
def subscriber(address: str, *filters: bytes) -> Iterator[zmq.Socket[bytes]]:
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVTIMEO, 10_000)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(address)
    for one in filters:
        socket.subscribe(one)
    try:
        yield socket
    finally:
        socket.close()
        context.term()


@contextmanager
def binding_process(address: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds an address."""
    process = subprocess.Popen([sys.executable, "-c", BINDER, address], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "bound\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def tasks() -> list[str]:
    """Return the ids of our threads."""
    return [one.name for one in Path("/proc/self/task").iterdir()]


def address_in(directory: Path) -> str:
    return f"ipc://{directory}/linear.pub"


def await_subscriptions(publisher: Publisher, count: int) -> list[bytes]:
    found: list[bytes] = []

    def enough() -> bool:
        found.extend(publisher.subscriptions())
        return len(found) >= count

    wait_until(enough, f"{count} subscriptions")
    return found


# What is on the wire.


def test_message_is_one_part_of_subject_zero_header_payload(tmp_path: Path) -> None:
    """Byte for byte as the wire format says, little-endian; the time of publication is taken just before the send."""
    with bound(address_in(tmp_path)) as publisher, subscriber(address_in(tmp_path), PREFIX) as strategy:
        await_subscriptions(publisher, 1)
        before_ns = time.time_ns()
        publisher.publish(HEAD, 2**63 + 5, -7, b'{"topic":"x"}')
        message = strategy.recv()
        after_ns = time.time_ns()
        assert not strategy.getsockopt(zmq.RCVMORE)
    body = message.removeprefix(b"linear.orderbook.1.BTCUSDT\x00")
    assert len(message) - len(body) == 27
    assert body[:8] == bytes([1, 1, 8, 3]) + (1_780_000_000).to_bytes(4, "little")
    assert body[8:16] == (2**63 + 5).to_bytes(8, "little")
    assert body[16:24] == (-7).to_bytes(8, "little", signed=True)
    assert before_ns <= int.from_bytes(body[24:32], "little", signed=True) <= after_ns
    assert body[32:] == b'{"topic":"x"}'


def test_terminator_keeps_a_longer_subject_out(tmp_path: Path) -> None:
    """With the zero byte exactly one subject arrives, without it every subject that begins so."""
    address = address_in(tmp_path)
    longer = wire.head(wire.prefix(SUBJECT + "-26SEP25"), wire.SNAPSHOT, 0, 0, 1)
    with (
        bound(address) as publisher,
        subscriber(address, PREFIX) as exact,
        subscriber(address, PREFIX[:-1]) as prefix,
    ):
        await_subscriptions(publisher, 2)
        publisher.publish(longer, 1, 0, b"longer")
        publisher.publish(HEAD, 1, 0, b"exact")
        assert wire.parse(exact.recv()).payload == b"exact"
        assert [wire.parse(prefix.recv()).payload for _ in range(2)] == [b"longer", b"exact"]


def test_every_address_is_served(tmp_path: Path) -> None:
    """Several addresses, one of them tcp, carry the same records."""
    with (
        bound(address_in(tmp_path), "tcp://127.0.0.1:*") as publisher,
        subscriber(publisher._socket.getsockopt_string(zmq.LAST_ENDPOINT), b"") as far,
        subscriber(address_in(tmp_path), b"") as near,
    ):
        await_subscriptions(publisher, 2)
        publisher.publish(HEAD, 1, 0, b"x")
        assert near.recv() == far.recv()


# Who subscribes.


def test_every_new_subscription_is_reported(tmp_path: Path) -> None:
    """Also of a filter that another strategy has already; an unsubscription is not one."""
    address = address_in(tmp_path)
    with bound(address) as publisher, subscriber(address, PREFIX) as one, subscriber(address, PREFIX) as other:
        assert await_subscriptions(publisher, 2) == [PREFIX, PREFIX]
        other.unsubscribe(PREFIX)
        one.unsubscribe(PREFIX)
        one.subscribe(b"linear.")
        assert await_subscriptions(publisher, 1) == [b"linear."]


def test_polling_finds_every_subscription_made_during_a_burst_of_sends(tmp_path: Path) -> None:
    """A send swallows the descriptor's signal, so the worker polls: none of thousands is missed, in bounded rounds."""
    address = address_in(tmp_path)
    filters = [wire.prefix(f"linear.tickers.S{number}") for number in range(3000)]
    with bound(address) as publisher, subscriber(address, *filters):
        found: list[bytes] = []
        deadline_s = time.monotonic() + 20
        while len(found) < len(filters) and time.monotonic() < deadline_s:
            for _ in range(200):
                publisher.publish(HEAD, 1, 0, b"x" * 300)
            fresh = publisher.subscriptions()
            assert len(fresh) <= 1000
            found += fresh
        assert sorted(found) == sorted(filters)


def test_descriptor_tells_of_a_subscription(tmp_path: Path) -> None:
    """What the loop watches becomes readable."""
    address = address_in(tmp_path)
    with bound(address) as publisher:
        poller = zmq.Poller()
        poller.register(publisher.descriptor, zmq.POLLIN)
        publisher.subscriptions()
        with subscriber(address, PREFIX):
            assert poller.poll(10_000)
            assert await_subscriptions(publisher, 1) == [PREFIX]


# Nobody waits.


def test_slow_strategy_loses_its_own_records_and_holds_nobody_up(tmp_path: Path) -> None:
    """Sends go on at full speed past a strategy that does not read; the one that reads misses nothing."""
    address = address_in(tmp_path)
    payload = b"x" * 500
    with (
        bound(address, send_high_water_mark=2000) as publisher,
        subscriber(address, PREFIX) as slow,
        subscriber(address, PREFIX) as fast,
    ):
        await_subscriptions(publisher, 2)
        for sequence in range(1, 20_001):
            publisher.publish(HEAD, sequence, 0, payload)
            if sequence % 50 == 0:
                for expected in range(sequence - 49, sequence + 1):
                    assert wire.parse(fast.recv()).sequence == expected
        slow.setsockopt(zmq.RCVTIMEO, 200)
        kept = 0
        try:
            while True:
                slow.recv()
                kept += 1
        except zmq.Again:
            pass
        assert 0 < kept < 20_000


def test_send_without_anybody_there_is_silent(tmp_path: Path) -> None:
    """Strategies come and go."""
    with bound(address_in(tmp_path)) as publisher:
        for sequence in range(1000):
            publisher.publish(HEAD, sequence, 0, b"x")


def test_last_records_leave_before_the_end(tmp_path: Path) -> None:
    """Closing right after a send loses nothing for who reads."""
    address = address_in(tmp_path)
    with subscriber(address, PREFIX) as strategy:
        publisher = Publisher([address], send_high_water_mark=100_000)
        await_subscriptions(publisher, 1)
        for sequence in range(500):
            publisher.publish(HEAD, sequence, 0, b"x" * 1000)
        publisher.close()
        assert [wire.parse(strategy.recv()).sequence for _ in range(500)] == list(range(500))


def test_end_does_not_wait_for_who_does_not_read(tmp_path: Path) -> None:
    """Linger is bounded: the supervisor promises to stop within 5 s."""
    address = address_in(tmp_path)
    publisher = Publisher([address], send_high_water_mark=100_000)
    with subscriber(address, PREFIX) as strategy:
        strategy.setsockopt(zmq.RCVHWM, 1)
        await_subscriptions(publisher, 1)
        for sequence in range(20_000):
            publisher.publish(HEAD, sequence, 0, b"x" * 1000)
        started_s = time.monotonic()
        publisher.close()
        assert time.monotonic() - started_s < 2


# Whose path it is.


def test_live_path_is_refused_in_one_line_and_its_owner_undisturbed(tmp_path: Path) -> None:
    """The line names address and process; the first one's subscribers notice nothing, new ones reach it."""
    address = address_in(tmp_path)
    with bound(address) as first, subscriber(address, PREFIX) as early:
        await_subscriptions(first, 1)
        with pytest.raises(BindError) as refusal:
            Publisher([address], send_high_water_mark=10)
        assert str(refusal.value) == f"cannot bind {address}: process {os.getpid()} publishes there"
        with subscriber(address, PREFIX) as late:
            await_subscriptions(first, 1)
            first.publish(HEAD, 1, 0, b"still here")
            assert wire.parse(early.recv()).payload == wire.parse(late.recv()).payload == b"still here"


def test_live_path_of_another_process_is_refused(tmp_path: Path) -> None:
    """The lock holds across processes."""
    address = address_in(tmp_path)
    with binding_process(address) as process, pytest.raises(BindError, match=f"process {process.pid} publishes there"):
        Publisher([address], send_high_water_mark=10)


def test_path_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    """A stale socket file and lock file are in nobody's way."""
    address = address_in(tmp_path)
    with binding_process(address) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / "linear.pub").exists()
    with bound(address) as publisher, subscriber(address, PREFIX) as strategy:
        await_subscriptions(publisher, 1)
        publisher.publish(HEAD, 1, 0, b"x")
        assert wire.parse(strategy.recv()).payload == b"x"


def test_nothing_is_left_after_the_end(tmp_path: Path) -> None:
    """Socket and lock are gone, and the path can be bound again."""
    for _ in range(2):
        with bound(address_in(tmp_path)):
            assert {one.name for one in tmp_path.iterdir()} == {"linear.pub", "linear.pub.lock"}
        assert list(tmp_path.iterdir()) == []


def test_refusal_of_a_second_address_gives_the_first_back(tmp_path: Path) -> None:
    """All addresses or none."""
    with bound(f"ipc://{tmp_path}/taken.pub"):
        with pytest.raises(BindError):
            Publisher([address_in(tmp_path), f"ipc://{tmp_path}/taken.pub"], send_high_water_mark=10)
        assert {one.name for one in tmp_path.iterdir()} == {"taken.pub", "taken.pub.lock"}


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ipc:///nonexistent/linear.pub", "No such file or directory"),
        ("tcp://203.0.113.1:5600", "Cannot assign requested address"),
        ("tcp://127.0.0.1:http", "Invalid argument"),
        ("carrier-pigeon://coo", "Protocol not supported"),
    ],
)
def test_impossible_address_is_refused_in_one_line(address: str, words: str) -> None:
    """The line names the address and the reason."""
    with pytest.raises(BindError) as refusal:
        Publisher([address], send_high_water_mark=10)
    assert str(refusal.value).startswith(f"cannot bind {address}: ")
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("kind", ["directory", "file", "link"])
def test_what_is_no_socket_is_refused_and_kept(tmp_path: Path, kind: str) -> None:
    """It is not ours to replace, and nothing of ours is left."""
    path = tmp_path / "linear.pub"
    match kind:
        case "directory":
            path.mkdir()
        case "file":
            path.write_text("notes")
        case "link":
            path.symlink_to("/dev/null")
    with pytest.raises(BindError) as refusal:
        Publisher([address_in(tmp_path)], send_high_water_mark=10)
    assert str(refusal.value) == f"cannot bind {address_in(tmp_path)}: something that is no socket stands there"
    assert (path.is_dir(), path.is_symlink()) == (kind == "directory", kind == "link")
    assert [one.name for one in tmp_path.iterdir()] == ["linear.pub"]


@pytest.mark.parametrize(("directory_mode", "socket_mode"), [(0o700, 0o700), (0o750, 0o770)])
def test_socket_is_open_to_those_who_may_enter_its_directory(
    tmp_path: Path, directory_mode: int, socket_mode: int
) -> None:
    """Connecting needs write permission; the directory decides who gets that far, whatever the umask."""
    tmp_path.chmod(directory_mode)
    before = os.umask(0)
    try:
        with bound(address_in(tmp_path)):
            assert stat.S_IMODE((tmp_path / "linear.pub").stat().st_mode) == socket_mode
    finally:
        os.umask(before)


def test_socket_belongs_to_the_group_of_its_directory(tmp_path: Path) -> None:
    """`runtime.group` need not be the owner's first group, which a new file has."""
    others = [gid for gid in os.getgroups() if gid != os.getegid()]
    gid = others[0] if others else os.getegid() + 1
    try:
        os.chown(tmp_path, -1, gid)
    except PermissionError:
        pytest.skip("this user is in no second group")
    tmp_path.chmod(0o750)
    with bound(address_in(tmp_path)):
        found = (tmp_path / "linear.pub").stat()
        assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (gid, 0o770)


def test_zeromqs_threads_run_on_the_cores_they_are_given(tmp_path: Path) -> None:
    """The affinity is that of the kernel's books, for every thread that ZeroMQ started."""
    core = min(os.sched_getaffinity(0))
    before = set(tasks())
    with bound(address_in(tmp_path), cpu=(core,)):
        started = set(tasks()) - before
        assert started
        wait_until(lambda: all(os.sched_getaffinity(int(task)) == {core} for task in started), "pinned threads")


# Another takes the path over.


@contextmanager
def taking_over(*addresses: str) -> Iterator[Publisher]:
    """A publisher that has bound nothing yet."""
    publisher = Publisher(addresses, send_high_water_mark=1000, bind=False)
    try:
        yield publisher
    finally:
        publisher.close()


def test_path_given_back_is_taken_over_and_connections_stay(tmp_path: Path) -> None:
    """Whoever is connected hears the one before to its end; whoever connects from then on hears the other alone."""
    address = address_in(tmp_path)
    with taking_over(address) as new, subscriber(address, PREFIX) as early:
        with bound(address) as old:
            await_subscriptions(old, 1)
            new.bind_free()
            assert new.unbound == [address], "it is not taken before it is given"
            old.give_back()
            new.bind_free()
            assert new.unbound == []
            with subscriber(address, PREFIX) as late:
                await_subscriptions(new, 1)
                old.publish(HEAD, 1, 0, b"old")
                new.publish(HEAD, 1, 0, b"new")
                assert wire.parse(early.recv()).payload == b"old"
                assert wire.parse(late.recv()).payload == b"new"
                assert old.subscriptions() == new.subscriptions() == []
        assert {one.name for one in tmp_path.iterdir()} == {"linear.pub", "linear.pub.lock"}
        # The one before has ended: its strategies come over by connecting again. A SUB subscribes anew when it is read.
        wait_until(lambda: early.poll(10) or new.subscriptions() == [PREFIX], "the strategy comes over")
        new.publish(HEAD, 2, 0, b"new")
        assert wire.parse(early.recv()).payload == b"new"
    assert list(tmp_path.iterdir()) == []


def test_path_is_never_missing_and_never_open_to_others(tmp_path: Path) -> None:
    """While it changes hands, again and again, everybody who connects reaches somebody; its rights are always its own."""
    address, path = address_in(tmp_path), tmp_path / "linear.pub"
    stop, looks = threading.Event(), 0
    findings: set[int | OSError] = set()

    def look() -> None:
        nonlocal looks
        while not stop.is_set():
            looks += 1
            with closing(socket.socket(socket.AF_UNIX)) as client:
                try:
                    client.connect(str(path))
                    findings.add(stat.S_IMODE(path.stat().st_mode))
                except OSError as error:
                    findings.add(error)

    with ExitStack() as stack:
        publisher = stack.enter_context(bound(address))
        looker = threading.Thread(target=look)
        looker.start()
        try:
            for _ in range(30):
                publisher.give_back()
                publisher = stack.enter_context(taking_over(address))
                publisher.bind_free()
                assert publisher.unbound == []
        finally:
            stop.set()
            looker.join()
    assert findings == {0o700}
    assert looks > 30
    assert list(tmp_path.iterdir()) == []


def test_hundreds_who_connect_at_once_all_reach_the_new_one(tmp_path: Path) -> None:
    """When a worker is replaced, everybody connects in the same moment."""
    address = address_in(tmp_path)
    context = zmq.Context()
    with bound(address) as old, taking_over(address) as new:
        old.give_back()
        new.bind_free()
        sockets = [context.socket(zmq.SUB) for _ in range(300)]
        try:
            for one in sockets:
                one.setsockopt(zmq.RECONNECT_IVL, -1)  # a connection that is refused is not tried again
                one.setsockopt(zmq.RCVTIMEO, 10_000)
                one.subscribe(PREFIX)
                one.connect(address)
            await_subscriptions(new, len(sockets))
            new.publish(HEAD, 1, 0, b"x")
            assert {wire.parse(one.recv()).payload for one in sockets} == {b"x"}
        finally:
            for one in sockets:
                one.close(0)
            context.term()
    assert list(tmp_path.iterdir()) == []


def test_path_given_back_that_nobody_took_is_removed_at_the_end(tmp_path: Path) -> None:
    """Until then it leads to who gave it back."""
    address = address_in(tmp_path)
    with bound(address) as publisher, subscriber(address, PREFIX):
        publisher.give_back()
        await_subscriptions(publisher, 1)
        assert {one.name for one in tmp_path.iterdir()} == {"linear.pub"}
    assert list(tmp_path.iterdir()) == []


def test_path_that_another_process_took_and_died_on_is_taken_again(tmp_path: Path) -> None:
    """Its dead socket is no more in the way than any other; who gave the path back does not remove it."""
    address = address_in(tmp_path)
    with bound(address) as publisher:
        publisher.give_back()
        with binding_process(address) as process:
            process.kill()
            process.wait()
        publisher.close()
        assert (tmp_path / "linear.pub").exists()
    with bound(address) as publisher, subscriber(address, PREFIX):
        await_subscriptions(publisher, 1)
    assert list(tmp_path.iterdir()) == []


def test_successor_that_bound_nothing_leaves_everything_alone(tmp_path: Path) -> None:
    """Its end is not seen by anybody."""
    address = address_in(tmp_path)
    with bound(address) as old, subscriber(address, PREFIX) as strategy:
        await_subscriptions(old, 1)
        with taking_over(address) as new:
            new.bind_free()
        old.publish(HEAD, 1, 0, b"x")
        assert wire.parse(strategy.recv()).payload == b"x"
        assert {one.name for one in tmp_path.iterdir()} == {"linear.pub", "linear.pub.lock"}


def test_addresses_without_a_path_are_bound_when_the_one_before_has_ended(tmp_path: Path) -> None:
    """Two sockets cannot have them at the same time; the path beside them does not wait for that."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        tcp = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    abstract = f"ipc://@feedhandler-test-{os.getpid()}"
    with taking_over(tcp, address_in(tmp_path), abstract) as new:
        with bound(tcp, address_in(tmp_path), abstract) as old:
            old.give_back()
            new.bind_free()
            assert new.unbound == [tcp, abstract]

        def all_bound() -> bool:
            new.bind_free()
            return not new.unbound

        wait_until(all_bound, "the other addresses")
        with subscriber(tcp, PREFIX), subscriber(abstract, PREFIX):
            await_subscriptions(new, 2)


def test_successor_says_what_can_never_be_bound() -> None:
    """Waiting helps only where somebody has the address."""
    with (
        taking_over("ipc:///nonexistent/linear.pub") as new,
        pytest.raises(BindError, match="No such file or directory"),
    ):
        new.bind_free()


def test_longest_path_there_can_be_is_bound(tmp_path: Path) -> None:
    """The passing name beside it may be longer than a Unix socket's may be: then it is reached another way."""
    for length in (runtime.MAX_IPC_PATH_BYTES, len(str(tmp_path)) + 2):
        name = "x" * (length - len(str(tmp_path)) - 1)
        address = f"ipc://{tmp_path}/{name}"
        with bound(address) as publisher, subscriber(address, PREFIX) as strategy:
            await_subscriptions(publisher, 1)
            publisher.publish(HEAD, 1, 0, b"x")
            assert wire.parse(strategy.recv()).payload == b"x"
        assert list(tmp_path.iterdir()) == []
    deep = tmp_path / ("d" * (runtime.MAX_IPC_PATH_BYTES - len(str(tmp_path)) - 3))
    deep.mkdir()
    with bound(f"ipc://{deep}/x") as publisher, subscriber(f"ipc://{deep}/x", PREFIX):
        await_subscriptions(publisher, 1)
    assert list(deep.iterdir()) == []


def test_path_beyond_that_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    """The configuration is checked for that; the line is for who did without."""
    name = "x" * (runtime.MAX_IPC_PATH_BYTES + 1 - len(str(tmp_path)) - 1)
    with pytest.raises(BindError, match="File name too long"):
        Publisher([f"ipc://{tmp_path}/{name}"], send_high_water_mark=10)
    assert list(tmp_path.iterdir()) == []


def test_rest_of_one_killed_while_it_bound_is_swept_away(tmp_path: Path) -> None:
    """Between making the socket and putting it in its place a process may be killed."""
    address = address_in(tmp_path)
    left = runtime.SocketPath(tmp_path / "linear.pub")
    assert left.take() is None
    left.listen().close()
    left.give_back()
    (rest,) = tmp_path.iterdir()
    with bound(address), subscriber(address, PREFIX):
        assert not rest.exists()
    assert list(tmp_path.iterdir()) == []


def test_end_in_a_directory_that_is_gone_is_quiet(tmp_path: Path) -> None:
    """There is nothing left to remove."""
    directory = tmp_path / "run"
    directory.mkdir()
    for give_back in (False, True):
        directory.mkdir(exist_ok=True)
        publisher = Publisher([f"ipc://{directory}/linear.pub"], send_high_water_mark=10)
        if give_back:
            publisher.give_back()
        shutil.rmtree(directory)
        publisher.close()
