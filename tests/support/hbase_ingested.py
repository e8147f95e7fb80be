"""Tables filled by `alertflight ingest`, and their contents, read without the product."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hdfs_native
from archives import Opened
from cluster_admin import Stored
from hbase_stores import HBaseStores
from processes import COMMAND

Cells = dict[bytes, dict[str, Stored]]


@dataclass
class Ingested:
    """The tables of a prefix and their contents: cells by table, key and column, and blocks."""

    stores: HBaseStores
    prefix: str

    @property
    def config(self) -> Path:
        """A file with the settings."""
        self.stores.cluster.settings(self.prefix)
        return self.stores.cluster.folder / f"settings-{self.prefix}.yml"

    def ingest(self, *paths: Path) -> str:
        """Run the command and return its output."""
        words = [COMMAND, "ingest", *paths, "--config", self.config]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def open(self, **sections: dict[str, Any]) -> Opened:
        return self.stores.open(self.prefix, **sections)

    def cells(self, table: str) -> Cells:
        """Return all rows of the HBase table, read without the product."""
        rows = self.stores.admin.rows(self.prefix + table)
        return {key: row for key, row in rows.items() if not key.startswith(b"schema")}

    def schema_rows(self, table: str) -> Cells:
        """Return the rows that name types, without the one by which ingests wait for each other."""
        rows = self.stores.admin.rows(self.prefix + table, "schema")
        return {key: row for key, row in rows.items() if key != b"schema-writer"}

    @property
    def hdfs(self) -> hdfs_native.Client:
        return hdfs_native.Client(self.stores.cluster.hdfs)

    def files(self) -> dict[str, bytes]:
        """Return all files below the archive, by path."""
        found = {}
        for file in self.hdfs.list_status(f"/{self.prefix}", recursive=True):
            if not file.isdir:
                with self.hdfs.read(file.path) as reader:
                    found[file.path] = reader.read()
        return found
