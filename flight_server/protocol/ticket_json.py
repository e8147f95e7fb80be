"""Parser of tickets: JSON to `Query`.

Everything that does not depend on the tables is checked here; `planning` checks the rest against the catalog. msgspec decodes
and checks a valid ticket in one step. Any other ticket is decoded again and checked field by field, so that the error names
the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from flight_server.protocol.errors import BadValue, InvalidTicket, NoSelection, NotSupported, TooLarge, UnknownField
from flight_server.protocol.json_text import decode_once, load_object
from flight_server.protocol.query import FIELDS, MAX_TICKET_BYTES, SELECTIONS, Query
from flight_server.protocol.ticket_fields import FIELD_TYPES, TicketFields
from flight_server.protocol.ticket_values import MEANINGS, checked
from flight_server.protocol.times import check_order

__all__ = ["decode_query", "parse_exchange", "parse_query", "parse_ticket"]

# Fields that make no sense for a stream of IDs.
NOT_EXCHANGED = ("limit", "limit_objects", "resume_after", "key_range")

_DECODER = msgspec.json.Decoder(TicketFields)


def parse_ticket(ticket: bytes, max_bytes: int = MAX_TICKET_BYTES) -> Query:
    """Read a ticket.

    Parameters
    ----------
    ticket
        UTF-8 JSON, one object.
    max_bytes
        The size limit, bytes.

    Raises
    ------
    TooLarge, InvalidTicket, UnknownField, NotSupported, NoSelection, BadValue
        Each names the field at fault.

    Examples
    --------
    >>> parse_ticket(b'{"table": "ztf", "ids": ["ZTF20abfcszi"], "limit": 3}').limit
    3
    """
    if len(ticket) > max_bytes:
        message = f"the ticket has {len(ticket)} bytes, at most {max_bytes} are accepted: split the list of IDs"
        raise TooLarge(message, field="ticket", value=len(ticket))
    query = decode_query(ticket)
    return parse_query(load_object(ticket)) if query is None else query


def parse_exchange(given: Mapping[str, Any]) -> Query:
    """Read the command of a `do_exchange`, decoded: a ticket without a selection, since the IDs come in the stream.

    Raises
    ------
    InvalidTicket, UnknownField, NotSupported, BadValue
        Each names the field at fault.
    """
    for name in (*SELECTIONS, *NOT_EXCHANGED):
        if name in given:
            raise NotSupported(f"a do_exchange command has no {name}: send the IDs or cones in the stream", field=name)
    return _checked_query(given)


def parse_query(given: Mapping[str, Any]) -> Query:
    """Read a ticket that `load_object` has decoded; see `parse_ticket`."""
    return _with_selection(_checked_query(given), given)


def decode_query(ticket: bytes) -> Query | None:
    """Decode a ticket in one step, or return None if `parse_query` has to check it.

    Raises
    ------
    InvalidTicket, NoSelection, BadValue
        Every field has its type, but the values contradict each other.
    """
    given = decode_once(ticket, _DECODER)
    if given is None or "table" not in given:
        return None
    return _with_selection(_query(given.items()), given)


def _checked_query(given: Mapping[str, Any]) -> Query:
    for name in given:
        if name not in FIELD_TYPES:
            known = ", ".join(FIELD_TYPES)
            raise UnknownField(f"a ticket has no field {name!r:.80}; known are {known}", field=name)
    if "table" not in given:
        raise InvalidTicket("the ticket has no field table", field="table")
    return _query((name, checked(name, value)) for name, value in given.items())


def _query(given: Iterable[tuple[str, Any]]) -> Query:
    """Return the query of fields whose types are checked."""
    query = Query(**{FIELDS.get(name, name): MEANINGS[name](value) if name in MEANINGS else value for name, value in given})
    if query.columns == () and not query.cutouts:
        raise BadValue("columns is empty: name some, or leave it out for all", field="columns", value="[]")
    if query.cutout_planes != ("image",) and query.cutout_format != "array":
        message = f"cutout_planes needs the cutout_format array: other formats have all images ({query.cutout_format})"
        raise BadValue(message, field="cutout_planes", value=query.cutout_planes[0])
    if query.start is not None and query.stop is not None:
        check_order(query.start, query.stop)
    return query


def _with_selection(query: Query, given: Mapping[str, Any]) -> Query:
    made = [name for name in SELECTIONS if name in given and given[name] is not False]
    if len(made) > 1:
        message = f"a ticket has exactly one selection, this one has {' and '.join(made)}"
        raise InvalidTicket(message, field=made[-1])
    # time bounds alone can be a selection, if the table's rows are ordered by time; the planner checks that
    bounded = query.start is not None or query.stop is not None
    if given[made[0]] == [] if made else not bounded:
        raise NoSelection(f"select rows: one of {', '.join(SELECTIONS)}", field="ids")
    return query
