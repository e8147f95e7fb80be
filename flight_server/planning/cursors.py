"""Cursors: places in the answer to a query, as opaque text that only the same query takes back."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass, replace

from flight_server.protocol.errors import CursorMismatch
from flight_server.storage.row_keys import LONGEST_KEY
from flight_server.storage.scans import Rows

__all__ = ["MOST_OBJECTS", "Place", "lost_place", "read_cursor"]

# fingerprint, asked, same, sent, objects; the key follows. Binary, since JSON would swell keys beyond what a message has
# room for.
HEAD = struct.Struct(">6sIIQI")
MOST_OBJECTS = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """The place behind some row of an answer.

    Parameters
    ----------
    request_index
        The index of the asked ID that selects the row; 0 in a whole table.
    key
        Its row key.
    same
        How many rows of that ID and key are in front of the place: where tables are merged, several can be.
    sent
        How many rows of the ticket's `limit` were sent. A record's cursor has 0 here, and so begins the next
        `limit` rows; the cursor of a message with rows has them, and so gives what is left of these.
    objects
        How many objects of the ticket's `limit_objects` were begun, likewise; 0 where the ticket has none.
    """

    request_index: int
    key: bytes
    same: int
    sent: int
    objects: int = 0

    @classmethod
    def behind(cls, rows: Rows, before: Place | None) -> Place:
        """Give the place behind some rows, one or more, that come right after the place `before`."""
        asked, key, length = rows.request_index[-1], rows.keys[-1], len(rows.keys)
        same = 1
        while same < length and rows.keys[-1 - same] == key and rows.request_index[-1 - same] == asked:
            same += 1
        place = cls(int(asked), bytes(key), same, length)
        if before is None:
            return place
        if same == length and (before.request_index, before.key) == (place.request_index, place.key):
            same += before.same
        return replace(place, same=same, sent=before.sent + length)

    def cursor(self, fingerprint: str) -> str:
        """Give the text for it, bound to the query of this fingerprint."""
        head = HEAD.pack(bytes.fromhex(fingerprint), self.request_index, self.same, self.sent, self.objects)
        return base64.urlsafe_b64encode(head + self.key).decode()


def lost_place() -> CursorMismatch:
    """Give the error for a cursor whose row is no longer where it was."""
    message = "the row that the cursor names is no longer in the answer: ask for it anew, without resume_after"
    return CursorMismatch(message, field="resume_after")


def read_cursor(text: str, fingerprint: str, objects: int) -> Place:
    """Read a cursor.

    Parameters
    ----------
    text
        What a message or a record carried.
    fingerprint
        That of the query which it comes back with.
    objects
        How many IDs that query asks for; 1 where it asks for a whole table.

    Raises
    ------
    CursorMismatch
        It is no cursor, or one of another query.

    Examples
    --------
    >>> read_cursor(Place(0, b"ZTF20abfcszi_2459063.9292593", 1, 21).cursor("0123456789ab"), "0123456789ab", 1).sent
    21
    """
    try:
        content = base64.b64decode(text, altchars=b"-_", validate=True)
        owner, asked, same, sent, begun = HEAD.unpack_from(content)
    except (ValueError, struct.error):
        content = b""
    if not content or base64.urlsafe_b64encode(content).decode() != text:
        raise CursorMismatch("resume_after is no cursor of this server", field="resume_after", value=text)
    place = Place(asked, content[HEAD.size :], same, sent, begun)
    if owner.hex() != fingerprint:
        raise CursorMismatch(
            "the cursor belongs to another query: send the ticket that gave it, with nothing changed but resume_after and as_of",
            field="resume_after",
            value=text,
        )
    if asked >= objects or not same or not 0 < len(place.key) <= LONGEST_KEY:
        raise CursorMismatch("resume_after names no place in this answer", field="resume_after", value=text)
    return place
