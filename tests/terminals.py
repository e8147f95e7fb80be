"""Commands run on a terminal of their own."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Sequence


def on_terminal(words: Sequence[str], columns: int) -> list[str]:
    """Run a command that must end well; gives the lines that a terminal of so many columns shows."""
    ours, theirs = pty.openpty()
    shown = b""
    with subprocess.Popen(words, stdout=theirs, stderr=theirs, env=os.environ | {"COLUMNS": str(columns)}) as process:
        os.close(theirs)
        try:
            while more := os.read(ours, 65536):
                shown += more
        except OSError:  # how Linux says that the other end is closed
            pass
        assert process.wait() == 0
    os.close(ours)
    return shown.decode().splitlines()
