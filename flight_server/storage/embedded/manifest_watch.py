"""The manifest of a store that is open for long: read again whenever its file has changed, also by other means than SQLite."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from flight_server.protocol.errors import CorruptData
from flight_server.storage.embedded.manifest import Manifest, ManifestState
from flight_server.storage.regular_files import FileStamp, file_stamp

__all__ = ["ManifestWatch"]

FRESH_SECONDS = 0.2  # how often SQLite is asked for commits; a file system may not tell two commits in one tick apart


class ManifestWatch:
    """The manifest of one store, as it is now. The caller makes sure that one thread uses it at a time.

    Parameters
    ----------
    file
        The manifest, which is created if it does not exist.

    Attributes
    ----------
    manifest
        The open manifest; another one once the file was replaced.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.manifest = Manifest(file)
        self._opened: FileStamp = file_stamp(file)
        self._stamp = self._opened
        self._version = self.manifest.change_counter()
        self._asked = time.monotonic()

    def has_changed(self, *, surely: bool = False) -> bool:
        """Return whether the file has changed since the last `read`; also if it was damaged, replaced or removed.

        Parameters
        ----------
        surely
            Whether to ask SQLite for commits even if it was asked just now.

        Raises
        ------
        CorruptData
            SQLite does not take the file for a database any more.
        """
        if file_stamp(self._file) != self._stamp:
            return True
        now = time.monotonic()
        if now - self._asked < FRESH_SECONDS and not surely:
            return False
        self._asked = now
        return self.manifest.change_counter() != self._version

    def read(self) -> ManifestState:
        """Read the manifest from its file.

        Raises
        ------
        CorruptData
            It is missing, damaged or cannot be read; the message says which.
        """
        self._stamp = file_stamp(self._file)
        try:
            if self._stamp[:2] != self._opened[:2]:
                replacement = Manifest(self._file, create=False)
                self.manifest.close()
                self.manifest, self._opened = replacement, self._stamp
            self._version = self.manifest.change_counter()
            # a connection keeps pages that only a commit by SQLite makes it read again
            fresh = Manifest(self._file, create=False)
            try:
                return fresh.read()
            finally:
                fresh.close()
        except sqlite3.OperationalError as error:
            raise CorruptData(f"the manifest cannot be read: {error}", field="manifest") from error
