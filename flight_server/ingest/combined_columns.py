"""Columns of a table that a loaded file has in another way: in parts, or as a list of values."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from flight_server.catalog.declarations import Table

__all__ = ["combine"]


def combine(table: Table, rows: pa.Table) -> tuple[pa.Table, dict[str, str]]:
    """Add the columns that the table declares as `joined` and `listed`, unless the file has them itself.

    Parameters
    ----------
    table
        The table.
    rows
        n rows of a file.

    Returns
    -------
    rows, combined
        The rows with these columns, one for each value of a list; and by the columns of the file the column that was
        made of them.
    """
    combined: dict[str, str] = {}
    for name, parts in table.joined.items():
        if not _has(rows, name) and set(parts) <= set(rows.column_names):
            rows = rows.append_column(name, _joined(rows, parts))
            combined |= dict.fromkeys(parts, name)
    for name, source in table.listed.items():
        if not _has(rows, name) and source in rows.column_names:
            rows = _unfolded(rows, name, source)
            combined[source] = name
    return rows, combined


def _has(rows: pa.Table, name: str) -> bool:
    return name in rows.column_names or name.partition(":")[2] in rows.column_names


def _text(rows: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column as text without blanks around it, null where nothing remains."""
    texts = pc.utf8_trim_whitespace(rows[name].cast(pa.string()))
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _joined(rows: pa.Table, parts: Sequence[str]) -> pa.ChunkedArray:
    """Return the texts of the parts with blanks between them; null unless there is the last one."""
    texts = [_text(rows, part) for part in parts]
    found = pc.binary_join_element_wise(*texts, " ", null_handling="skip")
    return pc.if_else(pc.is_valid(texts[-1]), found, pa.scalar(None, pa.string()))


def _unfolded(rows: pa.Table, name: str, source: str) -> pa.Table:
    """Return one row for each value of a list separated by commas, one without a value where there is none."""
    places: list[int] = []
    values: list[str | None] = []
    for place, text in enumerate(_text(rows, source).to_pylist()):
        found = [part.strip() for part in (text or "").split(",") if part.strip()] or [None]
        values += dict.fromkeys(found)
        places += [place] * len(dict.fromkeys(found))
    return rows.take(pa.array(places, pa.int64())).append_column(name, pa.array(values, pa.string()))
