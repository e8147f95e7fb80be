"""The outcome of an ingest: a report at the end, and lines as files are done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from flight_server.ingest.files import AlertFile, Found
from flight_server.storage.protocols import Sharing

__all__ = ["Done", "IngestReport", "Progress", "Teller"]

Progress = Callable[[Found, str], None]


@dataclass(slots=True)
class IngestReport:
    """The result of an ingest.

    `rows` counts rows written by table, `failures` has the reason by file, `skipped` lists files in folders and archives
    that are not alert files, `not_stored` the columns of the files that no table stores, and `unreadable` those that are
    left out since they cannot be read, with the reason. `unplaced` are the alerts that belong to no table of alerts. A
    member of an archive counts as a file, and has the archive's name in front.
    """

    files: int = 0
    alerts: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    failures: dict[Path, str] = field(default_factory=dict)
    skipped: list[Path] = field(default_factory=list)
    not_stored: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)
    sharing: Sharing = field(default_factory=Sharing)
    left_out: Mapping[str, int] = field(default_factory=dict)
    rounded: Counter[str] = field(default_factory=Counter)
    unplaced: list[int] = field(default_factory=list)


class Done(Protocol):
    """A file of alerts: what was found, and its name in it, which is the same unless it is an archive."""

    @property
    def found(self) -> Found:
        """The file, or the archive that it is in."""

    @property
    def name(self) -> Path:
        """Its name, behind that of the archive if it is in one."""

    @property
    def file(self) -> AlertFile:
        """Its content."""


class Teller:
    """Calls `progress` for each file that is done, and for an archive once, when all of its members are.

    Parameters
    ----------
    progress
        Takes what was found, with a size of which all calls together make up the whole, and a line, which may be empty.
    opened
        All files of the ingest.
    """

    def __init__(self, progress: Progress, opened: Iterable[Done]) -> None:
        self._progress = progress
        self._left: Counter[Path] = Counter()
        self._bytes: Counter[Path] = Counter()
        self._alerts: Counter[Path] = Counter()
        self._files: Counter[Path] = Counter()
        for one in opened:
            self._left[one.found.path] += 1
            self._bytes[one.found.path] += one.file.content.size

    def written(self, files: Sequence[Done]) -> None:
        """Report that these files were written."""
        for one in files:
            self._alerts[one.found.path] += one.file.alerts
            self._files[one.found.path] += 1
            self._end(one, f"{one.file.alerts} alerts" if one.name == one.found.path else "")

    def refused(self, one: Done, reason: str) -> None:
        """Report that a file was refused."""
        if one.name != one.found.path:
            self._progress(replace(one.found, path=one.name, size=0), f"refused: {reason}")
        self._end(one, f"refused: {reason}" if one.name == one.found.path else "")

    def _end(self, one: Done, line: str) -> None:
        path = one.found.path
        self._left[path] -= 1
        share = one.found.size * one.file.content.size // max(self._bytes[path], 1)
        if one.name != path and not self._left[path]:
            line = f"{self._alerts[path]} alerts of {self._files[path]} files in it"
        self._progress(replace(one.found, size=share), line)
