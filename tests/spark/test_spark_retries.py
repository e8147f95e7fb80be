"""Spark retries a task if the server fails, without duplicate rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import pyarrow.flight as fl
import pytest
from archives import Opened, ask
from spark_sessions import ReadFailed, Session

from flight_server.catalog.catalog import load_catalog
from flight_server.execution.archive import Answer, Archive, Message
from flight_server.flight import FlightServer
from flight_server.protocol.callers import Caller
from flight_server.protocol.query import Query

pytestmark = [pytest.mark.timeout(1200)]

STAMPS = {"table": "ztf", "ids": ["ZTF20abfcszi"], "columns": ["i:candid"], "cutouts": ["Science"], "max_message_bytes": 100_000}


class Failing(Archive):
    """An archive whose first answers fail midway, with an error that clients do not retry."""

    def __init__(self, opened: Opened, failures: int) -> None:
        super().__init__(load_catalog(), opened.store, opened.store.cutouts, opened.settings)
        self.failures = failures
        self.answers = 0

    def answer(self, query: Query, caller: Caller) -> Answer:
        answer = super().answer(query, caller)
        self.answers += 1
        return answer if self.answers > self.failures else replace(answer, messages=broken(answer.messages))


def broken(messages: Iterator[Message]) -> Iterator[Message]:
    sent = list(islice(messages, 2))
    assert sum(len(message.batch) for message in sent) > 0
    yield from sent
    raise RuntimeError("this test breaks answers")


@contextmanager
def served(archive: Archive, opened: Opened) -> Iterator[str]:
    with FlightServer(archive, opened.settings) as server:
        yield f"grpc://127.0.0.1:{server.port}"


def test_a_task_that_fails_is_tried_again(spark: Session, sample: Opened, client: fl.FlightClient) -> None:
    archive = Failing(sample, failures=1)
    with served(archive, sample) as url:
        read = spark.read({"url": url, "query": json.dumps(STAMPS)})
    assert archive.answers == 2
    direct = ask(client, **STAMPS).table
    order = [("i:candid", "ascending")]
    assert read.table.sort_by(order).columns == direct.sort_by(order).columns


def test_an_error_that_lasts_is_said_in_words(spark: Session, sample: Opened) -> None:
    archive = Failing(sample, failures=1000)
    with served(archive, sample) as url, pytest.raises(ReadFailed, match="InternalError: the server failed; see error"):
        spark.read({"url": url, "query": json.dumps(STAMPS)})
    assert archive.answers == 4  # as often as Spark tries a task
