"""The objects of an answer in shuffled order, split over many workers, resumable at any position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from flight_client.answer import Answer
from flight_client.endpoints import Endpoint
from flight_client.nested_batches import fold, stamp_column
from flight_client.records import Record
from flight_client.splits import in_split
from flight_server.protocol.errors import BadValue

__all__ = ["Place", "Shard", "Source", "dealt", "from_texts", "to_texts"]


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a worker in its shard.

    Parameters
    ----------
    endpoint, skipped
        The start of the buffer: the endpoint of the shard, and how many of its objects come before.
    buffer
        The number of the buffer, from 0.
    given
        How many objects of the buffer were returned.
    """

    endpoint: int = 0
    skipped: int = 0
    buffer: int = 0
    given: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """A source of light curves, one row per object.

    Parameters
    ----------
    answer
        The answer to read; see `of`.
    object_id
        The ID column.
    kinds
        The kinds of cutouts to read with them.
    shape
        The rows and columns of a cutout.
    stamp
        The point whose cutouts are read: `first` or `last`.
    split
        The split to read, and the fractions of all splits; None: all objects.
    """

    answer: Answer
    object_id: str
    kinds: tuple[str, ...] = ()
    shape: tuple[int, int] = (0, 0)
    stamp: str = "last"
    split: tuple[str, dict[str, float] | None] | None = None

    @classmethod
    def of(cls, answer: Answer, stamp: str, split: tuple[str, dict[str, float] | None] | None) -> Source:
        """Choose the layout: nested, or rows if cutouts are requested; and narrow the IDs to the split.

        Raises
        ------
        BadValue
            None of the requested objects is in the split.
        AlertflightError
            The server refused the query.
        """
        query = answer.query
        ids = query.ids
        if ids is not None and split is not None:
            chosen = in_split(ids, *split)
            ids = tuple(name for name, taken in zip(ids, chosen.tolist(), strict=True) if taken)
            if not ids:
                raise BadValue(f"none of the {len(chosen)} objects is in the split {split[0]}", field="split", value=split[0])
        nested = answer.changed(ids=ids, cutouts=(), cutout_format="bytes", layout="nested")
        object_id = nested.schema.names[0]
        if not query.cutouts:
            return cls(nested, object_id, split=split)
        columns = query.columns
        if columns is not None and object_id not in columns:
            columns = (object_id, *columns)
        rows = nested.changed(layout="rows", columns=columns, cutouts=query.cutouts, cutout_format="array")
        shape = tuple(rows.schema.field(stamp_column(rows.schema, query.cutouts[0])).type.shape)
        return cls(rows, object_id, query.cutouts, shape, stamp, split)

    def plan(self, each: int | None) -> tuple[Endpoint, ...]:
        """Plan the answer.

        Parameters
        ----------
        each
            The most objects per endpoint, if they are selected by ID; None: as the server decides.
        """
        ids = self.answer.query.ids
        if each is None or ids is None:
            return self.answer.plan().endpoints
        parts = (self.answer.changed(ids=ids[first : first + each]) for first in range(0, len(ids), each))
        return tuple(endpoint for part in parts for endpoint in part.plan().endpoints)

    def read(self, endpoints: tuple[Endpoint, ...], record: Record) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield light curves, each batch with the number of its endpoint."""
        if not self.kinds:
            for batch in self.answer.read(endpoints, record):
                yield record.parts, batch
            return
        for number, endpoint in enumerate(endpoints):
            found = fold(self.answer.read([endpoint], record), self.object_id, self.kinds, self.stamp)
            if found is not None:
                yield number, found


@dataclass(frozen=True, slots=True)
class Shard:
    """The endpoints of one of several workers, in the order of reading.

    Parameters
    ----------
    endpoints
        The endpoints.
    buffer
        The number of objects shuffled together; 0: no shuffling.
    seed
        Numbers unique to this shard and epoch.
    """

    endpoints: tuple[Endpoint, ...]
    buffer: int
    seed: tuple[int, ...]

    def batches(self, source: Source, objects: int, place: Place, record: Record) -> Iterator[tuple[pa.RecordBatch, Place]]:
        """Yield light curves in batches of `objects`, each with the position after it; the last one may be smaller.

        Parameters
        ----------
        source
            What to read.
        objects
            The number of objects per batch.
        place
            The position after which to begin.
        record
            The completeness record of each endpoint is added to it.
        """
        held: list[pa.RecordBatch] = []
        rows = 0
        reached = place
        for start, found in self._buffers(source, objects, place, record):
            order = np.arange(len(found))
            if self.buffer:
                order = np.random.default_rng((*self.seed, start.buffer)).permutation(len(found))
            given = place.given if start.buffer == place.buffer else 0
            while given < len(order):
                taken = order[given : given + objects - rows]
                held.append(found.take(pa.array(taken)))
                rows += len(taken)
                given += len(taken)
                reached = replace(start, given=given)
                if rows == objects:
                    yield pa.concat_batches(held), reached
                    held, rows = [], 0
        if rows:
            yield pa.concat_batches(held), reached

    def _buffers(self, source: Source, objects: int, place: Place, record: Record) -> Iterator[tuple[Place, pa.RecordBatch]]:
        """Yield the objects of the split in buffers that are shuffled together, each with the position of its first object."""
        size = self.buffer or objects
        start = replace(place, given=0)
        held: list[pa.RecordBatch] = []
        rows = 0
        current, seen = -1, 0
        for further, batch in source.read(self.endpoints[place.endpoint :], record):
            number = place.endpoint + further
            if number != current:
                current, seen = number, 0
            chosen = np.arange(len(batch))
            if source.split is not None:
                chosen = np.flatnonzero(in_split(batch.column(0).to_pylist(), *source.split))
            if number == place.endpoint:
                chosen = chosen[seen + chosen >= place.skipped]
            while len(chosen):
                taken, chosen = chosen[: size - rows], chosen[size - rows :]
                held.append(batch.take(pa.array(taken)))
                rows += len(taken)
                if rows == size:
                    yield start, pa.concat_batches(held)
                    start = Place(number, seen + int(taken[-1]) + 1, start.buffer + 1)
                    held, rows = [], 0
            seen += len(batch)
        if rows:
            yield start, pa.concat_batches(held)


def dealt(endpoints: tuple[Endpoint, ...], shard: int, shards: int, buffer: int, seed: tuple[int, int]) -> Shard:
    """Deal endpoints to shards: each to exactly one, in an order that all workers compute alike.

    Parameters
    ----------
    endpoints
        The endpoints of the plan.
    shard, shards
        The number of this shard, and of all shards.
    buffer
        The number of objects shuffled together; 0: nothing is shuffled.
    seed
        The seed and the epoch.
    """
    order = np.random.default_rng(seed).permutation(len(endpoints)) if buffer else np.arange(len(endpoints))
    return Shard(tuple(endpoints[number] for number in order[shard::shards].tolist()), buffer, (*seed, shard, shards))


def to_texts(endpoints: tuple[Endpoint, ...]) -> list[list[str]]:
    """Return endpoints as JSON types: for each its ticket, then its locations."""
    return [[endpoint.ticket.decode(), *endpoint.locations] for endpoint in endpoints]


def from_texts(given: list[list[str]]) -> tuple[Endpoint, ...]:
    """Return the endpoints that `to_texts` converted."""
    return tuple(Endpoint(ticket.encode(), tuple(locations)) for ticket, *locations in given)
