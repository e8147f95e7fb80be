"""The completeness record of an answer that was read over several streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Record"]


@dataclass(slots=True)
class Record:
    """The completeness record of an answer, combined from the records of its streams.

    Parameters
    ----------
    complete
        False if a limit cut off rows.
    rows
        The number of rows received.
    objects
        Objects with rows; None if unknown, since a stream was resumed and may have been interrupted within an object.
    points
        Points of nested light curves; None in the layout `rows`.
    missing_ids
        The requested IDs without rows.
    failed_cutouts, cutout_errors, missing_cutouts
        Cutouts that cannot be read, their number by reason, and the number of cutouts missing from the archive.
    unexplained_cutouts
        Null cutouts among the rows before an interruption, which no record explains.
    cutout_bytes_read
        Bytes read for cutouts since the last interruption.
    as_of
        The time, in ms since 1970, of the oldest snapshot in the answer.
    cursor
        The cursor of the next page, after a limit.
    digest
        The digest of the data, if requested and if all of it came in one stream.
    resumed
        How often a stream was interrupted and resumed.
    skipped
        The rows of the input, from 0, that had no usable value and were skipped as requested.
    """

    complete: bool = True
    rows: int = 0
    objects: int | None = 0
    points: int | None = None
    missing_ids: list[str | int] = field(default_factory=list)
    failed_cutouts: list[dict[str, Any]] = field(default_factory=list)
    cutout_errors: Counter[str] = field(default_factory=Counter)
    missing_cutouts: int = 0
    unexplained_cutouts: int = 0
    cutout_bytes_read: int = 0
    as_of: int | None = None
    cursor: str | None = None
    digest: str | None = None
    resumed: int = 0
    parts: int = 0
    skipped: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, found: Mapping[str, Any], missing_ids: list[str | int], failed_cutouts: list[dict[str, Any]]) -> Record:
        """Make a record from that of a stream, with its complete lists."""
        return cls(
            complete=found["complete"],
            rows=found["rows"],
            objects=found.get("objects"),
            points=found.get("points"),
            missing_ids=missing_ids,
            failed_cutouts=failed_cutouts,
            cutout_errors=Counter(found.get("cutout_errors", {})),
            missing_cutouts=found.get("missing_cutouts", 0),
            cutout_bytes_read=found.get("cutout_bytes_read", 0),
            as_of=found.get("as_of"),
            cursor=found.get("cursor"),
            digest=found.get("digest"),
            parts=1,
        )

    def add(self, other: Record) -> None:
        """Add the record of another endpoint."""
        first = not self.parts
        self.complete = self.complete and other.complete
        self.rows += other.rows
        self.objects = None if self.objects is None or other.objects is None else self.objects + other.objects
        self.points = other.points if first or self.points is None else self.points + (other.points or 0)
        self.missing_ids += other.missing_ids
        self.failed_cutouts += other.failed_cutouts
        self.cutout_errors += other.cutout_errors
        self.missing_cutouts += other.missing_cutouts
        self.unexplained_cutouts += other.unexplained_cutouts
        self.cutout_bytes_read += other.cutout_bytes_read
        self.as_of = min((moment for moment in (self.as_of, other.as_of) if moment is not None), default=None)
        self.cursor = other.cursor if first else None
        self.digest = other.digest if first else None
        self.resumed += other.resumed
        self.parts += other.parts
        self.skipped += other.skipped

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a dictionary of JSON types."""
        return asdict(self) | {"cutout_errors": dict(self.cutout_errors)}
