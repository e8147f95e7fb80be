"""Detection of alert files by their content, and opening each kind."""

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
        """The nested columns of the file."""

    def read(self, layout: AlertLayout, history: frozenset[str] | None) -> pa.Table:
        """Read the alerts: the columns that the layout stores, and the named fields of the history (None: all fields)."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was named or is inside a named folder; `alerts` says whether it is an alert file."""

    path: Path
    alerts: bool
    size: int


KINDS: dict[bytes, Callable[[Path], AlertFile]] = {b"PAR1": ParquetAlerts, b"Obj\x01": AvroAlerts}
ENDINGS = (".parquet", ".avro")


def find_files(paths: Iterable[Path]) -> Iterator[Found]:
    """Yield the named files, and all files below named folders except hidden ones (as Spark hides `_SUCCESS`).

    A file of another kind in a folder has `alerts` false. A file that was named, or that has the suffix of an alert
    file, counts as an alert file, so that opening it raises an error.
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
        The file is neither Parquet nor Avro, or it is broken.
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
        return True  # opening it raises an error


def _kind(path: Path) -> Callable[[Path], AlertFile] | None:
    with path.open("rb") as handle:
        magic = handle.read(4)
    return KINDS.get(magic)
