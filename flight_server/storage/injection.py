"""Named points for fault injection in tests; without the variable below they do nothing.

`ALERTFLIGHT_INJECT=NAME:ACTION:N` arms one point: when it is passed the N-th time, the process kills itself (`kill`) or
an OSError is raised (`eio`, `enospc`). The name `*` counts every point.
"""

from __future__ import annotations

import errno
import os
import signal
from itertools import count

__all__ = ["POINTS", "injection_point"]

VARIABLE = "ALERTFLIGHT_INJECT"
POINTS = (
    "run.spilled",
    "segment.data",
    "segment.keys",
    "block.drafted",
    "block.published",
    "commit.before",
    "commit.inside",
    "commit.after",
    "compact.before",
    "compact.committed",
    "compact.removing",
    "hbase.created",
    "hbase.put",
    "hbase.committed",
    "hdfs.drafted",
    "hdfs.published",
)
_passed = count(1)


def injection_point(name: str) -> None:
    """Fail if a test has armed this point."""
    armed = os.environ.get(VARIABLE)
    if not armed:
        return
    if name not in POINTS:
        raise ValueError(f"{name} is not an injection point")
    wanted, action, turn = armed.split(":")
    if wanted not in (name, "*") or next(_passed) != int(turn):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    number = {"eio": errno.EIO, "enospc": errno.ENOSPC}[action]
    raise OSError(number, os.strerror(number))
