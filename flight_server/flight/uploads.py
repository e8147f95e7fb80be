"""do_put: alerts are uploaded, one upload at a time, and count when the client says so."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl

from flight_server.execution.archive import Archive
from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import BadValue, DeadlinePassed, InvalidTicket, Overloaded, UnknownField
from flight_server.protocol.json_text import load_object

__all__ = ["Uploads"]

RETRY_AFTER_MS = 1000
STALL_SECONDS = 60.0  # after such a silence an upload makes way for another one


@dataclass(slots=True, eq=False)
class _Turn:
    """The turn of one upload: when its client was last heard, whether it is being written, whether it was given up."""

    heard: float = field(default_factory=time.monotonic)
    writing: bool = False
    lost: bool = False


class Uploads:
    """Takes in the uploads of one server.

    Parameters
    ----------
    archive
        Where they go.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._turn: _Turn | None = None

    def receive(
        self,
        descriptor: fl.FlightDescriptor,
        reader: fl.MetadataRecordBatchReader,
        writer: fl.FlightMetadataWriter,
        caller: Caller,
    ) -> None:
        """Take in one upload, and answer when it is written.

        A client that breaks off looks like one that has sent all there is. So nothing counts before a message
        that says so.

        Parameters
        ----------
        descriptor
            Says whose alerts come: `{"survey": "ztf"}`.
        reader
            Gives the batches, then a message without one whose metadata is `{"commit": true}`.
        writer
            Gets the counts.
        caller
            Who uploads.
        """
        survey = _survey(descriptor)
        with self._turns() as turn, closing(self._archive.upload(survey, _schema(reader))) as upload:
            while (chunk := _next(reader)) is not None:
                self._hear(turn)
                if chunk.data is not None and not chunk.app_metadata:
                    upload.add(chunk.data)
                    continue
                _check_commit(chunk)
                self._hear(turn, writing=True)
                report = upload.commit(caller.cancelled)
                writer.write(pa.py_buffer(json.dumps(asdict(report)).encode()))
                return
        raise InvalidTicket('the upload ended without the message {"commit": true}: nothing of it is stored', field="commit")

    @contextmanager
    def _turns(self) -> Iterator[_Turn]:
        """Wait for nobody: who comes while another upload is under way is sent away, unless that one has fallen silent."""
        turn = _Turn()
        with self._lock:
            other = self._turn
            if other is not None and (other.writing or turn.heard - other.heard < STALL_SECONDS):
                raise Overloaded("another upload is under way: one is taken at a time", retry_after_ms=RETRY_AFTER_MS)
            if other is not None:
                other.lost = True
            self._turn = turn
        try:
            yield turn
        finally:
            with self._lock:
                if self._turn is turn:
                    self._turn = None

    def _hear(self, turn: _Turn, *, writing: bool = False) -> None:
        """Note that the client was heard; raises where that was too late."""
        with self._lock:
            if turn.lost:
                message = f"nothing came for {STALL_SECONDS:g} s and another upload began: nothing of this one is stored"
                raise DeadlinePassed(message)
            turn.heard = time.monotonic()
            turn.writing = writing


def _schema(reader: fl.MetadataRecordBatchReader) -> pa.Schema:
    try:
        return reader.schema
    except pa.ArrowException as error:
        raise BadValue("the schema of the upload cannot be read: it is no Arrow IPC", field="schema") from error


def _next(reader: fl.MetadataRecordBatchReader) -> fl.FlightStreamChunk | None:
    try:
        return reader.read_chunk()
    except StopIteration:
        return None
    except pa.ArrowException as error:
        raise BadValue("a message of the upload cannot be read: it is no Arrow IPC", field="batch") from error


def _survey(descriptor: fl.FlightDescriptor) -> str:
    """Read whose alerts come."""
    given = _object(descriptor.command) if descriptor.descriptor_type == fl.DescriptorType.CMD else None
    if given is None:
        raise InvalidTicket('the descriptor of an upload is a command such as {"survey": "ztf"}', field="descriptor")
    for name in given:
        if name != "survey":
            raise UnknownField(f"an upload has no field {name!r:.80}; it has survey", field=name)
    if not isinstance(given.get("survey"), str):
        raise InvalidTicket('an upload says whose alerts come: {"survey": "ztf"}', field="survey")
    return str(given["survey"])


def _check_commit(chunk: fl.FlightStreamChunk) -> None:
    """Refuse what is no commit message: batches say nothing beside their rows, and nothing else comes without rows."""
    given = None if chunk.data is not None else _object(chunk.app_metadata.to_pybytes())
    if given is None or set(given) != {"commit"} or given["commit"] is not True:
        raise InvalidTicket('beside batches an upload has one message, without rows: {"commit": true}', field="commit")


def _object(text: bytes) -> Mapping[str, Any] | None:
    """Read a JSON object; None where it is none."""
    try:
        return load_object(text)
    except InvalidTicket:
        return None
