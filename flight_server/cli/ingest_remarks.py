"""What there is to say about an ingest, beside its counts: what was skipped, left out, rounded, or kept in its own way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flight_server.ingest import IngestReport
from flight_server.storage.protocols import Sharing

__all__ = ["ingest_remarks", "rounded_remarks"]

NAMED = 20  # names in one line


def ingest_remarks(report: IngestReport) -> Iterator[str]:
    """Yield a line for each thing to know about an ingest."""
    for path in report.skipped:
        yield f"{path}: skipped, not an alert file"
    if report.not_stored:
        yield f"columns not stored: {', '.join(sorted(report.not_stored))}"
    for name, reason in sorted(report.unreadable.items()):
        yield f"column left out: {name}, {reason}"
    if report.left_out:
        counts = " and ".join(f"{count} points of {name}" for name, count in sorted(report.left_out.items()))
        yield f"{counts} left out: the last points of their histories are of another kind; --history keeps them"
    if report.unplaced:
        named = _some([str(one) for one in report.unplaced])
        yield f"{len(report.unplaced)} alerts are of no known object: at most their cutouts are stored: {named}"
    yield from _sharing(report.sharing)
    yield from rounded_remarks(report.rounded)


def rounded_remarks(rounded: Mapping[str, int]) -> Iterator[str]:
    """Yield a line about the columns in which values lost decimal digits, if there are any."""
    if any(rounded.values()):
        columns = ", ".join(f"{name} ({count} values)" for name, count in sorted(rounded.items()))
        yield f"digits lost to the type of the column: {columns}"


def _sharing(sharing: Sharing) -> Iterator[str]:
    if sharing.alerts:
        named = _some([str(one) for one in sharing.alerts])
        yield f"{len(sharing.alerts)} alerts share object and exposure with another one; they are stored beside it: {named}"
    if sharing.left_out:
        count, named = sum(sharing.left_out.values()), _some(sorted(sharing.left_out))
        yield f"{count} detections of histories share object and exposure with a stored one and are left out: {named}"


def _some(names: Sequence[str]) -> str:
    """Return the names, or the first ones if there are many."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
