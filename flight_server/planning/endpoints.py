"""Split of a query into endpoints: queries that can be read in parallel and together return each row once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from flight_server.protocol.query import Query

__all__ = ["endpoint_queries"]

ENDPOINT_OBJECTS = 1000


def endpoint_queries(query: Query, parts: Sequence[tuple[bytes, bytes]] = (), most: int | None = None) -> Iterator[Query]:
    """Split a query into queries of a thousand objects, or of one part of a table, each.

    A query with a limit or a cursor is not split.

    Parameters
    ----------
    query
        The query.
    parts
        Ranges of row keys, if the query does not name objects; see `RowView.split`.
    most
        The most queries to return.
    """
    if query.limit is not None or query.limit_objects is not None or query.resume_after is not None:
        yield query
    elif query.ids is not None:
        step = ENDPOINT_OBJECTS if most is None else max(ENDPOINT_OBJECTS, -(-len(query.ids) // most))
        for first in range(0, len(query.ids), step):
            yield replace(query, ids=query.ids[first : first + step])
    elif len(parts) <= 1 or most == 1:
        yield query
    else:
        step = 1 if most is None else -(-len(parts) // most)
        for number in range(0, len(parts), step):
            last = min(number + step, len(parts)) - 1
            yield replace(query, key_range=(parts[number][0].decode(), parts[last][1].decode()))
