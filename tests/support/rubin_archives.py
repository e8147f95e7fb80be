"""Answers from archives with alerts of Rubin."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from archives import Answered, Opened, messages

from flight_server.protocol.ticket_json import parse_ticket

MAIN = "rubin.diaSource_static"
Ask = Callable[..., Answered]


def asking(archive: Opened) -> Ask:
    """Return a function that answers a ticket, whose fields are given, of the main table if none is named."""

    def answer(**fields: Any) -> Answered:
        return messages(archive, parse_ticket(json.dumps({"table": MAIN, **fields}).encode()))

    return answer


def whole(archive: Opened, table: str) -> pa.Table:
    """Return all rows of a table, without the names of blocks, which are each store's own."""
    found = asking(archive)(table=table, all=True).table
    return found.drop_columns([name for name in ("r:hdfs_path",) if name in found.column_names])
