"""do_put: uploads of alerts, one at a time, stored when the client commits."""

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


class _Slot:
    """The slot of one upload: held while the server works on it, lost if the client stalls.

    Parameters
    ----------
    stall_seconds
        The time limit for the client to send a message.
    on_lost
        Called when the slot is lost.
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
        """Hold the slot while a message of the client is processed.

        Raises
        ------
        DeadlinePassed
            The message came after the slot was lost.
        """
        with self._change:
            if self._lost:
                raise DeadlinePassed(f"the client sent nothing for {self._stall_seconds:g} s: nothing of the upload is stored")
            self._held = True
        try:
            yield
        finally:
            with self._change:
                self._held = False
                self._heard = time.monotonic()
                self._change.notify_all()

    def end(self) -> None:
        """Free the slot, and close its upload."""
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
    """The uploads of one server, one at a time.

    Parameters
    ----------
    archive
        The archive that stores the alerts.
    stall_seconds
        The time limit for a client to send a message; after that its upload is dropped.
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
        """Receive one upload, and reply when it is stored.

        A client that disconnects looks like one that has sent everything. So an upload is stored only after a commit
        message.

        Parameters
        ----------
        descriptor
            A command with the survey: `{"survey": "ztf"}`.
        reader
            The batches, then a message without a batch and with the metadata `{"commit": true}`.
        writer
            Sends the counts.
        caller
            The caller.
        """
        survey = _survey(descriptor)
        with self._slot() as slot:
            schema = _schema(reader)
            with slot.hold():
                slot.upload = upload = self._archive.upload(survey, schema)
            while (chunk := _next(reader)) is not None:
                with slot.hold():
                    if chunk.data is not None and not chunk.app_metadata:
                        upload.add(chunk.data)
                        continue
                    _check_commit(chunk)
                    report = upload.commit(caller.cancelled)
                writer.write(pa.py_buffer(json.dumps(asdict(report)).encode()))
                return
            with slot.hold():
                message = 'the upload ended without the message {"commit": true}: nothing of it is stored'
                raise InvalidTicket(message, field="commit")

    @contextmanager
    def _slot(self) -> Iterator[_Slot]:
        """Admit one upload at a time and refuse others; a stalled upload frees its slot by itself."""
        if not self._free.acquire(blocking=False):
            raise Overloaded("another upload is running: retry when it has ended", retry_after_ms=RETRY_AFTER_MS)
        freed = threading.Lock()  # locked once the slot was freed

        def free() -> None:
            if freed.acquire(blocking=False):
                self._free.release()

        slot = _Slot(self._stall_seconds, free)
        try:
            yield slot
        finally:
            slot.end()
            free()


def _schema(reader: fl.MetadataRecordBatchReader) -> pa.Schema:
    try:
        return reader.schema
    except pa.ArrowException as error:
        raise BadValue("the schema of the upload cannot be read: it is not valid Arrow IPC", field="schema") from error


def _next(reader: fl.MetadataRecordBatchReader) -> fl.FlightStreamChunk | None:
    try:
        return reader.read_chunk()
    except StopIteration:
        return None
    except pa.ArrowException as error:
        raise BadValue("a message of the upload cannot be read: it is not valid Arrow IPC", field="batch") from error


def _survey(descriptor: fl.FlightDescriptor) -> str:
    """Read the survey from the descriptor."""
    given = _object(descriptor.command) if descriptor.descriptor_type == fl.DescriptorType.CMD else None
    if given is None:
        raise InvalidTicket(f"the descriptor of an upload must be a command such as {EXAMPLE}", field="descriptor")
    for name in given:
        if name != "survey":
            raise UnknownField(f"an upload has no field {name!r:.80}; it has survey", field=name)
    if not isinstance(given.get("survey"), str):
        raise InvalidTicket(f"an upload needs the name of its survey: {EXAMPLE}", field="survey")
    return str(given["survey"])


def _check_commit(chunk: fl.FlightStreamChunk) -> None:
    """Raise if a message with metadata, or without a batch, is not the commit message."""
    given = None if chunk.data is not None else _object(chunk.app_metadata.to_pybytes())
    if given is None or set(given) != {"commit"} or given["commit"] is not True:
        raise InvalidTicket(
            'send batches without metadata, then one message without a batch and with the metadata {"commit": true}',
            field="commit",
        )


def _object(text: bytes) -> Mapping[str, Any] | None:
    """Read a JSON object, or return None if it is none."""
    try:
        return load_object(text)
    except InvalidTicket:
        return None
