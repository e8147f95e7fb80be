"""One gateway process: its command line, the handshake at its start, and its end."""

from __future__ import annotations

import itertools
import json
import logging
import secrets
import select
import shutil
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from py4j.java_gateway import GatewayClient, GatewayConnection, GatewayParameters, JavaGateway, quiet_close

from hbase_bridge.faults import BridgeFault, GatewayLost

__all__ = ["GatewayProcess", "GatewaySettings"]

log = logging.getLogger(__name__)
START_SECONDS = 120.0
KEPT_LINES = 20
MOST_SAID = 240
DIRECT_BYTES = 96 << 20  # what the HBase client itself takes outside the heap
OPENED = ("java.lang", "java.lang.reflect", "java.nio", "sun.nio.ch", "java.util")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Settings of the gateway.

    Parameters
    ----------
    zookeeper
        Host and port.
    properties
        Further settings of the HBase client, by HBase's own names.
    heap
        The largest size of the Java heap, as `java -Xmx` takes it.
    frame_bytes
        The largest total size of the batches in transit, outside the heap.
    patience
        How long a call of HBase may wait before its services are asked whether they are there, seconds.
    call_timeout
        How long a call may take, and how long the gateway may be silent while it works, seconds.
    jar
        The gateway's jar; None to find or build it.
    folder
        Where each process makes a folder for its socket; None for that for temporary files.
    reached_at
        Maps a port of the gateway to the port to connect to, for a proxy in between.
    """

    zookeeper: str
    properties: Mapping[str, str] = field(default_factory=dict)
    heap: str = "512m"
    frame_bytes: int = 268_435_456
    patience: float = 8.0
    call_timeout: float = 30.0
    jar: Path | None = None
    folder: Path | None = None
    reached_at: Callable[[int], int] = lambda port: port


class _GatewayClient(GatewayClient):  # type: ignore[misc]
    """A client that closes a connection which cannot be opened; py4j may leave its socket open."""

    def _create_connection(self) -> GatewayConnection:
        connection = GatewayConnection(self.gateway_parameters, self.gateway_property)
        try:
            connection.start()
        except BaseException:
            quiet_close(getattr(connection, "stream", None))  # there is none before the socket is connected
            quiet_close(connection.socket)
            raise
        return connection


class _JavaGateway(JavaGateway):  # type: ignore[misc]
    """py4j's gateway with this client."""

    def _create_gateway_client(self) -> _GatewayClient:
        return _GatewayClient(gateway_parameters=self.gateway_parameters)


class GatewayProcess:
    """A Java process with a port, a token and a socket of its own. It takes calls after `connect`.

    Parameters
    ----------
    settings
        How it runs.
    jar
        The gateway's jar.

    Attributes
    ----------
    socket
        The path of the data channel's socket.
    java
        The py4j connections to it, from `connect` on.
    sequence
        The numbers of its calls.
    """

    java: JavaGateway

    def __init__(self, settings: GatewaySettings, jar: Path) -> None:
        command = _command(settings, jar)
        self.folder = Path(tempfile.mkdtemp(prefix="alertflight-" if settings.folder is None else None, dir=settings.folder))
        self.socket = str(self.folder / "rows")
        self.sequence = itertools.count(1)
        # in a session of its own: Ctrl-C in the terminal reaches the server only, which then ends the gateway
        self._popen = subprocess.Popen(  # noqa: S603  (our own command)
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._listening = threading.Thread(target=self._listen, name="gateway-log", daemon=True)
        self._listening.start()

    @property
    def pid(self) -> int:
        """The ID of the process."""
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._popen.poll() is None

    def connect(self, settings: GatewaySettings) -> None:
        """Wait until the process is ready, and connect to it; end it on any failure.

        Raises
        ------
        GatewayLost
            The process ended, or is not ready in time.
        """
        token = secrets.token_hex(32)
        try:
            port = self._handshake(settings, token)
        except BaseException:
            self.end()
            raise
        parameters = GatewayParameters(
            port=settings.reached_at(port),
            auth_token=token,
            read_timeout=settings.call_timeout,
            enable_memory_management=False,
        )
        self.java = _JavaGateway(gateway_parameters=parameters)

    def kill(self) -> None:
        """Kill the process; from any thread, any number of times."""
        self._popen.kill()

    def wait(self) -> int:
        """Wait until the process ends; return its exit status."""
        return self._popen.wait()

    def end(self) -> None:
        """Kill the process and release everything that belongs to it."""
        if hasattr(self, "java"):
            self.java.close()
        self.kill()
        for pipe in (self._popen.stdin, self._popen.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    log.debug("the gateway's pipe was broken")
        self.wait()
        self._listening.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _listen(self) -> None:
        """Log what Java prints, which is for developers, and keep the last lines."""
        assert self._popen.stderr is not None
        with self._popen.stderr as lines:
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip()
                self._said.append(text)
                log.debug("the gateway: %s", text)

    def _not_started(self) -> GatewayLost:
        """Return the error of a process that does not become ready, with what it said."""
        self.kill()
        self._listening.join()
        return GatewayLost(f"the gateway did not start: {' '.join(self._said)[:MOST_SAID] or 'it said nothing'}")

    def _handshake(self, settings: GatewaySettings, token: str) -> int:
        """Send the settings and the token on standard input, not in arguments; return the port that the process replies."""
        request = {
            "token": token,
            "socket": self.socket,
            "frame_bytes": settings.frame_bytes,
            "call_milliseconds": int(settings.call_timeout * 1000),
            "hbase": {
                "zookeeper": settings.zookeeper,
                "patience_milliseconds": int(settings.patience * 1000),
                "properties": dict(settings.properties),
            },
        }
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        try:
            self._popen.stdin.write(json.dumps(request).encode() + b"\n")
            self._popen.stdin.flush()
        except OSError:  # it has ended before the request came
            raise self._not_started() from None
        ready = select.poll()  # unlike select it takes any number of open files
        ready.register(self._popen.stdout, select.POLLIN)
        line = self._popen.stdout.readline() if ready.poll(START_SECONDS * 1000) else b""
        if not line:
            raise self._not_started()
        return int(json.loads(line)["port"])


def _command(settings: GatewaySettings, jar: Path) -> list[str]:
    java = shutil.which("java")
    if java is None:
        raise BridgeFault("not_supported", "the store hbase needs Java 17: there is no command java")
    return [
        java,
        f"-Xmx{settings.heap}",
        f"-XX:MaxDirectMemorySize={settings.frame_bytes + DIRECT_BYTES}",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+UseParallelGC",
        "-XX:NewRatio=1",  # nearly all objects are cells that live for one batch
        "-Djava.net.preferIPv4Stack=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
        "-Dorg.apache.hbase.thirdparty.io.netty.allocator.numDirectArenas=4",
        *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED),
        "--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
        "-jar",
        str(jar),
    ]
