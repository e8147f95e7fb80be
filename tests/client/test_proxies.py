"""Proxies in the environment: passed by for this machine, and named in the error of a server that is not reached."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator

import pytest
from processes import COMMAND

import flight_client as af
from flight_client.proxies import PROXIES, UNUSED, is_direct, proxy_hint
from flight_server.flight import FlightServer
from flight_server.protocol.errors import BackendLost

AWAY = "grpc://archive.example:8815"
PROXY = "http://proxy.example:3128"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


def without_proxies() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}


@pytest.mark.deep(after=1)
@pytest.mark.parametrize("name", PROXIES)
def test_a_server_on_this_machine_is_reached_without_the_proxy(server: FlightServer, closed_port: int, name: str) -> None:
    command = [COMMAND, "get", "--url", f"grpc://localhost:{server.port}", "--ids", "ZTF20abfcszi", "--columns", "i:jd"]
    environment = without_proxies() | {name: f"http://127.0.0.1:{closed_port}"}
    done = subprocess.run([*command, "--limit", "1"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2), done.stderr


@pytest.mark.parametrize("name", PROXIES)
def test_the_error_names_the_proxy_and_what_to_do(closed_port: int, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in (*PROXIES, *UNUSED):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    archive = af.connect(f"grpc://{name.replace('_', '-')}.invalid:8815", progress=False, retries=af.Retries(most=0))
    for call in (archive.info, lambda: archive.objects("a").to_arrow(), lambda: list(archive.exchange(["a"]))):
        with pytest.raises(BackendLost, match=f"through the proxy in {name}: .*add {name.replace('_', '-')}.invalid to no_proxy"):
            call()


def test_the_command_names_the_proxy(closed_port: int) -> None:
    command = [COMMAND, "get", "--url", "grpc://archive.invalid:8815", "--ids", "a"]
    environment = without_proxies() | {"https_proxy": f"http://127.0.0.1:{closed_port}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "through the proxy in https_proxy: to connect without it, add archive.invalid to no_proxy" in done.stderr


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST", "localhost.", "archive.localhost", "127.0.0.1", "127.0.0.2", "127.1", "0.0.0.0"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::]"),
    ],
)
@pytest.mark.parametrize("scheme", ["grpc", "grpc+tcp", "grpc+tls"])
def test_loopback_addresses_need_no_proxy(scheme: str, host: str) -> None:
    url = f"{scheme}://{host}:8815"
    assert is_direct(url, {"http_proxy": PROXY})
    assert proxy_hint(url, {"http_proxy": PROXY}) is None


@pytest.mark.parametrize("url", [AWAY, "grpc://10.1.2.3:8815", "grpc://[2001:db8::1]:8815", "grpc://127.0.0.1.example:1"])
def test_other_addresses_go_through_the_proxy(url: str) -> None:
    assert not is_direct(url, {"http_proxy": PROXY})
    assert "proxy in http_proxy: to connect without it, add " in (proxy_hint(url, {"http_proxy": PROXY}) or "")


@pytest.mark.parametrize(
    ("url", "exceptions"),
    [
        (AWAY, "archive.example"),
        (AWAY, "a.example, .example"),
        (AWAY, "*.example"),
        (AWAY, "EXAMPLE"),
        (AWAY, "x archive.example:8815"),
        (AWAY, "*"),
        ("grpc://10.1.2.3:8815", "10.1.2.3"),
        ("grpc://10.1.2.3:8815", "10.0.0.0/8"),
        ("grpc://[2001:db8::1]:8815", "2001:db8::1"),
        ("grpc://[2001:db8::1]:8815", "2001:db8::/32"),
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY", "no_grpc_proxy"])
def test_exceptions_are_those_of_other_programs(url: str, exceptions: str, name: str) -> None:
    assert is_direct(url, {"http_proxy": PROXY, name: exceptions})
    assert proxy_hint(url, {"http_proxy": PROXY, name: exceptions}) is None


@pytest.mark.parametrize("exceptions", ["", " , ", "other.example", "archive.example.org", "10.0.0.0/8", "not/a/network"])
def test_what_is_no_exception_is_none(exceptions: str) -> None:
    assert not is_direct(AWAY, {"http_proxy": PROXY, "no_proxy": exceptions})


@pytest.mark.parametrize("name", UNUSED)
def test_a_variable_that_grpc_does_not_read_is_named_as_such(name: str) -> None:
    assert proxy_hint(AWAY, {name: PROXY}) == f"gRPC does not use the proxy in {name}: set grpc_proxy if it is needed"


def test_a_proxy_that_grpc_cannot_use_is_named_as_such() -> None:
    assert "cannot use the proxy in https_proxy" in (proxy_hint(AWAY, {"https_proxy": "socks5://proxy:1080"}) or "")
    assert proxy_hint(AWAY, {}) is None


def test_no_secret_of_a_proxy_is_shown() -> None:
    assert "secret" not in (proxy_hint(AWAY, {"http_proxy": "http://user:secret@proxy.example:3128"}) or "")
