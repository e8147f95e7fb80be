"""The scrub: reads every file of a served store again and again, and reports those that are no longer what was written.

Answers verify a batch when it is first read, and again once its file has changed. A bit that flips without that, on the disk
or in memory, is found only by reading the file again.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from flight_server.protocol.errors import CorruptData
from flight_server.storage.embedded.files import follow_mode
from flight_server.storage.embedded.manifest import BlockRecord, ManifestState, SegmentRecord
from flight_server.storage.embedded.segments import data_file, key_file
from flight_server.storage.embedded.verification import file_fault
from flight_server.storage.regular_files import FileStamp, check_regular, file_stamp

__all__ = ["Finding", "Findings", "Pause", "Scrub"]

PLACE = "scrub.json"  # how far the last pass came, so that a server that starts again goes on there

Pause: TypeAlias = Callable[[int, int], None]  # called with bytes read since the last call, and those of the whole store
Record: TypeAlias = SegmentRecord | BlockRecord


@dataclass(frozen=True, slots=True)
class Finding:
    """A file that is not what was written: its path in the store, the record of its segment or block, and what is wrong.

    It may also be one that a compaction has removed meanwhile.
    """

    name: str
    record: Record
    fault: str


class Findings:
    """Damaged files that are not seen otherwise, with the tables that need them. Threads may share it.

    Parameters
    ----------
    folder
        The folder of the store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[str, tuple[FileStamp, frozenset[str], CorruptData]] = {}

    def add(self, name: str, tables: frozenset[str], error: CorruptData) -> None:
        """Add a damaged file."""
        self._found[name] = (file_stamp(self._folder / name), tables, error)

    def clear(self, name: str) -> None:
        """Remove a file, which is whole."""
        self._found.pop(name, None)

    def of(self, table: str) -> CorruptData | None:
        """Return the error of a table, or None. A file that has changed since is no longer counted as damaged."""
        for name, (stamp, tables, error) in list(self._found.items()):
            if table in tables and file_stamp(self._folder / name) == stamp:
                return error
        return None


class Scrub:
    """Passes over the files of one store.

    Parameters
    ----------
    folder
        The folder of the store.
    state
        Returns the present state of the manifest.
    """

    def __init__(self, folder: Path, state: Callable[[], ManifestState]) -> None:
        self._folder = folder
        self._state = state

    def run(self, pause: Pause) -> Iterator[Finding | str]:
        """Read the store, from where the last pass was left to its end; yield damaged files, and the names of whole ones.

        Parameters
        ----------
        pause
            Waits as long as it likes. What it raises ends the pass.
        """
        state = self._state()
        targets = _targets(state)
        names = sorted(targets)
        total = sum(_size(record) for record in targets.values())
        for name in names[bisect_right(names, self._place()) :]:
            if self._state() is not state:
                state = self._state()
                targets = _targets(state)
            if name in targets:
                yield from self.read(targets[name], lambda size: pause(size, total))
            self._note(name)
        self._note("")

    def read(self, record: Record, progress: Callable[[int], None]) -> Iterator[Finding | str]:
        """Read one segment or block; `progress` is called with the bytes read since the last call."""
        for file, digest in _files(self._folder / _name(record), record):
            fault = file_fault(file, digest, progress)
            path = str(file.relative_to(self._folder))
            yield path if fault is None else Finding(path, record, fault)

    def _place(self) -> str:
        """Return the last name that was read, or an empty text to begin at the first."""
        try:
            check_regular(self._folder / PLACE)
            found = json.loads((self._folder / PLACE).read_text())
            return str(found["after"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _note(self, name: str) -> None:
        draft = self._folder / f"{PLACE}.draft"
        with suppress(OSError):  # a store that cannot be written to is read from its beginning after each start
            draft.write_text(json.dumps({"after": name}))
            follow_mode(draft)
            draft.replace(self._folder / PLACE)


def _targets(state: ManifestState) -> Mapping[str, Record]:
    records: list[Record] = [*state.segments, *state.blocks]
    return {_name(record): record for record in records}


def _name(record: Record) -> str:
    """Return the path in the store of a segment, without suffix, or of a block."""
    return record.name if isinstance(record, BlockRecord) else f"segments/{record.table_name}/{record.name}"


def _files(path: Path, record: Record) -> list[tuple[Path, str]]:
    if isinstance(record, BlockRecord):
        return [(path, record.sha256)]
    return [(data_file(path), record.data_sha256), (key_file(path), record.keys_sha256)]


def _size(record: Record) -> int:
    return record.bytes if isinstance(record, BlockRecord) else record.data_bytes + record.rows * record.key_width
