"""The gateway's life: it ends with its server in every case, keeps its secrets, and is replaced if it hangs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clusters import Cluster
from hbase_rig import Rig, Truth
from processes import COMMAND, children, serving
from waiting import is_running, wait_until

from hbase_bridge import GatewayLost, ScanChannel


@pytest.fixture
def settings_file(cluster: Cluster, filled: str) -> Path:
    cluster.settings(filled)
    return cluster.folder / f"settings-{filled}.yml"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_its_server(number: signal.Signals, settings_file: Path) -> None:
    with serving([COMMAND, "serve", "--config", settings_file]) as running:
        (gateway,) = children(running.server)
        assert is_running(gateway)
        running.process.send_signal(number)
        running.process.wait(60)
        wait_until(lambda: not is_running(gateway), "the gateway ends with its server")


def test_nobody_can_read_its_token_and_it_listens_on_the_loopback_only(rig: Rig) -> None:
    pid = rig.pid()
    token = rig.gateway._process.java.gateway_parameters.auth_token
    assert len(token) >= 64
    for name in ("cmdline", "environ"):
        assert token.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    assert list(_listening(pid)) != []
    assert {address for address, _ in _listening(pid)} <= {"0100007F", "0000000000000000FFFF00000100007F"}


def _listening(pid: int) -> Iterator[tuple[str, int]]:
    """Return the addresses, in the format of /proc, and ports on which a process listens."""
    own = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            own.add(str(file.readlink()))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in own:
                address, _, port = words[1].partition(":")
                yield address, int(port, 16)


def test_who_has_no_token_is_refused(rig: Rig) -> None:
    rig.pid()
    ((_, port), *_) = _listening(rig.pid())
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(b"A\nwrong\ne\n")
        answer = connection.recv(64)
        assert not answer.startswith(b"!y"), answer
    assert rig.health()["references"] >= 0


def test_a_secret_opens_one_connection(rig: Rig, truth: Truth) -> None:
    rig.rest()
    path = rig.gateway.socket
    table = truth.table("narrow")
    opened = rig.gateway.call("open-write")
    with pytest.raises(GatewayLost), ScanChannel(path, opened["id"], "00" * 32, table.schema, 30) as wrong:
        next(iter(wrong))
    with (
        ScanChannel(path, opened["id"], opened["secret"], table.schema, 30),
        pytest.raises(GatewayLost),
        ScanChannel(path, opened["id"], opened["secret"], table.schema, 30) as second,
    ):
        next(iter(second))
    rig.rest()


def test_one_that_hangs_is_replaced(make_rig: Callable[..., Rig], truth: Truth) -> None:
    rig = make_rig(gateway={"call_timeout": 3.0})
    stopped: list[int] = []

    def stop(count: int) -> None:
        if count == 1 and not stopped:
            stopped.append(rig.pid())
            os.kill(stopped[0], signal.SIGSTOP)

    rig.passing.then = stop
    truth.check("whole", rig.ask(dict(truth.fields("whole")) | {"max_message_bytes": 262_144}))
    rig.passing.then = None
    wait_until(lambda: not is_running(stopped[0]), "the process that hung is gone")
    truth.check("objects", rig.ask(truth.fields("objects")))
    rig.rest()


def test_a_call_under_way_ends_with_the_gateway(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    pid = rig.pid()
    os.kill(pid, signal.SIGSTOP)  # so that the call has no answer when the process is killed
    with ThreadPoolExecutor(1) as calling:
        call = calling.submit(rig.gateway.call, "health")
        wait_until(call.running, "the call has begun")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(GatewayLost):
            call.result(60)
    wait_until(lambda: rig.gateway.starts == 2, "another gateway is started")
    assert rig.health()["runs"] == 0


def test_one_that_answers_no_call_is_replaced(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(gateway={"call_timeout": 1.0})
    pid = rig.pid()
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(GatewayLost, match="does not answer"):
        rig.gateway.call("health")
    wait_until(lambda: not is_running(pid), "the process that hung is gone")
    assert rig.health()["runs"] == 0
