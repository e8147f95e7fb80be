"""The gateway process of a server, and its memory."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["gateway_pid", "peak"]


def gateway_pid(server: int) -> int:
    """Find the Java process that a server has started."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except OSError:
            continue  # the process has just ended
        if lines.get("PPid") == str(server) and lines["Name"] == "java":
            return int(status.parent.name)
    raise click.ClickException("the server's gateway was not found")


def peak(pid: int) -> int:
    """Return the most memory that a process had resident, bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"the kernel has no VmHWM of process {pid}")
