"""The points of light curves as arrays, one behind the other, before they are padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.protocol.errors import BadValue, TooLarge, UnknownColumn

if TYPE_CHECKING:
    from flight_client.padding import Padding

__all__ = ["Doubles", "Flags", "Floats", "Integers", "Points", "Texts", "read_points"]

EXACT = 1 << 24  # float32 represents every integer up to here

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]


@dataclass(slots=True)
class Points:
    """The points of all objects, concatenated, with a blank one at the end; and the indices of those kept."""

    values: Floats
    times: Doubles
    texts: dict[str, Texts]
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

    def laid_out(self, length: int | None) -> tuple[Floats, Doubles, dict[str, Texts], Flags]:
        """Return values, times, texts and mask as arrays."""
        longest = int(self.lengths.max(initial=0)) if length is None else length
        shape = (len(self.lengths), longest)
        turn = np.arange(longest)
        mask = turn < self.lengths[:, None]
        if self.taken is None and mask.all():
            values = self.values[:-1].reshape(*shape, len(self.columns))
            return (
                values,
                self.times[:-1].reshape(shape),
                {name: cells[:-1].reshape(shape) for name, cells in self.texts.items()},
                mask,
            )
        place = self.starts[:, None] + turn
        if self.taken is None:
            place[~mask] = len(self.times) - 1
        else:
            place[~mask] = len(self.taken)
            place = np.append(self.taken, len(self.times) - 1)[place]
        texts = {name: cells.take(place) for name, cells in self.texts.items()}
        return self.values.take(place, axis=0), self.times.take(place), texts, mask

    def _keep(self, kept: Flags) -> None:
        """Keep only the points of the mask, among those kept so far."""
        before = np.concatenate(([0], np.cumsum(kept)))
        starts = self.starts
        self.lengths = before[starts + self.lengths] - before[starts]
        self.taken = np.flatnonzero(kept) if self.taken is None else self.taken[kept]


def read_points(curves: pa.ListArray, how: Padding) -> Points:
    """Read the points of light curves.

    Raises
    ------
    BadValue
        A column holds neither numbers nor texts, has integers that float32 cannot represent, or holds times.
    UnknownColumn
        There is no such column.
    """
    lengths = pc.fill_null(pc.list_value_length(curves), 0).to_numpy().astype(np.int64)
    flat = curves.flatten()
    fields = list(flat.type)
    time = how.time or _time_of(fields)
    wanted = tuple(field.name for field in fields if field.name != time) if how.columns is None else how.columns
    cells = dict(zip((field.name for field in fields), flat.flatten(), strict=True))
    for name in (time, *wanted):
        if name not in cells:
            raise UnknownColumn(f"the light curves have no column {name!r:.80}, only {', '.join(cells)}", field=name)
    names = tuple(name for name in wanted if not _is_text(cells[name].type))
    scaled = {field.name for field in fields if _time_scale(field)} & set(names)
    if scaled:
        name = min(scaled)
        raise BadValue(f"{name} is a time, which float32 rounds to hours: leave it out of the columns", field=name)
    points = np.zeros((len(flat) + 1, len(names)), np.float32)
    for number, name in enumerate(names):
        _fill_in(points[:-1, number], cells[name], name)
    times = np.zeros(len(flat) + 1)
    times[:-1] = _numbers(cells[time], time)
    texts = {name: _texts(cells[name]) for name in wanted if name not in names}
    return Points(points, times, texts, lengths, names)


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _texts(cells: pa.Array) -> Texts:
    """Return a column of texts, empty where null, and an empty one at the end; equal texts are one object."""
    codes = cells if pa.types.is_dictionary(cells.type) else cells.dictionary_encode()
    words = np.array([*codes.dictionary.to_pylist(), ""], dtype=np.object_)
    places = pc.fill_null(codes.indices.cast(pa.int64()), len(words) - 1).to_numpy(zero_copy_only=False)
    found: Texts = words.take(np.append(places, len(words) - 1))
    found[found == None] = ""  # noqa: E711  (a dictionary may hold nulls)
    return found


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
        raise BadValue(f"{name} has type {kind}, which is neither numeric nor text: leave it out of the columns", field=name)
    found: npt.NDArray[Any] = cells.to_numpy(zero_copy_only=False)
    return found


def _turns(lengths: Integers) -> Integers:
    """Return the index of each point within its object, from 0."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
