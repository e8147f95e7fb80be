"""The example that a server prints when it starts: a light curve in its archive."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

from alertflight_config import DEFAULT_TABLE, EXAMPLE_ID

from flight_server.execution.archive import Archive
from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import AlertflightError
from flight_server.protocol.query import Query

__all__ = ["example_id"]

LOOKED_AT = 5000


def example_id(archive: Archive, table: str = DEFAULT_TABLE, otherwise: str = EXAMPLE_ID) -> str:
    """Return the object with the longest light curve among the first rows, or a known name for an empty archive."""
    found = archive.catalog().table(table)
    query = Query(table=table, all=True, columns=(found.id,), limit=LOOKED_AT)
    counts: Counter[str] = Counter()
    with suppress(AlertflightError):  # a table that cannot be read is reported elsewhere
        for message in archive.answer(query, Caller("welcome")).messages:
            counts.update(message.batch[found.id].to_pylist())
    return counts.most_common(1)[0][0] if counts else otherwise
