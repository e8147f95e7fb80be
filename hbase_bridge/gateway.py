"""The gateway: a Java process that this one starts, watches, asks, and takes with it when it ends."""

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from py4j.java_gateway import GatewayParameters, JavaGateway
from py4j.protocol import Py4JError

from hbase_bridge.faults import BridgeFault, GatewayLost
from hbase_bridge.jar import find_jar

__all__ = ["Gateway", "GatewaySettings"]

log = logging.getLogger(__name__)
logging.getLogger("py4j").setLevel(logging.CRITICAL)  # it writes a traceback for each try that fails; here one line says so
START_SECONDS = 120.0
DIRECT_BYTES = 96 << 20  # what the HBase client itself takes outside the heap
REPEATS = 1  # tries of a call after the first
RESTART_SECONDS = (0.0, 1.0, 5.0, 15.0)  # the pauses before tries to start again
OPENED = ("java.lang", "java.lang.reflect", "java.nio", "sun.nio.ch", "java.util")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """How the gateway runs.

    Parameters
    ----------
    zookeeper
        Host and port.
    properties
        Further settings of the HBase client, by HBase's own names.
    heap
        The most that Java objects may take, as `java -Xmx` writes it.
    frame_bytes
        The most that batches on their way may take, outside the heap.
    call_timeout
        How long a call may take, and the gateway be silent while it works, seconds.
    jar
        The gateway's jar; None to find or build it.
    reached_at
        Where a port of the gateway is reached, for a proxy that stands between.
    """

    zookeeper: str
    properties: Mapping[str, str] = field(default_factory=dict)
    heap: str = "512m"
    frame_bytes: int = 268_435_456
    call_timeout: float = 30.0
    jar: Path | None = None
    reached_at: Callable[[int], int] = lambda port: port


class _GatewayProcess:
    """One life of the gateway: a process with a port, a token and a socket of its own; it serves once it has begun."""

    def __init__(self, settings: GatewaySettings, jar: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="alertflight-"))
        self.socket = str(self.folder / "rows")
        self.sequence = itertools.count(1)
        # in a session of its own, so that a Ctrl-C in the terminal leaves it to the server to end it
        self.process = subprocess.Popen(  # noqa: S603  (our own command)
            _command(settings, jar), stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def begin(self, settings: GatewaySettings) -> None:
        """Wait until the process is ready; one that is not going to be is ended."""
        token = secrets.token_hex(32)
        try:
            port = self._introduce(settings, token)
        except BaseException:
            self.end()
            raise
        parameters = GatewayParameters(
            port=settings.reached_at(port),
            auth_token=token,
            read_timeout=settings.call_timeout,
            enable_memory_management=False,
        )
        self.java = JavaGateway(gateway_parameters=parameters)

    def _introduce(self, settings: GatewaySettings, token: str) -> int:
        """Tell the process what it needs, and read where it listens; neither stands in its arguments."""
        words = {
            "token": token,
            "socket": self.socket,
            "frame_bytes": settings.frame_bytes,
            "call_milliseconds": int(settings.call_timeout * 1000),
            "hbase": {"zookeeper": settings.zookeeper, "properties": dict(settings.properties)},
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(words).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise GatewayLost("the gateway ended as it started") from None
        answer = select.poll()  # unlike select it takes any number of open files
        answer.register(self.process.stdout, select.POLLIN)
        line = self.process.stdout.readline() if answer.poll(START_SECONDS * 1000) else b""
        if not line:
            raise GatewayLost("the gateway did not start; what it said is in the log")
        answered = json.loads(line)
        if "code" in answered:
            raise GatewayLost(answered["message"])
        return int(answered["port"])

    def end(self) -> None:
        """End the process, whatever it does."""
        if hasattr(self, "java"):
            self.java.close()
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    log.debug("the gateway's pipe was broken")
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Gateway:
    """Calls into the gateway, whichever process it is at the moment; safe to use from many threads.

    Raises
    ------
    BridgeFault
        There is no jar, or the process does not start.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self._jar = find_jar(settings.jar)
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._newest = _GatewayProcess(settings, self._jar)
        self._newest.begin(settings)
        self._life: _GatewayProcess | None = self._newest  # the one to use
        self.starts = 1
        self._watching = threading.Thread(target=self._watch, name="gateway", daemon=True)
        self._watching.start()

    @property
    def pid(self) -> int | None:
        """The process as it is now."""
        life = self._life
        return life.process.pid if life else None

    @property
    def is_closed(self) -> bool:
        """Whether there will be no gateway any more."""
        return self._closing.is_set()

    @property
    def socket(self) -> str:
        """The path of the data channel's socket.

        Raises
        ------
        GatewayLost
            There is no gateway at the moment.
        """
        return self._living().socket

    def wait_ready(self, seconds: float) -> bool:
        """Wait until there is a gateway; say whether there is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._life is not None or self.is_closed, seconds) and not self.is_closed

    def call(self, operation: str, **words: Any) -> Any:
        """Ask the gateway.

        Parameters
        ----------
        operation
            What is wanted; `EntryPoint.java` lists them.
        words
            Further members of the request.

        Raises
        ------
        BridgeFault
            The gateway says why it cannot.
        GatewayLost
            It went away, or did not answer in time.
        """
        life = self._living()
        request = json.dumps({"operation": operation, **words})
        answer = self._ask(life, next(life.sequence), request)
        if "code" in answer:
            raise BridgeFault(answer["code"], answer["message"])
        return answer["reply"]

    def close(self) -> None:
        """End the gateway."""
        with self._changed:
            self._closing.set()
            self._life = None
            self._changed.notify_all()
            self._newest.process.kill()  # also one that has not begun yet
        self._watching.join()

    def terminate(self, socket: str, why: str) -> None:
        """End the gateway of this socket, which does not answer any more; the next one takes its place."""
        life = self._life
        if life is not None and life.socket == socket:
            log.error("the HBase gateway is ended: %s", why)
            life.process.kill()
            self._forget(life)  # the process needs a moment to be gone

    def _living(self) -> _GatewayProcess:
        life = self._life
        if life is None or life.process.poll() is not None:
            raise GatewayLost("there is no gateway at the moment")
        return life

    def _forget(self, life: _GatewayProcess) -> None:
        """Have nobody use a gateway any more that is gone or about to be; `_watch` starts the next one."""
        with self._changed:
            if self._life is life:
                self._life = None

    def _ask(self, life: _GatewayProcess, sequence: int, request: str) -> Mapping[str, Any]:
        """Send a call, a second time where the reply was lost: by its number it is done once all the same.

        A reply says which call it is for. Were one to come twice, or late, all that follow it on that connection would
        be the replies to other calls. While HBase takes its time the gateway says `later`, and is asked again.
        """
        failures = 0
        while True:
            try:
                answer: Any = json.loads(str(life.java.entry_point.call(sequence, request)))
                if not isinstance(answer, dict) or answer.get("call") != sequence:
                    raise ValueError("a reply came that is to another call")
                if "later" not in answer:
                    return answer
            except (Py4JError, OSError, ValueError) as error:
                failures += 1
                life.java.close()  # its connections, for new ones
                if life.process.poll() is not None:
                    self._forget(life)
                    raise GatewayLost("the gateway went away") from error
                if failures > REPEATS:
                    self.terminate(life.socket, f"calls in a row failed: {error}")
                    raise GatewayLost("the gateway does not answer") from error
                log.warning("a call of the gateway is repeated: %s", error)

    def _watch(self) -> None:
        """Start the gateway again whenever it ends."""
        while True:
            life = self._newest
            life.process.wait()
            self._forget(life)
            life.end()
            if self._closing.is_set():
                return
            log.error("the HBase gateway ended with %s; it is started again", life.process.returncode)
            self._start_again()

    def _start_again(self) -> None:
        for turn in itertools.count():
            with self._changed:
                self._changed.wait_for(self._closing.is_set, RESTART_SECONDS[min(turn, len(RESTART_SECONDS) - 1)])
                if self._closing.is_set():
                    return
            try:
                life = _GatewayProcess(self.settings, self._jar)
                with self._changed:
                    self._newest = life
                    if self._closing.is_set():  # and so nobody else ends this one
                        life.process.kill()
                life.begin(self.settings)
            except (BridgeFault, OSError, ValueError) as error:
                log.warning("the HBase gateway does not start: %s", error)
                continue
            with self._changed:
                self._life = None if self._closing.is_set() else life
                self.starts += 1
                self._changed.notify_all()
            return


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
