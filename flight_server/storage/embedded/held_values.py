"""A search for stored values that a wider type of their column cannot hold."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from flight_server.catalog.widening import rounded_by
from flight_server.storage.embedded.segments import Segment

__all__ = ["unfit_value"]


def unfit_value(segments: Iterable[Segment], name: str, kind: pa.DataType) -> object | None:
    """Return a value of a column that a wider type would round, also of replaced rows; None if there is none.

    Parameters
    ----------
    segments
        The segments of a table.
    name
        The column.
    kind
        The wider type.

    Raises
    ------
    CorruptData
        A batch is damaged.
    """
    for segment in segments:
        place = segment.schema.get_field_index(name)
        if place < 0 or segment.schema.field(place).type != pa.int64():  # all other numbers fit
            continue
        for number in range(len(segment.fences)):
            values = segment.batch(number).column(place)
            wrong = rounded_by(values, kind)
            if wrong.any():
                found: object = values[int(np.argmax(wrong))].as_py()
                return found
    return None
