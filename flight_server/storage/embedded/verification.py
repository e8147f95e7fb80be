"""Verification: reads every byte of a store and reports what differs from what was written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from flight_server.catalog.columns import TYPES
from flight_server.catalog.widening import widest
from flight_server.protocol.errors import AlertflightError
from flight_server.storage.embedded.manifest import BlockRecord, Manifest, ManifestState, SegmentRecord
from flight_server.storage.embedded.segments import BATCH_ROWS, Segment, data_file, key_file
from flight_server.storage.regular_files import open_regular

__all__ = ["file_fault", "verify"]

CHUNK = 1 << 22


def verify(folder: Path, manifest: Manifest, progress: Callable[[int], None] = lambda _: None) -> Iterator[str]:
    """Check a store; yield one line for each fault, with the name of the file.

    Parameters
    ----------
    folder, manifest
        The store.
    progress
        Called with the number of bytes read since the last call.
    """
    try:
        yield from (f"manifest.sqlite: {line}" for line in manifest.damage())
        state = manifest.read()
    except AlertflightError as error:
        yield f"manifest.sqlite: {error.message}"
        return
    held = {(column.table_name, column.name): TYPES[column.type] for column in state.columns}
    for record in state.segments:
        yield from _segment(folder, record, held, progress)
    for block in state.blocks:
        yield from _block(folder, block, progress)
    yield from _missing(state)


def _segment(
    folder: Path, record: SegmentRecord, held: Mapping[tuple[str, str], pa.DataType], progress: Callable[[int], None]
) -> Iterator[str]:
    stem = folder / "segments" / record.table_name / record.name
    wrong = False
    for file, digest in ((data_file(stem), record.data_sha256), (key_file(stem), record.keys_sha256)):
        if fault := file_fault(file, digest, progress):
            wrong = True
            yield f"{file.relative_to(folder)}: {fault}"
    try:
        segment = Segment(stem, record)
        for number in range(-(-record.rows // BATCH_ROWS)):
            segment.batch(number).validate(full=True)
        for column in segment.schema:
            kind = held.get((record.table_name, column.name), column.type)
            if widest(column.type, kind) != kind:
                yield f"manifest.sqlite: {column.name} of {record.table_name} is {kind}, but {column.type} in {stem.name}.arrow"
        keys = segment.keys(0, record.rows)
        if not (keys[1:] > keys[:-1]).all():
            yield f"{key_file(stem).relative_to(folder)}: the keys are not in order"
        if not np.array_equal(keys[::BATCH_ROWS], segment.fences):
            yield f"{key_file(stem).relative_to(folder)}: the keys are not those of the manifest"
    except AlertflightError as error:
        if not wrong:
            yield f"{stem.relative_to(folder)}: {error.message}"


def _block(folder: Path, record: BlockRecord, progress: Callable[[int], None]) -> Iterator[str]:
    if fault := file_fault(folder / record.name, record.sha256, progress):
        yield f"{record.name}: {fault}"


def _missing(state: ManifestState) -> Iterator[str]:
    """Check that tables which have rows have columns."""
    having = {record.table_name for record in state.columns}
    for name in sorted({record.table_name for record in state.segments} - having):
        yield f"manifest.sqlite: the table {name} has rows but no columns"


def file_fault(file: Path, digest: str, progress: Callable[[int], None]) -> str | None:
    """Read a file; return what is wrong with it, or None if its SHA-256 is `digest`.

    Parameters
    ----------
    file, digest
        The file, and its digest in hexadecimal.
    progress
        Called with the number of bytes read since the last call.
    """
    found = hashlib.sha256()
    try:
        with os.fdopen(open_regular(file), "rb") as handle:
            while chunk := handle.read(CHUNK):
                found.update(chunk)
                progress(len(chunk))
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if found.hexdigest() == digest else "is not what was written"
