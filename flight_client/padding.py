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
import pyarrow.compute as pc

from flight_server.protocol.errors import BadValue, CorruptData, TooLarge, UnknownColumn

__all__ = ["Padded", "Padding", "light_curves", "pad", "regroup"]

MISSING = ("raise", "drop", "fill", "keep")
LONGEST = ("raise", "first", "last", "random")
EXACT = 1 << 24  # float32 represents every integer up to here

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Padding:
    """How light curves are converted to arrays.

    Parameters
    ----------
    columns
        The columns of `values`, in this order; by default all but the time.
    time
        The column of the times; by default the one with a time scale.
    relative
        Whether times count from the first point of each object.
    missing
        How nulls, NaN and infinities are handled: `raise` refuses them, `drop` leaves out each point that has one, `fill`
        replaces them by the number `fill`, `keep` returns nulls as NaN and the others unchanged. A point without a
        time is left out by `fill` as well.
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
        return f"<Padded: {objects:,} objects x {points:,} points x {columns:,} columns{changed}>"


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
        A column is not numeric, has integers that float32 cannot represent, or holds times; or values are missing and
        `missing` is "raise".
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


@dataclass(slots=True)
class _Points:
    """The points of all objects, concatenated, with a blank one at the end; and the indices of those kept."""

    values: Floats
    times: Doubles
    lengths: Integers
    columns: tuple[str, ...]
    taken: Integers | None = None  # None: all

    @property
    def starts(self) -> Integers:
        """Offsets of the first point of each object, among those kept."""
        return np.cumsum(self.lengths) - self.lengths

    def settle(self, how: Padding) -> tuple[int, int]:
        """Handle missing values; return the number of points dropped and of values filled."""
        finite, timed = np.isfinite(self.values[:-1]), np.isfinite(self.times[:-1])
        if (finite.all() and timed.all()) or how.missing == "keep":
            return 0, 0
        if how.missing == "raise":
            bad = dict(zip(self.columns, len(finite) - np.count_nonzero(finite, axis=0), strict=True))
            bad |= {"the time": np.count_nonzero(~timed)}
            named = ", ".join(f"{count} of {name}" for name, count in bad.items() if count)
            field = next(name for name, count in bad.items() if count)
            raise BadValue(f"values are null or not finite ({named}): choose missing drop, fill or keep", field=field)
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
        """Shorten light curves to the length; return the number of points left out."""
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
            # sort the points of each object by the random numbers: the first `length` are kept
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
        """Return values, times and mask as arrays."""
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
        """Keep only the points of the mask, among those kept so far."""
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
        raise BadValue(f"{name} is a time, which float32 rounds to hours: leave it out of the columns", field=name)
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
        raise BadValue(f"{found}: name the column with time", field="time")
    return str(scaled[0])


def _time_scale(field: pa.Field) -> bool:
    return b"time_scale" in (field.metadata or {})


def _fill_in(into: Floats, cells: pa.Array, name: str) -> None:
    """Write a column into an array of float32.

    Raises
    ------
    BadValue
        Numbers are too large for float32.
    """
    numbers = _numbers(cells, name)
    if pa.types.is_integer(cells.type):
        bounds = pc.min_max(cells).as_py().values()
        for value in bounds:
            if value is not None and abs(value) > EXACT:
                message = f"{name} has integers that float32 cannot represent, such as {value}: leave it out of the columns"
                raise BadValue(message, field=name, value=value)
    with np.errstate(over="ignore"):
        into[:] = numbers
    if numbers.dtype == np.float64 and np.isinf(into).any() and (lost := np.isinf(into) & np.isfinite(numbers)).any():
        value = numbers[lost][0]
        raise BadValue(
            f"{name} has numbers too large for float32, such as {value}: leave it out of the columns", field=name, value=value
        )


def _numbers(cells: pa.Array, name: str) -> npt.NDArray[Any]:
    """Return a column as a numpy array, nulls as NaN."""
    kind = cells.type
    if pa.types.is_boolean(kind):
        cells = cells.cast(pa.int8())
    elif not pa.types.is_integer(kind) and not pa.types.is_floating(kind):
        raise BadValue(f"{name} has type {kind}, which is not numeric: leave it out of the columns", field=name)
    found: npt.NDArray[Any] = cells.to_numpy(zero_copy_only=False)
    return found


def _turns(lengths: Integers) -> Integers:
    """Return the index of each point within its object, from 0."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


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
