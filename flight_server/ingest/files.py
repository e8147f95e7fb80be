"""Which files are alert files, told by their content, and how each kind is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from flight_server.catalog.declarations import AlertLayout
from flight_server.ingest.avro_files import AvroAlerts
from flight_server.ingest.parquet_files import ParquetAlerts
from flight_server.protocol.errors import BadValue

__all__ = ["AlertFile", "Found", "find_files", "open_alerts"]


class AlertFile(Protocol):
    """An open file of alerts."""

    @property
    def schema(self) -> pa.Schema:
        """The file's own columns, as nested as they are."""

    def read(self, layout: AlertLayout, history: frozenset[str] | None) -> pa.Table:
        """Read the alerts: the columns that the layout stores, and of the history the fields named; None: all there is."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was named or lies in a named folder; `alerts` tells whether it is one of alerts."""

    path: Path
    alerts: bool
    size: int


KINDS: dict[bytes, Callable[[Path], AlertFile]] = {b"PAR1": ParquetAlerts, b"Obj\x01": AvroAlerts}
ENDINGS = (".parquet", ".avro")


def find_files(paths: Iterable[Path]) -> Iterator[Found]:
    """Find files: those named, and all below named folders but the hidden ones (as Spark hides `_SUCCESS`).

    A file of another kind that was found in a folder is given with `alerts` false. One that was named, or
    whose name ends as an alert file's does, is given as alerts, so that opening it says what is wrong.
    """
    for path in paths:
        if not path.is_dir():
            yield Found(path, alerts=True, size=path.stat().st_size if path.exists() else 0)
            continue
        for file in sorted(path.rglob("*")):
            hidden = any(part[0] in "._" for part in file.relative_to(path).parts)
            if file.is_file() and not hidden:
                yield Found(file, file.name.endswith(ENDINGS) or _looks_like_alerts(file), file.stat().st_size)


def open_alerts(path: Path) -> AlertFile:
    """Open a file of alerts.

    Raises
    ------
    BadValue
        It is neither Parquet nor Avro, or broken.
    """
    try:
        kind = _kind(path)
    except OSError as error:
        raise BadValue(f"the file cannot be read: {error.strerror}", field="path", value=path) from error
    if kind is None:
        raise BadValue("this is neither a Parquet nor an Avro file", field="path", value=path)
    return kind(path)


def _looks_like_alerts(file: Path) -> bool:
    try:
        return _kind(file) is not None
    except OSError:
        return True  # opening it says what is wrong


def _kind(path: Path) -> Callable[[Path], AlertFile] | None:
    with path.open("rb") as handle:
        magic = handle.read(4)
    return KINDS.get(magic)
