"""Progress of an answer: the cursor after each message."""

from __future__ import annotations

from dataclasses import replace

from flight_server.execution.reader import PlanReader
from flight_server.planning.cursors import MOST_OBJECTS, Place
from flight_server.storage.row_keys import object_key
from flight_server.storage.scans import Rows

__all__ = ["Progress"]


class Progress:
    """The position after the rows sent so far.

    Parameters
    ----------
    reader
        The reader of the answer.
    """

    def __init__(self, reader: PlanReader) -> None:
        self._reader = reader
        self._plan = plan = reader.plan
        # a time to come would be another state later
        self._moment = min(reader.moment, reader.view.as_of)
        self._place = plan.after
        self._fingerprint = plan.query.fingerprint()
        # if the rows of an object are apart, objects cannot be counted from a cursor on
        self._has_cursors = plan.query.limit_objects is None or plan.table.by_object

    def advance(self, rows: Rows) -> dict[str, str]:
        """Advance past rows, and return the cursor field of their message."""
        self._place = self._behind(rows)
        return {"cursor": self._place.cursor(self._fingerprint)} if self._has_cursors else {}

    def next_page(self) -> str | None:
        """Return the cursor of the record; a query that resumes from it gets the full limit again."""
        if self._place is None or not self._has_cursors:
            return None
        return replace(self._place, sent=0, objects=0).cursor(self._fingerprint)

    def _behind(self, rows: Rows) -> Place:
        plan, before = self._plan, self._place
        place = Place.behind(rows, before, self._moment, self._reader.mark_at(int(rows.request_index[-1])))
        if plan.shape.nested:
            # an object is sent as a whole, so skip all rows with its last key
            place = replace(place, same=MOST_OBJECTS)
        if plan.query.limit_objects is None or not plan.table.by_object:
            return place
        objects = dict.fromkeys(object_key(plan.table, key) for key in rows.keys.tolist())
        begun = before is not None and before.objects > 0 and object_key(plan.table, before.key) in objects
        return replace(place, objects=len(objects) - begun + (0 if before is None else before.objects))
