"""The open segments of a store; those whose files have changed are opened again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from flight_server.protocol.errors import AlertflightError, CorruptData
from flight_server.storage.embedded.manifest import ManifestState, SegmentRecord
from flight_server.storage.embedded.segments import BATCH_ROWS, Segment, segment_stamp
from flight_server.storage.regular_files import FileStamp

__all__ = ["OpenSegments"]


class OpenSegments:
    """The segments of a store.

    Parameters
    ----------
    folder
        The folder of the store.

    Attributes
    ----------
    changed
        Segments that were opened again since their files have changed, for a scrub to read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[int, Segment] = {}
        self._stamps: dict[Path, tuple[FileStamp, FileStamp]] = {}
        self.changed: dict[int, SegmentRecord] = {}

    def open(self, state: ManifestState) -> tuple[dict[str, list[Segment]], dict[str, AlertflightError]]:
        """Open the segments of a state of the manifest that are not open yet, or whose files have changed.

        Returns
        -------
        tuple
            The segments of each table, oldest first, and the errors of tables with files that cannot be opened.
        """
        tables: dict[str, list[Segment]] = {}
        faults: dict[str, AlertflightError] = {}
        opened, stamps = {}, {}
        for record in state.segments:
            stem = self._stem(record)
            stamps[stem] = segment_stamp(stem)
            held = self._open.get(record.id)
            segment = held if held is not None and held.record == record and held.stamp == stamps[stem] else None
            if segment is None:
                try:
                    segment = Segment(stem, record)
                except CorruptData as error:
                    faults[record.table_name] = error
                    continue
                if held is not None and held.record == record:
                    self.changed[record.id] = record
                stamps[stem] = segment.stamp
            opened[record.id] = segment
            tables.setdefault(record.table_name, []).append(segment)
        self._open, self._stamps = opened, stamps
        return tables, faults

    def have_changed(self) -> bool:
        """Return whether a file has changed since `open`, also one that could not be opened."""
        return any(segment_stamp(stem) != stamp for stem, stamp in self._stamps.items())

    def recheck(self, record: SegmentRecord) -> None:
        """Verify all batches of an open segment again; who reads a damaged one from now on gets an error."""
        segment = self._open.get(record.id)
        if segment is None:
            return
        for number in range(-(-record.rows // BATCH_ROWS)):
            with suppress(CorruptData):  # the segment notes it
                segment.recheck(number)

    def _stem(self, record: SegmentRecord) -> Path:
        return self._folder / "segments" / record.table_name / record.name
