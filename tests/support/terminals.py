"""Commands run on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Sequence
from pathlib import Path


def on_terminal(words: Sequence[str | Path], columns: int, **environment: str) -> str:
    """Run a command that must succeed; return its output on a terminal of this many columns."""
    ours, theirs = pty.openpty()
    kept = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    given = kept | {"TERM": "xterm", "PYTHONIOENCODING": "utf-8", "COLUMNS": str(columns)} | environment
    shown = b""
    with subprocess.Popen(words, stdout=theirs, stderr=subprocess.DEVNULL, env=given) as process:
        os.close(theirs)
        try:
            while more := os.read(ours, 65536):
                shown += more
        except OSError:  # how Linux says that the other end is closed
            pass
        assert process.wait() == 0
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")
