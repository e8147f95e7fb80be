"""Reads several endpoints in parallel and yields their rows in order, with bounded read-ahead."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

import pyarrow as pa

from flight_client.endpoints import Endpoint, Hangup, Record, Retries, read_endpoint
from flight_server.protocol.errors import NotSupported

__all__ = ["Ahead", "read_endpoints"]


@dataclass(frozen=True, slots=True)
class Ahead:
    """How many endpoints are read in parallel, and how many bytes may be read ahead of the consumer."""

    threads: int = 4
    most_bytes: int = 64 * 1_048_576


@dataclass(slots=True)
class _Part:
    """An endpoint being read: its buffered batches, and how it ended."""

    endpoint: Endpoint
    batches: deque[pa.RecordBatch] = field(default_factory=deque)
    record: Record = field(default_factory=Record)
    ended: bool = False
    failure: BaseException | None = None


def read_endpoints(
    endpoints: Iterator[Endpoint], record: Record, ahead: Ahead, retries: Retries | None = None
) -> Iterator[pa.RecordBatch]:
    """Read endpoints in order; the record of each is added to `record` at its end.

    Raises
    ------
    AlertflightError
        As in `read_endpoint`; the rows before the failure have been yielded by then.
    """
    begin = list(islice(endpoints, 2))
    whole = chain(begin, endpoints)
    if len(begin) == 1 or ahead.threads == 1:
        for endpoint in whole:
            for piece in read_endpoint(endpoint, record=record, retries=retries):
                yield piece.batch
    elif begin:
        yield from _Reading(whole, ahead, retries).batches(record)


class _Reading:
    """Threads that each read an endpoint, then the next free one."""

    def __init__(self, endpoints: Iterator[Endpoint], ahead: Ahead, retries: Retries | None) -> None:
        self._endpoints = endpoints
        self._ahead = ahead
        self._retries = retries
        self._taking = threading.Lock()  # the next endpoint may need a call for the next plan
        self._changed = threading.Condition()
        self._parts: deque[_Part] = deque()  # the consumer reads the first one
        self._waiting = 0  # bytes
        self._all_taken = False
        self._failure: BaseException | None = None  # of a plan
        self._hangup = Hangup()
        self._process = os.getpid()
        for number in range(ahead.threads):
            threading.Thread(target=self._work, name=f"alertflight-{number}", daemon=True).start()

    def batches(self, record: Record) -> Iterator[pa.RecordBatch]:
        """Yield the batches in the order of the endpoints."""
        try:
            while (part := self._first()) is not None:
                while (batch := self._next(part)) is not None:
                    yield batch
                record.add(part.record)
                with self._changed:
                    self._parts.popleft()
                    self._changed.notify_all()
        finally:
            if os.getpid() == self._process:
                self._hangup.hang_up()
                with self._changed:
                    self._changed.notify_all()

    def _first(self) -> _Part | None:
        self._check_process()
        with self._changed:
            while not self._parts and not self._all_taken:
                self._changed.wait()
            if not self._parts and self._failure is not None:
                raise self._failure
            return self._parts[0] if self._parts else None

    def _next(self, part: _Part) -> pa.RecordBatch | None:
        self._check_process()
        with self._changed:
            while not part.batches and not part.ended:
                self._changed.wait()
            if part.batches:
                batch = part.batches.popleft()
                self._waiting -= batch.nbytes
                self._changed.notify_all()
                return batch
        if part.failure is not None:
            raise part.failure
        return None

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            message = "this read began before a fork, in threads that the child process does not have: read the answer again"
            raise NotSupported(message, field="fork")

    def _work(self) -> None:
        while (part := self._take()) is not None:
            try:
                pieces = read_endpoint(part.endpoint, record=part.record, retries=self._retries, hangup=self._hangup)
                for piece in pieces:
                    if not self._put(part, piece.batch):
                        pieces.close()
                        return
            except BaseException as failure:  # noqa: BLE001  (raised where the rows are read)
                part.failure = failure
            with self._changed:
                part.ended = True
                self._changed.notify_all()

    def _take(self) -> _Part | None:
        with self._taking:
            if self._all_taken or self._hangup.done:
                return None
            try:
                endpoint = next(self._endpoints, None)
            except BaseException as failure:  # noqa: BLE001  (as above)
                self._failure, endpoint = failure, None
            with self._changed:
                if endpoint is None:
                    self._all_taken = True
                else:
                    self._parts.append(_Part(endpoint))
                self._changed.notify_all()
                return None if endpoint is None else self._parts[-1]

    def _put(self, part: _Part, batch: pa.RecordBatch) -> bool:
        """Buffer a batch for the consumer; return False if the read was stopped."""
        with self._changed:
            # the endpoint that the consumer reads may always buffer one batch, or nothing would move
            while (
                not self._hangup.done
                and self._waiting + batch.nbytes > self._ahead.most_bytes
                and not (part is self._parts[0] and not part.batches)
            ):
                self._changed.wait()
            if self._hangup.done:
                return False
            part.batches.append(batch)
            self._waiting += batch.nbytes
            self._changed.notify_all()
            return True
