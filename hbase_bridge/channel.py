"""The data channel: rows as Arrow record batches over a Unix socket, out of HBase and into it."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hbase_bridge.faults import BridgeFault, GatewayLost
from hbase_bridge.frames import ALIVE, BATCH, END, FAILED, TABLE, Frame, make_frame, read_frame

__all__ = ["Batch", "ScanChannel", "WriteChannel"]

GREETING = struct.Struct("<Q32s")
TIMEVAL = struct.Struct("@ll")
PUT_SECONDS = 90.0  # how long HBase may take over rows before the gateway takes more


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a scan.

    Parameters
    ----------
    cells
        The record batch, n rows; its buffers are those that came in.
    request_index
        The number of the range or key that each row is of, shape (n,).
    keys
        The row keys, shape (n,).
    """

    cells: pa.RecordBatch
    request_index: npt.NDArray[np.int64]
    keys: npt.NDArray[np.bytes_]


class _Channel:
    """One connection, which its secret opens once."""

    def __init__(self, path: str, run: int, secret: str, timeout: float) -> None:
        self.run = run
        self._received = 0
        self._sent = 0
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            # timeouts of the socket module would make it non-blocking, and a long frame come in many pieces
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(timeout))
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout + PUT_SECONDS))
            self._connection.connect(path)
            self._connection.sendall(GREETING.pack(run, bytes.fromhex(secret)))
        except OSError as error:
            self._connection.close()
            raise GatewayLost(f"the gateway's data channel cannot be opened: {error.strerror}") from error

    def receive(self) -> Frame:
        """Read the next frame; a fault of the other side is raised here."""
        frame = read_frame(self._connection, self.run, self._received)
        self._received += 1
        if frame.kind == FAILED:
            words = json.loads(frame.payload)
            raise BridgeFault(words["code"], words["message"])
        return frame

    def send(self, kind: int, payload: bytes, *, rows: int = 0, key_width: int = 0, batch_bytes: int = 0) -> None:
        """Write a frame."""
        header = make_frame(kind, self.run, self._sent, payload, rows=rows, key_width=key_width, batch_bytes=batch_bytes)
        self._sent += 1
        try:
            self._connection.sendall(header)
            if payload:
                self._connection.sendall(payload)
        except OSError as error:
            with contextlib.suppress(GatewayLost):
                while True:
                    self.receive()  # it may have said why
            raise GatewayLost(f"the gateway takes no rows any more: {error.strerror}") from error

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _timeval(seconds: float) -> bytes:
    return TIMEVAL.pack(int(seconds), int(math.modf(seconds)[0] * 1e6))


class ScanChannel(_Channel):
    """The rows of one scan.

    Parameters
    ----------
    path
        The gateway's socket.
    run, secret
        As `open-scan` gave them.
    schema
        The schema of the batches.
    timeout
        The longest that the gateway may be silent, seconds; one that works says so more often.
    """

    def __init__(self, path: str, run: int, secret: str, schema: pa.Schema, timeout: float) -> None:
        super().__init__(path, run, secret, timeout)
        self._schema = schema
        self.totals: Mapping[str, Any] = {}

    def __iter__(self) -> Iterator[Batch | None]:
        """Read the batches; None now and then while there is nothing yet. `totals` has what the end says."""
        rows = frames = 0
        while True:
            frame = self.receive()
            if frame.kind == ALIVE:
                yield None
            elif frame.kind == BATCH:
                rows += frame.rows
                frames += 1
                yield self._batch(frame)
            elif frame.kind == END:
                break
            else:
                raise BridgeFault("corrupt_data", f"the gateway sent a frame of kind {frame.kind}")
        self.totals = json.loads(frame.payload)
        if (rows, frames) != (self.totals["rows"], self.totals["frames"]):
            said = f"{self.totals['rows']} rows in {self.totals['frames']} frames"
            raise BridgeFault("corrupt_data", f"the gateway says it sent {said}, but {rows} in {frames} came")

    def _batch(self, frame: Frame) -> Batch:
        buffer = pa.py_buffer(frame.payload)
        cells = pa.ipc.read_record_batch(buffer.slice(0, frame.batch_bytes), self._schema)
        asked = np.frombuffer(frame.payload, dtype="<i8", count=frame.rows, offset=frame.batch_bytes)
        at = frame.batch_bytes + asked.nbytes
        keys = np.frombuffer(frame.payload, dtype=f"S{frame.key_width}", count=frame.rows, offset=at)
        return Batch(cells, asked, keys)


class WriteChannel(_Channel):
    """Rows on their way into tables, as `open-write` opened it."""

    def table(self, name: str, columns: Sequence[Mapping[str, str]], *, replaces: bool = False) -> None:
        """Say whose rows come next, the columns that their batches have, and whether a null takes away what stands."""
        self.send(TABLE, json.dumps({"table": name, "columns": list(columns), "replaces": replaces}).encode())

    def write(self, batch: pa.RecordBatch, keys: npt.NDArray[np.bytes_]) -> None:
        """Send n rows with their keys."""
        message = batch.serialize().to_pybytes()
        sizes = {"rows": len(batch), "key_width": keys.dtype.itemsize, "batch_bytes": len(message)}
        self.send(BATCH, message + keys.tobytes(), **sizes)

    def end(self) -> Mapping[str, int]:
        """Say that all was sent, and wait until it is written; gives the rows put into each table."""
        self.send(END, b"")
        while (frame := self.receive()).kind == ALIVE:
            pass
        rows: Mapping[str, int] = json.loads(frame.payload)["rows"]
        return rows
