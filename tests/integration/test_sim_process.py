"""The simulated Bybit as a process: starting, announcing, ending."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.simulator import ROOT, HandshakeError, RawClient, Simulator


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "feedhandler.sim", *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_at_once_and_quietly(number: int) -> None:
    """Ctrl-C and SIGTERM: exit 0, no traceback, also with clients connected."""
    simulator = Simulator(ends_with_us=False)
    client = RawClient(simulator.port)
    client.subscribe("orderbook.50.BTCUSDT")
    begin_s = time.monotonic()
    assert simulator.stop(number) == (0, "")
    assert time.monotonic() - begin_s < 1.0
    client.close()


def test_announces_address_paths_and_where_faults_are_described() -> None:
    """One line on stdout, and the page it names exists."""
    with Simulator() as simulator:
        assert f"ws://127.0.0.1:{simulator.port}/v5/public/{{spot,linear,inverse,option}}" in simulator.announcement
        page = f"http://127.0.0.1:{simulator.port}/sim/faults"
        assert page in simulator.announcement
        assert simulator.get("/sim/faults")["kinds"]["skip"]["hits"] == "data"


def test_port_in_use_is_one_clear_line() -> None:
    """Exit 3: could not start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--port", str(port))
    assert ended.returncode == 3
    assert ended.stderr == f"feedhandler sim: 127.0.0.1:{port} is in use; choose another with --port\n"
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rate", "0"), "--rate"),
        (("--pace", "slow"), 'pace "slow" is neither'),
        (("--replay", "/nowhere/at.all"), "cannot read /nowhere/at.all"),
        (("--symbols", "/nowhere/at.all"), "cannot read /nowhere/at.all"),
        (("--port", "many"), "--port"),
        (("--script", "/nowhere/at.all"), "cannot read /nowhere/at.all"),
        (("--script", "pyproject.toml"), "pyproject.toml: line 1: "),
    ],
)
def test_wrong_options_are_refused(options: tuple[str, ...], words: str) -> None:
    """Exit 2 with words, before anything is bound."""
    ended = run(*options)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_descriptor_that_is_no_socket_cannot_be_listened_on() -> None:
    """Exit 3 with words."""
    ended = run("--listen-fd", "0")
    assert ended.returncode == 3
    assert "cannot listen on descriptor 0" in ended.stderr


def test_faults_of_a_script_happen_in_their_time(tmp_path: Path) -> None:
    """Each is said on stdout; what cannot be done says so."""
    script = tmp_path / "faults.txt"
    script.write_text("0 refuse status=502 count=1\n0.1 delist symbol=NOPE\n")
    with Simulator("--script", str(script)) as simulator:
        assert simulator.process.stdout is not None
        assert simulator.process.stdout.readline() == "0 s: refuse status=502 count=1\n"
        with pytest.raises(HandshakeError, match="502"):
            RawClient(simulator.port)
        RawClient(simulator.port).close()
        assert simulator.process.stdout.readline().startswith("0.1 s: delist symbol=NOPE: ")


def test_takes_over_a_listening_socket() -> None:
    """The port is known before the process runs: a client that comes early is served once it does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        descriptor = listening.fileno()
        early = socket.create_connection(("127.0.0.1", port))
        process = subprocess.Popen(
            [sys.executable, "-m", "feedhandler.sim", "--listen-fd", str(descriptor)],
            pass_fds=[descriptor],
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
        )
        try:
            client = RawClient(port)
            client.request("ping")
            assert client.message()["ret_msg"] == "pong"
            client.close()
        finally:
            early.close()
            process.terminate()
            assert process.wait(10) == 0


def test_ends_with_its_parent(tmp_path: Path) -> None:
    """No orphan stays when the parent is killed."""
    noted = tmp_path / "pid"
    program = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'feedhandler.sim', '--port', '0',\n"
        "    '--parent-pid', str(os.getpid())], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        f"open({str(noted)!r}, 'w').write(str(child.pid) + '\\n')\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    deadline_s = time.monotonic() + 20
    while not (noted.exists() and noted.read_text().endswith("\n")):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    child = int(noted.read_text())
    # A Ctrl-C in the terminal reaches the child, too; when to end is the parent's decision.
    os.kill(child, signal.SIGINT)
    time.sleep(0.2)
    assert Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    parent.kill()
    parent.wait()
    while (
        Path(f"/proc/{child}").exists() and Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    ):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_parent_that_is_gone_already_ends_it() -> None:
    """The race between asking the kernel and the parent's end."""
    assert run("--port", "0", "--parent-pid", "1").returncode == 0


def test_command_line_is_the_same_program() -> None:
    """``feedhandler sim --help`` has the options and an example."""
    ended = subprocess.run(
        [sys.executable, "-m", "feedhandler", "sim", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=20,
        check=True,
    )
    assert "--replay" in ended.stdout
    assert "Example: feedhandler sim" in ended.stdout


def test_unknown_path_is_404() -> None:
    """Dossier 9.1; query parameters are ignored on known paths."""
    with Simulator() as simulator:
        with pytest.raises(HandshakeError, match="404"):
            RawClient(simulator.port, path="/v5/public/nothing")
        RawClient(simulator.port, path="/v5/public/spot?max_active_time=1m").close()
        assert simulator.stats()["totals"]["unknown_paths"] == 1
