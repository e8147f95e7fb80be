"""Tables as text: columns as wide as their longest cell."""

from __future__ import annotations

from collections.abc import Container, Sequence

__all__ = ["in_columns"]


def in_columns(rows: Sequence[Sequence[str]], numbers: Container[str] = ()) -> str:
    """Format rows of cells, one line each; the first row has the names of the columns.

    Parameters
    ----------
    rows
        The rows, all with as many cells.
    numbers
        The names of the columns that are aligned to the right.

    Examples
    --------
    >>> print(in_columns([("table", "rows"), ("ztf", "2500"), ("ztf.upper", "7")], ["rows"]))
    table      rows
    ztf        2500
    ztf.upper     7
    """
    head = rows[0]
    widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
    lines = []
    for row in rows:
        cells = zip(head, row, widths, strict=True)
        line = "  ".join(text.rjust(width) if name in numbers else text.ljust(width) for name, text, width in cells)
        lines.append(line.rstrip())
    return "\n".join(lines)
