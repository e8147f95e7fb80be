"""Counts of an answer, updated while it streams, for the completeness record at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.protocol.completeness import CompletenessRecord, FailedCutout
from flight_server.storage.scans import Rows

__all__ = ["CompletenessCounter", "CutoutCounts"]


MOST_DISTINCT = 1_000_000  # objects that are told apart, if the rows of an object may be apart; about 100 bytes each


@dataclass(slots=True)
class CutoutCounts:
    """The cutouts of an answer: missing, read and failed."""

    missing: int = 0
    bytes_read: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    failed: list[FailedCutout] = field(default_factory=list)

    def add_failed(self, cutout: FailedCutout) -> None:
        """Add a cutout that could not be read."""
        self.errors[cutout.reason] += 1
        self.failed.append(cutout)

    def add(self, other: CutoutCounts) -> None:
        """Add the counts of another answer."""
        self.missing += other.missing
        self.bytes_read += other.bytes_read
        self.errors.update(other.errors)
        self.failed += other.failed

    def of_record(self) -> dict[str, Any]:
        """Return the fields of the completeness record."""
        return {
            "failed_cutouts": self.failed,
            "cutout_errors": self.errors,
            "missing_cutouts": self.missing,
            "cutout_bytes_read": self.bytes_read,
        }


@dataclass(slots=True)
class CompletenessCounter:
    """Counts of one answer.

    Parameters
    ----------
    ids
        The requested objects, possibly more from time to time; None if rows are not selected by object.
    mixed
        Whether the rows of an object may be apart from each other.
    points
        The number of rows within light curves; None if the answer is not nested.
    """

    ids: Sequence[str | int] | None
    mixed: bool = False
    points: int | None = None
    rows: int = 0
    complete: bool = True
    cutouts: CutoutCounts = field(default_factory=CutoutCounts)
    _seen: npt.NDArray[np.bool_] = field(init=False)
    _present: npt.NDArray[np.bool_] = field(init=False)
    _objects: int | None = 0
    _last: object = None
    _distinct_ids: set[object] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._seen, self._present = (np.zeros(len(self.ids or ()), dtype=bool) for _ in range(2))

    def count(self, rows: Rows, ids: pa.Array | None) -> None:
        """Count rows; `ids` are their object IDs, unless objects were requested by ID."""
        self.rows += len(rows)
        if self.ids is not None:
            self._seen = _marked(self._seen, rows.request_index, len(self.ids))
        elif ids is not None and self.mixed:
            if self._objects is not None:
                self._distinct_ids.update(pc.unique(ids).to_pylist())
                self._objects = len(self._distinct_ids)
                if self._objects > MOST_DISTINCT:
                    self._objects, self._distinct_ids = None, set()
        elif ids is not None and len(ids):
            changes = pc.sum(pc.not_equal(ids[1:], ids[:-1])).as_py() or 0
            self._objects = (self._objects or 0) + changes + (ids[0].as_py() != self._last)
            self._last = ids[-1].as_py()

    def mark_present(self, request_index: npt.NDArray[np.int64] | int) -> None:
        """Mark objects, by request index, that have rows, but none in this answer: they are not missing."""
        self._present = _marked(self._present, np.atleast_1d(request_index), len(self.ids or ()))

    @property
    def objects(self) -> int | None:
        """The number of objects with rows in the answer; None if it was not counted, since it would take much memory."""
        return self._objects if self.ids is None else int(self._seen.sum())

    def missing(self) -> list[str | int]:
        """Return the requested IDs without rows."""
        # after a limit, the objects that were not reached are unknown
        if self.ids is None or not self.complete:
            return []
        size, nothing = len(self.ids), np.zeros(0, dtype=np.int64)
        seen, present = (_marked(mask, nothing, size)[:size] for mask in (self._seen, self._present))
        found = seen | present
        return [] if found.all() else [self.ids[row] for row in np.flatnonzero(~found).tolist()]

    def record(self, as_of: int, cursor: str | None, further: Mapping[str, Any]) -> CompletenessRecord:
        """Return the record of the answer."""
        return CompletenessRecord(
            complete=self.complete,
            rows=self.rows,
            objects=self.objects,
            points=self.points,
            missing_ids=self.missing(),
            as_of=as_of,
            cursor=cursor,
            further=further,
            **self.cutouts.of_record(),
        )


def _marked(mask: npt.NDArray[np.bool_], places: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.bool_]:
    """Mark places; enlarge a mask that is smaller than `size`, by half at least."""
    if size > len(mask):
        mask = np.append(mask, np.zeros(max(size - len(mask), len(mask) // 2), dtype=bool))
    mask[places] = True
    return mask
