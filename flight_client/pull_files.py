"""An answer as a folder of Parquet files, written so that an interrupted pull can resume.

Each file is a part of the answer that can be requested again: a slice of the list of IDs, or endpoints of a plan that
the manifest keeps. A file gets its final name once it is complete, and counts once the manifest lists it. So a part whose
writer was killed is read again, and no part twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from flight_client.endpoints import Endpoint, plan, schema_of
from flight_client.files import whole_file
from flight_client.parallel import Ahead, read_endpoints
from flight_client.progress import Progress
from flight_client.records import Record
from flight_client.retries import Retries
from flight_server.protocol.errors import BadValue, CorruptData
from flight_server.protocol.query import Query

__all__ = ["OBJECTS_A_FILE", "Pulled", "pull_into"]

MANIFEST = "_manifest.json"  # readers of Parquet folders skip names that begin with _
MISSING = "_missing.txt"
RECORD = b"alertflight.record"  # in the metadata of each file
FORMAT = 1
OBJECTS_A_FILE = 10_000
ENDPOINTS_A_FILE = 4  # of a whole table


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the folder: rows, objects with rows if known, IDs without rows, size and digest."""

    file: str
    rows: int
    objects: int | None
    missing: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Pulled:
    """The content of a folder at the end: its parts, and how many of them an earlier pull had written."""

    parts: tuple[Part, ...]
    held: int

    @property
    def rows(self) -> int:
        """The total number of rows."""
        return sum(part.rows for part in self.parts)

    @property
    def objects(self) -> int | None:
        """The total number of objects with rows, if known."""
        known = [part.objects for part in self.parts if part.objects is not None]
        return sum(known) if len(known) == len(self.parts) else None

    @property
    def missing(self) -> int:
        """The total number of IDs without rows."""
        return sum(part.missing for part in self.parts)


def pull_into(
    folder: Path,
    url: str,
    query: Query,
    *,
    objects: int = OBJECTS_A_FILE,
    ahead: Ahead | None = None,
    progress: bool | None = None,
) -> Pulled:
    """Write an answer, or the rest of it, to a folder.

    Parameters
    ----------
    folder
        The folder; created if it does not exist.
    url
        The server.
    query
        The query: objects, or a whole table.
    objects
        How many IDs go into a file; a resumed pull keeps the number that it began with.
    ahead
        How many endpoints are read in parallel, and how many bytes are read ahead.
    progress
        Whether to draw a progress line; None: on a terminal.

    Raises
    ------
    BadValue
        The folder holds something else, or another pull is running in it; the message says what.
    AlertflightError
        What the server raised. The files written so far stay, and the next call resumes after them.
    """
    with _locked(folder):
        manifest = _begun(folder, url, query, objects)
        parts = [Part(**words) for words in manifest["parts"]]
        for part in parts:
            _check(folder, part)
        held = len(parts)
        wanted = _parts(manifest, url, query)
        if held < len(wanted):
            schema = schema_of(url, query)
            drawn = Progress(progress, len(wanted))
            try:
                for number, endpoints in enumerate(wanted[held:], start=held):
                    show = partial(drawn.show, done=number, before=sum(part.rows for part in parts))
                    parts.append(_write(folder / f"part-{number:05}.parquet", schema, endpoints(), ahead or Ahead(), show))
                    manifest["parts"].append(asdict(parts[-1]))
                    _save(folder, manifest)
            finally:
                drawn.end()
        pulled = Pulled(tuple(parts), held)
        if not manifest["complete"]:
            _list_missing(folder, parts)
            found = {"complete": True, "rows": pulled.rows, "objects": pulled.objects, "missing": pulled.missing}
            _save(folder, manifest | found)
        return pulled


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder against other pulls; the lock ends with this process, however that ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise BadValue(f"{folder} cannot be used: {error.strerror}", field="output", value=folder) from error
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BadValue(f"another pull is running in {folder}", field="output", value=folder) from None
    finally:
        os.close(opened)


def _begun(folder: Path, url: str, query: Query, objects: int) -> dict[str, Any]:
    """Return the manifest of the folder, a new one if it is empty."""
    file = folder / MANIFEST
    summary = _summary(query)
    if file.exists():
        manifest = _read(file)
        _check_same(folder, manifest["query"], summary)
        return manifest
    strange = next(folder.glob("part-*.parquet"), None)
    if strange is not None:
        message = f"{folder} contains {strange.name} but no {MANIFEST}: choose another folder"
        raise BadValue(message, field="output", value=folder)
    ids = query.ids
    planned = plan(url, query if ids is None else replace(query, ids=ids[:1]))
    # signed tickets expire, their queries do not
    tickets = [json.loads(endpoint.ticket) for endpoint in planned.endpoints]
    queries = [one.get("query", one) for one in tickets]
    as_of = queries[0].get("as_of") if queries else None  # of all files, where the table allows it
    kept = [] if ids is not None else [{name: query[name] for name in query if name != "plan"} for query in queries]
    begun = {"format": FORMAT, "query": summary, "as_of": as_of, "objects_a_file": objects, "queries": kept}
    begun |= {"complete": False, "parts": []}
    _save(folder, begun)
    return begun


def _summary(query: Query) -> dict[str, Any]:
    """Return the query as stored in the manifest: a list of IDs as its length and digest."""
    summary = query.to_dict()
    if query.ids is not None:
        listed = hashlib.sha256("\n".join(map(str, query.ids)).encode()).hexdigest()
        summary["ids"] = {"count": len(query.ids), "sha256": listed}
    return summary


def _check_same(folder: Path, held: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    for name in dict.fromkeys([*summary, *held]):
        if held.get(name) != summary.get(name):
            shown = "another list" if name == "ids" else json.dumps(held.get(name))[:80]
            message = f"{folder} holds the answer to another query, whose {name} is {shown}: choose another folder"
            raise BadValue(message, field=name, value=folder)


def _read(file: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(file.read_text("utf-8"))
        known = manifest["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptData(f"{file} cannot be read: {error}", field="output", value=file) from error
    if not known:
        raise BadValue(f"{file} was written by another release", field="output", value=file)
    return manifest


def _save(folder: Path, manifest: Mapping[str, Any]) -> None:
    with whole_file(folder / MANIFEST) as sink:
        sink.write(json.dumps(manifest, indent=1, ensure_ascii=False).encode() + b"\n")
        _to_disk(sink)


def _to_disk(sink: BinaryIO) -> None:
    sink.flush()
    os.fsync(sink.fileno())


def _check(folder: Path, part: Part) -> None:
    """Raise CorruptData unless a file still has the size that was written."""
    file = folder / part.file
    size = file.stat().st_size if file.exists() else None
    if size != part.bytes:
        state = "is gone" if size is None else f"has {size} bytes"
        message = f"{file} {state}, but {part.bytes} bytes were written: choose another folder"
        raise CorruptData(message, field="output", value=file)


def _parts(manifest: Mapping[str, Any], url: str, query: Query) -> Sequence[Callable[[], tuple[Endpoint, ...]]]:
    """Return a function for each file that plans its endpoints: those of a slice of the IDs, or of the table."""
    if query.ids is not None:
        length = manifest["objects_a_file"]
        some = (query.ids[first : first + length] for first in range(0, len(query.ids), length))
        return [partial(_planned, url, [replace(query, ids=ids, as_of=manifest["as_of"])]) for ids in some]
    kept = manifest["queries"]
    firsts = range(0, len(kept), ENDPOINTS_A_FILE)
    return [partial(_planned, url, kept[first : first + ENDPOINTS_A_FILE]) for first in firsts]


def _planned(url: str, queries: Sequence[Query | dict[str, Any]]) -> tuple[Endpoint, ...]:
    return tuple(endpoint for query in queries for endpoint in plan(url, query, Retries()).endpoints)


def _write(file: Path, schema: pa.Schema, endpoints: Sequence[Endpoint], ahead: Ahead, show: Callable[[int], None]) -> Part:
    """Read endpoints, and write their rows to a file."""
    record = Record()
    rows = 0
    with whole_file(file) as sink:
        digest = _Digest(sink)
        with pq.ParquetWriter(pa.PythonFile(digest, "w"), schema, compression="zstd") as writer:
            for batch in read_endpoints(iter(endpoints), record, ahead):
                writer.write_batch(batch)
                rows += len(batch)
                show(rows)
            writer.add_key_value_metadata({RECORD: json.dumps(record.to_dict(), ensure_ascii=False)})
        _to_disk(sink)
        size = sink.tell()
    if rows != record.rows:
        raise CorruptData(f"received {rows} rows, but the completeness records say {record.rows}")
    return Part(file.name, rows, record.objects, len(record.missing_ids), size, digest.hexdigest())


class _Digest:
    """An append-only file that computes the digest of its content."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()
        self.closed = False

    def write(self, content: bytes) -> int:
        """Append to the file."""
        self._digest.update(content)
        return self._sink.write(content)

    def flush(self) -> None:
        """Flush the file."""
        self._sink.flush()

    def close(self) -> None:
        """Refuse further writes; the underlying file stays open."""
        self.closed = True

    def hexdigest(self) -> str:
        """Return the digest as hexadecimal digits."""
        return self._digest.hexdigest()


def _list_missing(folder: Path, parts: Sequence[Part]) -> None:
    """Write the IDs without rows to a file, in the order of the query, as recorded in the files of the parts."""
    if not any(part.missing for part in parts):
        return
    with whole_file(folder / MISSING) as sink:
        for part in parts:
            record = json.loads(pq.read_metadata(folder / part.file).metadata[RECORD])
            sink.write("".join(f"{value}\n" for value in record["missing_ids"]).encode())
        _to_disk(sink)
