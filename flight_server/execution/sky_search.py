"""Search by position: the objects or rows of a survey's index table in a cone or sky map.

The row keys of the index table begin with the HEALPix pixel. Only positions are read of the pixels that the region touches;
the exact test is made on these, and the matches are then read by ID or row key. If the answer has rows of the index table
itself and the pixels are few, or need no test, all columns are read at once: a second read would cost more than it saves.

A cone is searched as a whole, since its order depends on all of its rows. A sky map is in the order of row keys, so it is
searched some pixels at a time, no further than the answer is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_server.catalog.catalog import Catalog
from flight_server.catalog.columns import Projection
from flight_server.catalog.declarations import Table
from flight_server.derive.separations import separation
from flight_server.execution.objects import Objects, mark_of
from flight_server.execution.reader import PlanReader
from flight_server.execution.sky_pixels import PixelRanges, cone_pixels, pixels_of
from flight_server.planning.cursors import NO_MARK, lost_place
from flight_server.protocol.query import Cone
from flight_server.storage.row_keys import runs_of_numbers
from flight_server.storage.scans import Rows, Span

__all__ = ["FoundRows", "find_objects", "find_rows"]

ARCSEC = 3600.0
FEW_PIXELS = 64  # up to this many, all columns are read at once
FEW_RUNS, MOST_RUNS = 64, 4096  # runs of pixels that are read together: few at first

Degrees = npt.NDArray[np.float64]
Inside = Callable[[Degrees, Degrees], npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class FoundRows:
    """The rows of an index table in a region, in the order of the answer, and the mark of its cursors."""

    rows: Iterator[Rows]
    mark: bytes


def find_objects(reader: PlanReader, index: Table, catalog: Catalog) -> Objects:
    """Find the objects with a row of the index table in the plan's region: by separation, or by the first row key.

    Raises
    ------
    CursorMismatch
        Other objects are found now than when the plan's cursor was made.
    """
    search = _Search(reader, index, catalog)
    columns = search.tested(Projection())
    if search.cone is None:
        groups = (some.batch[index.id].to_pylist() for some in search.matches(columns))
        return Objects.search(groups, reader.plan.after, whole=False)
    rows = _by_separation(search.matches(columns), index, search.cone, columns)
    return Objects.search([rows.batch[index.id].to_pylist()], reader.plan.after, whole=True)


def find_rows(reader: PlanReader, index: Table, catalog: Catalog, wanted: Projection) -> FoundRows:
    """Find the rows of the index table in the plan's region, after its cursor: by separation, object and time, or by row key.

    Parameters
    ----------
    reader, index, catalog
        The plan, its index table of positions and the catalog.
    wanted
        The columns that the answer needs.

    Raises
    ------
    CursorMismatch
        Other rows are found in a cone now than when the plan's cursor was made.
    """
    search, after = _Search(reader, index, catalog), reader.plan.after
    at_once = search.pixels <= FEW_PIXELS or search.inside is None
    columns = search.tested(wanted if at_once else Projection())
    if search.cone is None:
        matches = search.matches(columns, None if after is None else after.key)
        return FoundRows(_select(matches, wanted) if at_once else _read(matches, reader, index, wanted), NO_MARK)
    rows = _by_separation(search.matches(columns), index, search.cone, columns)
    mark = mark_of(rows.keys.tolist())
    if after is not None:
        found = np.flatnonzero(rows.keys == after.key)
        if not len(found) or mark != after.mark:
            raise lost_place()
        first = int(found[0]) + 1
        rows = rows.slice(first, len(rows) - first)
    parts = iter((rows,) if len(rows) else ())
    return FoundRows(_select(parts, wanted) if at_once else _read(parts, reader, index, wanted), mark)


class _Search:
    """The search of one plan: the pixels of the index table to read, and the test of positions; None if all are inside."""

    def __init__(self, reader: PlanReader, index: Table, catalog: Catalog) -> None:
        region, pixels = reader.plan.query.cone or reader.plan.query.skymap, index.pixels
        if pixels is None or region is None:
            raise ValueError(f"{index.name} is not an index table of positions")
        self._reader = reader
        self._index = index
        self._known = catalog.known[index.survey]
        self._names = (pixels.ra, pixels.dec)
        self.cone = region if isinstance(region, Cone) else None
        self.inside: Inside | None
        if isinstance(region, Cone):
            touched = cone_pixels(region.ra, region.dec, region.radius / ARCSEC, pixels.nside)
            self.inside = lambda ra, dec: separation(ra, dec, (region.ra, region.dec)) <= region.radius / ARCSEC
        else:
            ranges = PixelRanges.of(region)
            touched = ranges.overlapping(pixels.nside, reader.deadline.check)
            self.inside = None if region.nside == pixels.nside else lambda ra, dec: _in_map(ranges, ra, dec)
        self.pixels = len(touched)
        self._runs = runs_of_numbers(index, touched, 12 * pixels.nside**2)

    def tested(self, columns: Projection) -> Projection:
        """Return columns with those that the search needs."""
        index = self._index
        return columns.with_further(self._known[name] for name in (index.id, *self._names, index.time or index.id))

    def matches(self, columns: Projection, after: bytes | None = None) -> Iterator[Rows]:
        """Yield the rows inside of the region, behind a row key, by ascending row keys."""
        reader, index = self._reader, self._index
        # time bounds apply to the index table only if the answer has its rows
        own = index is reader.plan.table
        start, stop = (reader.plan.start, reader.plan.stop) if own else (None, None)
        first, size = 0, FEW_RUNS
        while first < len(self._runs):
            reader.deadline.check()
            some = self._runs[first : first + size].tolist()
            spans = [
                Span(values=(begin,), last=end) if begin != end else Span(values=(begin,), start=start, stop=stop)
                for begin, end in some
            ]
            for rows in reader.scan(index, columns, spans=spans, after=after):
                reader.deadline.check()
                found = rows
                if self.inside is not None:
                    found = rows.filter(self.inside(*(_degrees(rows, name) for name in self._names)))
                if len(found):
                    yield Rows(found.batch, np.zeros(len(found), dtype=np.int64), found.keys)
            first, size = first + size, min(4 * size, MOST_RUNS)


def _in_map(ranges: PixelRanges, ra: Degrees, dec: Degrees) -> npt.NDArray[np.bool_]:
    known = np.isfinite(ra) & np.isfinite(dec)
    inside = np.zeros(len(ra), dtype=bool)
    inside[known] = ranges.contain(pixels_of(ra[known], dec[known], ranges.nside))
    return inside


def _degrees(rows: Rows, name: str) -> Degrees:
    found: Degrees = rows.batch[name].to_numpy(zero_copy_only=False)
    return found


def _by_separation(parts: Iterator[Rows], index: Table, cone: Cone, columns: Projection) -> Rows:
    """Sort rows by separation from the centre of a cone, then by object and time."""
    assert index.pixels is not None
    found = list(parts)
    rows = Rows.concat(found) if found else Rows.none(columns.schema)
    apart = separation(_degrees(rows, index.pixels.ra), _degrees(rows, index.pixels.dec), (cone.ra, cone.dec))
    ids = rows.batch[index.id].to_pylist()
    names = np.array(ids, dtype=None if ids else object)
    return rows.take(np.lexsort((_degrees(rows, index.time or index.id), names, apart)))


def _select(parts: Iterator[Rows], wanted: Projection) -> Iterator[Rows]:
    """Drop the columns that only the search needed."""
    for rows in parts:
        cells = [rows.batch[column.name] for column in wanted]
        yield Rows(pa.RecordBatch.from_arrays(cells, schema=wanted.schema), rows.request_index, rows.keys)


def _read(parts: Iterator[Rows], reader: PlanReader, index: Table, wanted: Projection) -> Iterator[Rows]:
    """Read the columns of an answer for rows that were found."""
    for found in parts:
        for rows in reader.scan(index, wanted, keys=found.keys):
            yield Rows(rows.batch, np.zeros(len(rows), dtype=np.int64), rows.keys)
