"""The data channel: Arrow record batches over a Unix socket, from HBase and to HBase."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hbase_bridge.faults import BridgeFault, GatewayLost
from hbase_bridge.frames import ALIVE, BATCH, END, FAILED, TABLE, Frame, make_frame, read_frame

__all__ = ["Batch", "Mode", "ScanChannel", "WriteChannel"]

Mode = Literal["puts", "replaces", "deletes"]

GREETING = struct.Struct("<Q32s")
TIMEVAL = struct.Struct("@ll")
PUT_SECONDS = 90.0  # how long HBase may take to write rows before the gateway reads more


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a scan.

    Parameters
    ----------
    cells
        The record batch, n rows; its buffers are those received.
    request_index
        The index of the requested range or key that each row belongs to, shape (n,).
    keys
        The row keys, shape (n,).
    """

    cells: pa.RecordBatch
    request_index: npt.NDArray[np.int64]
    keys: npt.NDArray[np.bytes_]


class _Channel:
    """One connection. Its secret is valid for one connection only."""

    def __init__(self, path: str, run: int, secret: str, timeout: float) -> None:
        self.run = run
        self._received = 0
        self._sent = 0
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            # a timeout of the socket module makes it non-blocking, and a long frame is then read in many pieces
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(timeout))
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout + PUT_SECONDS))
            self._connection.connect(path)
            self._connection.sendall(GREETING.pack(run, bytes.fromhex(secret)))
        except OSError as error:
            self._connection.close()
            raise GatewayLost(f"the gateway's data channel cannot be opened: {error.strerror}") from error

    def receive(self) -> Frame:
        """Read the next frame.

        Raises
        ------
        BridgeFault
            The gateway reports an error, or the frame is damaged.
        GatewayLost
            The connection broke or is silent.
        """
        frame = read_frame(self._connection, self.run, self._received)
        self._received += 1
        if frame.kind == FAILED:
            error = json.loads(frame.payload)
            raise BridgeFault(error["code"], error["message"], error.get("outage"))
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
                    self.receive()  # raises the error that the gateway sent before it closed, if any
            raise GatewayLost(f"the gateway takes no rows any more: {error.strerror}") from error

    def close(self) -> None:
        """Close the connection, which ends the scan or write."""
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
        The number and the secret that `open-scan` returned.
    schema
        The schema of the batches.
    timeout
        How long the gateway may be silent, seconds; while it works it sends frames more often.
    """

    def __init__(self, path: str, run: int, secret: str, schema: pa.Schema, timeout: float) -> None:
        super().__init__(path, run, secret, timeout)
        self._schema = schema
        self.totals: Mapping[str, Any] = {}

    def __iter__(self) -> Iterator[Batch | None]:
        """Yield the batches, and None while the gateway works but has no rows yet; then set `totals`."""
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
            sent = f"{self.totals['rows']} rows in {self.totals['frames']} frames"
            raise BridgeFault("corrupt_data", f"the gateway says it sent {sent}, but {rows} in {frames} came")

    def _batch(self, frame: Frame) -> Batch:
        buffer = pa.py_buffer(frame.payload)
        cells = pa.ipc.read_record_batch(buffer.slice(0, frame.batch_bytes), self._schema)
        request_index = np.frombuffer(frame.payload, dtype="<i8", count=frame.rows, offset=frame.batch_bytes)
        offset = frame.batch_bytes + request_index.nbytes
        keys = np.frombuffer(frame.payload, dtype=f"S{frame.key_width}", count=frame.rows, offset=offset)
        return Batch(cells, request_index, keys)


class WriteChannel(_Channel):
    """The rows of one write, which `open-write` opened."""

    def table(self, name: str, columns: Sequence[Mapping[str, str]], *, mode: Mode = "puts") -> None:
        """Set the table and the columns of the batches that follow, and what becomes of the stored rows with their keys.

        With `puts` they keep the cells that are null in the batch, with `replaces` they lose them, with `deletes` the rows are
        deleted, and the batches need no cells.
        """
        self.send(TABLE, json.dumps({"table": name, "columns": list(columns), "mode": mode}).encode())

    def write(self, batch: pa.RecordBatch, keys: npt.NDArray[np.bytes_]) -> None:
        """Send a record batch of n rows and their n keys."""
        message = batch.serialize().to_pybytes()
        sizes = {"rows": len(batch), "key_width": keys.dtype.itemsize, "batch_bytes": len(message)}
        self.send(BATCH, message + keys.tobytes(), **sizes)

    def end(self) -> Mapping[str, int]:
        """Wait until all rows are written; return how many rows were put into each table."""
        self.send(END, b"")
        while (frame := self.receive()).kind == ALIVE:
            pass
        rows: Mapping[str, int] = json.loads(frame.payload)["rows"]
        return rows
