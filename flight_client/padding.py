"""Light curves of any lengths as arrays of one shape, for models: values, times, a mask, lengths.

Needs numpy and pyarrow alone; `flight_client.torch` makes tensors of the arrays, in the same memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.protocol.errors import BadValue, CorruptData, TooLarge, UnknownColumn

__all__ = ["Padded", "Padding", "light_curves", "pad", "regroup"]

MISSING = ("raise", "drop", "fill", "keep")
LONGEST = ("raise", "first", "last", "random")
EXACT = 1 << 24  # float32 has every integer up to here

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Padding:
    """How light curves become arrays.

    Parameters
    ----------
    columns
        The columns of `values`, in this order; all but the time if left out.
    time
        The column of the times; the one that has a time scale if left out.
    relative
        Whether times count from the first point of each object that is given.
    missing
        What becomes of nulls, NaN and infinities: `raise` refuses them, `drop` leaves out each point that has one, `fill`
        writes the number `fill` in their place, `keep` gives nulls as NaN and the others as they are. A point without a
        time is left out by `fill` too.
    fill
        The number for `fill`.
    length
        How many points the arrays have for each object; those of the longest light curve in the batch if left out.
    longest
        What becomes of light curves with more points than `length`: `raise` refuses them, `first` and `last` take the
        points at that end, `random` draws points and leaves them in order.

    Raises
    ------
    BadValue
        There is no such choice.
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
            raise BadValue("missing='fill' and the number fill go together", field="fill", value=self.fill)
        if self.length is not None and self.length < 1:
            raise BadValue(f"length must be positive, not {self.length}", field="length", value=self.length)
        if self.longest != "raise" and self.length is None:
            raise BadValue("nothing is longer than the longest: longest goes with a length", field="longest", value=self.longest)
        if self.columns is not None:
            object.__setattr__(self, "columns", tuple(self.columns))  # of a list too


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Padded:
    """A batch of light curves: contiguous arrays, zero behind the last point of each object.

    Parameters
    ----------
    ids
        The objects: int64, or texts.
    values
        float32 (objects, points, columns).
    times
        float64 (objects, points).
    mask
        True (objects, points) where a point is.
    lengths
        int64 (objects): the points of each.
    origins
        float64 (objects): from where times count, zeros unless they are relative.
    columns
        The names of what `values` has.
    dropped, filled, cut
        The points left out since a value was missing, the values that `fill` replaced, and the points left out for the
        length.
    """

    ids: npt.NDArray[Any]
    values: Floats
    times: Doubles
    mask: Flags
    lengths: Integers
    origins: Doubles
    columns: tuple[str, ...]
    dropped: int = 0
    filled: int = 0
    cut: int = 0

    def __len__(self) -> int:
        """Count the objects."""
        return len(self.ids)

    def __repr__(self) -> str:
        objects, points, columns = self.values.shape
        counts = (("dropped", self.dropped), ("filled", self.filled), ("cut", self.cut))
        changed = "".join(f", {count:,} {name}" for name, count in counts if count)
        return f"<Padded: {objects:,} objects x {points:,} points x {columns:,} columns{changed}>"


def pad(batch: pa.RecordBatch | pa.Table, how: Padding | None = None, random: np.random.Generator | None = None) -> Padded:
    """Give light curves of the layout `nested` as arrays.

    Parameters
    ----------
    batch
        The IDs as first column, and one column of light curves, lists of structs.
    how
        What to do with times, missing values and lengths.
    random
        Where chance comes from, for `longest="random"`; a generator of seed 0 if left out.

    Raises
    ------
    BadValue
        A column is no number, has integers that float32 does not hold, or times; values are missing and `missing` does
        not say what to do.
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
    points = _read(curves, how)
    dropped, filled = points.settle(how)
    cut = points.cut(how, batch, random)
    values, times, mask = points.laid_out(how.length)
    origins = _relative(times, mask) if how.relative else np.zeros(len(batch))
    return Padded(_ids(batch), values, times, mask, points.lengths, origins, points.columns, dropped, filled, cut)


def light_curves(schema: pa.Schema) -> int:
    """Find the column of the light curves.

    Raises
    ------
    BadValue
        There are none, or several.
    """
    found = [number for number, field in enumerate(schema) if _is_curve(field.type)]
    if len(found) != 1 or not found[0]:
        message = f"padding takes an ID column and then one of light curves, as layout nested has them, not {schema.names}"
        raise BadValue(message, field="layout")
    return found[0]


def regroup(batches: Iterable[pa.RecordBatch], objects: int) -> Iterator[pa.RecordBatch]:
    """Give the same rows in batches of a number of objects, of which only the last may have fewer."""
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


@dataclass(slots=True)
class _Points:
    """The points of all objects, one behind the other, and a blank one at the end; then which of them are taken."""

    values: Floats
    times: Doubles
    lengths: Integers
    columns: tuple[str, ...]
    taken: Integers | None = None  # None: all

    @property
    def starts(self) -> Integers:
        """Where the points of each object begin, among those taken."""
        return np.cumsum(self.lengths) - self.lengths

    def settle(self, how: Padding) -> tuple[int, int]:
        """Do what is to be done with missing values; gives how many points left and how many values were filled."""
        finite, timed = np.isfinite(self.values[:-1]), np.isfinite(self.times[:-1])
        if (finite.all() and timed.all()) or how.missing == "keep":
            return 0, 0
        if how.missing == "raise":
            bad = dict(zip(self.columns, len(finite) - np.count_nonzero(finite, axis=0), strict=True))
            bad |= {"the time": np.count_nonzero(~timed)}
            named = ", ".join(f"{count} of {name}" for name, count in bad.items() if count)
            field = next(name for name, count in bad.items() if count)
            raise BadValue(f"values are null or not finite, {named}: choose missing drop, fill or keep", field=field)
        filled = 0
        if how.missing == "fill":
            finite |= ~timed[:, None]
            self.values[:-1][~finite] = how.fill
            filled = int(np.count_nonzero(~finite))
            kept = timed
        else:
            kept = finite.all(axis=1) & timed
        if kept.all():
            return 0, filled
        self._keep(kept)
        return len(kept) - int(np.count_nonzero(kept)), filled

    def cut(self, how: Padding, batch: pa.RecordBatch, random: np.random.Generator | None) -> int:
        """Bring light curves to a length; gives how many points left."""
        if how.length is None or not (over := self.lengths > how.length).any():
            return 0
        if how.longest == "raise":
            first = int(np.argmax(over))
            message = f"{batch.column(0)[first]} has {self.lengths[first]} points, and length is {how.length}: "
            raise TooLarge(message + "choose longest first, last or random", field="length", value=how.length)
        total = int(self.lengths.sum())
        many = self.lengths[over]
        turn = _turns(many)
        place = np.repeat(self.starts[over], many) + turn
        if how.longest == "random":
            drawn = (random or np.random.default_rng(0)).random(len(place))
            # within each object, the points by what was drawn: the first of them are those to keep
            stays = np.empty(len(place), np.bool_)
            stays[np.argsort(np.repeat(np.arange(len(many)), many) + drawn / 2)] = turn < how.length
        elif how.longest == "first":
            stays = turn < how.length
        else:
            stays = turn >= np.repeat(many - how.length, many)
        kept = np.ones(total, np.bool_)
        kept[place] = stays
        self._keep(kept)
        return total - int(self.lengths.sum())

    def laid_out(self, length: int | None) -> tuple[Floats, Doubles, Flags]:
        """Give values, times and mask."""
        longest = int(self.lengths.max(initial=0)) if length is None else length
        shape = (len(self.lengths), longest)
        turn = np.arange(longest)
        mask = turn < self.lengths[:, None]
        if self.taken is None and mask.all():
            return self.values[:-1].reshape(*shape, len(self.columns)), self.times[:-1].reshape(shape), mask
        place = self.starts[:, None] + turn
        if self.taken is None:
            place[~mask] = len(self.times) - 1
        else:
            place[~mask] = len(self.taken)
            place = np.append(self.taken, len(self.times) - 1)[place]
        return self.values.take(place, axis=0), self.times.take(place), mask

    def _keep(self, kept: Flags) -> None:
        """Leave out points of those that are taken."""
        before = np.concatenate(([0], np.cumsum(kept)))
        starts = self.starts
        self.lengths = before[starts + self.lengths] - before[starts]
        self.taken = np.flatnonzero(kept) if self.taken is None else self.taken[kept]


def _read(curves: pa.ListArray, how: Padding) -> _Points:
    lengths = pc.fill_null(pc.list_value_length(curves), 0).to_numpy().astype(np.int64)
    flat = curves.flatten()
    fields = list(flat.type)
    time = how.time or _time_of(fields)
    names = tuple(field.name for field in fields if field.name != time) if how.columns is None else how.columns
    cells = dict(zip((field.name for field in fields), flat.flatten(), strict=True))
    for name in (time, *names):
        if name not in cells:
            raise UnknownColumn(f"the light curves have no column {name!r:.80}, only {', '.join(cells)}", field=name)
    scaled = {field.name for field in fields if _time_scale(field)} & set(names)
    if scaled:
        name = min(scaled)
        raise BadValue(f"{name} is a time, which float32 rounds by hours: leave it out of the columns", field=name)
    points = np.zeros((len(flat) + 1, len(names)), np.float32)
    for number, name in enumerate(names):
        _fill_in(points[:-1, number], cells[name], name)
    times = np.zeros(len(flat) + 1)
    times[:-1] = _numbers(cells[time], time)
    return _Points(points, times, lengths, names)


def _time_of(fields: list[pa.Field]) -> str:
    scaled = [field.name for field in fields if _time_scale(field)]
    if len(scaled) != 1:
        found = f"{len(scaled)} columns have a time scale ({', '.join(scaled)})" if scaled else "no column has a time scale"
        raise BadValue(f"{found}: say which one the time is", field="time")
    return str(scaled[0])


def _time_scale(field: pa.Field) -> bool:
    return b"time_scale" in (field.metadata or {})


def _fill_in(into: Floats, cells: pa.Array, name: str) -> None:
    """Write a column as float32.

    Raises
    ------
    BadValue
        Numbers are too large for it.
    """
    numbers = _numbers(cells, name)
    if pa.types.is_integer(cells.type):
        bounds = pc.min_max(cells).as_py().values()
        for value in bounds:
            if value is not None and abs(value) > EXACT:
                message = f"{name} has integers that float32 does not hold exactly, such as {value}: leave it out of the columns"
                raise BadValue(message, field=name, value=value)
    with np.errstate(over="ignore"):
        into[:] = numbers
    if numbers.dtype == np.float64 and np.isinf(into).any() and (lost := np.isinf(into) & np.isfinite(numbers)).any():
        value = numbers[lost][0]
        raise BadValue(f"{name} has numbers that float32 does not hold, such as {value}", field=name, value=value)


def _numbers(cells: pa.Array, name: str) -> npt.NDArray[Any]:
    """Give a column as numpy has it, nulls as NaN."""
    kind = cells.type
    if pa.types.is_boolean(kind):
        cells = cells.cast(pa.int8())
    elif not pa.types.is_integer(kind) and not pa.types.is_floating(kind):
        raise BadValue(f"{name} is of type {kind}, no number: leave it out of the columns", field=name)
    found: npt.NDArray[Any] = cells.to_numpy(zero_copy_only=False)
    return found


def _turns(lengths: Integers) -> Integers:
    """Count from 0 within each object."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _relative(times: Doubles, mask: Flags) -> Doubles:
    """Take the earliest time of each object from its times; gives what was taken."""
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
