"""Checks whether the buffers of an answer are in the mapping of a segment file, or copied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from measure import Line, fact

from flight_server.execution.archive import Archive
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query

__all__ = ["zero_copy"]


def zero_copy(archive: Archive, folder: Path, ids: Sequence[str], columns: Sequence[str]) -> Line:
    """Read one-object answers in this process, and look up each fixed-width buffer in /proc/self/maps."""
    whole = 0
    bytes_: Counter[str] = Counter()
    buffers: Counter[str] = Counter()
    for object_id in ids:
        query = Query(table="ztf", ids=(object_id,), columns=tuple(columns))
        batches = [message.batch for message in archive.answer(query, Caller()).messages]
        maps = _maps(folder)
        found = [(_where(maps, start, size), size) for batch in batches for start, size in _fixed_width(batch)]
        for where, size in found:
            buffers[where] += 1
            bytes_[where] += size
        whole += all(where == "mapped" for where, _ in found)
    note = (
        f"{whole} of {len(ids)} one-object answers lie wholly in the mapped file; fixed-width buffers: "
        f"{buffers['mapped']} mapped ({bytes_['mapped']} bytes), {buffers['copied']} copied ({bytes_['copied']} bytes)"
    )
    # an object whose rows cross the end of a 1,000-row batch is concatenated, and so copied
    return fact("zero copy, in process", note, goal="shown", ok=whole > 0.9 * len(ids))


def _maps(folder: Path) -> list[tuple[int, int]]:
    """Return the address ranges of this process where data files of the store are mapped."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        words = line.split(maxsplit=5)
        if len(words) > 5 and words[5].startswith(str(folder.resolve())) and words[5].endswith(".arrow"):  # noqa: PLR2004
            start, stop = words[0].split("-")
            found.append((int(start, 16), int(stop, 16)))
    return found


def _where(maps: Sequence[tuple[int, int]], start: int, size: int) -> str:
    return "mapped" if any(low <= start and start + size <= high for low, high in maps) else "copied"


def _fixed_width(batch: pa.RecordBatch) -> Iterator[tuple[int, int]]:
    """Yield the address and size of the rows' part of each fixed-width values buffer."""
    for column in batch.columns:
        if len(column) == 0 or not (pa.types.is_primitive(column.type) and column.type.bit_width >= 8):  # noqa: PLR2004
            continue
        values = column.buffers()[1]
        width = column.type.bit_width // 8
        if values is not None:
            yield values.address + column.offset * width, len(column) * width
