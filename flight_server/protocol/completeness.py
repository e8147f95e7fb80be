"""The completeness record: what an answer says about itself in its last message."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["CompletenessRecord", "FailedCutout"]

LIST_BYTES = 262_144
RECORD_BYTES = 2048
ROOM_BYTES = 2 * LIST_BYTES + RECORD_BYTES


@dataclass(frozen=True, slots=True)
class FailedCutout:
    """A cutout that is in the archive but not in the answer, and why."""

    object_id: str | int
    alert_id: int
    kind: str
    reason: str

    def to_dict(self) -> dict[str, str | int]:
        """Return it as the record has it."""
        return {"id": self.object_id, "alert": self.alert_id, "kind": self.kind, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletenessRecord:
    """What an answer is.

    Parameters
    ----------
    complete
        False only if a limit left at least one more row behind.
    rows, objects
        The rows of the answer, and the objects that have some.
    points
        The rows within light curves; None where the answer is not nested.
    missing_ids
        The requested IDs without rows.
    failed_cutouts, cutout_errors, missing_cutouts
        Cutouts that cannot be given, how many by reason, and cutouts that the archive does not have.
    cutout_bytes_read
        The bytes read for cutouts.
    as_of
        Until when what was written is in the answer, ms since 1970.
    cursor
        Where the next page begins, after a limit.
    further
        What else an answer says, such as its digest.
    """

    complete: bool
    rows: int
    objects: int
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
        """Yield what goes out in front of the record: lists that are too long for it, in parts.

        Parameters
        ----------
        room
            The bytes that a message has for it.
        """
        most = _list_bytes(room)
        for name, values in self._lists().items():
            if not _fits(values, most):
                yield from ({name: part} for part in _parts(values, most))

    def to_dict(self, room: int = ROOM_BYTES) -> dict[str, Any]:
        """Return the record; what `notes` yields for the same room is not in it once more."""
        most = _list_bytes(room)
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


def _list_bytes(room: int) -> int:
    """Return the bytes that a list may have; the record has two lists, and the rest of it needs some too."""
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
