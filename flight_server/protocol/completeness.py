"""The completeness record: metadata of the last message of an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CompletenessRecord", "FailedCutout", "list_bytes", "notes_of"]

LIST_BYTES = 262_144
RECORD_BYTES = 2048
ROOM_BYTES = 2 * LIST_BYTES + RECORD_BYTES


@dataclass(frozen=True, slots=True)
class FailedCutout:
    """A cutout that is in the archive but not in the answer, with the reason."""

    object_id: str | int
    alert_id: int
    kind: str
    reason: str

    def to_dict(self) -> dict[str, str | int]:
        """Return the item of the record."""
        return {"id": self.object_id, "alert": self.alert_id, "kind": self.kind, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletenessRecord:
    """Counts, gaps and cursor of an answer.

    Parameters
    ----------
    complete
        False only if a limit cut off at least one row.
    rows, objects
        The number of rows, and of objects with rows; None if these were not counted.
    points
        The number of rows within light curves; None if the answer is not nested.
    missing_ids
        The requested IDs without rows.
    failed_cutouts, cutout_errors, missing_cutouts
        The cutouts that could not be read, their number by reason, and the number that the archive does not have.
    cutout_bytes_read
        The bytes read for cutouts.
    as_of
        The answer has all that was written up to this time, ms since 1970.
    cursor
        The cursor of the next page, after a limit.
    further
        Further fields, such as the digest.
    """

    complete: bool
    rows: int
    objects: int | None
    as_of: int
    points: int | None = None
    missing_ids: Sequence[str | int] = ()
    failed_cutouts: Sequence[FailedCutout] = ()
    cutout_errors: Mapping[str, int] = field(default_factory=dict)
    missing_cutouts: int = 0
    cutout_bytes_read: int = 0
    cursor: str | None = None
    further: Mapping[str, Any] = field(default_factory=dict)

    def notes(self, room: int = ROOM_BYTES) -> Iterator[dict[str, Any]]:
        """Yield the messages before the record: lists that are too long for it, in parts.

        Parameters
        ----------
        room
            The bytes available in a message.
        """
        for name, values in self._lists().items():
            if not _fits(values, list_bytes(room)):
                yield from notes_of(name, values, room)

    def to_dict(self, room: int = ROOM_BYTES) -> dict[str, Any]:
        """Return the record, without the lists that `notes` yields for the same room."""
        most = list_bytes(room)
        return {
            "complete": self.complete,
            "rows": self.rows,
            **({} if self.points is None else {"points": self.points}),
            "objects": self.objects,
            "missing": len(self.missing_ids),
            **{name: values if _fits(values, most) else [] for name, values in self._lists().items()},
            "missing_cutouts": self.missing_cutouts,
            "cutout_errors": dict(self.cutout_errors),
            "cutout_bytes_read": self.cutout_bytes_read,
            "as_of": self.as_of,
            "cursor": self.cursor,
            **self.further,
        }

    def _lists(self) -> dict[str, list[Any]]:
        failed = [cutout.to_dict() for cutout in self.failed_cutouts]
        return {"missing_ids": list(self.missing_ids), "failed_cutouts": failed}


def list_bytes(room: int) -> int:
    """Return the most bytes of a list in a message with this room: the record has two lists, and other fields."""
    return min(LIST_BYTES, max((room - RECORD_BYTES) // 2, 1))


def notes_of(name: str, values: Sequence[Any], room: int) -> Iterator[dict[str, Any]]:
    """Yield a list in parts, one for each message before the record.

    Parameters
    ----------
    name
        `missing_ids` or `failed_cutouts`.
    values
        The JSON values.
    room
        The bytes available in a message.
    """
    yield from ({name: part} for part in _parts(values, list_bytes(room)))


def _fits(values: list[Any], most: int) -> bool:
    return not values or len(json.dumps(values)) <= most


def _parts(values: Sequence[Any], most: int) -> Iterator[list[Any]]:
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
