"""Background compaction in a separate process, so that answers never wait for it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

__all__ = ["BackgroundCompaction"]

log = logging.getLogger(__name__)


class BackgroundCompaction:
    """Runs `alertflight compact` repeatedly until it is stopped.

    Parameters
    ----------
    folder
        The folder of the store.
    seconds
        The pause between two runs.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self._command = [sys.executable, "-m", "flight_server", "compact", "--data", str(folder)]
        self._seconds = seconds
        self._stop = threading.Event()
        self._running: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="compaction", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop it; an interrupted compaction leaves the store unchanged."""
        self._stop.set()
        if self._running is not None:
            self._running.kill()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            self._running = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603
            if self._stop.is_set():  # stopped between the wait and the start
                self._running.kill()
            errors = self._running.communicate()[1]
            if self._running.returncode and not self._stop.is_set():
                log.error("compaction failed: %s", errors.decode(errors="replace").strip())
