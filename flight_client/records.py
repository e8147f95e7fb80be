"""The completeness record of an answer that came in several streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Record"]


@dataclass(slots=True)
class Record:
    """What an answer is, put together from the records of its streams.

    Parameters
    ----------
    complete
        False if a limit left rows behind.
    rows
        Rows that came.
    objects
        Objects with rows; None where that is not known, since a stream was resumed and may have been cut in an object.
    points
        Points of nested light curves; None in the layout `rows`.
    missing_ids
        The IDs asked for that have no rows.
    failed_cutouts, cutout_errors, missing_cutouts
        Stamps that cannot be read, how many by reason, and stamps that the archive does not have.
    unexplained_cutouts
        Null stamps among the rows in front of a break, of which no record says why.
    cutout_bytes_read
        What was read for stamps after the last break.
    as_of
        The time, ms since 1970, of the oldest state in the answer.
    cursor
        Where the next page begins, after a limit.
    digest
        Of the data, if it was asked for and all came in one stream.
    resumed
        How often a stream broke and went on.
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

    @classmethod
    def of(cls, found: Mapping[str, Any], missing_ids: list[str | int], failed_cutouts: list[dict[str, Any]]) -> Record:
        """Read the record of a stream, with its lists whole."""
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
        """Add the record of a further endpoint."""
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

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return asdict(self) | {"cutout_errors": dict(self.cutout_errors)}
