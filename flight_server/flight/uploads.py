"""do_put: alerts are uploaded, one upload at a time, and count when the client says so."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.flight as fl
from alertflight_config import DEFAULT_SURVEY

from flight_server.execution.archive import Archive
from flight_server.ingest import Upload
from flight_server.protocol.callers import Caller
from flight_server.protocol.errors import BadValue, DeadlinePassed, InvalidTicket, Overloaded, UnknownField
from flight_server.protocol.json_text import load_object

__all__ = ["Uploads"]

RETRY_AFTER_MS = 1000
EXAMPLE = json.dumps({"survey": DEFAULT_SURVEY})


class _Turn:
    """The turn of one upload: held while something is done for it, and lost after a silence.

    Parameters
    ----------
    stall_seconds
        How long the client may send nothing.
    on_lost
        Called when the turn is lost.
    """

    def __init__(self, stall_seconds: float, on_lost: Callable[[], None]) -> None:
        self._stall_seconds = stall_seconds
        self._on_lost = on_lost
        self._change = threading.Condition()
        self._heard = time.monotonic()
        self._held = False
        self._over = False
        self._lost = False
        self.upload: Upload | None = None
        threading.Thread(target=self._watch, name="upload", daemon=True).start()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the turn while what the client sent is dealt with.

        Raises
        ------
        DeadlinePassed
            The client sent it too late.
        """
        with self._change:
            if self._lost:
                raise DeadlinePassed(f"nothing came for {self._stall_seconds:g} s: nothing of the upload is stored")
            self._held = True
        try:
            yield
        finally:
            with self._change:
                self._held = False
                self._heard = time.monotonic()
                self._change.notify_all()

    def end(self) -> None:
        """End the turn, and take away what was kept."""
        with self._change:
            self._over = True
            self._change.notify_all()
            self._close()

    def _watch(self) -> None:
        with self._change:
            while not self._over:
                left = self._stall_seconds if self._held else self._heard + self._stall_seconds - time.monotonic()
                if left <= 0:
                    self._lost = self._over = True
                    self._close()
                    break
                self._change.wait(left)
            lost = self._lost
        if lost:
            self._on_lost()

    def _close(self) -> None:
        if self.upload is not None:
            self.upload.close()
            self.upload = None


class Uploads:
    """Takes in the uploads of one server, one at a time.

    Parameters
    ----------
    archive
        Where they go.
    stall_seconds
        After such a silence an upload is given up.
    """

    def __init__(self, archive: Archive, stall_seconds: float) -> None:
        self._archive = archive
        self._stall_seconds = stall_seconds
        self._free = threading.Semaphore()

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
        with self._turn() as turn:
            schema = _schema(reader)
            with turn.hold():
                turn.upload = upload = self._archive.upload(survey, schema)
            while (chunk := _next(reader)) is not None:
                with turn.hold():
                    if chunk.data is not None and not chunk.app_metadata:
                        upload.add(chunk.data)
                        continue
                    _check_commit(chunk)
                    report = upload.commit(caller.cancelled)
                writer.write(pa.py_buffer(json.dumps(asdict(report)).encode()))
                return
            with turn.hold():
                message = 'the upload ended without the message {"commit": true}: nothing of it is stored'
                raise InvalidTicket(message, field="commit")

    @contextmanager
    def _turn(self) -> Iterator[_Turn]:
        """Admit one upload at a time and refuse others; a stalled one gives its turn back by itself."""
        if not self._free.acquire(blocking=False):
            raise Overloaded("another upload is under way: one is taken at a time", retry_after_ms=RETRY_AFTER_MS)
        given_back = threading.Lock()  # locked once the turn was given back

        def give_back() -> None:
            if given_back.acquire(blocking=False):
                self._free.release()

        turn = _Turn(self._stall_seconds, give_back)
        try:
            yield turn
        finally:
            turn.end()
            give_back()


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
        raise InvalidTicket(f"the descriptor of an upload is a command such as {EXAMPLE}", field="descriptor")
    for name in given:
        if name != "survey":
            raise UnknownField(f"an upload has no field {name!r:.80}; it has survey", field=name)
    if not isinstance(given.get("survey"), str):
        raise InvalidTicket(f"an upload says whose alerts come: {EXAMPLE}", field="survey")
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
