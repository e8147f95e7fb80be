"""Cursors: opaque positions in the answer to a query, valid for that query only."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass

from flight_server.protocol.errors import CursorMismatch
from flight_server.storage.row_keys import LONGEST_KEY
from flight_server.storage.scans import Rows

__all__ = ["MARK_BYTES", "MOST_OBJECTS", "NO_MARK", "Place", "dropped_state", "lost_place", "read_cursor", "unknown_state"]

# version, fingerprint, request_index, same, sent, objects, moment, mark; then the row key. Binary, since keys in JSON could
# exceed the space in a message.
MARK_BYTES = 8
HEAD = struct.Struct(f">B6sIIQIQ{MARK_BYTES}s")
VERSION = 2
NO_MARK = bytes(MARK_BYTES)
MOST_OBJECTS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """The position after a row of an answer.

    Parameters
    ----------
    request_index
        The index of the requested ID that selects the row; 0 in a whole table.
    key
        The row key of the row.
    same
        The number of rows with this ID and key before the position: several are possible if tables are merged.
    sent
        The number of rows already sent of the ticket's `limit`. It is 0 in the cursor of a record, which begins the next
        page of `limit` rows; in the cursor of a message with rows it leaves the rest of the current page.
    objects
        The same for `limit_objects`: the number of objects begun; 0 if the ticket has no such limit.
    moment
        The time as of which the answer was made, ms since 1970.
    mark
        A digest of what was found in the sky, if the position depends on it.
    """

    request_index: int
    key: bytes
    same: int
    sent: int
    objects: int = 0
    moment: int = 0
    mark: bytes = NO_MARK

    @classmethod
    def behind(cls, rows: Rows, before: Place | None, moment: int = 0, mark: bytes = NO_MARK) -> Place:
        """Return the position after some rows, one or more, that directly follow the position `before`.

        Parameters
        ----------
        rows, before
            The rows, and the position before them; None at the beginning.
        moment, mark
            Those of the new position.
        """
        index, key, length = rows.request_index[-1], rows.keys[-1], len(rows.keys)
        same = 1
        while same < length and rows.keys[-1 - same] == key and rows.request_index[-1 - same] == index:
            same += 1
        number, last = int(index), bytes(key)
        if before is None:
            return cls(number, last, same, length, 0, moment, mark)
        if same == length and (before.request_index, before.key) == (number, last):
            same += before.same
        return cls(number, last, same, before.sent + length, 0, moment, mark)

    def cursor(self, fingerprint: str) -> str:
        """Return the cursor text, bound to the query with this fingerprint."""
        counts = (self.request_index, self.same, self.sent, self.objects, self.moment)
        head = HEAD.pack(VERSION, bytes.fromhex(fingerprint), *counts, self.mark)
        return base64.urlsafe_b64encode(head + self.key).decode()


def lost_place() -> CursorMismatch:
    """Return the error for a cursor of an answer that is another one now."""
    message = "the answer has changed since the cursor was made: send the ticket again without resume_after"
    return CursorMismatch(message, field="resume_after")


def dropped_state() -> CursorMismatch:
    """Return the error for a cursor of a state that the store no longer has."""
    message = "compaction has dropped rows that the answer of the cursor had: send the ticket again without resume_after"
    return CursorMismatch(message, field="resume_after")


def unknown_state() -> CursorMismatch:
    """Return the error for a cursor of a state that the store does not have yet, such as that of another server."""
    message = "the cursor is of a later state than this server has: ask the server that it came from, or leave out resume_after"
    return CursorMismatch(message, field="resume_after")


def read_cursor(text: str, fingerprint: str, objects: int) -> Place:
    """Read a cursor.

    Parameters
    ----------
    text
        The cursor of a message or record.
    fingerprint
        The fingerprint of the query that resumes.
    objects
        The number of IDs in that query; 1 for a whole table.

    Raises
    ------
    CursorMismatch
        It is no cursor, or a cursor of another query.

    Examples
    --------
    >>> read_cursor(Place(0, b"ZTF20abfcszi_2459063.9292593", 1, 21).cursor("0123456789ab"), "0123456789ab", 1).sent
    21
    """
    try:
        content = base64.b64decode(text, altchars=b"-_", validate=True)
        version, owner, *counts, mark = HEAD.unpack_from(content)
    except (ValueError, struct.error):
        content = b""
    if not content or version != VERSION or base64.urlsafe_b64encode(content).decode() != text:
        raise CursorMismatch("resume_after is not a cursor of this server", field="resume_after", value=text)
    index, same, sent, begun, moment = counts
    place = Place(index, content[HEAD.size :], same, sent, begun, moment, mark)
    if owner.hex() != fingerprint:
        raise CursorMismatch(
            "the cursor belongs to another query: send the ticket of that answer, and change only resume_after and as_of",
            field="resume_after",
            value=text,
        )
    if index >= objects or not same or not 0 < len(place.key) <= LONGEST_KEY:
        raise CursorMismatch("the cursor in resume_after is not in this answer", field="resume_after", value=text)
    return place
