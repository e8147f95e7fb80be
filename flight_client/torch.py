"""Light curves for PyTorch: a data set that streams from an archive during training. Needs the extra `torch`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple
from typing import Any

import numpy as np
import pyarrow as pa

from flight_client.answer import Answer
from flight_client.endpoints import Endpoint
from flight_client.nested_batches import STAMPS, stamp_arrays
from flight_client.padding import Padded, Padding, pad
from flight_client.records import Record
from flight_client.shards import Place, Source, dealt, from_texts, to_texts
from flight_server.protocol.errors import BadValue, NotSupported

try:
    import torch
    from torch import distributed
    from torch.utils.data import IterableDataset, get_worker_info
except ImportError as error:
    message = "this needs another package: pip install 'alertflight[torch]'"
    raise NotSupported(message, field="torch") from error

__all__ = ["LightCurves", "tensors"]

BUFFER = 4096
STAMPED_EACH = 200  # objects per endpoint, since a server sends at most 30,000 cutouts in one answer

Labels = Mapping[Any, float] | Callable[[pa.RecordBatch], Any]


def tensors(padded: Padded) -> dict[str, Any]:
    """Return a padded batch as tensors that share the memory of its arrays; texts stay arrays, since tensors cannot hold them."""
    names = ("values", "times", "mask", "lengths", "origins")
    counts = {name: getattr(padded, name) for name in ("dropped", "filled", "cut")}
    texts = {"texts": padded.texts} if padded.texts else {}
    return {"ids": padded.ids} | texts | {name: torch.from_numpy(getattr(padded, name)) for name in names} | counts


class LightCurves(IterableDataset[dict[str, Any]]):  # type: ignore[misc]
    """The light curves of an answer in batches, each object once in an epoch, over all ranks and workers.

    Pass it to a DataLoader with `batch_size=None`, since it yields batches. The plan is made here, once; workers open
    their own connections, after a fork too.

    Parameters
    ----------
    answer
        The answer to read: `archive.objects(ids, columns=[...])`, `archive.all("ztf", columns=[...])`, and so on; with
        `cutouts`, batches have cutouts too.
    padding
        How light curves are converted to arrays.
    batch_size
        The number of objects per batch; the last batch of each worker may be smaller.
    drop_last
        Whether to leave out that last batch.
    split
        The name of a split: only its objects are read. See `flight_client.splits`.
    fractions
        All splits with their fractions; by default 0.8 `train`, 0.1 `val` and 0.1 `test`.
    shuffle
        Whether to shuffle: the endpoints, then the objects within a buffer.
    seed
        The seed of the shuffle, together with the number of the epoch.
    buffer
        The number of objects shuffled together.
    labels
        A mapping from IDs, or a function from a batch in the layout `nested` to one number for each of its objects.
    stamp
        The point whose cutouts an object gets: the `last` that has any, or the `first`.
    objects_each
        The number of objects per endpoint, if they are selected by ID; by default about 1,000, with cutouts 200.
        Each endpoint goes to one worker, so there should be several endpoints for each.
    rank, world_size
        The number of this process, and of all processes; by default those of `torch.distributed`, else of the variables RANK
        and WORLD_SIZE, else 0 of 1.
    plan
        The attribute `endpoints` of a data set in another process, to share its plan. With `torch.distributed`, rank 0
        plans for all.

    Raises
    ------
    BadValue
        A parameter has an invalid value.
    AlertflightError
        The server refused the query.
    """

    def __init__(
        self,
        answer: Answer,
        padding: Padding | None = None,
        *,
        batch_size: int = 256,
        drop_last: bool = False,
        split: str | None = None,
        fractions: Mapping[str, float] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        buffer: int = BUFFER,
        labels: Labels | None = None,
        stamp: str = "last",
        objects_each: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        plan: tuple[Endpoint, ...] | None = None,
    ) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("buffer", buffer, 1), ("seed", seed, 0)):
            if value < least:
                raise BadValue(f"{name} must be at least {least}, not {value}", field=name, value=value)
        if objects_each is not None and objects_each < 1:
            raise BadValue(f"objects_each must be positive, not {objects_each}", field="objects_each", value=objects_each)
        if stamp not in STAMPS:
            raise BadValue(f"stamp must be one of {', '.join(STAMPS)}, not {stamp!r:.40}", field="stamp", value=stamp)
        if fractions is not None and split is None:
            raise BadValue("fractions need a split", field="split")
        self.padding = padding or Padding()
        self.batch_size = batch_size
        self.seed = seed
        self.rank, self.world_size = _world(rank, world_size)
        self._drop_last = drop_last
        self._buffer = buffer if shuffle else 0
        self._labels = labels
        self._source = Source.of(
            answer, stamp, None if split is None else (split, None if fractions is None else dict(fractions))
        )
        each = STAMPED_EACH if objects_each is None and self._source.kinds else objects_each
        alone = rank is not None or not _distributed()
        self.endpoints = plan or (self._source.plan(each) if alone else self._planned_by_first(each))
        # shared with workers that persist from one epoch to the next
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._loaded: tuple[int, int, dict[int, Place]] | None = None
        self._given: dict[int, Place] = {}
        self._workers: int | None = None

    def __repr__(self) -> str:
        asked = repr(self._source.answer).removeprefix("<Answer: ").partition(", not read yet")[0]
        return f"<LightCurves: {asked}, {len(self.endpoints)} endpoints, rank {self.rank} of {self.world_size}>"

    @property
    def epoch(self) -> int:
        """The number of the epoch, from 0."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, which has its own order; call this before each.

        The epoch whose state was loaded resumes at its position; all others start from the beginning.
        """
        if epoch < 0:
            raise BadValue(f"epochs count from 0, not {epoch}", field="epoch", value=epoch)
        self._epoch.fill_(epoch)
        _, self._workers, given = self._start() or (0, None, {})
        self._given = dict(given)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the batches of this rank and worker."""
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        epoch, start = self.epoch, self._start()
        if start is not None and start[1] not in {None, workers}:
            message = f"the state is from {start[1]} workers, but there are {workers}: objects would be repeated or skipped"
            raise BadValue(message, field="num_workers", value=workers)
        place = Place() if start is None else start[2].get(worker, Place())
        shard_number, shards = self.rank * workers + worker, self.world_size * workers
        shard = dealt(self.endpoints, shard_number, shards, self._buffer, (self.seed, epoch))
        self._workers, self._given[worker] = workers, place
        record = Record()
        for batch, behind in shard.batches(self._source, self.batch_size, place, record):
            if self._drop_last and len(batch) < self.batch_size:
                break
            self._given[worker] = behind
            yield self._made(batch, (*shard.seed, *astuple(behind))) | {"place": [epoch, worker, workers, *astuple(behind)]}
        if record.failed_cutouts:
            first = record.failed_cutouts[0]
            warnings.warn(f"{len(record.failed_cutouts)} cutouts cannot be read, such as {first}", stacklevel=2)

    def mark(self, batch: Mapping[str, Any]) -> None:
        """Mark a batch as consumed, for `state_dict`; needed where workers read ahead, harmless elsewhere."""
        epoch, worker, workers, *place = (int(number) for number in batch["place"])
        if epoch != self.epoch:
            raise BadValue(f"the batch is from epoch {epoch}, but this is epoch {self.epoch}", field="epoch", value=epoch)
        self._workers, self._given[worker] = workers, Place(*place)

    def state_dict(self) -> dict[str, Any]:
        """Return the position of this rank in its epoch, and the plan, as JSON types.

        With workers, the batches marked count as consumed; without workers, all batches returned.
        """
        given = {str(worker): list(astuple(place)) for worker, place in self._given.items()}
        numbers = {"epoch": self.epoch, "workers": self._workers, "given": given, "endpoints": to_texts(self.endpoints)}
        return self._same() | numbers

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume the epoch of a state at its position, with the plan in the state.

        Raises
        ------
        BadValue
            The state is from another rank, order or batch size.
        """
        for name, value in self._same().items():
            if state[name] != value:
                raise BadValue(
                    f"the state has {name} {state[name]!r}, but this data set has {value!r}", field=name, value=state[name]
                )
        self.endpoints = from_texts(state["endpoints"])
        given = {int(worker): Place(*place) for worker, place in state["given"].items()}
        self._loaded = (state["epoch"], state["workers"], given)
        self.set_epoch(state["epoch"])

    def _same(self) -> dict[str, Any]:
        """Return the parameters that must be equal in a state and in the data set that loads it."""
        split = self._source.split
        order = {"seed": self.seed, "buffer": self._buffer, "batch_size": self.batch_size}
        return order | {"split": split and [split[0], split[1]], "rank": self.rank, "world_size": self.world_size}

    def _start(self) -> tuple[int, int, dict[int, Place]] | None:
        return self._loaded if self._loaded is not None and self._loaded[0] == self.epoch else None

    def _planned_by_first(self, each: int | None) -> tuple[Endpoint, ...]:
        """Return the plan of rank 0 on all ranks, since plans made at different times may differ."""
        said: list[Any] = [None]
        if self.rank == 0:
            try:
                said = [self._source.plan(each)]
            except Exception as failure:  # noqa: BLE001  (raised below, on all ranks)
                said = [failure]
        distributed.broadcast_object_list(said, src=0)
        if isinstance(said[0], Exception):
            raise said[0]
        planned: tuple[Endpoint, ...] = said[0]
        return planned

    def _made(self, batch: pa.RecordBatch, seed: tuple[int, ...]) -> dict[str, Any]:
        padded = pad(batch, self.padding, np.random.default_rng(seed))
        made = tensors(padded)
        if self._labels is not None:
            made["labels"] = self._label(batch, padded)
        if self._source.kinds:
            pixels, there = stamp_arrays(batch, self._source.kinds, self._source.shape)
            made |= {"cutouts": torch.from_numpy(pixels), "cutouts_mask": torch.from_numpy(there)}
        return made

    def _label(self, batch: pa.RecordBatch, padded: Padded) -> torch.Tensor:
        ids = padded.ids.tolist()
        if callable(self._labels):
            found = np.asarray(self._labels(batch))
        else:
            known = self._labels or {}
            without = [name for name in ids if name not in known]
            if without:
                raise BadValue(f"{len(without)} objects have no label, such as {without[0]}", field="labels", value=without[0])
            found = np.array([known[name] for name in ids])
        if found.shape[:1] != (len(ids),) or found.dtype.kind not in "biuf":
            message = f"labels must be one number for each of {len(ids)} objects, not {found.dtype} of shape {found.shape}"
            raise BadValue(message, field="labels")
        return torch.tensor(found)


def _distributed() -> bool:
    return bool(distributed.is_available() and distributed.is_initialized())


def _world(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if (rank is None) != (world_size is None):
        raise BadValue("rank and world_size must be given together", field="rank")
    if rank is None or world_size is None:
        if _distributed():
            return int(distributed.get_rank()), int(distributed.get_world_size())
        rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if not 0 <= rank < world_size:
        raise BadValue(f"rank must be from 0 to {world_size - 1}, not {rank}", field="rank", value=rank)
    return rank, world_size
