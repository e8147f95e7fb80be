"""What an answer says about itself: the counts that make the record at its end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.storage.protocols import Rows

__all__ = ["CompletenessCounter", "FailedCutout"]

LIST_BYTES = 262_144
RECORD_BYTES = 2048


@dataclass(frozen=True, slots=True)
class FailedCutout:
    """A stamp that is in the archive but not in the answer, and why."""

    object_id: str | int
    alert_id: int
    kind: str
    reason: str

    def note(self) -> dict[str, str | int]:
        """Say it in the record."""
        return {"id": self.object_id, "alert": self.alert_id, "kind": self.kind, "reason": self.reason}


@dataclass(slots=True)
class CompletenessCounter:
    """Counts of one answer, kept while it streams.

    Parameters
    ----------
    ids
        The objects asked for, or None for a whole table.
    as_of
        Until when what was written is in the answer, ms since 1970.
    mixed
        Whether the rows of an object need not stand together.
    points
        The rows within light curves, where the answer is nested.
    """

    ids: Sequence[str | int] | None
    as_of: int
    mixed: bool = False
    rows: int = 0
    points: int | None = None
    missing_cutouts: int = 0
    cutout_bytes_read: int = 0
    cutout_errors: Counter[str] = field(default_factory=Counter)
    failed_cutouts: list[FailedCutout] = field(default_factory=list)
    complete: bool = True
    cursor: str | None = None
    _seen: npt.NDArray[np.bool_] = field(init=False)
    _known: npt.NDArray[np.bool_] | None = None
    _objects: int = 0
    _last: object = None
    _met: set[object] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._seen = np.zeros(len(self.ids or ()), dtype=bool)

    def count(self, rows: Rows, ids: pa.Array | None) -> None:
        """Count some rows; `ids` are their objects' IDs where a whole table is read."""
        self.rows += len(rows.batch)
        if self.ids is not None:
            self._seen[rows.request_index] = True
        elif ids is not None and self.mixed:
            self._met.update(pc.unique(ids).to_pylist())
            self._objects = len(self._met)
        elif ids is not None and len(ids):
            changes = pc.sum(pc.not_equal(ids[1:], ids[:-1])).as_py() or 0
            self._objects += changes + (ids[0].as_py() != self._last)
            self._last = ids[-1].as_py()

    def know(self, asked: npt.NDArray[np.int64] | int) -> None:
        """Note that objects, by their index, have rows, though none in this answer: they are not missing."""
        if self._known is None:
            self._known = np.zeros_like(self._seen)
        self._known[asked] = True

    def fail(self, cutout: FailedCutout) -> None:
        """Note a stamp that cannot be given."""
        self.cutout_errors[cutout.reason] += 1
        self.failed_cutouts.append(cutout)

    def notes(self, room: int = 2 * LIST_BYTES + RECORD_BYTES) -> Iterator[dict[str, Any]]:
        """Give what goes out in front of the record: missing IDs and failed cutouts, where they are too many for it.

        Parameters
        ----------
        room
            The bytes that a message has for it.
        """
        most = _most(room)
        for name, values in self._lists().items():
            if not _fits(values, most):
                yield from ({name: part} for part in _parts(values, most))

    def record(self, room: int = 2 * LIST_BYTES + RECORD_BYTES) -> dict[str, Any]:
        """Give the completeness record; what `notes` gave is not in it once more."""
        lists = self._lists()
        most = _most(room)
        return {
            "complete": self.complete,
            "rows": self.rows,
            **({} if self.points is None else {"points": self.points}),
            "objects": self.objects,
            "missing": len(lists["missing_ids"]),
            **{name: values if _fits(values, most) else [] for name, values in lists.items()},
            "missing_cutouts": self.missing_cutouts,
            "cutout_errors": dict(self.cutout_errors),
            "cutout_bytes_read": self.cutout_bytes_read,
            "as_of": self.as_of,
            "cursor": self.cursor,
        }

    def _lists(self) -> dict[str, list[Any]]:
        return {"missing_ids": self.missing(), "failed_cutouts": [cutout.note() for cutout in self.failed_cutouts]}

    @property
    def objects(self) -> int:
        """How many objects have rows in the answer."""
        return self._objects if self.ids is None else int(self._seen.sum())

    def missing(self) -> list[str | int]:
        """Give the asked IDs without rows."""
        # after a limit nothing is known of the objects that were not reached
        if self.ids is None or not self.complete:
            return []
        found = self._seen if self._known is None else self._seen | self._known
        return [] if found.all() else [self.ids[row] for row in np.flatnonzero(~found).tolist()]


def _most(room: int) -> int:
    """Give the bytes that a list may have, which the record has two of; the rest of the record needs some too."""
    return min(LIST_BYTES, max((room - RECORD_BYTES) // 2, 1))


def _fits(values: list[Any], most: int) -> bool:
    return not values or len(json.dumps(values)) <= most


def _parts(values: list[Any], most: int) -> Iterator[list[Any]]:
    part: list[Any] = []
    size = 0
    for value in values:
        size += len(json.dumps(value)) + 2
        if part and size > most - 64:
            yield part
            part, size = [], len(json.dumps(value)) + 2
        part.append(value)
    if part:
        yield part
