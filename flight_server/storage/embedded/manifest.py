"""The manifest: a SQLite file that lists the segments and blocks of the store.

One ingest is one transaction of it: a file is part of the store from the moment its row is committed. Each row has a
checksum over its other values, which detects a flipped bit in it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from flight_server.protocol.errors import BadValue, CorruptData
from flight_server.storage.embedded.files import follow_mode
from flight_server.storage.injection import injection_point
from flight_server.storage.regular_files import check_regular, file_stamp, open_regular

__all__ = ["BlockRecord", "ColumnRecord", "IngestRecord", "Manifest", "ManifestState", "SegmentRecord"]

FORMAT = 2
# the format once a column is wider than in older segments, which earlier releases would misread; three bits from FORMAT, so
# that one flipped bit does not turn one into the other
WIDENED = 5
BUSY_SECONDS = 60.0
JOURNALS = ("-journal", "-wal", "-shm")  # files that SQLite opens beside its own


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """One segment: rows of one table, sorted by key, in a data file and a key file.

    `head_crc` is the CRC-32 of the data file up to its first record batch. `batches` lists offset, length, rows,
    CRC-32 and the CRC-32 of the keys of each record batch, as little-endian int64; `fences` the first key of
    each. Rows of a segment with higher `age` replace those with lower. `replaced` counts the rows whose key an earlier
    segment holds too. Times are those of the time column of the table; `written` is when the newest row was written, ms
    since 1970. States as of `whole_since` or later are complete; it is 0 if no version of a
    row was ever dropped.
    """

    id: int
    table_name: str
    name: str
    age: int
    rows: int
    replaced: int
    key_width: int
    data_bytes: int
    data_sha256: str
    keys_sha256: str
    first_time: float | None
    last_time: float | None
    written: int
    head_crc: int
    batches: bytes
    fences: bytes
    whole_since: int = 0

    @property
    def compacted(self) -> bool:
        """Whether the rows are from several ingests: a compacted segment has the age of its newest source."""
        return self.age < self.id


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """One Parquet block of cutouts; `footer_crc` is the CRC-32 of its footer, which Parquet itself does not check.

    `dropped` is when its last row was removed, ms since 1970; 0 while rows name it. The file is kept for answers
    that started before.
    """

    name: str
    rows: int
    bytes: int
    sha256: str
    footer_crc: int
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class ColumnRecord:
    """A column that a table has held, in order of arrival, with its type name in the catalog."""

    table_name: str
    name: str
    position: int
    type: str


@dataclass(frozen=True, slots=True)
class IngestRecord:
    """One ingest, with its numbers of files and alerts."""

    id: int
    written: int
    files: int
    alerts: int


@dataclass(frozen=True, slots=True)
class ManifestState:
    """The content of the manifest at one moment."""

    version: int
    segments: tuple[SegmentRecord, ...]
    blocks: tuple[BlockRecord, ...]
    columns: tuple[ColumnRecord, ...]
    ingests: tuple[IngestRecord, ...]


Record = SegmentRecord | BlockRecord | ColumnRecord | IngestRecord
R = TypeVar("R", SegmentRecord, BlockRecord, ColumnRecord, IngestRecord)
_TABLES: dict[type, str] = {SegmentRecord: "segment", BlockRecord: "block", ColumnRecord: "held_column", IngestRecord: "ingest"}
_ORDERS = {"segment": "age, id", "block": "name", "held_column": "table_name, position", "ingest": "id"}
_KEYS = {"segment": "id", "block": "name", "held_column": "table_name, name", "ingest": "id"}


class Manifest:
    """The manifest of one store; safe to use from several threads and processes.

    Parameters
    ----------
    file
        The file.
    create
        Whether to make a new one if there is none. Else that is damage.
    """

    def __init__(self, file: Path, *, create: bool = True) -> None:
        _check_file(file, create=create)
        if not file.exists():  # SQLite would let everybody read it
            os.close(open_regular(file, create=True))
            follow_mode(file)
        self._file = file
        self._lock = threading.Lock()
        self.commits = 0  # made through this object
        self._connection = sqlite3.connect(file, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
        # damaged text must reach its checksum
        self._connection.text_factory = lambda text: text.decode(errors="surrogateescape")
        self._opened = file_stamp(file)[:2]
        try:
            self._prepare(file, create=create)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, file: Path, *, create: bool) -> None:
        with _naming_damage():
            self._connection.execute("PRAGMA synchronous = FULL")
            # a file without tables is new, or its creation was interrupted
            if not self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                if not create or any(file.parent.glob("segments/*/*")) or any(file.parent.glob("blocks/*")):
                    raise CorruptData("the manifest is empty, but the store holds files", field="manifest")
                self._create()
            if self._format() == 1:
                self._migrate()
            found = self._format()
        if found not in {FORMAT, WIDENED}:
            message = f"the store has format {found}, but this release reads the formats {FORMAT} and {WIDENED}"
            raise BadValue(message, field="data", value=found)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def change_counter(self) -> int:
        """Return a number that changes whenever another connection commits; cheap to call."""
        _check_file(self._file, create=True)  # if it is missing, the open connection goes on without it
        with self._lock, _naming_damage():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def read(self) -> ManifestState:
        """Read the whole manifest, as of one moment.

        Raises
        ------
        CorruptData
            A row is not what was written; the message names it.
        """
        with self._lock, _naming_damage(), _transaction(self._connection, "DEFERRED"):
            version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            state = ManifestState(
                version,
                tuple(self._rows(SegmentRecord)),
                tuple(self._rows(BlockRecord)),
                tuple(self._rows(ColumnRecord)),
                tuple(self._rows(IngestRecord)),
            )
            self._check_summary()
            return state

    def damage(self) -> list[str]:
        """Return the faults that SQLite itself finds in the file."""
        with self._lock, _naming_damage():
            found = [str(line) for (line,) in self._connection.execute("PRAGMA integrity_check")]
        return [line for line in found if line != "ok"]

    def commit(self, add: Iterable[Record], remove_segments: Iterable[int] = (), remove_blocks: Iterable[str] = ()) -> None:
        """Add records, and remove segments and blocks, in one transaction. A column that is held gets its new type."""
        injection_point("commit.before")
        if file_stamp(self._file)[:2] != self._opened:
            message = "the manifest was replaced or removed while data were written: they are not in the store"
            raise CorruptData(message, field="manifest")
        with self._lock, _transaction(self._connection, "IMMEDIATE"):
            self._connection.executemany("DELETE FROM segment WHERE id = ?", [(number,) for number in remove_segments])
            self._connection.executemany("DELETE FROM block WHERE name = ?", [(name,) for name in remove_blocks])
            self._insert(add)
            self._write_summary()
            injection_point("commit.inside")
        self.commits += 1
        injection_point("commit.after")

    def _insert(self, records: Iterable[Record]) -> None:
        for record in records:
            if isinstance(record, ColumnRecord):
                self._drop_column(record)
            values = astuple(record)
            marks = ", ".join("?" * (len(values) + 1))
            self._connection.execute(f"INSERT INTO {_TABLES[type(record)]} VALUES ({marks})", (*values, _checksum(values)))

    def _drop_column(self, record: ColumnRecord) -> None:
        """Drop the record of a column that has another type from now on."""
        key = (record.table_name, record.name)
        if self._connection.execute("DELETE FROM held_column WHERE table_name = ? AND name = ?", key).rowcount:
            self._connection.execute(f"PRAGMA user_version = {WIDENED}")

    def _summary(self) -> int:
        """Return a checksum over the checksums of all rows, which changes if a row vanishes."""
        found = 0
        for table in _TABLES.values():
            rows = self._connection.execute(f"SELECT checksum FROM {table} ORDER BY {_KEYS[table]}").fetchall()
            found = zlib.crc32(repr((table, rows)).encode(), found)
        return found

    def _write_summary(self) -> None:
        self._connection.execute("DELETE FROM summary")
        self._connection.execute("INSERT INTO summary VALUES (?)", (self._summary(),))

    def _check_summary(self) -> None:
        found = self._connection.execute("SELECT checksum FROM summary").fetchall()
        if found != [(self._summary(),)]:
            raise CorruptData("the manifest does not hold all rows that were written", field="manifest")

    def _rows(self, cls: type[R]) -> Iterator[R]:
        table = _TABLES[cls]
        for *values, checksum in self._connection.execute(f"SELECT * FROM {table} ORDER BY {_ORDERS[table]}"):
            if _checksum(tuple(values)) != checksum:
                raise CorruptData(f"the manifest's {table} {values[0]} is not what was written", field=table, value=values[0])
            yield cls(*values)

    def _format(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _create(self) -> None:
        with _transaction(self._connection, "IMMEDIATE"):
            self._create_tables()

    def _create_tables(self) -> None:
        for cls, table in _TABLES.items():
            names = ", ".join(field.name for field in fields(cls))
            self._connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({names}, checksum, PRIMARY KEY ({_KEYS[table]}))")
        self._connection.execute("CREATE TABLE IF NOT EXISTS summary (checksum)")
        self._write_summary()
        self._connection.execute(f"PRAGMA user_version = {FORMAT}")

    def _migrate(self) -> None:
        """Migrate a manifest of format 1, which does not record since when segments are complete."""
        try:
            with _transaction(self._connection, "IMMEDIATE"):
                if self._format() != 1:  # another process has migrated it
                    return
                self._check_summary()
                held = list(self._rows(SegmentRecord))
                self._connection.execute("DROP TABLE segment")
                self._create_tables()
                # which rows a compaction dropped is unknown: possibly all up to its newest one
                self._insert(replace(record, whole_since=record.written if record.compacted else 0) for record in held)
                self._write_summary()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # damage, not what keeps the file from being written
                raise
            message = f"the store has format 1 and cannot be migrated to format {FORMAT}: {error}"
            raise BadValue(message, field="data") from error


def _check_file(file: Path, *, create: bool) -> None:
    """Raise if the manifest, or a journal of it, is no regular file; SQLite would wait for a FIFO."""
    for name in (file.name, *(f"{file.name}{ending}" for ending in JOURNALS)):
        try:
            check_regular(file.with_name(name))
        except FileNotFoundError as error:
            if name == file.name and not create:
                raise CorruptData("the manifest is missing", field="manifest") from error
        except OSError as error:
            raise CorruptData(f"the manifest cannot be read: {name}: {error.strerror}", field="manifest") from error


@contextmanager
def _naming_damage() -> Iterator[None]:
    try:
        yield
    except sqlite3.ProgrammingError:  # the manifest was closed
        raise
    except sqlite3.DatabaseError as error:
        # most operational errors are about access to the file (locked, read-only, disk full)
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        raise CorruptData(f"the manifest is damaged: {error}", field="manifest") from error
    except UnicodeDecodeError as error:  # SQLite's message quotes the damaged text
        raise CorruptData("the manifest is damaged: it has invalid text", field="manifest") from error


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk makes SQLite roll back by itself
            connection.execute("ROLLBACK")
        raise


def _checksum(values: tuple[Any, ...]) -> int:
    return zlib.crc32(repr(values).encode())
