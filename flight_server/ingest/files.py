"""Detection of alert files by their content, also in archives, and opening each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Protocol, Self

import pyarrow as pa

from flight_server.catalog.declarations import AlertLayout
from flight_server.ingest.archives import HEAD_BYTES, Part, Slice, Spool, is_archive, is_hidden, parts_of
from flight_server.ingest.avro_files import AvroAlerts, AvroSchemas, read_packets
from flight_server.ingest.parquet_files import ParquetAlerts
from flight_server.protocol.errors import BadValue

__all__ = ["AlertFile", "AlertFiles", "Found", "find_files", "read_alerts"]

ALERTS = (b"PAR1", b"Obj\x01")
ENDINGS = (".parquet", ".avro")


class AlertFile(Protocol):
    """An open file of alerts."""

    @property
    def content(self) -> Slice:
        """The bytes of the file."""

    @property
    def schema(self) -> pa.Schema:
        """The nested columns of the file."""

    @property
    def alerts(self) -> int:
        """The number of alerts."""

    @property
    def unreadable(self) -> Mapping[str, str]:
        """The fields that are left out since they cannot be read, with the reasons."""

    def read(self, layout: AlertLayout, history: frozenset[str] | None) -> pa.Table:
        """Read the alerts: the columns that the layout stores, and the named fields of the history (None: all fields)."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was named or is inside a named folder; `alerts` says whether it is an alert file or an archive."""

    path: Path
    alerts: bool
    size: int
    named: bool = False


def find_files(paths: Iterable[Path]) -> Iterator[Found]:
    """Yield the named files, and all files below named folders except hidden ones (as Spark hides `_SUCCESS`).

    A file of another kind in a folder has `alerts` false. A file that was named, or that has the suffix of an alert
    file, counts as an alert file, so that opening it raises an error.
    """
    for path in paths:
        if not path.is_dir():
            yield Found(path, alerts=True, size=path.stat().st_size if path.exists() else 0, named=True)
            continue
        for file in sorted(path.rglob("*")):
            if file.is_file() and not is_hidden(PurePosixPath(file.relative_to(path))):
                yield Found(file, file.name.endswith(ENDINGS) or _looks_like_alerts(file), file.stat().st_size)


class AlertFiles:
    """The alert files of one ingest. Archives are unpacked once, and what is unpacked is kept until the end.

    Use as a context manager.
    """

    def __init__(self) -> None:
        self._spool = Spool()
        self._parts: dict[Path, list[Part]] = {}
        self._schemas = AvroSchemas()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.__exit__()

    def parts(self, found: Found) -> list[Part]:
        """Return a file, or the members of an archive. Those without content are not alert files.

        Raises
        ------
        BadValue
            The file cannot be read, is an archive that is damaged, or was named and has no alerts.
        """
        if found.path not in self._parts:
            if found.path.exists() and not found.path.is_file():  # reading a pipe would wait for its writer
                raise BadValue("this is no regular file: give the path of a file or a folder", field="path", value=found.path)
            try:
                parts = parts_of(found.path, self._spool, _is_alerts)
            except OSError as error:
                raise BadValue(f"the file cannot be read: {error.strerror}", field="path", value=found.path) from error
            self._parts[found.path] = parts
        parts = self._parts[found.path]
        whole = len(parts) == 1 and parts[0].name == found.path
        if not any(part.content for part in parts) and (found.named or found.path.name.endswith(ENDINGS)):
            what = "this is neither a Parquet nor an Avro file" if whole else "no Parquet or Avro file is in this archive"
            raise BadValue(f"{what}, nor an archive of such files" if whole else what, field="path", value=found.path)
        return parts

    def open(self, content: Slice) -> AlertFile:
        """Open a file of alerts.

        Raises
        ------
        BadValue
            The file is broken.
        """
        opener: Callable[[Slice], AlertFile] = ParquetAlerts if content.head().startswith(ALERTS[0]) else self._avro
        return opener(content)

    def _avro(self, content: Slice) -> AlertFile:
        return AvroAlerts(content, self._schemas)


def read_alerts(files: Sequence[AlertFile], layout: AlertLayout, history: frozenset[str] | None) -> list[pa.Table]:
    """Read files of one schema, packets in Avro together; see `AlertFile.read`."""
    tables: list[pa.Table] = []
    for schema, same in groupby(files, lambda file: file.avro if isinstance(file, AvroAlerts) else None):
        if schema is None:
            tables += [file.read(layout, history) for file in same]
        else:
            tables.append(read_packets([file for file in same if isinstance(file, AvroAlerts)], layout, history))
    return tables


def _is_alerts(head: bytes) -> bool:
    return head.startswith(ALERTS)


def _looks_like_alerts(file: Path) -> bool:
    try:
        with file.open("rb") as handle:
            head = handle.read(HEAD_BYTES)
    except OSError:
        return True  # opening it raises an error
    return _is_alerts(head) or is_archive(head)
