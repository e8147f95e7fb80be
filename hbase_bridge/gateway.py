"""The gateway: calls to a Java process, which is started again whenever it ends."""

from __future__ import annotations

import itertools
import json
import logging
import threading
from collections.abc import Mapping
from typing import Any

from py4j.protocol import Py4JError

from hbase_bridge.faults import BridgeFault, GatewayLost
from hbase_bridge.jar import find_jar
from hbase_bridge.process import GatewayProcess, GatewaySettings

__all__ = ["Gateway"]

log = logging.getLogger(__name__)
logging.getLogger("py4j").setLevel(logging.CRITICAL)  # py4j logs a traceback for each failed try; one line is logged here
REPEATS = 1  # tries of a call after the first
RESTART_SECONDS = (0.0, 1.0, 5.0, 15.0)  # the pauses before tries to start again


class Gateway:
    """Calls to the gateway process that runs at the moment. Threads may share it.

    Parameters
    ----------
    settings
        How the gateway runs.

    Attributes
    ----------
    starts
        How many processes have become ready so far.

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
        self._newest = GatewayProcess(settings, self._jar)  # the one started last, ready or not
        self._newest.connect(settings)
        self._process: GatewayProcess | None = self._newest  # the one that takes calls
        self.starts = 1
        self._watching = threading.Thread(target=self._watch, name="gateway", daemon=True)
        self._watching.start()

    @property
    def pid(self) -> int | None:
        """The ID of the process that takes calls; None while there is none."""
        process = self._process
        return process.pid if process else None

    @property
    def is_closed(self) -> bool:
        """Whether the gateway was closed, and no process will be started again."""
        return self._closing.is_set()

    @property
    def socket(self) -> str:
        """The path of the data channel's socket.

        Raises
        ------
        GatewayLost
            No process runs at the moment.
        """
        return self._running_process().socket

    def wait_ready(self, seconds: float) -> bool:
        """Wait until a process takes calls; return whether one does."""
        with self._changed:
            return self._changed.wait_for(lambda: self._process is not None or self.is_closed, seconds) and not self.is_closed

    def call(self, operation: str, **parameters: Any) -> Any:
        """Call an operation of the gateway.

        Parameters
        ----------
        operation
            Its name; `EntryPoint.java` lists them.
        parameters
            Further members of the request.

        Returns
        -------
        Any
            The reply, as it came in JSON.

        Raises
        ------
        BridgeFault
            The gateway reports an error.
        GatewayLost
            The process ended, or did not answer in time.
        """
        process = self._running_process()
        request = json.dumps({"operation": operation, **parameters})
        answer = self._send(process, next(process.sequence), request)
        if "code" in answer:
            raise BridgeFault(answer["code"], answer["message"], answer.get("outage"))
        return answer["reply"]

    def close(self) -> None:
        """End the process and start no other."""
        with self._changed:
            self._closing.set()
            self._process = None
            self._changed.notify_all()
            self._newest.kill()  # also one that is not ready yet
        self._watching.join()

    def terminate(self, socket: str, reason: str) -> None:
        """Kill the process with this socket, which does not answer any more; the next one takes its place."""
        process = self._process
        if process is not None and process.socket == socket:
            log.error("the HBase gateway is ended: %s", reason)
            process.kill()
            self._stop_using(process)  # at once: it may run for another moment

    def _running_process(self) -> GatewayProcess:
        process = self._process
        if process is None or not process.is_running:
            raise GatewayLost("there is no gateway at the moment")
        return process

    def _stop_using(self, process: GatewayProcess) -> None:
        """Stop using a process that has ended or will soon; `_watch` starts the next one."""
        with self._changed:
            if self._process is process:
                self._process = None

    def _send(self, process: GatewayProcess, sequence: int, request: str) -> Mapping[str, Any]:
        """Send a call, and once more if it fails; its number makes sure that it is done once.

        The reply must name the number of the call: after a reply that comes twice or late, all further replies on that
        connection would belong to other calls. While HBase takes its time the gateway replies `later`, and is asked again.
        """
        failures = 0
        while True:
            try:
                answer: Any = json.loads(str(process.java.entry_point.call(sequence, request)))
                if not isinstance(answer, dict) or answer.get("call") != sequence:
                    raise ValueError("a reply came that is to another call")
                if "later" not in answer:
                    return answer
            except (Py4JError, OSError, ValueError) as error:
                failures += 1
                process.java.close()  # its connections; the next call opens new ones
                if not process.is_running:
                    self._stop_using(process)
                    raise GatewayLost("the gateway went away") from error
                if failures > REPEATS:
                    self.terminate(process.socket, f"calls in a row failed: {error}")
                    raise GatewayLost("the gateway does not answer") from error
                log.warning("a call of the gateway is repeated: %s", error)

    def _watch(self) -> None:
        """Start a new process whenever one ends, until the gateway is closed."""
        while True:
            process = self._newest
            status = process.wait()
            self._stop_using(process)
            process.end()
            if self._closing.is_set():
                return
            log.error("the HBase gateway ended with %s; it is started again", status)
            self._start_again()

    def _start_again(self) -> None:
        """Try until a process is ready or the gateway is closed."""
        for turn in itertools.count():
            with self._changed:
                self._changed.wait_for(self._closing.is_set, RESTART_SECONDS[min(turn, len(RESTART_SECONDS) - 1)])
                if self._closing.is_set():
                    return
            try:
                process = GatewayProcess(self.settings, self._jar)
                with self._changed:
                    self._newest = process
                    if self._closing.is_set():  # `close` killed the one before
                        process.kill()
                process.connect(self.settings)
            except (BridgeFault, OSError, ValueError) as error:
                log.warning("the HBase gateway does not start: %s", error)
                continue
            with self._changed:
                self._process = None if self._closing.is_set() else process
                self.starts += 1
                self._changed.notify_all()
            return
