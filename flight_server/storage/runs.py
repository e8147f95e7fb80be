"""External sort of the rows of one table, in bounded memory: sorted runs on disk, merged by ranges of keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flight_server.storage.injection import injection_point
from flight_server.storage.protocols import VERSION

__all__ = ["Runs"]

Keys = npt.NDArray[np.bytes_]
RUN_BYTES = 256 << 20  # rows of one table kept in memory
PART_BYTES = 64 << 20
SPILL_ROWS = 4096
SAMPLES = 512


class Runs:
    """A collection of rows in any order, which yields them sorted by key, then version, then content.

    Parameters
    ----------
    folder
        The folder for runs that do not fit into memory; the caller deletes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: list[tuple[pa.Table, Keys]] = []
        self._held = 0
        self._bytes = 0
        self._rows = 0
        self._spilled: list[_Run] = []
        self.types: dict[str, pa.DataType] = {}
        self.filled: set[str] = set()
        self.key_width = 1

    def add(self, rows: pa.Table, keys: Keys) -> None:
        """Add n rows and their keys."""
        self._parts.append((rows, keys))
        self.types |= {field.name: field.type for field in rows.schema}
        self.filled |= {name for name in rows.column_names if rows[name].null_count < len(rows)}
        self.key_width = max(self.key_width, keys.dtype.itemsize)
        size = rows.get_total_buffer_size()
        self._held += size
        self._bytes += size
        self._rows += len(rows)
        if self._held >= RUN_BYTES:
            self._spill()

    def parts(self, exactly: int | None = None) -> Iterator[tuple[pa.Table, Keys]]:
        """Yield all rows in order, in parts that share no key.

        Parameters
        ----------
        exactly
            The number of keys in each part but the last; None: as many as memory allows.
        """
        if self._spilled and self._parts:
            self._spill()
        if not self._rows:
            return
        sources: Sequence[_Run | _Memory] = self._spilled or [_Memory(*_sorted(self._parts))]
        cuts = self._cuts(sources, exactly)
        bounds = [[0, *np.searchsorted(source.keys, cuts).tolist(), len(source.keys)] for source in sources]
        for number in range(len(cuts) + 1):
            found = [(source, bound[number], bound[number + 1]) for source, bound in zip(sources, bounds, strict=True)]
            slices = [(source.rows(low, high), source.keys[low:high]) for source, low, high in found if low < high]
            if slices:
                rows = pa.concat_tables([part for part, _ in slices], promote_options="default").combine_chunks()
                yield _in_version_order(rows, np.concatenate([keys for _, keys in slices]))

    def _cuts(self, sources: Sequence[_Run | _Memory], exactly: int | None) -> Keys:
        if exactly is not None:
            return np.unique(np.concatenate([source.keys for source in sources]))[exactly::exactly]
        wanted = -(-self._bytes // PART_BYTES)
        if wanted <= 1 or not self._spilled:
            return np.zeros(0, dtype="S1")
        sample = np.sort(np.concatenate([source.keys[:: max(1, len(source.keys) // SAMPLES)] for source in sources]))
        return np.unique(sample[:: max(1, len(sample) // wanted)][1:])

    def _spill(self) -> None:
        rows, keys = _sorted(self._parts)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._spilled.append(_Run(self._folder / f"run-{id(self):x}-{len(self._spilled)}", rows, keys))
        self._parts, self._held = [], 0
        injection_point("run.spilled")


class _Memory:
    """Sorted rows in memory."""

    def __init__(self, rows: pa.Table, keys: Keys) -> None:
        self._rows = rows
        self.keys = keys

    def rows(self, low: int, high: int) -> pa.Table:
        return self._rows.slice(low, high - low)


class _Run:
    """Sorted rows on disk."""

    def __init__(self, stem: Path, rows: pa.Table, keys: Keys) -> None:
        data = stem.with_suffix(".arrow")
        with pa.OSFile(str(data), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
            writer.write_table(rows, max_chunksize=SPILL_ROWS)
        keys.tofile(stem.with_suffix(".keys"))
        self.keys: Keys = np.memmap(stem.with_suffix(".keys"), dtype=keys.dtype, mode="r")
        self._reader = pa.ipc.open_file(pa.memory_map(str(data)))

    def rows(self, low: int, high: int) -> pa.Table:
        numbers = range(low // SPILL_ROWS, -(-high // SPILL_ROWS))
        table = pa.Table.from_batches([self._reader.get_batch(number) for number in numbers])
        return table.slice(low - numbers.start * SPILL_ROWS, high - low)


def _sorted(parts: list[tuple[pa.Table, Keys]]) -> tuple[pa.Table, Keys]:
    rows = pa.concat_tables([part for part, _ in parts], promote_options="default").combine_chunks()
    keys = np.concatenate([part for _, part in parts])
    order = np.argsort(keys, kind="stable")
    return rows.take(pa.array(order)).combine_chunks(), keys[order]


def _in_version_order(rows: pa.Table, keys: Keys) -> tuple[pa.Table, Keys]:
    """Sort by key, then version, then content, so that the order of arrival does not matter."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    same = np.concatenate(([False], ordered[1:] == ordered[:-1]))
    repeated = same | np.append(same[1:], False)
    if repeated.any():
        again = rows.take(pa.array(order[repeated]))
        ranks = np.unique(ordered[repeated], return_inverse=True)[1]
        by = [("_key", "ascending"), (VERSION, "ascending")]
        by += [(name, "ascending") for name in sorted(rows.column_names) if name != VERSION]
        sorted_again = pc.sort_indices(again.append_column("_key", pa.array(ranks)), sort_keys=by).to_numpy()
        order[repeated] = order[repeated][sorted_again]
    return rows.take(pa.array(order)), keys[order]
