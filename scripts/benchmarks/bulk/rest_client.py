"""The client of rest.py: one object per request, JSON records into a pandas frame."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import click
import pandas as pd

from bulk.sets import COLUMNS

__all__ = ["Rest", "rest_service"]

FOLDER = Path(__file__).resolve().parents[1]  # of its modules
DONE = 200


@dataclass(frozen=True, slots=True)
class Rest:
    """A persistent connection."""

    connection: HTTPConnection

    def read(self, ids: Sequence[str]) -> pd.DataFrame:
        """Request objects, one after the other."""
        return pd.concat([pd.DataFrame(self._records(object_id)) for object_id in ids], ignore_index=True)

    def _records(self, object_id: str) -> list[dict[str, object]]:
        body = json.dumps({"objectId": object_id, "columns": COLUMNS})
        self.connection.request("POST", "/api/v1/objects", body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != DONE:
            raise click.ClickException(f"the REST service answers {answer.status} to {object_id}")
        found: list[dict[str, object]] = json.loads(text)
        return found


@contextmanager
def rest_service(store: Path) -> Iterator[Rest]:
    """Serve a store in a separate process."""
    command = [sys.executable, "-m", "bulk.rest", str(store)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=FOLDER)  # noqa: S603  (our own)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise click.ClickException("the REST service of the comparison does not start")
        connection = HTTPConnection("127.0.0.1", int(line))
        yield Rest(connection)
        connection.close()
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
