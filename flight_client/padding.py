"""Light curves of varying lengths as arrays of one shape, for models: values, times, a mask, lengths.

Needs only numpy and pyarrow; `flight_client.torch` wraps the arrays as tensors, in the same memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_client.points import Doubles, Flags, Floats, Integers, Texts, read_points
from flight_server.protocol.errors import BadValue, CorruptData

__all__ = ["Padded", "Padding", "light_curves", "pad", "regroup"]

MISSING = ("raise", "drop", "fill", "keep")
LONGEST = ("raise", "first", "last", "random")


@dataclass(frozen=True, slots=True, kw_only=True)
class Padding:
    """How light curves are converted to arrays.

    Parameters
    ----------
    columns
        The columns of `values`, in this order; by default all but the time. Those of texts are in `texts` instead.
    time
        The column of the times; by default the one with a time scale.
    relative
        Whether times count from the first point of each object.
    missing
        How nulls, NaN and infinities among the numbers are handled: `raise` refuses them, `drop` leaves out each point that
        has one, `fill` replaces them by the number `fill`, `keep` returns nulls as NaN and the others unchanged. A point
        without a time is left out by `fill` as well.
    fill
        The number for `fill`.
    length
        The number of points per object in the arrays; by default that of the longest light curve in the batch.
    longest
        How light curves with more points than `length` are handled: `raise` refuses them, `first` and `last` take the
        points at that end, `random` draws points and keeps their order.

    Raises
    ------
    BadValue
        A value is not one of the choices.
    """

    columns: tuple[str, ...] | None = None
    time: str | None = None
    relative: bool = False
    missing: str = "raise"
    fill: float | None = None
    length: int | None = None
    longest: str = "raise"

    def __post_init__(self) -> None:
        for name, known in (("missing", MISSING), ("longest", LONGEST)):
            if getattr(self, name) not in known:
                value = getattr(self, name)
                raise BadValue(f"{name} is one of {', '.join(known)}, not {value!r:.40}", field=name, value=value)
        if (self.missing == "fill") != (self.fill is not None):
            raise BadValue("missing='fill' needs the number fill, and fill needs missing='fill'", field="fill", value=self.fill)
        if self.length is not None and self.length < 1:
            raise BadValue(f"length must be positive, not {self.length}", field="length", value=self.length)
        if self.longest != "raise" and self.length is None:
            raise BadValue("longest has no effect without a length: give length too", field="longest", value=self.longest)
        if self.columns is not None:
            object.__setattr__(self, "columns", tuple(self.columns))  # a list becomes a tuple


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Padded:
    """A batch of light curves: contiguous arrays, zero after the last point of each object.

    Parameters
    ----------
    ids
        The objects: int64 or strings.
    values
        float32 (objects, points, columns).
    times
        float64 (objects, points).
    mask
        bool (objects, points): True where there is a point.
    lengths
        int64 (objects): the number of points of each.
    origins
        float64 (objects): the zero points of the times; 0 unless they are relative.
    columns
        The names of the columns of `values`.
    texts
        Text (objects, points) for each column of texts, empty where there is no text or no point.
    dropped, filled, cut
        The number of points left out because a value was missing, of values replaced by `fill`, and of points left out
        because of `length`.
    """

    ids: npt.NDArray[Any]
    values: Floats
    times: Doubles
    mask: Flags
    lengths: Integers
    origins: Doubles
    columns: tuple[str, ...]
    texts: dict[str, Texts]
    dropped: int = 0
    filled: int = 0
    cut: int = 0

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.ids)

    def __repr__(self) -> str:
        objects, points, columns = self.values.shape
        counts = (("dropped", self.dropped), ("filled", self.filled), ("cut", self.cut))
        changed = "".join(f", {count:,} {name}" for name, count in counts if count)
        texts = f", texts {', '.join(self.texts)}" if self.texts else ""
        return f"<Padded: {objects:,} objects x {points:,} points x {columns:,} columns{texts}{changed}>"


def pad(batch: pa.RecordBatch | pa.Table, how: Padding | None = None, random: np.random.Generator | None = None) -> Padded:
    """Return light curves in the layout `nested` as arrays.

    Parameters
    ----------
    batch
        The IDs in the first column, and one column of light curves (lists of structs).
    how
        How times, missing values and lengths are handled.
    random
        The random generator of `longest="random"`; by default one with seed 0.

    Raises
    ------
    BadValue
        A column holds neither numbers nor texts, has integers that float32 cannot represent, or holds times; or values are
        missing and `missing` is "raise".
    TooLarge
        A light curve has more points than `length`.

    Examples
    --------
    >>> points = [[{"i:jd": 2459080.5, "i:magpsf": 18.5}, {"i:jd": 2459081.5, "i:magpsf": None}], []]
    >>> batch = pa.record_batch({"i:objectId": ["ZTF20abfcszi", "ZTF18abtljjk"], "lightcurve": points})
    >>> padded = pad(batch, Padding(time="i:jd", missing="fill", fill=-1))
    >>> padded
    <Padded: 2 objects x 2 points x 1 columns, 1 filled>
    >>> padded.values[0, :, 0].tolist(), padded.lengths.tolist()
    ([18.5, -1.0], [2, 0])
    """
    how = how or Padding()
    if isinstance(batch, pa.Table):
        batch = pa.concat_batches(batch.to_batches()) if len(batch) else _empty(batch.schema)
    curves = batch.column(light_curves(batch.schema))
    points = read_points(curves, how)
    dropped, filled = points.settle(how)
    cut = points.cut(how, batch, random)
    values, times, texts, mask = points.laid_out(how.length)
    origins = _relative(times, mask) if how.relative else np.zeros(len(batch))
    counts = (dropped, filled, cut)
    return Padded(_ids(batch), values, times, mask, points.lengths, origins, points.columns, texts, *counts)


def light_curves(schema: pa.Schema) -> int:
    """Return the position of the column of light curves.

    Raises
    ------
    BadValue
        There is none, or several.
    """
    found = [number for number, field in enumerate(schema) if _is_curve(field.type)]
    if len(found) != 1 or not found[0]:
        message = f"padding needs an ID column followed by one column of light curves, as in layout nested, not {schema.names}"
        raise BadValue(message, field="layout")
    return found[0]


def regroup(batches: Iterable[pa.RecordBatch], objects: int) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches of `objects` rows; only the last may be smaller."""
    if objects < 1:
        raise BadValue(f"a batch has at least one object, not {objects}", field="objects", value=objects)
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += len(batch)
        if rows >= objects:
            whole = pa.concat_batches(held)
            full = rows - rows % objects
            yield from (whole.slice(first, objects) for first in range(0, full, objects))
            held, rows = [whole.slice(full)], rows - full
    if rows:
        yield pa.concat_batches(held)


def _relative(times: Doubles, mask: Flags) -> Doubles:
    """Subtract the earliest time of each object from its times, and return these earliest times."""
    earliest = np.where(mask & np.isfinite(times), times, np.inf).min(axis=1, initial=np.inf)
    origins = np.where(np.isfinite(earliest), earliest, 0.0)
    np.subtract(times, origins[:, None], out=times, where=mask)
    return origins


def _ids(batch: pa.RecordBatch) -> npt.NDArray[Any]:
    ids = batch.column(0)
    if ids.null_count:
        raise CorruptData(f"{ids.null_count} of the IDs in {batch.schema.names[0]} are null", field=batch.schema.names[0])
    return np.array(ids.to_numpy(zero_copy_only=False))


def _is_curve(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(is_list and pa.types.is_struct(kind.value_type))


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([pa.array([], field.type) for field in schema], schema=schema)
